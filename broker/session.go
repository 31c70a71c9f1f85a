package broker

import (
	"encoding/binary"
	"sync"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Session is what the broker knows about one subscriber for longer than a
// connection: its subscriptions, its queue, and the handshakes under way. That of
// an MQTT client that asked for it, and that of a Local, is durable: its queue is
// on disk. Else the queue is in memory and ends with the connection.
//
// The exported methods are for the owner of a Local's session.
type Session struct {
	b          *Broker
	id         string // client identifier, or local/<name>
	generation uint64 // random; different for every session ever made
	number     uint64 // of the client identifier, for shared subscriptions
	local      *Local // nil: an MQTT client
	wake       chan struct{}

	// Guarded by Broker.mu.
	conn      *conn // nil: offline
	durable   bool
	expiry    uint32 // seconds after the end of the connection; neverExpires
	version   packet.Version
	username  string
	rights    *rights   // of the last connection; nil: everything
	since     time.Time // wall clock, of the last change of conn
	due       int64     // when the session ends, by the clock; only offline
	watched   bool      // the agenda looks at what is to be sent again
	scheduled int64     // when the agenda looks at this session, by the clock; 0: it does not
	gone      bool
	stale     bool          // from a restored store: its client is told that there is no session
	erased    chan struct{} // closed when the end of a durable session is on disk; set with gone
	will      *will         // of the connection, or waiting for its delay
	limits    buffer.Limits
	plan      func(topic string) (Plan, bool) // of a Local's, see Choose; nil: what the subscriptions say
	from      func(local string) bool         // nil: everybody
	subs      subscriptionSet
	nextSub   uint32
	dropped   int64
	match     uint64 // see matchLocked
	matchAt   int
	work      uint64 // see work.touch
	workAt    int

	// queue is set under both locks, and never changes.
	queue *buffer.Queue

	mu          sync.Mutex // guards what follows; taken after Broker.mu
	active      *conn      // whose calls count; late ones of an older connection do not
	ready       bool       // the queue may be handed out to active
	attaching   bool       // a commit is under way that says that there is a connection
	attachAgain bool       // another connection has come since it began
	vet         *rights    // what comes from the queue is held against them; nil: it was when it came
	out         outgoing
	in          incoming
	again       *resends     // nil: nothing is sent again
	held        buffer.Entry // taken from the queue, and not sent for want of a free identifier; Seq 0: none
	pulled      bool         // a goroutine is about to pump
	swept       uint64       // oldest entry on disk when a commit was last asked for to remove it
}

const neverExpires = 0xFFFFFFFF

func (s *Session) key() []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 16), s.generation)
}

// setRightsLocked gives the session the rights of a connection. Broker.mu is held.
func (s *Session) setRightsLocked(r *rights) {
	if s.rights.same(r) {
		return
	}
	s.rights = r
	if len(s.subs.list) > 0 {
		s.b.subscriptionsVersion++ // who gets what is looked up anew
	}
}

func (s *Session) isOwn(p *publication) bool {
	return s == p.session || s.local != nil && s.local == p.local
}

// queueLocked returns the queue, which a session in memory gets with its first
// message. Broker.mu is held.
func (s *Session) queueLocked() *buffer.Queue {
	if s.queue == nil {
		s.mu.Lock()
		s.queue = buffer.NewVolatile(s.limits, s.b.store.Clock)
		s.mu.Unlock()
	}
	return s.queue
}

// connectLocked makes c the connection of the session. Broker.mu is held.
func (s *Session) connectLocked(c *conn, window int) {
	s.conn = c
	s.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewind()
	s.active = c
	s.out.modulus = s.b.modulus
	s.out.reset(window)
	if s.again = newResends(s.b.cfg.Retry, c.version); s.again != nil {
		s.b.watchLocked(s, s.b.clock.now()+s.again.schedule[0].Milliseconds())
	}
	s.ready = !s.durable
	s.vet = nil
	if s.queue != nil && s.queue.Stats().Messages > 0 {
		// It waited for a client that had other rights, or whose rights nobody knew
		// since a restart.
		s.vet = s.rights
	}
}

// disconnectLocked ends the connection of the session. Broker.mu is held.
func (s *Session) disconnectLocked() {
	s.conn = nil
	s.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rewind()
	s.active = nil
	s.ready = false
}

// rewind gives back to the queue what was not acknowledged. s.mu is held.
func (s *Session) rewind() {
	if s.queue == nil {
		return
	}
	if s.held.Seq != 0 && !s.held.Again {
		s.queue.Requeue(s.held.Seq) // it was never sent: no DUP [MQTT-3.3.1-1]
	}
	s.held = buffer.Entry{}
	s.queue.Rewind()
}

// pull pumps from another goroutine: for callbacks of the store.
func (s *Session) pull() {
	s.mu.Lock()
	c := s.active
	if c == nil || s.pulled {
		s.mu.Unlock()
		return
	}
	s.pulled = true
	c.writers.Add(1)
	s.mu.Unlock()
	go func() {
		defer c.writers.Done()
		defer c.recoverPanic("send")
		s.mu.Lock()
		s.pulled = false
		s.mu.Unlock()
		s.pump(c)
		c.flush()
	}()
}

// pump moves messages from the queue to the outbox of c, as many as the window
// and the outbox take. The caller flushes.
func (s *Session) pump(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active == c && s.ready && s.queue != nil {
		if !s.out.room() || !c.room() {
			return
		}
		e, ok := s.nextLocked(c)
		if !ok {
			return
		}
		if e.Received { // the rest of a QoS 2 handshake [MQTT-4.4.0-1]
			s.resumeLocked(c, e.Seq)
			continue
		}
		if !s.admitsLocked(e.Seq) {
			s.held = e
			return
		}
		s.sendLocked(c, e)
	}
}

// admitsLocked reports whether the identifier of an entry is free, on disk too.
func (s *Session) admitsLocked(seq uint64) bool {
	if !s.out.admits(seq) {
		return false
	}
	if !s.durable {
		return true
	}
	oldest, any := s.queue.Oldest()
	if !any || seq < oldest || seq-oldest < s.out.span() {
		return true
	}
	// The receiver is done with the oldest, but the disk does not know it yet. Any
	// commit takes removals along; this one is for nothing else.
	if s.swept != oldest {
		s.swept = oldest
		change := s.b.store.Begin()
		s.b.clock.save(change, s.b.tables.meta, buffer.Sync)
		change.Commit(func(error) { s.pull() })
	}
	return false
}

func (s *Session) nextLocked(c *conn) (e buffer.Entry, ok bool) {
	if s.held.Seq != 0 {
		e, s.held = s.held, buffer.Entry{}
		return e, true
	}
	e, ok, err := s.queue.Poll() // with the lock held nobody waits for the disk
	if err != nil {
		c.fail(packet.UnspecifiedError, "the queue can not be read", err)
		return e, false
	}
	return e, ok
}

// sendLocked sends one entry, unless it has expired or is larger than the
// receiver takes; then it is done with.
func (s *Session) sendLocked(c *conn, e buffer.Entry) {
	v, err := viewEntry(&e)
	if err != nil {
		s.queue.Reject(e.Seq, err.Error())
		c.log.Error("drop a queued message", "client", s.id, "err", err)
		return
	}
	if s.vet != nil && !s.vet.may(mayRead, v.topic()) {
		s.withholdLocked(c, e, v.qos())
		return
	}
	var left uint32
	if v.deadline != 0 {
		now := s.b.clock.now()
		if now > v.deadline && !e.Again { // [MQTT-3.3.2-5]; not what may have been sent
			s.queue.Ack(e.Seq)
			s.b.counters.dropped.Add(1)
			return
		}
		left = uint32((max(0, v.deadline-now) + 999) / 1000)
	}
	id := s.out.id(e.Seq)
	size, err := c.addEntry(&v, id, e.Again, left)
	switch {
	case err != nil:
		s.queue.Reject(e.Seq, err.Error())
		c.log.Error("drop a queued message", "client", s.id, "err", err)
	case size < 0: // [MQTT-3.1.2-25]: as if it had been sent
		s.queue.Ack(e.Seq)
		s.b.counters.dropped.Add(1)
	default:
		s.out.publish(e.Seq, v.qos())
		if s.again != nil {
			s.again.sent(e.Seq, e.Data, s.b.clock.now())
		}
		s.b.counters.sent.Add(1)
		s.b.counters.sentBytes.Add(int64(v.payloadSize()))
	}
}

// withholdLocked is done with an entry that the client may not read any more. If
// the client may have it already, at QoS 2, the handshake goes to its end: else
// the next message with the identifier would be taken for this one.
func (s *Session) withholdLocked(c *conn, e buffer.Entry, qos packet.QoS) {
	s.b.counters.dropped.Add(1)
	if e.Again && qos == packet.QoS2 {
		s.resumeLocked(c, e.Seq)
		return
	}
	s.queue.Ack(e.Seq)
}

// puback handles PUBACK of c.
func (s *Session) puback(c *conn, id uint16) ackAction {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != c {
		return ackNothing
	}
	seq, do := s.out.puback(id)
	if do == ackDone {
		s.queue.Ack(seq)
		s.again.done(seq)
	}
	return do
}

// pubcomp handles PUBCOMP of c.
func (s *Session) pubcomp(c *conn, id uint16) ackAction {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != c {
		return ackNothing
	}
	seq, do := s.out.pubcomp(id)
	if do == ackDone {
		s.queue.Ack(seq)
		s.again.done(seq)
	}
	return do
}

// resumeLocked sends the PUBREL of an entry that was received in an earlier
// connection.
func (s *Session) resumeLocked(c *conn, seq uint64) {
	c.acknowledge(answer{kind: packet.PUBREL, id: s.out.resume(seq)}, true)
	if s.again != nil {
		s.again.released(seq, s.b.clock.now())
	}
}

// markedLocked notes that the received mark of an entry is on disk, and that PUBREL
// is sent. It is false if it must not be.
func (s *Session) markedLocked(seq uint64) bool {
	_, ok := s.out.marked(seq)
	if ok && s.again != nil {
		s.again.released(seq, s.b.clock.now())
	}
	return ok
}

// pubrec handles PUBREC of c: PUBREL follows once the mark is on disk.
func (s *Session) pubrec(c *conn, id uint16, code packet.ReasonCode) ackAction {
	s.mu.Lock()
	if s.active != c {
		s.mu.Unlock()
		return ackNothing
	}
	seq, do := s.out.pubrec(id, code)
	if do == ackDone || do == ackMark {
		s.again.done(seq)
	}
	if do == ackDone {
		s.queue.Ack(seq)
	}
	if do == ackMark && !s.durable { // the mark ends with the connection, as the session does
		s.markedLocked(seq)
		do = ackRelease
	}
	s.mu.Unlock()
	if do != ackMark {
		return do
	}
	slot := c.acknowledge(answer{kind: packet.PUBREL, id: id}, false)
	marked := func(err error) {
		if err != nil {
			c.fail(packet.UnspecifiedError, "the store fails", err)
			return
		}
		s.mu.Lock()
		ok := s.active == c
		if ok {
			ok = s.markedLocked(seq)
		}
		s.mu.Unlock()
		if ok {
			c.complete(slot, packet.Success, "")
			c.flushLater()
		}
	}
	if !s.queue.Received(seq, marked) {
		marked(nil) // nothing is left to be marked
	}
	return do
}

// Queue returns the queue of the session. Its entries are decoded with
// Decoder.
func (s *Session) Queue() *buffer.Queue { return s.queue }

// Wake returns a channel that has a token when Queue.Next may have something new.
func (s *Session) Wake() <-chan struct{} { return s.wake }

func (s *Session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
