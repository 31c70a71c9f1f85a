package broker

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// replaySlice is how many retained topics are looked at while the broker's lock
// is held once. We chose it.
const replaySlice = 256

// retained is the retained message of a topic. It never changes: a new message
// is a new value.
type retained struct {
	data     []byte // a record, with RETAIN set
	number   uint64 // they are numbered in the order in which they came
	deadline int64  // by the clock; 0: never
	own      bool   // the broker's, in memory only
	safe     atomic.Bool
}

// retainedSet is all of them.
type retainedSet struct {
	names     topic.Names[*retained]
	bytes     int64
	number    uint64 // of the newest
	loaded    uint64 // of the newest of earlier runs
	deadlines int    // how many have one

	// Of these, what counts against the limits: all but the broker's own.
	counted      int
	countedBytes int64
	full         bool // the last new topic was refused
}

func (s *retainedSet) set(name string, r *retained) {
	s.delete(name)
	s.number++
	r.number = s.number
	s.names.Set(name, r)
	s.bytes += int64(len(r.data))
	if r.deadline != 0 {
		s.deadlines++
	}
	if !r.own {
		s.counted++
		s.countedBytes += int64(len(r.data))
	}
}

func (s *retainedSet) delete(name string) bool {
	old, ok := s.names.Get(name)
	if !ok {
		return false
	}
	s.names.Delete(name)
	s.bytes -= int64(len(old.data))
	if old.deadline != 0 {
		s.deadlines--
	}
	if !old.own {
		s.counted--
		s.countedBytes -= int64(len(old.data))
	}
	return true
}

var errRetainedFull = ErrRefused{packet.QuotaExceeded, "no more topics with a retained message are taken"}

// admitsRetainedLocked refuses a client a retained message on one more topic than
// the limits allow. What replaces a message is taken, and so is what the gateway
// itself publishes: its devices must not suffer from what clients store.
func (b *Broker) admitsRetainedLocked(p *publication) error {
	most, mostBytes := b.cfg.MaxRetainedMessages, b.cfg.MaxRetainedBytes
	if most == 0 && mostBytes == 0 || len(p.payload) == 0 || p.local != nil || !p.stored {
		return nil
	}
	s := &b.retained
	if _, known := s.names.Get(p.route.topic); known {
		return nil
	}
	full := most > 0 && s.counted >= most ||
		mostBytes > 0 && s.countedBytes+int64(len(p.recordToKeep())) > mostBytes
	if full && !s.full {
		b.log.Warn("new retained messages are refused", "client", p.origin, "topic", p.route.topic,
			"messages", s.counted, "bytes", s.countedBytes)
	}
	if s.full = full; full {
		return errRetainedFull
	}
	return nil
}

// retainLocked stores or clears the retained message of a topic.
func (b *Broker) retainLocked(p *publication) {
	name := p.route.topic
	if len(p.payload) == 0 { // [MQTT-3.3.1-6] [v3 MQTT-3.3.1-10]
		known := b.retained.delete(name)
		if p.stored && (known || p.qos > 0) {
			p.retainChange().Delete(b.tables.retained, topicKey(name), p.retainUrgency())
		}
		return
	}
	r := &retained{data: p.recordToKeep(), deadline: p.head.deadline, own: !p.stored}
	old, _ := b.retained.names.Get(name)
	unchanged := old != nil && sameMessage(old, r)
	if unchanged && (old.safe.Load() || p.retainUrgency() == buffer.Idle) {
		return // on disk, or on its way there with nobody waiting
	}
	b.retained.set(name, r) // [MQTT-3.3.1-5] [v3 MQTT-3.3.1-5]
	if !p.stored {
		return
	}
	change := p.retainChange()
	change.Put(b.tables.retained, topicKey(name), r.data, p.retainUrgency())
	if p.waits && p.retainUrgency() == buffer.Sync {
		p.retained = r
	}
}

// retainChange is the Change for a retained value. The publisher waits for it
// only if it is to be written at once.
func (p *publication) retainChange() *buffer.Change {
	if p.retainUrgency() == buffer.Sync {
		return p.begin()
	}
	if p.change == nil {
		p.change = p.b.store.Begin()
	}
	return p.change
}

func (p *publication) retainUrgency() buffer.Urgency {
	switch {
	case p.soon:
		return buffer.Lazy
	case p.lazy || p.qos == 0:
		return buffer.Idle
	}
	return buffer.Sync
}

// sameMessage reports whether two retained messages differ in nothing that a
// subscriber could see.
func sameMessage(a, b *retained) bool {
	if a.deadline != 0 || b.deadline != 0 {
		return false
	}
	va, errA := viewRecord(a.data)
	vb, errB := viewRecord(b.data)
	return errA == nil && errB == nil && bytes.Equal(va.packet, vb.packet)
}

func (b *Broker) loadRetained() error {
	err := b.tables.retained.Each(func(_, value []byte) error {
		v, err := viewRecord(value)
		if err == nil {
			var p *packet.Publish
			if p, err = v.decode(); err == nil {
				r := &retained{data: value, deadline: v.deadline}
				r.safe.Store(true)
				b.retained.set(string(p.Topic), r)
			}
		}
		if err != nil {
			b.log.Error("skip a retained message on disk that can not be read", "err", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load retained messages: %w", err)
	}
	b.retained.loaded = b.retained.number
	return nil
}

// expireRetained takes away retained messages whose time has passed. They are
// looked for in slices, so that nobody waits long for the lock.
func (b *Broker) expireRetained() {
	for after, more := "", true; more; {
		b.mu.Lock()
		if b.retained.deadlines == 0 {
			b.mu.Unlock()
			return
		}
		var gone []string
		now := b.clock.now()
		after, more = b.retained.names.MatchFrom("#", after, replaySlice, func(name string, r *retained) bool {
			if r.deadline != 0 && now > r.deadline {
				gone = append(gone, name)
			}
			return true
		})
		if len(gone) > 0 {
			c := b.store.Begin()
			for _, name := range gone {
				b.retained.delete(name)
				c.Delete(b.tables.retained, topicKey(name), buffer.Idle)
			}
			c.Commit(nil)
		}
		b.mu.Unlock()
	}
}

// replay gives the retained messages that match a new subscription to its
// subscriber, in slices. A topic that got a new message since the subscription
// began is left out: the subscriber has that message already, and must not see an
// older one after it, nor the same one twice.
type replay struct {
	sub   *subscription
	after string // where the next slice begins
	since uint64 // number of the newest message that the subscriber has had, in an earlier run
	until uint64 // number of the newest message when the subscription began
	more  bool
}

func (b *Broker) newReplayLocked(sub *subscription) *replay {
	return &replay{sub: sub, until: b.retained.number, more: true}
}

// slice looks at the next topics and calls give, with the lock held, for the
// messages that are to be given. full stops it before the next topic.
func (r *replay) slice(b *Broker, w *work, full func() bool, give func(*work, *recordView, *packet.Publish)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.startLocked(b)
	now := b.clock.now()
	d := packet.Decoder{Role: packet.Either, Version: packet.V5}
	r.after, r.more = b.retained.names.MatchFrom(r.sub.filter, r.after, replaySlice, func(name string, m *retained) bool {
		if m.number <= r.since || m.number > r.until || m.deadline != 0 && now > m.deadline {
			return true
		}
		v, err := viewRecord(m.data)
		if err != nil {
			return true
		}
		p, _, _, err := d.Next(v.packet)
		if publish, ok := p.(*packet.Publish); err == nil && ok {
			if m.deadline != 0 {
				publish.Properties.MessageExpiry = b.clock.secondsLeft(m.deadline) // [MQTT-3.3.2-6]
			}
			give(w, &v, publish)
		}
		return !full()
	})
}

// giveSession is what a session gets of a retained message.
func (b *Broker) giveSessionLocked(sub *subscription, w *work, v *recordView, p *packet.Publish) {
	s := sub.session
	if s.gone || s.rights != nil && !s.rights.may(mayRead, string(p.Topic)) {
		return
	}
	wanted, ok := s.wantsRetained(sub, v, string(p.Topic))
	if !ok {
		return
	}
	plan, qos := s.plain(sub.lane), sub.qos
	if wanted != nil {
		plan, qos = *wanted, packet.QoS(wanted.QoS)
	}
	p.QoS = min(p.QoS, qos)
	p.Retain = true // [MQTT-3.3.1-8] [v3 MQTT-3.3.1-8]
	p.Properties.SubscriptionIDs = sub.ids()
	h := v.head()
	if !s.durable || p.QoS == 0 && s.local == nil {
		b.giveLocked(s, &h, p, plan, buffer.Lazy, nil, w)
		return
	}
	change := b.store.Begin()
	b.giveLocked(s, &h, p, plan, buffer.Lazy, change, w)
	change.Commit(nil)
}

// giveLocked is what a session gets of a message that is ready for it: its QoS,
// RETAIN and properties are as they are to be sent. What goes to a queue on disk is
// appended to the Change.
func (b *Broker) giveLocked(s *Session, h *recordHead, p *packet.Publish, plan Plan, u buffer.Urgency, change *buffer.Change, w *work) {
	p.ID = 0
	if p.QoS == 0 && s.local == nil {
		c := s.conn
		if c == nil {
			return
		}
		b.scratch = p.Append(b.scratch[:0], c.version)
		if c.tooLarge(len(b.scratch)) || !c.addMessage(b.scratch) {
			b.dropLocked(s)
			return
		}
		b.stats.PublishSent++
		b.stats.PublishBytesSent += int64(len(p.Payload))
		w.touch(s, c, false)
		return
	}
	if p.QoS > 0 {
		p.ID = 1
	}
	q := s.queueLocked()
	if !s.durable {
		change = b.volatile
	}
	r := h.entry(p.Append(h.append(nil), packet.V5))
	if plan.TTL > 0 {
		plan.limit(&r, b.clock.now(), func() []byte {
			h.timed = true
			return p.Append(h.append(nil), packet.V5)
		})
	}
	r.Lane, r.Early, r.Urgency = plan.Lane, p.QoS < packet.QoS2, u
	r.Brief, r.Key = r.Early, b.keyOf(&plan, p.Topic)
	if _, err := change.Append(q, r); err != nil {
		b.turnedAwayLocked(s, err)
		return
	}
	w.touch(s, s.conn, true)
}

// giveSinkLocked is what a sink gets of a retained message.
func (b *Broker) giveSinkLocked(sub *subscription, v *recordView, p *packet.Publish) {
	if !sub.local.mayReceive(string(p.Topic)) {
		return
	}
	m := messageOf(v, p.Clone())
	d := Delivery{Message: m, QoS: min(m.QoS, byte(sub.qos)), Retain: true, Replay: true, Receipt: new(Receipt)}
	pub := &publication{b: b, lazy: true}
	d.p = pub
	if sub.id != 0 {
		d.SubscriptionIDs = []uint32{sub.id}
	}
	sub.sink.Deliver(&d)
	if pub.change != nil {
		pub.change.Commit(nil)
	}
}

// Retained returns the retained messages that match a filter, in the order of
// their topics, limit of them at most; 0 is no limit. It does not hold up the
// broker. A filter that is not valid matches nothing.
func (b *Broker) Retained(filter string, limit int) []Message {
	if topic.ValidFilter(filter) != nil {
		return nil
	}
	var list []Message
	r := replay{sub: &subscription{filter: filter}, until: 1<<64 - 1, more: true}
	full := func() bool { return limit > 0 && len(list) >= limit }
	for r.more && !full() {
		r.slice(b, new(work), full, func(_ *work, v *recordView, p *packet.Publish) {
			list = append(list, *messageOf(v, p.Clone()))
		})
	}
	return list
}
