package broker

import "edgegateway/broker/packet"

// identifiers is the modulus of packet identifiers: the entry with sequence
// number n is sent as packet 1 + n mod identifiers. So the assignment needs no
// write to be the same after a restart.
const identifiers = 65000

// outgoing is the state of the QoS 1 and 2 handshakes of one session as a
// sender, for the time of one connection. It has no lock, no clock and no
// connection: it says what is to be done.
//
// Entries come from the session's queue in order, and the queue remembers across
// connections what was sent and what was received.
type outgoing struct {
	modulus uint64 // identifiers; tests use less
	window  int    // PUBLISH packets that may be under way: what the receiver said, and our cap

	flights []flight // in the order in which they were sent; ended ones are cut from the front
	head    int      // flights[:head] have ended
	quota   int      // PUBLISH packets of this connection that count against the window

	low, high uint64 // no sequence number under way is outside; wider than needed at times
}

// flight is an entry between its first packet and the end of its handshake.
type flight struct {
	seq   uint64
	id    uint16
	qos   packet.QoS
	state flightState
}

type flightState uint8

const (
	ended     flightState = iota
	published             // PUBLISH sent; PUBACK or PUBREC will come
	marking               // PUBREC came; the mark is being committed
	released              // PUBREL sent; PUBCOMP will come
	resumed               // the same, but the PUBLISH was sent in an earlier connection
)

// reset begins a connection.
func (o *outgoing) reset(window int) {
	o.window = window
	o.flights = o.flights[:0]
	o.head, o.quota = 0, 0
	o.low, o.high = 0, 0
}

func (o *outgoing) id(seq uint64) uint16 { return uint16(1 + seq%o.modulus) }

// room reports whether another PUBLISH may be sent [MQTT-3.3.4-9].
func (o *outgoing) room() bool { return o.quota < o.window }

func (o *outgoing) idle() bool { return len(o.flights) == 0 }

// admits reports whether an entry may be sent as far as its identifier goes. All
// sequence numbers under way must be so near to each other that no two share an
// identifier [MQTT-2.2.1-3], with a window to spare: entries that have ended may
// not be removed from the disk yet, and would come back after a crash.
func (o *outgoing) admits(seq uint64) bool {
	if o.idle() || max(o.high, seq)-min(o.low, seq) < o.span() {
		return true
	}
	o.low, o.high = seq, seq
	for _, f := range o.flights[o.head:] {
		if f.state != ended {
			o.low, o.high = min(o.low, f.seq), max(o.high, f.seq)
		}
	}
	return o.high-o.low < o.span()
}

func (o *outgoing) span() uint64 {
	if w := uint64(o.window); w < o.modulus {
		return o.modulus - w
	}
	return 1
}

// publish notes that a PUBLISH for the entry is sent, and returns its identifier.
func (o *outgoing) publish(seq uint64, qos packet.QoS) uint16 {
	o.quota++
	return o.add(flight{seq: seq, qos: qos, state: published})
}

// resume notes that PUBREL is sent for an entry that was received in an earlier
// connection; its PUBLISH does not count in this one.
func (o *outgoing) resume(seq uint64) uint16 {
	return o.add(flight{seq: seq, qos: packet.QoS2, state: resumed})
}

func (o *outgoing) add(f flight) uint16 {
	if o.idle() {
		o.low, o.high = f.seq, f.seq
	}
	o.low, o.high = min(o.low, f.seq), max(o.high, f.seq)
	if len(o.flights) == cap(o.flights) && o.head > 0 {
		n := copy(o.flights, o.flights[o.head:])
		o.flights, o.head = o.flights[:n], 0
	}
	f.id = o.id(f.seq)
	o.flights = append(o.flights, f)
	return f.id
}

// find looks from the oldest on, which is the one that is acknowledged next
// unless the receiver has a reason of its own.
func (o *outgoing) find(id uint16) *flight {
	for i := o.head; i < len(o.flights); i++ {
		if f := &o.flights[i]; f.id == id && f.state != ended {
			return f
		}
	}
	return nil
}

func (o *outgoing) end(f *flight) {
	if f.state != resumed {
		o.quota--
	}
	f.state = ended
	for o.head < len(o.flights) && o.flights[o.head].state == ended {
		o.head++
	}
	if o.head == len(o.flights) {
		o.flights, o.head = o.flights[:0], 0
	}
}

// underWay counts the handshakes that have not ended.
func (o *outgoing) underWay() (n int) {
	for _, f := range o.flights[o.head:] {
		if f.state != ended {
			n++
		}
	}
	return n
}

// ackAction is what an acknowledgement of the receiver demands.
type ackAction uint8

const (
	ackNothing  ackAction = iota // it fits nothing under way, or asks for what is coming anyway
	ackDone                      // the handshake has ended: remove the entry
	ackMark                      // commit the received mark, then release
	ackRelease                   // send PUBREL again
	ackUnknown                   // send PUBREL with 0x92: the identifier is not in use
	ackMismatch                  // not the acknowledgement that the QoS has: a protocol error
)

// puback is the end of a QoS 1 handshake, whatever its code: the message may not
// be sent again in this session (4.4, 4.3.2).
func (o *outgoing) puback(id uint16) (seq uint64, do ackAction) {
	f := o.find(id)
	switch {
	case f == nil:
		return 0, ackNothing
	case f.qos != packet.QoS1:
		return f.seq, ackMismatch
	}
	seq = f.seq
	o.end(f)
	return seq, ackDone
}

// pubrec is the middle of a QoS 2 handshake. A code of 0x80 or above ends it: the
// identifier is free and no PUBREL follows (4.3.3, figure 4.3).
func (o *outgoing) pubrec(id uint16, code packet.ReasonCode) (seq uint64, do ackAction) {
	f := o.find(id)
	switch {
	case f == nil:
		return 0, ackUnknown
	case f.qos != packet.QoS2:
		return f.seq, ackMismatch
	case f.state == marking:
		return f.seq, ackNothing // PUBREL follows the commit
	case f.state == released || f.state == resumed:
		return f.seq, ackRelease
	}
	seq = f.seq
	if code.IsError() {
		o.end(f)
		return seq, ackDone
	}
	f.state = marking
	return seq, ackMark
}

// marked notes that the received mark of an entry is on disk; now PUBREL may be
// sent [MQTT-4.3.3-4]. ok is false if the entry does not wait for that, as when
// another connection has begun.
func (o *outgoing) marked(seq uint64) (id uint16, ok bool) {
	f := o.find(o.id(seq))
	if f == nil || f.seq != seq || f.state != marking {
		return 0, false
	}
	f.state = released
	return f.id, true
}

// pubcomp is the end of a QoS 2 handshake, whatever its code.
func (o *outgoing) pubcomp(id uint16) (seq uint64, do ackAction) {
	f := o.find(id)
	switch {
	case f == nil:
		return 0, ackNothing
	case f.state != released && f.state != resumed:
		return f.seq, ackMismatch
	}
	seq = f.seq
	o.end(f)
	return seq, ackDone
}
