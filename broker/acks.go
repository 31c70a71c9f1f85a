package broker

import (
	"encoding/binary"

	"edgegateway/broker/packet"
)

// answer is an acknowledgement that is to be sent.
type answer struct {
	kind   packet.Type // PUBACK, PUBREC, PUBREL or PUBCOMP
	id     uint16
	code   packet.ReasonCode
	reason string
}

func (a *answer) append(dst []byte, v packet.Version) []byte {
	if a.code == packet.Success {
		first := byte(a.kind) << 4
		if a.kind == packet.PUBREL {
			first |= 2 // [MQTT-3.6.1-1] [v3 MQTT-3.6.1-1]
		}
		return binary.BigEndian.AppendUint16(append(dst, first, 2), a.id)
	}
	return a.packet().Append(dst, v)
}

func (a *answer) packet() *packet.Ack {
	return &packet.Ack{Kind: a.kind, ID: a.id, Code: a.code, Info: packet.Info{ReasonString: a.reason}}
}

// ackOrder lets acknowledgements out in the order in which what they answer came
// in, each kind for itself [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT-4.6.0-4], though
// they may become ready in any order. It has no lock.
type ackOrder struct {
	waiting map[packet.Type][]*ackSlot // nil while nothing waits
}

// ackSlot is the place of one acknowledgement in the order.
type ackSlot struct {
	answer
	ready bool
}

// expect takes a place for an acknowledgement that is not ready. It returns nil
// if ready is set and nothing is before it: then it may leave at once.
func (o *ackOrder) expect(a answer, ready bool) *ackSlot {
	if ready && len(o.waiting[a.kind]) == 0 {
		return nil
	}
	s := &ackSlot{answer: a, ready: ready}
	if o.waiting == nil {
		o.waiting = make(map[packet.Type][]*ackSlot)
	}
	o.waiting[a.kind] = append(o.waiting[a.kind], s)
	return s
}

// complete makes an acknowledgement ready, and calls leave for all of its kind
// that may leave now, in order.
func (o *ackOrder) complete(s *ackSlot, leave func(*answer)) {
	s.ready = true
	lane := o.waiting[s.kind]
	n := 0
	for ; n < len(lane) && lane[n].ready; n++ {
		leave(&lane[n].answer)
		lane[n] = nil
	}
	if n == len(lane) {
		lane = lane[:0] // its memory is used again
	} else {
		lane = lane[n:]
	}
	o.waiting[s.kind] = lane
}
