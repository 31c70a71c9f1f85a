package broker

// incoming is the state of the QoS 2 handshakes of one session as a receiver. It
// has no lock and no store: it says what is to be done. At most 65,535
// identifiers exist, so it is bounded.
type incoming struct {
	known map[uint16]*arrival
}

// arrival is a QoS 2 message between PUBLISH and PUBREL.
type arrival struct {
	safe bool // PUBREC may be sent
	// wait are called once when it is safe, or refused; more than one if the
	// client sent the message again on another connection meanwhile.
	wait []func(error)
}

// arriveAction is what a QoS 2 PUBLISH demands.
type arriveAction uint8

const (
	arriveRoute arriveAction = iota // a new message: route it
	arriveJoin                      // its commit is under way: PUBREC when that has ended
	arriveAgain                     // it was accepted before: PUBREC, and route nothing [MQTT-4.3.3-10]
)

// publish says what to do with a PUBLISH, which it notes if it is new. wait is
// called when PUBREC may leave; not for arriveAgain.
func (in *incoming) publish(id uint16, wait func(error)) arriveAction {
	if a := in.known[id]; a != nil {
		if a.safe {
			return arriveAgain
		}
		a.wait = append(a.wait, wait)
		return arriveJoin
	}
	if in.known == nil {
		in.known = make(map[uint16]*arrival)
	}
	in.known[id] = &arrival{wait: []func(error){wait}}
	return arriveRoute
}

// settle ends the wait of a message: safe (err is nil) or refused, and then the
// identifier is free again [MQTT-4.3.3-9]. a is what arrival returned when the
// message was routed: the identifier may stand for another one now.
func (in *incoming) settle(id uint16, a *arrival, err error) (wait []func(error)) {
	wait, a.wait = a.wait, nil
	a.safe = err == nil
	if err != nil && in.known[id] == a {
		delete(in.known, id)
	}
	return wait
}

func (in *incoming) arrival(id uint16) *arrival { return in.known[id] }

// restore notes an identifier that was found on disk.
func (in *incoming) restore(id uint16) {
	if in.known == nil {
		in.known = make(map[uint16]*arrival)
	}
	in.known[id] = &arrival{safe: true}
}

// release ends a handshake at PUBREL and reports whether there was one. From here
// on the identifier may come with a new message [MQTT-4.3.3-12].
func (in *incoming) release(id uint16) bool {
	_, known := in.known[id]
	delete(in.known, id)
	return known
}
