package broker

import (
	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// We chose these.
const (
	maxTopicLevels   = 200
	maxSubscriptions = 10000                // of one session
	maxReplays       = 2 * maxSubscriptions // that wait, of one connection
)

// handle handles every packet but PUBLISH.
func (c *conn) handle(p packet.Packet) {
	switch p := p.(type) {
	case *packet.Connect:
		c.connect(p)
	case *packet.Ack:
		c.handleAck(p)
	case *packet.Subscribe:
		c.subscribe(p)
	case *packet.Unsubscribe:
		c.unsubscribe(p)
	case *packet.Pingreq:
		c.add(&packet.Pingresp{}) // [MQTT-3.12.4-1] [v3 MQTT-3.12.4-1]
	case *packet.Disconnect:
		c.disconnect(p)
	case *packet.Auth:
		// No connection has an authentication method, so there is nothing to
		// continue or repeat (4.12) [MQTT-4.12.0-6].
		c.fail(packet.ProtocolError, "AUTH without an authentication method in CONNECT", nil)
	}
}

// disconnect handles DISCONNECT.
func (c *conn) disconnect(p *packet.Disconnect) {
	if p.SessionExpiry != nil && *p.SessionExpiry > 0 && !c.session.lasts(c.b) { // 3.14.2.2.2
		c.fail(packet.ProtocolError, "DISCONNECT makes a session last that CONNECT let end", nil)
		return
	}
	said := p.Code
	c.endWith(&ending{
		reason: "the client disconnected",
		said:   &said,
		clean:  p.Code == packet.NormalDisconnection, // all others keep the will (3.14.2.1)
		expiry: p.SessionExpiry,
	})
}

// lasts reports whether the session outlives its connection.
func (s *Session) lasts(b *Broker) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return s.expiry > 0
}

// handleAck handles the packets of handshakes.
func (c *conn) handleAck(p *packet.Ack) {
	s := c.session
	var do ackAction
	switch p.Kind {
	case packet.PUBREL:
		c.pubrel(p.ID)
		return
	case packet.PUBACK:
		do = s.puback(c, p.ID)
	case packet.PUBREC:
		do = s.pubrec(c, p.ID, p.Code)
	case packet.PUBCOMP:
		do = s.pubcomp(c, p.ID)
	}
	switch do {
	case ackDone:
		c.acked = true
	case ackRelease:
		c.acknowledge(answer{kind: packet.PUBREL, id: p.ID}, true)
	case ackUnknown: // 4.3.3; an MQTT 3.x client gets the PUBREL that ends its handshake
		if !p.Code.IsError() {
			c.acknowledge(answer{kind: packet.PUBREL, id: p.ID, code: packet.PacketIdentifierNotFound}, true)
		}
	case ackMismatch:
		c.b.counters.protocolErrors.Add(1)
		c.fail(packet.ProtocolError, p.Kind.String()+" does not fit the QoS of the message", nil)
	}
}

// subscribe handles SUBSCRIBE.
func (c *conn) subscribe(p *packet.Subscribe) {
	ack := &packet.Suback{ID: p.ID, Codes: make([]packet.ReasonCode, len(p.Subscriptions))} // [MQTT-3.8.4-6]
	replays, pending := c.b.subscribeSession(c, p, ack)
	if !pending {
		c.add(ack)
		c.replay(replays)
	}
}

// whenStored answers a request that changes the session on disk: after a restart
// the session has to be what the client was told.
func (c *conn) whenStored(ack packet.Packet, then func()) func(error) {
	return func(err error) {
		if err != nil {
			c.fail(packet.UnspecifiedError, "the store fails", err)
			return
		}
		c.add(ack)
		c.flushLater()
		then()
	}
}

// subscribeSession makes the subscriptions; they count from here on. pending is
// true if the answer, and the retained messages behind it, leave when they are on
// disk; else the caller sends both now.
func (b *Broker) subscribeSession(c *conn, p *packet.Subscribe, ack *packet.Suback) (now []*replay, pending bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	if s.conn != c {
		return nil, true
	}
	codes := ack.Codes
	var replays []*replay
	var change *buffer.Change
	var written []writtenSubscription
	full := s.durable && b.store.Room() != nil
	for i, want := range p.Subscriptions {
		if codes[i] = s.filterCodeLocked(want.Filter); codes[i].IsError() {
			continue
		}
		same := s.hasLocked(&want, p.SubscriptionID, c.version)
		if full && !same {
			codes[i] = packet.QuotaExceeded
			continue
		}
		codes[i] = packet.ReasonCode(want.QoS)
		sub, isNew := s.subscribeLocked(want.Filter)
		sub.qos = want.QoS
		sub.noLocal = want.NoLocal
		sub.retainAsPublished = want.RetainAsPublished && c.version == packet.V5
		sub.id = p.SubscriptionID // [MQTT-3.8.4-3]: a new SUBSCRIBE replaces the old one, also this
		if s.durable && !same {   // clients subscribe anew whenever they connect: it costs no write
			if change == nil {
				change = b.store.Begin()
			}
			change.Put(b.tables.subscriptions, sub.key(), sub.value(), buffer.Sync)
			sub.version++
			written = append(written, writtenSubscription{sub, sub.version})
		}
		if sub.share != nil {
			continue // whoever joins others gets no retained messages (4.8.2)
		}
		if want.RetainHandling == packet.SendRetained || want.RetainHandling == packet.SendRetainedIfNew && isNew { // [MQTT-3.3.1-9..11]
			replays = append(replays, b.newReplayLocked(sub))
		}
	}
	if change == nil {
		return replays, false
	}
	change.Commit(c.whenStored(ack, func() {
		for _, w := range written {
			w.sub.stored.Store(w.version) // callbacks come in the order of the commits
		}
		c.replayLater(replays)
	}))
	return nil, true
}

type writtenSubscription struct {
	sub     *subscription
	version uint32
}

// hasLocked reports whether a subscription is there, and on disk, as a client wants
// it.
func (s *Session) hasLocked(want *packet.Subscription, id uint32, v packet.Version) bool {
	sub := s.subs.get(want.Filter)
	return sub != nil && sub.stored.Load() == sub.version &&
		sub.qos == want.QoS && sub.id == id && sub.noLocal == want.NoLocal &&
		sub.retainAsPublished == (want.RetainAsPublished && v == packet.V5)
}

// filterCodeLocked decides whether a client may have a filter.
func (s *Session) filterCodeLocked(filter string) packet.ReasonCode {
	_, err := sharedFilter(filter)
	switch {
	case err != nil || topic.ValidFilter(filter) != nil || topic.Levels(filter) > maxTopicLevels:
		return packet.TopicFilterInvalid
	case s.subs.get(filter) == nil && len(s.subs.list) >= maxSubscriptions:
		return packet.QuotaExceeded
	}
	return packet.Success
}

// subscribeLocked returns the subscription of a filter, which is made if it is new.
// The caller sets its options.
func (s *Session) subscribeLocked(filter string) (sub *subscription, isNew bool) {
	if sub = s.subs.get(filter); sub != nil {
		s.b.subscriptionsVersion++ // its options are about to change
		return sub, false
	}
	sub = &subscription{filter: filter, session: s, number: s.nextSub}
	s.nextSub++
	s.subs.add(sub)
	s.b.joinLocked(sub)
	return sub, true
}

// unsubscribe handles UNSUBSCRIBE.
func (c *conn) unsubscribe(p *packet.Unsubscribe) {
	ack := &packet.Unsuback{ID: p.ID, Codes: make([]packet.ReasonCode, len(p.Filters))}
	if !c.b.unsubscribeSession(c, p, ack) {
		c.add(ack)
	}
}

func (b *Broker) unsubscribeSession(c *conn, p *packet.Unsubscribe, ack *packet.Unsuback) (pending bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	if s.conn != c {
		return true
	}
	var change *buffer.Change
	full := s.durable && b.store.Room() != nil
	for i, filter := range p.Filters {
		sub := s.subs.get(filter)
		if sub == nil {
			ack.Codes[i] = packet.NoSubscriptionExisted
			continue
		}
		if full && c.version != packet.V5 { // whose UNSUBACK knows no failure
			c.fail(errDiskBehind.Code, errDiskBehind.Reason, nil)
			return true
		}
		if full {
			ack.Codes[i] = packet.ImplementationSpecificError
			continue
		}
		s.unsubscribeLocked(sub)
		if s.durable {
			if change == nil {
				change = b.store.Begin()
			}
			change.Delete(b.tables.subscriptions, sub.key(), buffer.Sync)
		}
	}
	if change == nil {
		return false
	}
	change.Commit(c.whenStored(ack, func() {}))
	return true
}

func (s *Session) unsubscribeLocked(sub *subscription) {
	s.subs.remove(sub)
	s.b.partLocked(sub)
}

// replay sends retained messages to a new subscription: at once as far as there is
// room, and the rest from a goroutine.
func (c *conn) replay(list []*replay) {
	for len(list) > 0 && list[0].more {
		if c.replaying() || c.session.full(c) {
			c.replayLater(list)
			return
		}
		c.replaySlice(list[0], new(work))
		if !list[0].more {
			list = list[1:]
		} else {
			c.replayLater(list)
			return
		}
	}
}

func (c *conn) replaySlice(r *replay, w *work) {
	full := func() bool { return c.session.full(c) }
	r.slice(c.b, w, full, func(w *work, v *recordView, p *packet.Publish) { c.b.giveSessionLocked(r.sub, w, v, p) })
	w.finish(nil)
}

// replayLater goes on in a goroutine, one for a connection, which waits for room,
// so that no retained message is dropped however many there are.
func (c *conn) replayLater(list []*replay) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.active != c || len(list) == 0:
		return
	case len(c.replays)+len(list) > maxReplays:
		c.fail(packet.QuotaExceeded, "too many subscriptions wait for retained messages", nil)
		return
	}
	if len(c.replays) == 0 {
		c.writers.Add(1)
		go c.replayAll()
	}
	c.replays = append(c.replays, list...)
}

// replaying reports whether the goroutine of replayLater is at work.
func (c *conn) replaying() bool {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return len(c.replays) > 0
}

// replayAll ends when nothing is left to be replayed, or the connection has ended.
func (c *conn) replayAll() {
	defer c.writers.Done()
	defer c.recoverPanic("send retained messages")
	s := c.session
	var w work
	for more := true; more; {
		s.mu.Lock()
		r := c.replays[0]
		s.mu.Unlock()
		for r.more {
			if !c.waitRoom() {
				return
			}
			c.replaySlice(r, &w)
		}
		s.mu.Lock()
		c.replays[0] = nil
		c.replays = c.replays[1:]
		more = len(c.replays) > 0
		s.mu.Unlock()
	}
}

// full reports whether retained messages have to wait: for the socket, or for
// acknowledgements. They take half of what is there, and leave the rest to new
// messages.
func (s *Session) full(c *conn) bool {
	c.out.mu.Lock()
	full := c.out.closed || c.out.pending != nil && len(c.out.pending.b) >= outboxLimit/2
	c.out.mu.Unlock()
	s.mu.Lock()
	queue := s.queue
	s.mu.Unlock()
	if full || queue == nil {
		return full
	}
	q := queue.Stats()
	return q.Messages >= max(1, s.b.limits.Messages/2) || q.Bytes >= max(1, s.b.limits.Bytes/2)
}

// waitRoom waits until there is room for retained messages; false: the connection
// has ended.
func (c *conn) waitRoom() bool {
	for {
		c.out.mu.Lock()
		if c.out.closed {
			c.out.mu.Unlock()
			return false
		}
		if c.out.progress == nil {
			c.out.progress = make(chan struct{}, 1)
		}
		progress := c.out.progress
		c.out.stalled = true
		c.out.mu.Unlock()
		if !c.session.full(c) {
			return true
		}
		<-progress
	}
}
