package cloud

import "edgegateway/broker/packet"

// turns releases acknowledgements of one kind in the order in which they were
// asked for, whatever the order in which they become ready [MQTT-4.6.0-2]
// [MQTT-4.6.0-3] [MQTT-4.6.0-4]. Not safe for concurrent use: the link's lock
// guards it.
type turns struct {
	kind packet.Type
	wait []*turn
}

// A turn is one acknowledgement that waits until it is ready and those before it
// have left.
type turn struct {
	id    uint16
	code  packet.ReasonCode
	ready bool
}

// take adds a turn at the end.
func (t *turns) take(id uint16) *turn {
	n := &turn{id: id}
	t.wait = append(t.wait, n)
	return n
}

// release appends to dst every acknowledgement whose turn has come.
func (t *turns) release(dst []byte) []byte {
	n := 0
	for ; n < len(t.wait) && t.wait[n].ready; n++ {
		ack := packet.Ack{Kind: t.kind, ID: t.wait[n].id, Code: t.wait[n].code}
		dst = ack.Append(dst, packet.V5)
	}
	if n == len(t.wait) {
		t.wait = t.wait[:0]
	} else {
		t.wait = t.wait[n:]
	}
	return dst
}
