package broker

import "edgegateway/broker/packet"

// ackOrder lets acknowledgements out in the order in which what they answer came
// in, each kind for itself [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4], though
// they may become ready in any order. It has no lock.
type ackOrder struct {
	waiting [4][]*ackSlot // PUBACK, PUBREC, PUBREL, PUBCOMP
}

// ackSlot is the place of one acknowledgement in the order.
type ackSlot struct {
	ready bool
	ack   packet.Ack
}

// expect takes a place for an acknowledgement that is not ready. It returns nil
// if ready is set and nothing is before it: then it may leave at once.
func (o *ackOrder) expect(ack packet.Ack, ready bool) *ackSlot {
	lane := &o.waiting[ack.Kind-packet.PUBACK]
	if ready && len(*lane) == 0 {
		return nil
	}
	s := &ackSlot{ready: ready, ack: ack}
	*lane = append(*lane, s)
	return s
}

// complete makes an acknowledgement ready, and appends to dst all of its kind
// that may leave now. n is their number.
func (o *ackOrder) complete(s *ackSlot, dst []byte, v packet.Version) (out []byte, n int) {
	s.ready = true
	lane := &o.waiting[s.ack.Kind-packet.PUBACK]
	for n < len(*lane) && (*lane)[n].ready {
		dst = (*lane)[n].ack.Append(dst, v)
		(*lane)[n] = nil
		n++
	}
	*lane = (*lane)[n:]
	if len(*lane) == 0 {
		*lane = nil
	}
	return dst, n
}
