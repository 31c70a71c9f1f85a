package cloud

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// The packet identifier of an entry is 1 + its sequence number mod modulus: it is
// the same after a restart without having been written. Above the modulus there
// is room for requests and for the status.
const (
	modulus      = 65000
	firstRequest = 65001
	lastRequest  = 65500
	birthID      = 65533
	onlineID     = 65534
	offlineID    = 65535
)

// batchBytes is how much the pump collects before it writes.
const batchBytes = 32 << 10

// pump sends what is to be sent until the client has ended.
func (l *link) pump() {
	var buf []byte
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var wait time.Duration
		var last bool
		buf, wait, last = l.collect(buf[:0])
		if len(buf) > 0 {
			if err := l.wire.send(buf); err != nil {
				return // the wire has closed itself: the reader tells the rest
			}
			l.pinger.PacketSent()
			for _, c := range l.unanswered { // and not before: DISCONNECT may follow at once
				c.acked(packet.Success)
			}
			l.unanswered = l.unanswered[:0]
		}
		if last {
			_ = l.wire.Close()
			return
		}
		if len(buf) > 0 {
			if cap(buf) > 4*batchBytes {
				buf = nil
			}
			continue
		}
		if wait <= 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-l.client.Done():
			return
		case <-l.kick:
		case <-l.b.session.Wake():
		case <-timer.C:
		}
	}
}

// collect appends what may leave now. wait is how long the pump may sleep if
// nothing wakes it, 0 for as long as it likes; last says that the link ends with
// these bytes.
func (l *link) collect(buf []byte) (_ []byte, wait time.Duration, last bool) {
	l.mu.Lock()
	buf = append(buf, l.out...)
	if cap(l.out) > batchBytes {
		l.out = nil
	}
	l.out = l.out[:0]
	if l.goodbye != nil {
		buf = append(buf, l.goodbye...)
		l.mu.Unlock()
		return buf, 0, true
	}
	first := false
	if l.window == 1 && !l.stopping && len(l.control) > 0 {
		if first = l.doubt; !first { // in doubt nobody knows what the next entry goes on with
			l.mu.Unlock()
			first = l.resumes()
			l.mu.Lock()
		}
	}
	for !first && len(l.control) > 0 && l.flights.len() < l.window {
		c := l.control[0]
		l.control = l.control[1:]
		buf = append(buf, c.encoded...)
		if l.maxQoS == 0 {
			l.unanswered = append(l.unanswered, c)
		} else {
			l.flights.add(c.id, flight{qos: 1, control: &c})
		}
	}
	quiet := l.stopping || l.doubt || l.fault != nil
	if d := time.Until(l.paused); d > 0 {
		quiet, wait = true, d
	}
	l.full = l.full && !quiet
	l.mu.Unlock()
	for !quiet && len(buf) < batchBytes {
		var more bool
		if buf, wait, more = l.next(buf); !more {
			break
		}
	}
	return buf, wait, false
}

// resumes reports whether the next entry goes on where an earlier connection ended.
// Where the server has room for one message, that one comes before the status:
// Mosquitto 2.0.11 goes on to count a QoS 2 message whose PUBREC was lost, refuses
// whatever else comes, and takes nothing but its repetition.
func (l *link) resumes() bool {
	if l.held == nil {
		e, ok, err := l.b.queue.Next()
		if err != nil || !ok {
			return false // the error comes again
		}
		l.held = &e
	}
	return l.held.Again || l.held.Received
}

// next appends the packet of the next entry; more is false if there is no entry, or
// no room for it. wait is after what time one may leave that is held back, 0: there is
// none.
func (l *link) next(buf []byte) (_ []byte, wait time.Duration, more bool) {
	l.mu.Lock()
	full := l.flights.len() >= l.window
	l.full = full
	l.mu.Unlock()
	if full {
		return buf, 0, false
	}
	if l.held == nil {
		e, ok, wait, err := l.throttle.next(l.b.queue, time.Now())
		if err != nil {
			l.fail(fmt.Errorf("read the queue: %w", err))
		}
		if err != nil || !ok {
			return buf, wait, false
		}
		l.held = &e
	}
	e := *l.held
	l.mu.Lock()
	_, busy := l.flights.byID[l.id(e.Seq)] // by a handshake that PUBCOMP will end
	l.mu.Unlock()
	if busy || !l.identifierFree(e) {
		return buf, 0, false
	}
	l.held = nil
	if e.Received && l.maxQoS < 2 {
		// A purged message, to a server that takes no QoS 2: it has no identifier to
		// let go of [MQTT-3.2.2-11], and may not even know PUBREL.
		l.b.queue.Ack(e.Seq)
		return buf, 0, true
	}
	if e.Received {
		return l.resume(buf, e, nil), 0, true
	}
	return l.publish(buf, e), 0, true
}

// identifierFree reports whether the entry's identifier can not be taken for that
// of another entry, now or after a crash. All sequence numbers that the server may
// know of stay within one span, and those whose removal is not on disk yet count.
// If the entry has to wait, a commit is begun that takes the removals along.
func (l *link) identifierFree(e buffer.Entry) bool {
	if e.Again || e.Received {
		return true // it was free when it was first sent
	}
	b, span := l.b, l.b.tuning.modulus-uint64(l.window)
	if e.Seq >= b.oldest+span {
		oldest, ok := b.queue.Oldest()
		if !ok {
			oldest = e.Seq
		}
		b.oldest = min(oldest, e.Seq)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.passed {
		l.passed, b.newest = false, l.highest
	}
	// The second half is for priorities: an entry may leave long after younger ones.
	if e.Seq < b.oldest+span && b.newest < e.Seq+span {
		return true
	}
	lowest, highest := e.Seq, e.Seq
	for _, f := range l.flights.byID {
		if f.control == nil {
			lowest, highest = min(lowest, f.seq), max(highest, f.seq)
		}
	}
	if l.barrier || e.Seq-lowest >= span || highest-e.Seq >= span {
		return false // an acknowledgement or the commit will wake the pump
	}
	l.barrier, l.highest = true, highest // until it is done nothing is sent
	c := b.store.Begin()
	c.Put(b.table, []byte("barrier"), []byte{1}, buffer.Sync)
	c.Commit(func(err error) {
		if err != nil { // the store tries again by itself: this is its end
			l.fail(fmt.Errorf("write that packet identifiers are free again: %w", err))
			return // still begun: the next try would fail at once, without end
		}
		l.mu.Lock()
		l.barrier, l.passed = false, true
		l.mu.Unlock()
		l.signal()
	})
	return false
}

func (l *link) id(seq uint64) uint16 { return uint16(1 + seq%l.b.tuning.modulus) }

// resume continues with PUBREL what was received in an earlier connection. The end
// of the handshake sets the entry aside if why is not nil.
func (l *link) resume(buf []byte, e buffer.Entry, why error) []byte {
	id := l.id(e.Seq)
	l.mu.Lock()
	l.flights.add(id, flight{seq: e.Seq, qos: 2, state: released, aside: why})
	l.mu.Unlock()
	l.b.newest = max(l.b.newest, e.Seq)
	return (&packet.Ack{Kind: packet.PUBREL, ID: id}).Append(buf, packet.V5)
}

// setAside is for an entry that is not to be sent. If the server may have it already
// at QoS 2, its identifier stays in use until PUBREL has ended that handshake: else
// the next message with it would be taken for this one. qos is what it may have been
// sent with.
func (l *link) setAside(buf []byte, e buffer.Entry, qos byte, why error) []byte {
	if e.Again && min(qos, l.maxQoS) == 2 {
		return l.resume(buf, e, why)
	}
	l.b.reject(e.Seq, why)
	return buf
}

// publish appends the PUBLISH of an entry, or settles the entry if there is none
// to send.
func (l *link) publish(buf []byte, e buffer.Entry) []byte {
	b, q := l.b, l.b.queue
	rec, err := b.records.Decode(e)
	if err != nil {
		return l.setAside(buf, e, 2, fmt.Errorf("the record can not be read: %w", err))
	}
	if b.staysHome(&rec) {
		if e.Again && min(rec.QoS, l.maxQoS) == 2 {
			return l.resume(buf, e, nil)
		}
		q.Ack(e.Seq)
		return buf
	}
	to, route := b.up.find(rec.Message.Topic)
	if route == nil {
		return l.setAside(buf, e, rec.QoS, fmt.Errorf("no route leads %q up any more", rec.Message.Topic))
	}
	qos := route.qos
	if e.Again {
		qos = rec.QoS // that of the route when it came: the server may be in a handshake with it
	}
	p := packet.Publish{
		Topic:      []byte(to),
		Payload:    rec.Message.Payload,
		QoS:        packet.QoS(min(qos, rec.QoS, l.maxQoS)),
		Retain:     route.retains(rec.Retain) && l.retain,
		Properties: upProperties(&rec),
	}
	if p.QoS > 0 {
		p.ID, p.DUP = l.id(e.Seq), e.Again // [MQTT-3.3.1-1]
	}
	if n := p.Size(packet.V5); n > l.maxPacket { // [MQTT-3.2.2-15]
		return l.setAside(buf, e, rec.QoS, fmt.Errorf("the message to %q has %d bytes as a packet, and the server takes %d", to, n, l.maxPacket))
	}
	if p.Size(packet.V5)+aliasMost <= l.maxPacket {
		l.shorten(&p)
	}
	before := len(buf)
	buf = p.Append(buf, packet.V5)
	l.throttle.sent(len(buf) - before)
	if p.QoS == 0 {
		q.Ack(e.Seq)
		b.counts.sent.Add(1)
		return buf
	}
	if p.DUP {
		b.counts.resent.Add(1)
	}
	l.mu.Lock()
	l.flights.add(p.ID, flight{seq: e.Seq, qos: byte(p.QoS)})
	l.mu.Unlock()
	b.newest = max(b.newest, e.Seq)
	return buf
}

// shorten puts a number in the place of the topic if that saves bytes.
func (l *link) shorten(p *packet.Publish) {
	n, known := l.aliases.number(string(p.Topic))
	if n == 0 {
		return
	}
	p.Properties.Has |= packet.HasTopicAlias
	p.Properties.TopicAlias = n
	if known {
		p.Topic = nil
	}
}

// staysHome reports whether a message is not to go up that is in the queue: from a
// time when another configuration was in force.
func (b *Bridge) staysHome(rec *broker.Record) bool {
	return isOwn(b.env.Prefix, rec.Message.Topic) || !b.hears(rec.Message.Origin)
}

// upProperties are those of the message, and when and as what it entered the
// gateway. Properties of the same name that a publisher set stay in front.
func upProperties(rec *broker.Record) packet.Properties {
	var p packet.Properties
	if rec.Message.Properties != nil {
		p = *rec.Message.Properties
	}
	p.Has &^= packet.HasTopicAlias
	p.SubscriptionIDs = nil // [MQTT-3.3.4-6]
	if p.Has&packet.HasMessageExpiry != 0 {
		// What is left [MQTT-3.3.2-6]. Never nothing: what may have been sent goes
		// again whatever its time.
		p.MessageExpiry = max(1, p.MessageExpiry)
	}
	p.UserProperties = append(slices.Clip(p.UserProperties),
		packet.UserProperty{Key: "id", Value: hex.EncodeToString(rec.ID[:])},
		packet.UserProperty{Key: "ts", Value: stamp(rec.Message.At)})
	return p
}
