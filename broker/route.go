package broker

import (
	"time"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// maxRoutes bounds the topics whose receivers are remembered. We chose it: some
// 300 bytes each.
const maxRoutes = 4096

// route is a topic and who gets its messages.
type route struct {
	topic   string
	name    []byte // the same
	version uint64 // of the subscriptions that targets was made from
	targets []target
}

// publication is one message on its way through publishLocked, and what it
// causes. It belongs to its publisher, who uses it again for the next message.
type publication struct {
	payload []byte // not ours
	qos     packet.QoS
	retain  bool
	props   *packet.Properties // nil: none; not ours; never a topic alias
	session *Session           // publisher; nil: a Local, or nobody
	local   *Local             // publisher; nil: a client, or nobody
	origin  string
	at      time.Time
	within  func(*buffer.Change)
	lazy    bool
	waits   bool   // the publisher waits for a receipt
	stored  bool   // a retained value goes to disk
	arrival []byte // key of the publisher's packet identifier on disk (QoS 2); nil: not there

	b        *Broker
	route    *route
	retained *retained // stored by this message; safe when its change is
	change   *buffer.Change
	durable  bool // the change holds what the receipt must wait for
	receipt  *Receipt
	message  *Message
	head     recordHead
	records  [6][]byte // by QoS and RETAIN
	packets  [4][]byte // encoded QoS 0 PUBLISH, by version and RETAIN
	encoded  []byte    // memory of packets
}

// renew empties p for the next message.
func (p *publication) renew(b *Broker) {
	encoded := p.encoded[:0]
	if cap(encoded) > keepChunk {
		encoded = nil
	}
	*p = publication{b: b, encoded: encoded, stored: true}
}

// abandon lets go of what a panic has left: a Change that was never committed would
// hold up the queues that it has entries for.
func (p *publication) abandon() {
	if p.change != nil {
		p.change.Commit(nil)
		p.change = nil
	}
}

// begin returns the Change of this publish.
func (p *publication) begin() *buffer.Change {
	if p.change == nil {
		p.change = p.b.store.Begin()
	}
	p.durable = true
	return p.change
}

func (p *publication) urgency() buffer.Urgency {
	if p.lazy || p.qos == 0 {
		return buffer.Lazy
	}
	return buffer.Sync
}

// mustReceipt returns the Receipt of this publish; it is made when somebody asks.
func (p *publication) mustReceipt() *Receipt {
	if p.receipt == nil {
		p.receipt = newReceipt()
	}
	return p.receipt
}

// mustMessage returns the message as others may keep it.
func (p *publication) mustMessage() *Message {
	if p.message == nil {
		p.message = &Message{
			Topic:   p.route.topic,
			Payload: append([]byte(nil), p.payload...),
			QoS:     byte(p.qos),
			Retain:  p.retain,
			Origin:  p.origin,
			At:      p.at,
		}
		if p.props != nil && !p.props.IsZero() {
			c := p.props.Clone()
			c.SubscriptionIDs = nil
			p.message.Properties = &c
		}
	}
	return p.message
}

// publish is the packet for a receiver.
func (p *publication) publish(qos packet.QoS, retain bool, ids []uint32) packet.Publish {
	out := packet.Publish{Topic: p.route.name, Payload: p.payload, QoS: qos, Retain: retain}
	if qos > 0 {
		out.ID = 1 // a place for it
	}
	if p.props != nil {
		out.Properties = *p.props
	}
	out.Properties.SubscriptionIDs = ids
	return out
}

// record returns the message as it stands in queues. Those without subscription
// identifiers share it.
func (p *publication) record(qos packet.QoS, retain bool, ids []uint32) []byte {
	at := int(qos) * 2
	if retain {
		at++
	}
	if len(ids) == 0 && p.records[at] != nil {
		return p.records[at]
	}
	if p.head.at == 0 {
		p.head.at = p.at.UnixNano()
		p.head.id = p.b.nextID()
		p.head.origin = p.origin
		p.head.deadline = p.deadline()
	}
	out := p.publish(qos, retain, ids)
	data := make([]byte, 0, recordFixed+8+10+len(p.origin)+out.Size(packet.V5))
	data = out.Append(p.head.append(data), packet.V5)
	if len(ids) == 0 {
		p.records[at] = data
	}
	return data
}

// deadline is when the message expires, 0 for never.
func (p *publication) deadline() int64 {
	if p.props == nil || p.props.Has&packet.HasMessageExpiry == 0 {
		return 0
	}
	return p.b.clock.now() + 1000*int64(p.props.MessageExpiry)
}

// encode returns the message as a QoS 0 packet, encoded once for all receivers
// that get the same.
func (p *publication) encode(v packet.Version, retain bool, ids []uint32) []byte {
	at := 0
	if v == packet.V5 {
		at = 2
	}
	if retain {
		at++
	}
	if len(ids) == 0 && p.packets[at] != nil {
		return p.packets[at]
	}
	out := p.publish(0, retain, ids)
	start := len(p.encoded)
	p.encoded = out.Append(p.encoded, v)
	data := p.encoded[start:len(p.encoded):len(p.encoded)]
	if len(ids) == 0 {
		p.packets[at] = data
	}
	return data
}

// routeLocked returns the route of a topic. It allocates only for topics that it
// has not seen for a while.
func (b *Broker) routeLocked(name []byte) *route {
	r := b.routes[string(name)]
	if r == nil {
		if len(b.routes) >= maxRoutes {
			// All go at once: what is in use comes back with its next message, and
			// nothing has to be kept in order for that.
			clear(b.routes)
		}
		s := string(name)
		r = &route{topic: s, name: []byte(s)}
		b.routes[s] = r
	}
	if r.version != b.subscriptionsVersion {
		b.matchLocked(r)
	}
	return r
}

// matchLocked looks up who gets the messages of a topic.
func (b *Broker) matchLocked(r *route) {
	clear(r.targets)
	r.targets = r.targets[:0]
	b.match++
	b.filters.Match(r.topic, func(s *subscription) {
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
		if s.session.match != b.match {
			s.session.match = b.match
			s.session.matchAt = len(r.targets)
			r.targets = append(r.targets, target{session: s.session})
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
				if topic.Match(s.filter, r.topic) {
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
	if p.retain {
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
	if t.session == nil || !t.session.refuses || t.session.isOwn(p) {
		return nil
	}
	if err := t.session.queue.Room(recordFixed + len(p.route.name) + len(p.payload)); err != nil {
		return ErrRefused{packet.QuotaExceeded, "queue " + t.session.id + " is full"}
	}
	return nil
}

func (b *Broker) deliverLocked(p *publication, t *target, w *work) {
	if t.sub != nil {
		b.deliverSinkLocked(p, t)
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
	qos := min(p.qos, t.qos)                  // 3.8.4, v3 3.8.4
	retain := p.retain && t.retainAsPublished // [MQTT-3.3.1-12] [MQTT-3.3.1-13] [v3 MQTT-3.3.1-9]
	if qos > 0 || s.local != nil {
		b.enqueueLocked(p, s, qos, retain, t.ids, t.lane, w)
		return
	}
	c := s.conn
	if c == nil {
		return // an absent client misses QoS 0
	}
	encoded := p.encode(c.version, retain, t.ids)
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
func (b *Broker) enqueueLocked(p *publication, s *Session, qos packet.QoS, retain bool, ids []uint32, lane uint8, w *work) {
	q := s.queueLocked()
	change := b.volatile
	if s.durable {
		change = p.begin()
	}
	_, err := change.Append(q, buffer.Record{
		Data: p.record(qos, retain, ids),
		Lane: lane,
		// What was sent before its commit, and is lost with it, gives its sequence
		// number and so its packet identifier to another message, which the
		// receiver of a QoS 2 message would take for a repetition.
		Early:   p.qos < packet.QoS2,
		Urgency: p.urgency(),
	})
	if err != nil {
		b.dropLocked(s)
		return
	}
	w.touch(s, s.conn, true)
}

func (b *Broker) dropLocked(s *Session) {
	s.dropped++
	b.stats.PublishDropped++
}

// work is what a batch of messages leaves to do when the broker's lock is free:
// sessions whose queue has something to send, connections that have something to
// write. It belongs to its goroutine, which uses it again.
type work struct {
	number   uint64
	touched  []touched
	receipts []*Receipt // whose publisher holds them still
}

type touched struct {
	session *Session
	conn    *conn
	queue   bool
}

// startLocked begins a batch.
func (w *work) startLocked(b *Broker) {
	b.works++
	w.number = b.works
	w.touched = w.touched[:0]
	w.receipts = w.receipts[:0]
}

func (w *work) touch(s *Session, c *conn, queue bool) {
	if s.work != w.number {
		s.work = w.number
		s.workAt = len(w.touched)
		w.touched = append(w.touched, touched{s, c, queue})
		return
	}
	t := &w.touched[s.workAt]
	t.queue = t.queue || queue
	if c != nil {
		t.conn = c
	}
}

// finish does what is left. No lock is held. own is the connection of the
// caller, which flushes it itself; nil: none.
func (w *work) finish(own *conn) {
	for i, t := range w.touched {
		w.touched[i] = touched{}
		if t.session.local != nil {
			t.session.signal()
			continue
		}
		if t.conn == nil {
			continue
		}
		if t.queue {
			t.session.pump(t.conn)
		}
		if t.conn != own {
			t.conn.flush()
		}
	}
	for i, r := range w.receipts {
		w.receipts[i] = nil
		r.release(nil)
	}
}
