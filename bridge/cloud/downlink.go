package cloud

import (
	"errors"
	"fmt"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// We chose these.
const (
	// receiveMaximum is how many messages the server may have under way to us:
	// some more than the store writes at once.
	receiveMaximum = 500

	// maxInbound is the largest packet that we take from a server, in bytes.
	maxInbound = 1 << 20

	// mostUnsafe and mostUnsafeBytes are where we stop to be patient. Mosquitto
	// 2.0.11 counts anew at every reconnect and so has more under way than it may, after
	// hours of cuts several thousands, all of which it sends again at once: to throw it
	// out for that would be a loop without an end. So the number is bounded by that of
	// packet identifiers alone, and what counts is what is not on disk yet.
	mostUnsafe      = 65535
	mostUnsafeBytes = 32 << 20

	// mostAnswers is how many bytes of acknowledgements may wait for a server that
	// reads nothing: more than one for each packet identifier, of every kind.
	mostAnswers = 1 << 20
)

// errDeaf ends a link: to tell the server why would wait for it to read.
var errDeaf = errors.New("the server asks for acknowledgements and does not read them: more wait than there are packet identifiers")

// inboundMessage is a PUBLISH from the server.
type inboundMessage struct {
	id  uint16
	dup bool
	broker.Message
}

// take adds an acknowledgement to its kind.
func (l *link) take(kind *turns, id uint16) *turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return kind.take(id)
}

// ready lets an acknowledgement leave when its turn has come.
func (l *link) ready(t *turn, code packet.ReasonCode) {
	l.mu.Lock()
	t.ready, t.code = true, code
	l.moved = l.moved || code == packet.Success
	l.out = l.pubacks.release(l.out)
	l.out = l.pubrecs.release(l.out)
	l.out = l.pubcomps.release(l.out)
	deaf := len(l.out) > mostAnswers || len(l.pubcomps.wait) > mostUnsafe
	l.mu.Unlock()
	if deaf {
		l.fail(errDeaf)
		return
	}
	l.signal()
}

// arrived takes a message from the server. It never waits: the answer follows
// when the message is safe.
func (l *link) arrived(m inboundMessage) {
	if m.QoS > 2 {
		l.violated(packet.MalformedPacket, "a message of QoS 3")
		return
	}
	if m.QoS > 0 {
		l.mu.Lock()
		waiting := len(l.pubacks.wait) + len(l.pubrecs.wait)
		l.mu.Unlock()
		if waiting >= mostUnsafe || l.b.unsafe.Load() > mostUnsafeBytes { // [MQTT-3.3.4-9]
			l.violated(packet.ReceiveMaximumExceeded, fmt.Sprintf("%d messages under way, where it was told to send at most %d", waiting, receiveMaximum))
			return
		}
	}
	switch m.QoS {
	case 0:
		l.deliver(m, func(error) {})
	case 1:
		t := l.take(&l.pubacks, m.id)
		l.deliver(m, func(err error) { l.answer(t, err) })
	case 2:
		in := l.b.inbound
		a, fresh := in.begin(l, m.id, l.unsure && !m.dup)
		if !fresh {
			l.b.counts.duplicates.Add(1)
			return
		}
		keep := broker.Within(func(c *buffer.Change) { in.keep(c, m.id) })
		l.deliver(m, func(err error) {
			newest, t := in.end(m.id, a, err)
			newest.answer(t, err)
		}, keep)
	}
}

// deliver publishes a message on its route. done is called once, with the
// outcome: when the message is safe, or will never be.
func (l *link) deliver(m inboundMessage, done func(error), opts ...broker.PublishOption) {
	b, size := l.b, int64(len(m.Payload))
	b.unsafe.Add(size)
	count := func(err error) {
		b.unsafe.Add(-size)
		b.countArrival(err)
		done(err)
	}
	to, route := b.down.find(m.Topic)
	switch {
	case route == nil:
		// Of a subscription of old that is about to go: nobody wants it any more.
		count(broker.ErrRefused{Code: packet.ImplementationSpecificError, Reason: "no route leads it down"})
	case isOwn(b.env.Prefix, to):
		count(broker.ErrRefused{Code: packet.NotAuthorized, Reason: "only the gateway itself speaks of itself"})
	default:
		m.Topic, m.QoS = to, min(m.QoS, route.qos)
		b.local.Publish(m.Message, opts...).Done(count)
	}
}

// answer acknowledges a message with the outcome of its publish.
func (l *link) answer(t *turn, err error) {
	var r broker.ErrRefused
	switch {
	case err == nil:
		l.ready(t, packet.Success)
	case errors.As(err, &r):
		l.ready(t, answerCode(r.Code))
	default:
		// The store failed: the server must keep the message. Without an answer it
		// sends it again in the next connection.
		l.fail(fmt.Errorf("keep a message from the server: %w", err))
	}
}

// answerCode is the code itself where PUBACK and PUBREC may carry it
// [MQTT-3.4.2-1] [MQTT-3.5.2-1].
func answerCode(c packet.ReasonCode) packet.ReasonCode {
	switch c {
	case packet.UnspecifiedError, packet.NotAuthorized, packet.TopicNameInvalid, packet.QuotaExceeded, packet.PayloadFormatInvalid:
		return c
	}
	return packet.ImplementationSpecificError
}

func (b *Bridge) countArrival(err error) {
	if err != nil {
		b.counts.refused.Add(1)
		b.note(fmt.Errorf("a message from the server was not taken: %w", err))
		return
	}
	b.counts.received.Add(1)
}

// pubrel ends a QoS 2 handshake as its receiver.
func (l *link) pubrel(id uint16) {
	if !l.b.inbound.release(l, id) {
		// Finished before, or never begun: the server may let go of it (3.7.2.1).
		l.ready(l.take(&l.pubcomps, id), packet.PacketIdentifierNotFound)
	}
}
