package broker

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// inbound is a PUBLISH of a client, between its arrival and its acknowledgement.
type inbound struct {
	packet  packet.Publish
	refused error    // why it is not routed
	receipt *Receipt // nil: it is safe
	arrival *arrival // QoS 2: its handshake
	isNew   bool     // QoS 2: it was not routed before
}

// batch is the PUBLISH packets that are routed under one lock, and what routing
// needs. It is lent: an idle connection has none.
type batch struct {
	decoder packet.Decoder
	items   []inbound
	pub     publication
	work    work
}

// batches lends them.
type batches struct{ pool sync.Pool }

func (p *batches) get() *batch {
	if b, ok := p.pool.Get().(*batch); ok {
		return b
	}
	return &batch{}
}

func (p *batches) put(b *batch) { p.pool.Put(b) }

// collect puts a PUBLISH into the batch. What it refers to in the read buffer
// stays there until the batch is routed.
func (c *conn) collect(p *packet.Publish) {
	m := inbound{packet: *p}
	if len(p.Properties.UserProperties) > 0 || p.Properties.Has&packet.HasCorrelationData != 0 {
		m.packet.Properties = p.Properties.Clone() // the decoder uses its own again
	}
	if !c.checkAlias(&m.packet) || !c.checkQuota(&m.packet) {
		return
	}
	if m.refused = c.mayPublishBytes(m.packet.Topic); m.refused == nil {
		m.refused = c.door.checkPayload(&m.packet.Properties, m.packet.Payload)
	}
	if m.refused == errNotText && m.packet.QoS == packet.QoS0 { // 3.3.2.3.2: nothing else would tell the client
		c.fail(errNotText.Code, errNotText.Reason, nil)
		return
	}
	c.batch.items = append(c.batch.items, m)
	if len(c.batch.items) >= maxBatch {
		c.publishBatch()
	}
}

// checkAlias replaces a topic alias by its topic.
func (c *conn) checkAlias(p *packet.Publish) bool {
	if p.Properties.Has&packet.HasTopicAlias == 0 {
		return true
	}
	alias := p.Properties.TopicAlias
	p.Properties.Has &^= packet.HasTopicAlias // it is between two, not from end to end
	if alias > aliasMaximum {                 // [MQTT-3.3.2-9]
		c.fail(packet.TopicAliasInvalid, fmt.Sprintf("topic alias %d is above the maximum of %d", alias, aliasMaximum), nil)
		return false
	}
	if len(p.Topic) > 0 {
		if c.aliases == nil {
			c.aliases = make(map[uint16][]byte)
		}
		if !bytes.Equal(c.aliases[alias], p.Topic) {
			c.aliases[alias] = bytes.Clone(p.Topic)
		}
		return true
	}
	known, ok := c.aliases[alias]
	if !ok { // 3.3.2.3.4
		c.fail(packet.ProtocolError, fmt.Sprintf("topic alias %d stands for nothing", alias), nil)
		return false
	}
	p.Topic = known
	return true
}

var errNotText = ErrRefused{packet.PayloadFormatInvalid, "the payload is not UTF-8, though its payload format indicator says so"}

// checkPayload holds a payload to its format indicator, where the listener does
// that (3.3.2.3.2).
func (d *door) checkPayload(p *packet.Properties, payload []byte) error {
	if d.config.CheckPayloadFormat && p.Has&packet.HasPayloadFormat != 0 && p.PayloadFormat == 1 && !utf8.Valid(payload) {
		return errNotText
	}
	return nil
}

// checkQuota counts what an MQTT 5 client has under way [MQTT-3.3.4-7]. 3.x has no
// such limit but the number of packet identifiers.
func (c *conn) checkQuota(p *packet.Publish) bool {
	if p.QoS == 0 || c.version != packet.V5 {
		return true
	}
	if int(c.unacked.Add(1)) > c.b.cfg.ReceiveMaximum {
		c.fail(packet.ReceiveMaximumExceeded, "more messages under way than the receive maximum allows", nil)
		return false
	}
	return true
}

// mayPublish knows what no client may publish, whatever the access rules say. What
// is below $SYS is the broker's, and below $gateway that of the program around it.
func (c *conn) mayPublish(topic string) error { return c.mayPublishBytes([]byte(topic)) }

func (c *conn) mayPublishBytes(topic []byte) error {
	if len(topic) > 0 && topic[0] == '$' && (bytes.HasPrefix(topic, []byte("$SYS/")) || bytes.HasPrefix(topic, []byte("$gateway/"))) {
		return ErrRefused{packet.NotAuthorized, "clients may not publish below $SYS and $gateway"}
	}
	return nil
}

// publishBatch routes what was collected under one lock, and acknowledges it.
func (c *conn) publishBatch() {
	items := c.batch.items
	if len(items) == 0 {
		return
	}
	if err := c.admitBatch(); err != nil {
		for i := range items {
			if m := &items[i]; m.refused == nil && m.packet.QoS > 0 {
				m.refused = err
			}
		}
	}
	routed := c.routeBatch()
	c.batch.work.finish(c)
	for i := range items {
		if routed {
			c.answer(&items[i])
		}
		if items[i].refused == errForbidden {
			c.warnForbidden(items[i].packet.Topic)
		}
		items[i] = inbound{}
	}
	c.batch.items = items[:0]
}

// routeBatch is false if the session has another connection by now: then nothing
// is routed, and the client sends it again there.
func (c *conn) routeBatch() bool {
	b, s := c.b, c.session
	p, w := &c.batch.pub, &c.batch.work
	b.mu.Lock()
	defer b.mu.Unlock()
	defer p.abandon()
	w.startLocked(b)
	if s.conn != c {
		return false
	}
	now := time.Now()
	for i := range c.batch.items {
		m := &c.batch.items[i]
		b.stats.PublishReceived++
		b.stats.PublishBytesReceived += int64(len(m.packet.Payload))
		var route *route
		if m.refused == nil {
			if route = b.routeLocked(m.packet.Topic); !route.mayWrite(s.rights) {
				m.refused = errForbidden
			}
		}
		if m.packet.QoS == packet.QoS2 && !c.arriveLocked(m) {
			continue
		}
		if m.refused != nil {
			b.stats.PublishRefused++
			continue
		}
		p.renew(b)
		p.session, p.origin, p.at = s, s.id, now
		p.payload, p.qos, p.retain = m.packet.Payload, m.packet.QoS, m.packet.Retain
		p.waits = p.qos > 0
		if c.version == packet.V5 && !m.packet.Properties.IsZero() {
			p.props = &m.packet.Properties
			p.noReply = p.props.Has&packet.HasResponseTopic != 0 && !s.rights.may(mayWrite, p.props.ResponseTopic)
		}
		p.route = route
		if m.isNew && s.durable {
			p.arrival = s.receivedKey(m.packet.ID)
		}
		if m.refused = b.publishLocked(p, w); errors.Is(m.refused, buffer.ErrFull) {
			m.refused = errDiskBehind
		}
		m.receipt = p.receipt
	}
	return true
}

// arriveLocked begins the handshake of a QoS 2 message, unless the message is
// refused. It is false if the message was routed before: then nothing refuses it
// any more, for a refusal would free an identifier that is in use.
func (c *conn) arriveLocked(m *inbound) bool {
	s, id := c.session, m.packet.ID
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.refused != nil && !s.in.knows(id) {
		return true
	}
	m.arrival, m.isNew = s.in.publish(id)
	return m.isNew
}

// warnForbidden says in the log that a client may not publish: an MQTT 3.x client
// is told nothing, and would look in vain for what is wrong.
func (c *conn) warnForbidden(topic []byte) {
	if n, ok := c.b.refused.allow("publish "+host(c.address()), time.Now()); ok {
		c.log.Warn("a client publishes what the access rules do not allow", "client", c.session.id,
			"username", c.username, "topic", string(topic), "unreported", n)
	}
}

// answer acknowledges a message of the batch, now or when it is safe.
func (c *conn) answer(m *inbound) {
	a := answer{kind: packet.PUBACK, id: m.packet.ID}
	switch {
	case m.packet.QoS == packet.QoS0:
	case m.arrival != nil:
		c.answerArrival(m)
	case m.refused != nil:
		if m.packet.QoS == packet.QoS2 {
			a.kind = packet.PUBREC
		}
		c.acknowledged(c.acknowledge(a, false), m.refused)
	case m.receipt == nil:
		c.acknowledge(a, true)
	default:
		slot := c.acknowledge(a, false)
		m.receipt.Done(func(err error) { c.acknowledged(slot, err) })
	}
}

// answerArrival answers a QoS 2 message.
func (c *conn) answerArrival(m *inbound) {
	s, a, id := c.session, m.arrival, m.packet.ID
	if m.isNew && (m.refused != nil || m.receipt == nil) {
		s.settle(id, a, m.refused)
	}
	s.mu.Lock()
	settled, err := a.settled, a.err
	s.mu.Unlock()
	if settled && err == nil {
		c.acknowledge(answer{kind: packet.PUBREC, id: id}, true)
		return
	}
	slot := c.acknowledge(answer{kind: packet.PUBREC, id: id}, false)
	s.mu.Lock()
	settled, err = a.settled, a.err
	if !settled {
		a.wait = append(a.wait, func(err error) { c.acknowledged(slot, err) })
	}
	s.mu.Unlock()
	if settled {
		c.acknowledged(slot, err)
	} else if m.isNew {
		m.receipt.Done(func(err error) { s.settle(id, a, err) })
	}
}

// settle ends the wait of a QoS 2 message.
func (s *Session) settle(id uint16, a *arrival, err error) {
	s.mu.Lock()
	wait := s.in.settle(id, a, err)
	tell := func(error) {
		for _, fn := range wait {
			fn(err)
		}
	}
	if err == nil || !s.durable {
		s.mu.Unlock()
		tell(nil)
		return
	}
	// The identifier went to the disk with the message. It has to be gone before the
	// client learns that it is free, or it would come back after a restart, and the
	// next message with it would be taken for a repetition.
	s.removeReceived(id, tell)
	s.mu.Unlock()
}

// removeReceived takes an identifier from the disk. s.mu is held since memory has
// forgotten it: a message that comes with it meanwhile, on another connection, is
// written behind, or the removal would hit what it has written.
func (s *Session) removeReceived(id uint16, done func(error)) {
	l := s.in.leave(id)
	change := s.b.store.Begin()
	change.Delete(s.b.tables.received, s.receivedKey(id), buffer.Sync)
	change.Commit(func(err error) {
		done(err)
		s.mu.Lock()
		wait := s.in.left(id, l)
		s.mu.Unlock()
		for _, w := range wait {
			w.fn(err)
		}
	})
}

// acknowledged lets PUBACK or PUBREC leave, with what err says. An MQTT 3.x client
// can not be told of a failure: what may go well later is not acknowledged, and
// the connection closed, so that the client sends it again; what will never go
// well is acknowledged and dropped [v3 MQTT-3.3.5-2].
func (c *conn) acknowledged(slot *ackSlot, err error) {
	var refused ErrRefused
	switch {
	case err == nil:
		c.complete(slot, packet.Success, "")
	case errors.As(err, &refused) && c.version != packet.V5 && refused.transient():
		c.fail(refused.Code, refused.Reason, nil)
		return
	case errors.As(err, &refused):
		c.complete(slot, refused.Code, refused.Reason)
	case c.version != packet.V5:
		c.fail(packet.UnspecifiedError, "the message could not be stored", err)
		return
	default:
		c.b.counters.storeFailures.Add(1)
		c.complete(slot, packet.UnspecifiedError, "the message could not be stored")
	}
	c.flushLater()
}

// pubrel handles PUBREL: the identifier is free again, which is on disk before
// PUBCOMP leaves. Else it would be known after a crash, and the next message with
// it would be taken for a repetition, and lost.
func (c *conn) pubrel(id uint16) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != c {
		return
	}
	known := s.in.release(id)
	code := packet.Success
	if !known {
		code = packet.PacketIdentifierNotFound // [MQTT-4.3.3-11], 3.7.2.1
	}
	if !s.durable || !known && !s.in.leaves(id) { // there is nothing to be removed
		c.acknowledge(answer{kind: packet.PUBCOMP, id: id, code: code}, true)
		return
	}
	slot := c.acknowledge(answer{kind: packet.PUBCOMP, id: id}, false)
	gone := func(err error) {
		if err != nil {
			c.fail(packet.UnspecifiedError, "the store fails", err)
			return
		}
		c.complete(slot, code, "")
		c.flushLater()
	}
	if known {
		s.removeReceived(id, gone)
	} else { // sent again, while the removal is on its way
		s.in.await(id, c, gone)
	}
}
