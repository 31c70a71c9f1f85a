package broker

import (
	"errors"
	"slices"
	"strings"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

const sharePrefix = "$share/"

// share is one shared subscription (4.8.2): a share name and a filter. Of each
// message one member gets a copy. In the tree of filters it is one subscription,
// whatever number of members it has.
type share struct {
	full    string        // $share/name/filter
	entry   *subscription // in the tree
	members []*subscription
	chooser chooser
}

var errShareName = errors.New("a shared subscription is $share/name/filter; the name has at least one character and neither '/' nor '+' nor '#'")

// sharedFilter returns the filter in $share/name/filter, "" if full is not a
// shared subscription.
func sharedFilter(full string) (filter string, err error) {
	rest, shared := strings.CutPrefix(full, sharePrefix)
	if !shared {
		return "", nil
	}
	name, filter, _ := strings.Cut(rest, "/")
	if name == "" || strings.ContainsAny(name, "+#") || filter == "" { // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		return "", errShareName
	}
	return filter, topic.ValidFilter(filter)
}

// joinLocked makes a subscription count: alone, or as a member of a share.
func (b *Broker) joinLocked(sub *subscription) {
	b.subscriptionsVersion++
	filter, err := sharedFilter(sub.filter)
	if filter == "" || err != nil {
		b.filters.Add(sub.filter, sub)
		return
	}
	g := b.shares[sub.filter]
	if g == nil {
		g = &share{full: sub.filter, chooser: chooser{strategy: b.cfg.SharedStrategy}}
		g.entry = &subscription{filter: filter, share: g}
		b.shares[g.full] = g
		b.filters.Add(filter, g.entry)
	}
	sub.share = g
	g.members = append(g.members, sub)
	b.sharedSubscriptions++
}

// partLocked is the end of joinLocked.
func (b *Broker) partLocked(sub *subscription) {
	b.subscriptionsVersion++
	g := sub.share
	if g == nil {
		b.filters.Remove(sub.filter, sub)
		return
	}
	i := slices.Index(g.members, sub)
	g.members = slices.Delete(g.members, i, i+1)
	if i < g.chooser.next {
		g.chooser.next-- // who was next is next
	}
	b.sharedSubscriptions--
	if len(g.members) == 0 {
		b.filters.Remove(g.entry.filter, g.entry)
		delete(b.shares, g.full)
	}
}

// chooseLocked chooses the member that gets a message, of those that may read it:
// one that is connected, if there is any, else one in whose queue the message can
// wait; nil if there is none. origin is the publisher.
func (g *share) chooseLocked(origin, name string, qos packet.QoS) *subscription {
	key := origin
	if g.chooser.strategy == hashTopic {
		key = name
	}
	number := func(i int) uint64 { return g.members[i].session.number }
	at := g.chooser.choose(len(g.members), number, func(i int) bool {
		s := g.members[i].session
		return s.conn != nil && s.rights.may(mayRead, name)
	}, key)
	if at < 0 {
		at = g.chooser.choose(len(g.members), number, func(i int) bool {
			m := g.members[i]
			return min(qos, m.qos) > 0 && m.session.rights.may(mayRead, name)
		}, key)
	}
	if at < 0 {
		return nil
	}
	return g.members[at]
}

// deliverShareLocked gives a message to one member.
func (b *Broker) deliverShareLocked(p *publication, g *share, w *work) {
	m := g.chooseLocked(p.origin, p.route.topic, p.qos)
	if m == nil {
		return // nobody is there, and a message of QoS 0 does not wait
	}
	b.deliverSessionLocked(p, m.session, min(p.qos, m.qos), p.retain && m.retainAsPublished, m.ids(), m.lane, g.full, w) // [MQTT-4.8.2-3]
}

// ids are the subscription identifiers of messages of this subscription alone.
func (s *subscription) ids() []uint32 {
	if s.id == 0 {
		return nil
	}
	return []uint32{s.id}
}

// handOver gives what an ended session has not acknowledged of its shared
// subscriptions to other members, as new messages, and ends what is left of the
// session, all in one Change. The queue is on disk as a whole, so that nothing that
// was acknowledged to a publisher depends on this Change alone.
//
// A QoS 2 message that may have been sent goes to nobody else [MQTT-4.8.2-5]; it
// counts as dropped.
func (b *Broker) handOver(s *Session) {
	var left []recordView
	dropped := 0
	err := s.queue.Each(func(e buffer.Entry) bool {
		v, err := viewEntry(&e)
		switch {
		case err != nil || len(v.share) == 0:
		case v.qos() == packet.QoS2 && (e.Again || e.Received):
			dropped++
		default:
			left = append(left, v)
		}
		return true
	})
	if err != nil { // it is tried again after the next start
		b.log.Error("what an ended session has not acknowledged stays in its queue", "client", s.id, "err", err)
		return
	}
	var w work
	b.mu.Lock()
	defer func() {
		b.mu.Unlock()
		w.finish(nil)
	}()
	w.startLocked(b)
	change := b.store.Begin()
	for i := range left {
		if !b.bequeathLocked(&left[i], change, &w) {
			dropped++
		}
	}
	b.stats.PublishDropped += int64(dropped)
	if s.durable {
		change.Delete(b.tables.sessions, s.key(), buffer.Sync)
		b.store.DropQueue(change, s.queue)
	}
	change.Commit(nil)
}

// bequeathLocked gives a message to another member. It is false if there is none
// that can take it.
func (b *Broker) bequeathLocked(v *recordView, change *buffer.Change, w *work) bool {
	g := b.shares[string(v.share)]
	if g == nil {
		return false
	}
	p, err := v.decode()
	if err != nil {
		return false
	}
	m := g.chooseLocked(string(v.origin), string(p.Topic), p.QoS)
	if m == nil {
		return false
	}
	if v.deadline != 0 {
		p.Properties.MessageExpiry = b.clock.secondsLeft(v.deadline) // [MQTT-3.3.2-6]
	}
	p.DUP = false
	p.QoS = min(p.QoS, m.qos)
	p.Retain = p.Retain && m.retainAsPublished
	p.Properties.SubscriptionIDs = m.ids()
	h := v.head()
	h.share = g.full // should this member end as well
	b.giveLocked(m.session, &h, p, m.session.plain(m.lane), buffer.Sync, change, w)
	return true
}

// heirsLocked reports whether what waits in the queue of an ended session may
// belong to somebody else.
func (b *Broker) heirsLocked(s *Session) bool {
	return len(b.shares) > 0 && s.queue != nil && s.queue.Stats().Messages > 0
}
