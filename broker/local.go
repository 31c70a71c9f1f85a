package broker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// Local is a client inside the process. Safe for concurrent use.
type Local struct {
	b      *Broker
	name   string
	rights Rights

	// Guarded by Broker.mu.
	sinks map[string]*subscription
}

// Local returns an in-process client with a name and rights. Two calls with one
// name make two clients, which do not get their own messages but each other's.
func (b *Broker) Local(name string, r Rights) *Local {
	return &Local{b: b, name: name, rights: r, sinks: make(map[string]*subscription)}
}

// Name returns the name, which is the Origin of what the Local publishes.
func (l *Local) Name() string { return l.name }

func allows(filters []string, name string) bool {
	return filters == nil || slices.ContainsFunc(filters, func(f string) bool { return topic.Match(f, name) })
}

func (l *Local) mayReceive(name string) bool { return allows(l.rights.Subscribe, name) }

// Publish routes a message. m.Origin is set, m.At if it is zero. Everything that
// can go wrong comes through the Receipt: ErrRefused if the message was not
// accepted and nothing has happened. m.Payload and m.Properties must not change
// until Publish returns.
//
// It does not wait for anybody: neither for the disk nor for subscribers.
func (l *Local) Publish(m Message, opts ...PublishOption) *Receipt {
	r := newReceipt()
	if err := l.check(&m); err != nil {
		r.release(err)
		return r
	}
	var w work
	if err := l.publish(&m, opts, r, &w); err != nil {
		w.finish(nil)
		r.release(err)
		return r
	}
	w.finish(nil) // releases r
	return r
}

func (l *Local) check(m *Message) error {
	if m.QoS > 2 {
		return ErrRefused{packet.ProtocolError, fmt.Sprintf("QoS %d does not exist", m.QoS)}
	}
	if err := topic.ValidName(m.Topic); err != nil { // [MQTT-3.3.2-2]
		return ErrRefused{packet.TopicNameInvalid, err.Error()}
	}
	if !allows(l.rights.Publish, m.Topic) {
		return ErrRefused{packet.NotAuthorized, l.name + " may not publish to " + m.Topic}
	}
	p := packet.Publish{Topic: []byte(m.Topic), Payload: m.Payload, QoS: packet.QoS(m.QoS)}
	if m.Properties != nil {
		p.Properties = *m.Properties
	}
	if p.Size(packet.V5) > packet.MaxSize-1024 { // some room for subscription identifiers
		return ErrRefused{packet.PacketTooLarge, "the message is larger than MQTT can express"}
	}
	return nil
}

func (l *Local) publish(m *Message, opts []PublishOption, r *Receipt, w *work) error {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	w.startLocked(b)
	p := &b.own
	defer p.abandon()
	p.renew(b)
	p.local = l
	p.origin = l.name
	p.payload = m.Payload
	p.qos = packet.QoS(m.QoS)
	p.retain = m.Retain
	if p.at = m.At; p.at.IsZero() {
		p.at = time.Now()
	}
	var props packet.Properties
	if m.Properties != nil {
		props = *m.Properties
		props.Has &^= packet.HasTopicAlias
		props.SubscriptionIDs = nil
		p.props = &props
	}
	p.waits = true
	p.stored = !sysTopic(m.Topic)
	p.receipt = r
	for _, o := range opts {
		o(p)
	}
	p.route = b.routeLocked([]byte(m.Topic))
	return b.publishLocked(p, w)
}

// Subscribe has the messages that match a filter delivered to a sink. A filter
// that is subscribed again gets the new options and the new sink. Overlapping
// filters of a Local deliver once each.
//
// Retained messages are delivered, as o.RetainHandling says, before Subscribe
// returns. New messages come from its begin on.
func (l *Local) Subscribe(filter string, o SubscribeOptions, sink Sink) error {
	if err := checkFilter(filter); err != nil {
		return err
	}
	r := l.subscribeSink(filter, o, sink)
	if r == nil {
		return nil
	}
	var w work
	for r.more {
		r.slice(l.b, &w, func() bool { return false }, func(_ *work, v *recordView, p *packet.Publish) {
			l.b.giveSinkLocked(r.sub, v, p)
		})
		w.finish(nil)
	}
	return nil
}

func checkFilter(filter string) error {
	if err := topic.ValidFilter(filter); err != nil {
		return err
	}
	if strings.HasPrefix(filter, sharePrefix) {
		return fmt.Errorf("topic filter %q: shared subscriptions are for clients on the network", filter)
	}
	if n := topic.Levels(filter); n > maxTopicLevels {
		return fmt.Errorf("topic filter has %d levels, the limit is %d", n, maxTopicLevels)
	}
	return nil
}

func (l *Local) subscribeSink(filter string, o SubscribeOptions, sink Sink) *replay {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	old := l.sinks[filter]
	if old != nil {
		b.filters.Remove(filter, old)
	}
	sub := &subscription{filter: filter, local: l, sink: sink}
	l.sinks[filter] = sub
	b.filters.Add(filter, sub)
	return b.applyLocked(sub, o, old == nil)
}

// applyLocked sets the options of a subscription inside the process.
func (b *Broker) applyLocked(sub *subscription, o SubscribeOptions, isNew bool) *replay {
	b.subscriptionsVersion++
	sub.qos = packet.QoS(min(o.QoS, 2))
	sub.noLocal = true
	sub.retainAsPublished = o.RetainAsPublished
	sub.id = o.ID
	sub.lane = min(o.Lane, buffer.Lanes-1)
	if o.RetainHandling == packet.SendRetained || o.RetainHandling == packet.SendRetainedIfNew && isNew {
		return b.newReplayLocked(sub)
	}
	return nil
}

// Unsubscribe ends a subscription of a sink. After it returns, nothing is
// delivered any more. A filter that is not subscribed does nothing.
func (l *Local) Unsubscribe(filter string) {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if sub := l.sinks[filter]; sub != nil {
		delete(l.sinks, filter)
		b.filters.Remove(filter, sub)
		b.subscriptionsVersion++
	}
}

// Session returns the durable session named local/<name>. Its queue has the
// entries that were not acknowledged in earlier runs; its subscriptions begin
// empty, but see [Session.Subscribe]. A second call returns the same session with
// new limits.
//
// Messages of QoS 0 go to the queue as well, with QoS 0 in their record and the
// urgency Lazy: whoever stores and forwards wants them.
//
// The owner attaches the queue, takes entries from it, and acknowledges them.
func (l *Local) Session(limits buffer.Limits) (*Session, error) {
	b := l.b
	id := localPrefix + l.name
	if b.store.Find(id) == nil {
		b.forgetLost(id)
	}
	q, err := b.store.Queue(id, limits)
	if err != nil {
		return nil, fmt.Errorf("open the queue of %s: %w", id, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.locals[id]
	if s == nil {
		s = &Session{
			b: b, id: id, local: l, durable: true, queue: q, wake: make(chan struct{}, 1),
			since: time.Now(),
		}
		b.locals[id] = s
		q.Notify(s.signal)
	}
	s.limits = limits
	return s, nil
}

// Subscribe has the messages that match a filter go to the queue of the session: a
// message once, whatever number of its filters match. Retained messages are in
// the queue, as o.RetainHandling says, before Subscribe returns.
//
// A filter that the run before had subscribed to, for the same purpose, is not new if it is
// subscribed before Run of the broker begins: with SendRetainedIfNew only those retained
// messages go to the queue that came between New and Subscribe. All count as new when
// the queue was lost, and once in a restored store.
func (s *Session) Subscribe(filter string, o SubscribeOptions) error {
	if err := checkFilter(filter); err != nil {
		return err
	}
	if r := s.subscribe(filter, &o); r != nil {
		var w work
		for r.more {
			r.slice(s.b, &w, func() bool { return false }, func(w *work, v *recordView, p *packet.Publish) {
				s.b.giveSessionLocked(r.sub, w, v, p)
			})
			w.finish(nil)
		}
	}
	s.note(filter, o.Purpose)
	return nil
}

func (s *Session) subscribe(filter string, o *SubscribeOptions) *replay {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	sub, first := s.subscribeLocked(filter)
	known, same := s.notedLocked(filter, o.Purpose)
	r := b.applyLocked(sub, *o, first || known && !same)
	if r != nil && first && same && o.RetainHandling == packet.SendRetainedIfNew { // [MQTT-3.3.1-10]
		r.since = b.retained.loaded
		r.more = r.since < r.until
	}
	return r
}

// Unsubscribe ends a subscription. What is in the queue stays there.
func (s *Session) Unsubscribe(filter string) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if sub := s.subs.get(filter); sub != nil {
		s.unsubscribeLocked(sub)
		c := s.b.store.Begin()
		s.b.forgetLocked(c, earlierKey(s.id, filter))
		c.Commit(nil)
	}
}
