package broker

import (
	"slices"
	"time"

	"edgegateway/broker/packet"
)

// resends are the packets to an MQTT 3.x client that are sent again if they are not
// acknowledged in time. MQTT 5 forbids that within a connection [MQTT-4.4.0-1]; in
// 3.x nothing says it must not be. It has no lock and no clock.
type resends struct {
	schedule []time.Duration
	open     map[uint64]resend // by sequence number
}

type resend struct {
	seq   uint64
	data  []byte // the record; nil: what is open is PUBREL
	at    int64  // when it was sent last, in milliseconds
	tries int    // how often it was sent again
}

func newResends(schedule []time.Duration, v packet.Version) *resends {
	if len(schedule) == 0 || v == packet.V5 {
		return nil
	}
	return &resends{schedule: schedule, open: make(map[uint64]resend)}
}

// sent notes that PUBLISH is sent.
func (r *resends) sent(seq uint64, data []byte, now int64) {
	r.open[seq] = resend{seq: seq, data: data, at: now}
}

// released notes that PUBREL is sent.
func (r *resends) released(seq uint64, now int64) { r.sent(seq, nil, now) }

// done notes that nothing is expected any more, or not from the client. r may be
// nil.
func (r *resends) done(seq uint64) {
	if r != nil {
		delete(r.open, seq)
	}
}

// due returns what is to be sent again now, in the order in which it was sent first
// [v3 MQTT-4.6.0-1], and when to look again. over is true if something has not been
// acknowledged after the whole schedule, and its last time once more.
func (r *resends) due(now int64) (list []resend, next int64, over bool) {
	next = now + r.schedule[0].Milliseconds() // of what is sent from now on
	for seq, p := range r.open {
		wait := r.schedule[min(p.tries, len(r.schedule)-1)].Milliseconds()
		if now-p.at >= wait {
			if p.tries == len(r.schedule) {
				return nil, 0, true
			}
			p.tries++
			p.at = now
			r.open[seq] = p
			list = append(list, p)
			wait = r.schedule[min(p.tries, len(r.schedule)-1)].Milliseconds()
		}
		next = min(next, p.at+wait)
	}
	slices.SortFunc(list, func(a, b resend) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	return list, next, false
}

// watchLocked sees to it that the packets to a session are looked at in time. The
// agenda has one entry per session, however often the client comes and goes.
func (b *Broker) watchLocked(s *Session, due int64) {
	if s.watched {
		return // and not later than due
	}
	s.watched = true
	b.agenda.add(due, func(w *work) {
		s.watched = false
		b.retryLocked(s, w)
	})
	b.agendaChanged()
}

// retryLocked sends again what is due, or ends the connection: then the session
// waits for the client to come back.
func (b *Broker) retryLocked(s *Session, w *work) {
	c := s.conn
	if c == nil {
		return
	}
	s.mu.Lock()
	if s.again == nil {
		s.mu.Unlock()
		return
	}
	list, next, over := s.again.due(b.clock.now())
	for i := range list {
		s.resendLocked(c, &list[i])
	}
	s.mu.Unlock()
	if over {
		c.fail(packet.UnspecifiedError, "a message was not acknowledged, however often it was sent", nil)
		return
	}
	if len(list) > 0 {
		w.touch(s, c, false)
	}
	b.watchLocked(s, next)
}

// resendLocked sends a packet again, unless the socket takes nothing anyway. s.mu
// is held.
func (s *Session) resendLocked(c *conn, r *resend) {
	id := s.out.id(r.seq)
	if r.data == nil {
		c.acknowledge(answer{kind: packet.PUBREL, id: id}, true)
		return
	}
	v, err := viewRecord(r.data)
	if err != nil || !c.room() {
		return
	}
	if size, err := c.addEntry(&v, id, true, 0); err == nil && size > 0 { // [v3 MQTT-3.3.1-1]
		s.b.counters.sent.Add(1)
		s.b.counters.sentBytes.Add(int64(size))
	}
}
