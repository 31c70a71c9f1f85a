package broker

// incoming is the state of the QoS 2 handshakes of one session as a receiver. It
// has no lock and no store: it says what is to be done. At most 65,535
// identifiers exist, so it is bounded.
type incoming struct {
	known map[uint16]*arrival

	// leaving are identifiers that memory has forgotten and the disk has not.
	leaving map[uint16]*leaving
}

// leaving is one of them, with those who wait for the disk.
type leaving struct{ wait []leaver }

type leaver struct {
	of *conn
	fn func(error)
}

// arrival is a QoS 2 message between PUBLISH and PUBREL.
type arrival struct {
	settled bool  // it is known what becomes of it
	err     error // why it was refused
	// wait are called when it is settled; more than one if the client sent the
	// message again on another connection meanwhile.
	wait []func(error)
}

// publish notes a PUBLISH. isNew is true if it is to be routed; else it was before
// [MQTT-4.3.3-10].
func (in *incoming) publish(id uint16) (a *arrival, isNew bool) {
	if a = in.known[id]; a != nil {
		return a, false
	}
	if in.known == nil {
		in.known = make(map[uint16]*arrival)
	}
	a = &arrival{}
	in.known[id] = a
	return a, true
}

// knows reports whether the handshake of an identifier has begun and not ended.
func (in *incoming) knows(id uint16) bool { return in.known[id] != nil }

// settle says what becomes of a message: safe (err is nil) or refused, and then
// the identifier is free again [MQTT-4.3.3-9]; it may stand for another message by
// now. The caller calls those who waited.
func (in *incoming) settle(id uint16, a *arrival, err error) (wait []func(error)) {
	wait, a.wait = a.wait, nil
	a.settled, a.err = true, err
	if err != nil && in.known[id] == a {
		delete(in.known, id)
	}
	return wait
}

// restore notes an identifier that was found on disk.
func (in *incoming) restore(id uint16) {
	if in.known == nil {
		in.known = make(map[uint16]*arrival)
	}
	in.known[id] = &arrival{settled: true}
}

// release ends a handshake at PUBREL and reports whether there was one. From here
// on the identifier may come with a new message [MQTT-4.3.3-12].
func (in *incoming) release(id uint16) bool {
	_, known := in.known[id]
	delete(in.known, id)
	return known
}

// leave notes that an identifier is being removed from the disk.
func (in *incoming) leave(id uint16) *leaving {
	if in.leaving == nil {
		in.leaving = make(map[uint16]*leaving)
	}
	l := &leaving{}
	in.leaving[id] = l
	return l
}

// leaves reports whether the disk has still to forget an identifier.
func (in *incoming) leaves(id uint16) bool { return in.leaving[id] != nil }

// await has fn called when the disk has forgotten an identifier that leaves. Those
// who waited on earlier connections do so no longer: however often a client comes
// back, it takes no more memory.
func (in *incoming) await(id uint16, c *conn, fn func(error)) {
	l := in.leaving[id]
	if len(l.wait) > 0 && l.wait[0].of != c {
		l.wait = nil
	}
	l.wait = append(l.wait, leaver{c, fn})
}

// left ends a removal. The caller calls those who waited.
func (in *incoming) left(id uint16, l *leaving) []leaver {
	if in.leaving[id] == l {
		delete(in.leaving, id)
	}
	return l.wait
}
