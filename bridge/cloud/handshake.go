package cloud

import (
	"context"
	"fmt"
	"time"

	"edgegateway/broker/packet"
)

// flight is an entry of the queue between its PUBLISH and the end of its
// handshake.
type flight struct {
	seq     uint64
	qos     byte
	state   flightState
	control *control // the status, not an entry
	aside   error    // why the entry is set aside when the handshake ends; nil: it is done then
	foreign bool     // a handshake that the server holds from earlier: its end says nothing about the entry

	at   time.Time // when PUBLISH, or PUBREL, was sent
	sent uint64    // its place in the order of all of these
}

// answer is the kind of acknowledgement that a flight waits for.
type answer uint8

const (
	puback answer = iota
	pubrec
	pubcomp
	answers
)

func (f flight) waitsFor() answer {
	switch {
	case f.qos == 1:
		return puback
	case f.state == released:
		return pubcomp
	}
	return pubrec
}

type flightState uint8

const (
	published flightState = iota
	marking               // PUBREC came; its mark is on the way to the disk
	released              // PUBREL was sent, or is about to be
)

// flights are the handshakes under way, by packet identifier.
type flights struct {
	byID       map[uint16]flight
	unanswered int // of these, the ones that the server has not answered in any way

	sent     uint64          // the youngest
	answered [answers]uint64 // the youngest that was answered, of each kind
	heard    time.Time       // when something was answered
}

func (fs *flights) len() int { return len(fs.byID) }

func (fs *flights) add(id uint16, f flight) {
	fs.sent++
	f.at, f.sent = time.Now(), fs.sent
	fs.byID[id] = f
	if f.state == published {
		fs.unanswered++
	}
}

// remove ends a flight that was answered.
func (fs *flights) remove(id uint16) {
	if f, ok := fs.byID[id]; ok {
		fs.note(f)
		if f.state == published {
			fs.unanswered--
		}
	}
	delete(fs.byID, id)
}

// note keeps that a flight was answered.
func (fs *flights) note(f flight) {
	fs.heard = time.Now()
	kind := f.waitsFor()
	fs.answered[kind] = max(fs.answered[kind], f.sent)
}

func (fs *flights) advance(id uint16, to flightState) {
	f, ok := fs.byID[id]
	if !ok {
		return
	}
	if f.state == published {
		fs.unanswered--
		fs.note(f)
	}
	if f.state = to; to == released {
		fs.sent++
		f.at, f.sent = time.Now(), fs.sent
	}
	fs.byID[id] = f
}

// puback ends a QoS 1 handshake.
func (l *link) puback(id uint16, code packet.ReasonCode) {
	l.mu.Lock()
	f, ok := l.flights.byID[id]
	l.acked = true
	if ok && f.qos == 1 {
		l.flights.remove(id)
	}
	l.mu.Unlock()
	switch {
	case !ok:
		return // nothing of ours
	case f.qos != 1:
		l.violated(packet.ProtocolError, "PUBACK for a message of QoS 2")
	case f.control != nil:
		f.control.acked(code)
	default:
		l.settle(f.seq, code)
	}
}

// pubrec is the middle of a QoS 2 handshake: PUBREL follows when the mark is on
// disk. From then on the message is never sent again in this session.
func (l *link) pubrec(id uint16, code packet.ReasonCode) {
	l.mu.Lock()
	f, ok := l.flights.byID[id]
	l.acked = true
	switch {
	case !ok:
		// Nothing of ours: PUBREL that says so ends it for the server (4.3.3, 3.6.2.1).
		l.out = (&packet.Ack{Kind: packet.PUBREL, ID: id, Code: packet.PacketIdentifierNotFound}).Append(l.out, packet.V5)
		if len(l.out) > mostAnswers {
			l.mu.Unlock()
			l.fail(errDeaf)
			return
		}
	case f.qos != 2:
		l.mu.Unlock()
		l.violated(packet.ProtocolError, "PUBREC for a message of QoS 1")
		return
	case f.state != published:
		// It came twice. PUBREL is on its way: nothing is sent again while a
		// connection lives [MQTT-4.4.0-1].
	case code == packet.PacketIdentifierInUse:
		// The server holds the identifier from a handshake that we do not know. PUBREL
		// ends that one, and the entry waits in the queue meanwhile, as new: a repetition
		// with DUP would be taken for what the server has.
		f.foreign = true
		l.flights.byID[id] = f
		l.flights.advance(id, released)
		l.pubrels.take(id).ready = true
		l.out = l.pubrels.release(l.out)
		l.mu.Unlock()
		l.settle(f.seq, code)
		l.signal()
		return
	case code.IsError():
		l.flights.remove(id)
		l.mu.Unlock()
		l.settle(f.seq, code) // the identifier is free; no PUBREL [MQTT-4.3.3-4]
		return
	default:
		l.flights.advance(id, marking)
		t := l.pubrels.take(id)
		// If the pump waits for room and all under way is such as this one, nothing
		// moves before the commit.
		stalled := l.flights.unanswered == 0 && (l.full || l.flights.len() >= l.window)
		l.mu.Unlock()
		if !l.b.queue.Received(f.seq, func(err error) { l.marked(t, err) }) {
			l.fail(fmt.Errorf("the queue has lost message %d, which was sent", f.seq))
		}
		if stalled {
			l.hurry()
		}
		return
	}
	l.mu.Unlock()
	l.signal()
}

func (l *link) marked(t *turn, err error) {
	if err != nil {
		l.fail(fmt.Errorf("write that the server has a message: %w", err))
		return
	}
	l.mu.Lock()
	l.flights.advance(t.id, released)
	t.ready = true
	l.out = l.pubrels.release(l.out)
	l.mu.Unlock()
	l.signal()
}

// pubcomp ends a QoS 2 handshake, whatever its code: 0x92 is what a server says
// that had already finished when the link was cut.
func (l *link) pubcomp(id uint16) {
	l.mu.Lock()
	f, ok := l.flights.byID[id]
	l.acked = true
	if ok && f.state == released {
		l.flights.remove(id)
	}
	l.mu.Unlock()
	switch {
	case !ok:
		return
	case f.state != released:
		l.violated(packet.ProtocolError, "PUBCOMP without PUBREL")
	case f.foreign:
		l.signal() // the entry may leave again
	case f.aside != nil:
		l.b.reject(f.seq, f.aside)
	default:
		l.settle(f.seq, packet.Success)
	}
}

// settle ends an entry with the server's word on it.
func (l *link) settle(seq uint64, code packet.ReasonCode) {
	switch code {
	case packet.NotAuthorized, packet.TopicNameInvalid, packet.PacketTooLarge, packet.PayloadFormatInvalid:
		l.b.reject(seq, fmt.Errorf("the server refuses it: %v", code))
	default:
		if code.IsError() {
			// It may be taken later: again as a new message, after a pause that
			// holds for all, so that order is kept.
			l.b.queue.Requeue(seq)
			l.b.note(fmt.Errorf("the server does not take messages now: %v (0x%02X); they are kept and tried again", code, byte(code)))
			l.mu.Lock()
			if !time.Now().Before(l.paused) {
				l.paused = time.Now().Add(l.pause.next())
			}
			l.mu.Unlock()
			return
		}
		l.b.queue.Ack(seq)
		l.b.counts.sent.Add(1)
		l.mu.Lock()
		l.moved = true
		l.pause.reset()
		l.mu.Unlock()
	}
}

// reject sets an entry aside that the server will never take.
func (b *Bridge) reject(seq uint64, why error) {
	b.mu.Lock()
	b.setAside = why.Error()
	b.mu.Unlock()
	b.note(fmt.Errorf("a message was set aside: %w", why)) // before it goes: who sees it gone finds why
	b.queue.Reject(seq, why.Error())
	b.tell()
}

// hurry asks for a commit now.
func (l *link) hurry() {
	select {
	case l.rush <- struct{}{}:
	default: // it will be asked for anyway
	}
}

// hasten makes the store write at once when the window is full of messages whose
// marks wait to be written: company for the commit could only come from outside.
func (l *link) hasten(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.rush:
			_ = l.b.store.Sync(ctx) // what could not be written says so itself
		}
	}
}
