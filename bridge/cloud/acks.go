package cloud

import (
	"encoding/binary"

	"edgegateway/broker/packet"
)

// Under load four of five packets from a server are acknowledgements of a few bytes.
// They are read here, as many as there are at once: the client library would make
// half a dozen allocations for each, and wake the pump each time.

// plainAck decodes an acknowledgement without properties from the front of p. n is
// its length; 0 if p begins with something else, or with one that is for the library
// to judge. more says that p is too short to tell.
func plainAck(p []byte) (a packet.Ack, n int, more bool) {
	switch p[0] {
	case byte(packet.PUBACK) << 4, byte(packet.PUBREC) << 4, byte(packet.PUBREL)<<4 | 2, byte(packet.PUBCOMP) << 4:
	default:
		return a, 0, false
	}
	if len(p) < 2 {
		return a, 0, true
	}
	if p[1] != 2 && p[1] != 3 { // the identifier, and maybe a reason code (3.4.2)
		return a, 0, false
	}
	if n = 2 + int(p[1]); len(p) < n {
		return a, 0, true
	}
	a = packet.Ack{Kind: packet.Type(p[0] >> 4), ID: binary.BigEndian.Uint16(p[2:])}
	if n == 5 {
		a.Code = packet.ReasonCode(p[4])
	}
	return a, n, false
}

// takeAcks hands over acknowledgements until another packet comes: all that are there
// before it waits for more.
func (w *wire) takeAcks() error {
	for {
		p, err := w.in.Peek(max(1, min(w.in.Buffered(), 5)))
		if err != nil {
			return err
		}
		a, n, more := plainAck(p)
		if n > 0 {
			_, _ = w.in.Discard(n) // it is there
			if w.acks = append(w.acks, a); len(w.acks) < cap(w.acks) && w.in.Buffered() > 0 {
				continue
			}
		}
		if len(w.acks) > 0 {
			w.onAcks(w.acks)
			w.acks = w.acks[:0]
		}
		switch {
		case n > 0:
		case !more:
			return nil
		default:
			if _, err := w.in.Peek(len(p) + 1); err != nil {
				return err
			}
		}
	}
}

// acknowledged takes acknowledgements from the reader.
func (l *link) acknowledged(acks []packet.Ack) {
	l.pinger.PacketReceived()
	for _, a := range acks {
		switch a.Kind {
		case packet.PUBACK:
			l.puback(a.ID, a.Code)
		case packet.PUBREC:
			l.pubrec(a.ID, a.Code)
		case packet.PUBREL:
			l.pubrel(a.ID)
		case packet.PUBCOMP:
			l.pubcomp(a.ID)
		}
	}
	l.roomy()
}

// roomy wakes the pump, unless it waits for room and there is still little: messages
// leave in batches, not one for each acknowledgement. What is under way comes back,
// so there will be more room.
func (l *link) roomy() {
	l.mu.Lock()
	wake := !l.full || len(l.control) > 0 || l.flights.len() <= l.window-l.window/4
	l.mu.Unlock()
	if wake {
		l.signal()
	}
}
