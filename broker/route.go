package broker

import (
	"errors"
	"unsafe"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// The topics whose receivers are remembered are bounded in number and, because
// topics and lists of receivers may be long, in bytes. We chose these.
const (
	maxRoutes      = 4096
	maxRouteBytes  = 8 << 20
	routeOverhead  = 200
	targetOverhead = int(unsafe.Sizeof(target{}))
)

// route is a topic and who gets its messages.
type route struct {
	topic   string
	name    []byte // the same
	version uint64 // of the subscriptions that targets was made from
	targets []target
	hash    uint64           // of topic, for queues that keep the last value; 0: nobody asked
	size    int              // in memory, about
	writers map[*rights]bool // see mayWrite
}

// routeLocked returns the route of a topic. It allocates only for topics that it
// has not seen for a while.
func (b *Broker) routeLocked(name []byte) *route {
	r := b.routes[string(name)]
	if r == nil {
		if len(b.routes) >= maxRoutes {
			// All go at once: what is in use comes back with its next message, and
			// nothing has to be kept in order for that.
			b.forgetRoutesLocked()
		}
		s := string(name)
		r = &route{topic: s, name: []byte(s)}
		b.routes[s] = r
	}
	if r.version != b.subscriptionsVersion {
		b.matchLocked(r)
		size := routeOverhead + 2*len(r.name) + targetOverhead*cap(r.targets)
		b.routeBytes += size - r.size
		r.size = size
		if b.routeBytes > maxRouteBytes {
			b.forgetRoutesLocked() // r as well: it is good for this message
		}
	}
	return r
}

func (b *Broker) forgetRoutesLocked() {
	clear(b.routes)
	b.routeBytes = 0
}

// matchLocked looks up who gets the messages of a topic.
func (b *Broker) matchLocked(r *route) {
	clear(r.targets)
	r.targets = r.targets[:0]
	b.match++
	b.filters.Match(r.topic, func(s *subscription) {
		if s.share != nil { // a copy of its own, whatever else the member has subscribed
			r.targets = append(r.targets, target{sub: s})
			return
		}
		if s.session == nil {
			if s.local.mayReceive(r.topic) {
				t := target{sub: s}
				t.merge(s)
				r.targets = append(r.targets, t)
			}
			return
		}
		if s.session.local != nil && !s.session.local.mayReceive(r.topic) {
			return
		}
		if !s.session.rights.may(mayRead, r.topic) {
			return
		}
		if s.session.match != b.match {
			s.session.match = b.match
			plan, ok := s.session.planned(r.topic)
			if s.session.matchAt = len(r.targets); !ok {
				s.session.matchAt = -1
				return
			}
			r.targets = append(r.targets, target{session: s.session, plan: plan})
		}
		if s.session.matchAt < 0 {
			return // it does not want it
		}
		t := &r.targets[s.session.matchAt]
		if s.noLocal && t.all == nil {
			t.all = []*subscription{} // from here on; those before are found below
		}
		t.merge(s)
	})
	for i := range r.targets {
		if t := &r.targets[i]; t.all != nil {
			for _, s := range t.session.subs.list {
				if s.share == nil && topic.Match(s.filter, r.topic) {
					t.all = append(t.all, s)
				}
			}
		}
	}
	r.version = b.subscriptionsVersion
}

// publishLocked routes one message: the place where messages get their order.
// What is left to do without the lock goes to w. If the message is refused,
// nothing has happened.
func (b *Broker) publishLocked(p *publication, w *work) error {
	for i := range p.route.targets {
		if err := p.route.targets[i].refuses(p); err != nil {
			b.stats.PublishRefused++
			return err
		}
	}
	if p.urgency() == buffer.Sync {
		needs := func() bool { return p.arrival != nil || p.within != nil || p.route.needsDisk(p.qos, p.retain) }
		if err := b.store.Room(); err != nil && needs() {
			b.stats.PublishRefused++
			return err
		}
	}
	if p.retain {
		if err := b.admitsRetainedLocked(p); err != nil {
			b.stats.PublishRefused++
			return err
		}
		b.retainLocked(p)
	}
	for i := range p.route.targets {
		b.deliverLocked(p, &p.route.targets[i], w)
	}
	if p.arrival != nil {
		p.begin().Put(b.tables.received, p.arrival, nil, buffer.Sync)
	}
	if p.within != nil {
		p.within(p.begin())
	}
	if change := p.change; change != nil {
		p.change = nil
		if p.durable && p.waits {
			r := p.mustReceipt()
			r.hold()
			change.Commit(p.committed(r))
		} else {
			change.Commit(nil)
		}
	}
	if p.receipt != nil {
		w.receipts = append(w.receipts, p.receipt)
	}
	return nil
}

// committed is called when the Change of a message is done.
func (p *publication) committed(r *Receipt) func(error) {
	if kept := p.retained; kept != nil {
		return func(err error) {
			kept.safe.Store(err == nil)
			r.release(err)
		}
	}
	return r.release
}

// refuses asks queues that rather refuse than drop whether they have room.
func (t *target) refuses(p *publication) error {
	if t.session == nil || t.session.limits.WhenFull != buffer.Refuse || t.session.isOwn(p) || !t.session.wants(p) {
		return nil
	}
	var key uint64
	if t.plan != nil {
		key = t.session.b.valueKey(t.plan, p.route)
	}
	if err := t.session.queue.Room(recordHeader+len(p.route.name)+len(p.payload), key); err != nil {
		return ErrRefused{packet.QuotaExceeded, "queue " + t.session.id + " is full"}
	}
	return nil
}

func (b *Broker) deliverLocked(p *publication, t *target, w *work) {
	if t.sub != nil {
		if t.sub.share != nil {
			b.deliverShareLocked(p, t.sub.share, w)
		} else {
			b.deliverSinkLocked(p, t)
		}
		return
	}
	s := t.session
	if s.isOwn(p) {
		if s.local != nil {
			return // a Local never gets its own messages
		}
		if t.all != nil {
			rest, ok := t.without()
			if !ok {
				return
			}
			t = &rest
		}
	}
	if !s.wants(p) {
		return
	}
	if t.plan != nil {
		b.enqueueLocked(p, s, min(p.qos, packet.QoS(t.plan.QoS)), p.retain && t.retainAsPublished, t.ids, *t.plan, "", w)
		return
	}
	// 3.8.4, v3 3.8.4; [MQTT-3.3.1-12] [MQTT-3.3.1-13] [v3 MQTT-3.3.1-9]
	b.deliverSessionLocked(p, s, min(p.qos, t.qos), p.retain && t.retainAsPublished, t.ids, t.lane, "", w)
}

// deliverSessionLocked sends a message to a session: through its queue, or at once
// if it has QoS 0 for a client. shared is the shared subscription by which it comes,
// "" if it comes by others.
func (b *Broker) deliverSessionLocked(p *publication, s *Session, qos packet.QoS, retain bool, ids []uint32, lane uint8, shared string, w *work) {
	if qos > 0 || s.local != nil {
		b.enqueueLocked(p, s, qos, retain, ids, s.plain(lane), shared, w)
		return
	}
	c := s.conn
	if c == nil {
		return // an absent client misses QoS 0
	}
	encoded := p.encode(c.version, retain, ids)
	if c.tooLarge(len(encoded)) { // [MQTT-3.1.2-25]
		b.dropLocked(s)
		return
	}
	if !c.addMessage(encoded) {
		b.dropLocked(s)
		return
	}
	b.stats.PublishSent++
	b.stats.PublishBytesSent += int64(len(p.payload))
	w.touch(s, c, false)
}

func (b *Broker) deliverSinkLocked(p *publication, t *target) {
	if t.sub.local == p.local {
		return
	}
	d := Delivery{
		Message: p.mustMessage(),
		QoS:     byte(min(p.qos, t.qos)),
		Retain:  p.retain && t.retainAsPublished,

		SubscriptionIDs: t.ids,
		Receipt:         p.mustReceipt(),
		p:               p,
	}
	t.sub.sink.Deliver(&d)
}

// enqueueLocked appends a message to the queue of a session.
func (b *Broker) enqueueLocked(p *publication, s *Session, qos packet.QoS, retain bool, ids []uint32, plan Plan, shared string, w *work) {
	q := s.queueLocked()
	change := b.volatile
	if s.durable {
		change = p.begin()
	}
	data := p.record(qos, retain, ids, shared)
	r := p.head.entry(data)
	if plan.TTL > 0 {
		plan.limit(&r, b.clock.now(), func() []byte {
			h := p.mustHead()
			h.timed = true
			return p.recordBehind(&h, qos, retain, ids)
		})
	}
	r.Lane, r.Urgency = plan.Lane, p.urgency()
	// What was sent before its commit, and is lost with it, gives its sequence
	// number and so its packet identifier to another message, which the
	// receiver of a QoS 2 message would take for a repetition.
	r.Early = p.qos < packet.QoS2
	r.Brief = qos < packet.QoS2 // 4.1: a receiver keeps no identifier of QoS 1
	r.Key = b.valueKey(&plan, p.route)
	if _, err := change.Append(q, r); err != nil {
		b.turnedAwayLocked(s, err)
		return
	}
	w.touch(s, s.conn, true)
}

// turnedAwayLocked counts a message that a queue did not take; a full one counts by
// itself.
func (b *Broker) turnedAwayLocked(s *Session, err error) {
	if !errors.Is(err, buffer.ErrFull) {
		b.dropLocked(s)
	}
}

func (b *Broker) dropLocked(s *Session) {
	s.dropped++
	b.stats.PublishDropped++
}
