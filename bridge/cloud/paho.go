package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/log"
	"github.com/eclipse/paho.golang/paho/session"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// This file is all that knows how paho.golang v0.23.0 wants to be spoken to. Of
// the library it uses CONNECT, the reader, keep alive, SUBSCRIBE and UNSUBSCRIBE.
// The session is ours: the library's own deletes what is under way when a server
// has lost the session, and writes PUBREC before it has kept the message.

// packetTimeout bounds the wait for CONNACK, SUBACK and UNSUBACK.
const packetTimeout = 10 * time.Second

// connect sends CONNECT and returns when CONNACK has been handled. After a nil
// error the client runs until Done is closed.
func (l *link) connect(ctx context.Context, who login, cleanStart bool) error {
	b := l.b
	expiry, receive, largest := b.expiry, uint16(receiveMaximum), uint32(maxInbound)
	will := paho.WillMessage{Topic: b.statusTopic, Payload: []byte("offline"), QoS: b.will.qos, Retain: b.will.retain}
	cp := &paho.Connect{
		ClientID:     b.identity(l.server),
		KeepAlive:    uint16(b.cfg.KeepAlive / time.Second),
		CleanStart:   cleanStart,
		Username:     who.name,
		UsernameFlag: who.hasName,
		Password:     who.password,
		PasswordFlag: who.password != nil,
		WillMessage:  &will,
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry,
			ReceiveMaximum:        &receive,
			MaximumPacketSize:     &largest,
			RequestProblemInfo:    true,
		},
	}
	l.pinger = newPinger(l)
	manager := &sessionManager{l: l, ctx: ctx, cleanStart: cleanStart}
	l.client = paho.NewClient(paho.ClientConfig{
		Conn:          l.wire,
		Session:       manager,
		PingHandler:   l.pinger,
		PacketTimeout: packetTimeout,
		// Only QoS 0 comes this way.
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			l.arrived(fromServer(r.Packet.Packet()))
			return true, nil
		}},
	})
	ca, err := l.client.Connect(ctx, cp)
	if ca != nil && ca.ReasonCode >= 0x80 {
		return refusal{code: packet.ReasonCode(ca.ReasonCode), reason: ca.Properties.ReasonString, reference: ca.Properties.ServerReference}
	}
	switch cause := l.wire.cause(); {
	case err == nil:
		return nil
	case manager.err != nil:
		return manager.err
	case errors.Is(cause, errOldServer):
		return cause
	case errors.Is(cause, io.EOF):
		return errors.New("the server closed the connection instead of answering CONNECT (does it speak MQTT 5?)")
	case alertStep(cause) != "": // TLS 1.3: only now the server says what it thinks of our certificate
		return l.b.cfg.TLS.explain(l.server, cause)
	case cause != nil:
		return fmt.Errorf("no answer to CONNECT: %w", cause)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer to CONNECT within %v (is it an MQTT server?)", packetTimeout)
	}
	return fmt.Errorf("connect: %w", err)
}

// disconnect sends DISCONNECT, closes the connection and returns when the client
// has ended.
func (l *link) disconnect(code packet.ReasonCode) {
	_ = l.client.Disconnect(&paho.Disconnect{ReasonCode: byte(code)}) // the connection goes either way
	<-l.client.Done()
}

// subscribe asks for what the routes take down, and gives up what earlier
// configurations took. A refusal is no error of the link: the way up works.
func (l *link) subscribe(ctx context.Context) error {
	b := l.b
	l.mu.Lock()
	doubt := l.doubt
	l.mu.Unlock()
	if doubt {
		if err := l.decide(ctx); err != nil {
			return err
		}
	}
	stale := slices.DeleteFunc(slices.Clone(b.epoch.Filters), func(f string) bool { return slices.Contains(b.filters(), f) })
	if len(stale) > 0 {
		if codes, err := l.unlisten(ctx, stale...); err != nil || codes == nil {
			return err // without codes the link has ended, and knows why
		}
		b.epoch.Filters = b.filters()
		c := b.store.Begin()
		if err := b.epoch.put(c, b.table); err != nil {
			return err
		}
		c.Commit(nil) // if it does not last, they are given up once more
	}
	for _, r := range b.cfg.Down {
		if n := l.asks(r.From); n > l.maxPacket { // [MQTT-3.2.2-15]
			b.note(fmt.Errorf("the subscription to %q has %d bytes as a packet, and the server takes %d: it brings nothing (use a shorter from)", r.From, n, l.maxPacket))
			continue
		}
		answer, err := l.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{
			Topic: r.From,
			QoS:   byte(r.QoS),
			// What this gateway sent up does not come back, a retained command is
			// known as one, and an old subscription does not replay what is retained.
			NoLocal:           true,
			RetainAsPublished: true,
			RetainHandling:    byte(packet.SendRetainedIfNew),
		}}})
		switch {
		case err == nil:
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("no answer to SUBSCRIBE %q within %v", r.From, packetTimeout)
		case answer != nil, errors.Is(err, paho.ErrInvalidArguments):
			b.note(fmt.Errorf("the server refuses the subscription to %q: %w (may this user read there?)", r.From, err))
		default:
			return nil // the link has ended, and knows why
		}
	}
	return l.mark(ctx)
}

// listen subscribes to topics for nothing but being subscribed. ok is false if the
// server refuses one, or the link has ended before it answered.
func (l *link) listen(ctx context.Context, topics ...string) (answered, ok bool, err error) {
	var list []paho.SubscribeOptions
	for _, t := range topics {
		list = append(list, paho.SubscribeOptions{Topic: t, NoLocal: true, RetainHandling: byte(packet.NoRetained)})
	}
	answer, err := l.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: list})
	if errors.Is(err, context.DeadlineExceeded) {
		return false, false, fmt.Errorf("no answer to SUBSCRIBE %q within %v", topics, packetTimeout)
	}
	return answer != nil, err == nil, nil
}

// asks is how many bytes SUBSCRIBE has as a packet.
func (l *link) asks(topics ...string) int {
	var p packet.Subscribe
	for _, t := range topics {
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: t})
	}
	return len(p.Append(nil, packet.V5))
}

// unlisten gives subscriptions up and returns what the server says of each; nil if
// the link has ended.
func (l *link) unlisten(ctx context.Context, filters ...string) (codes []byte, err error) {
	answer, err := l.client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer to UNSUBSCRIBE %q within %v", filters, packetTimeout)
	case answer == nil:
		return nil, nil
	case len(answer.Reasons) != len(filters): // [MQTT-3.11.3-1]
		return nil, fmt.Errorf("the answer to UNSUBSCRIBE %q has %d reason codes", filters, len(answer.Reasons))
	}
	return answer.Reasons, nil
}

// refusal is a CONNACK that says no.
type refusal struct {
	code      packet.ReasonCode
	reason    string // the server's words, maybe none
	reference string // another server (4.11), maybe none
}

func (r refusal) Error() string {
	s := fmt.Sprintf("the server refuses the connection: %v (0x%02X)", r.code, byte(r.code))
	if r.reason != "" {
		s += fmt.Sprintf(", %q", r.reason)
	}
	return s
}

// sessionManager stands where the library keeps its session. It is called by the
// goroutine of Connect, then by the reader, and for requests by the bridge.
type sessionManager struct {
	l          *link
	ctx        context.Context // of the connect
	cleanStart bool
	err        error // why CONNACK could not be accepted
}

var _ session.SessionManager = (*sessionManager)(nil)

func (s *sessionManager) ConAckReceived(_ io.Writer, _ *packets.Connect, ca *packets.Connack) error {
	s.err = s.l.accepted(s.ctx, ca, s.cleanStart)
	return s.err
}

// ConnectionLost comes with the server's DISCONNECT, or with nil at the end. It
// may come more than once.
func (s *sessionManager) ConnectionLost(dp *packets.Disconnect) error {
	if dp != nil {
		d := disconnected{code: packet.ReasonCode(dp.ReasonCode)}
		if dp.Properties != nil {
			d.reason, d.reference = dp.Properties.ReasonString, dp.Properties.ServerReference
		}
		s.l.fail(d)
	}
	s.l.dropRequests()
	return nil
}

// disconnected is a DISCONNECT from the server.
type disconnected struct {
	code      packet.ReasonCode
	reason    string
	reference string
}

func (d disconnected) Error() string {
	s := fmt.Sprintf("the server ends the connection: %v (0x%02X)", d.code, byte(d.code))
	if d.code == packet.NormalDisconnection {
		s = "the server ends the connection"
	}
	if d.reason != "" {
		s += fmt.Sprintf(", %q", d.reason)
	}
	return s
}

// AddToSession gives requests an identifier. Messages never come here.
func (s *sessionManager) AddToSession(_ context.Context, p session.Packet, resp chan<- packets.ControlPacket) error {
	if p.Type() != packets.SUBSCRIBE && p.Type() != packets.UNSUBSCRIBE {
		return fmt.Errorf("packet type %d does not belong in the session", p.Type())
	}
	id, err := s.l.request(resp)
	if err != nil {
		return err
	}
	p.SetIdentifier(id)
	return nil
}

// PacketReceived must not wait: nothing else is read meanwhile. The library does
// not look at its error.
func (s *sessionManager) PacketReceived(cp *packets.ControlPacket, _ chan<- *packets.Publish) error {
	ack := func(kind packet.Type, code byte) {
		s.l.acknowledged([]packet.Ack{{Kind: kind, ID: cp.PacketID(), Code: packet.ReasonCode(code)}})
	}
	switch p := cp.Content.(type) {
	case *packets.Publish:
		s.l.arrived(fromServer(p))
	case *packets.Puback: // with properties; others do not come this way: see acks.go
		ack(packet.PUBACK, p.ReasonCode)
	case *packets.Pubrec:
		ack(packet.PUBREC, p.ReasonCode)
	case *packets.Pubrel:
		ack(packet.PUBREL, p.ReasonCode)
	case *packets.Pubcomp:
		ack(packet.PUBCOMP, p.ReasonCode)
	case *packets.Suback, *packets.Unsuback:
		s.l.answered(*cp)
	}
	return nil
}

func (s *sessionManager) Ack(*packets.Publish) error { return nil } // QoS 0 has none
func (s *sessionManager) Close() error               { return nil }
func (s *sessionManager) SetErrorLogger(log.Logger)  {}
func (s *sessionManager) SetDebugLogger(log.Logger)  {}

// request gives a SUBSCRIBE or UNSUBSCRIBE an identifier.
func (l *link) request(resp chan<- packets.ControlPacket) (uint16, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.requests == nil {
		return 0, session.ErrNoConnection
	}
	id := uint16(firstRequest)
	for ; l.requests[id] != nil; id++ {
		if id == lastRequest {
			return 0, session.ErrPacketIdentifiersExhausted
		}
	}
	l.requests[id] = resp
	return id, nil
}

func (l *link) answered(cp packets.ControlPacket) {
	l.mu.Lock()
	resp := l.requests[cp.PacketID()]
	delete(l.requests, cp.PacketID())
	l.mu.Unlock()
	if resp != nil {
		resp <- cp // has room for one
	}
}

// dropRequests answers those who wait with nothing: the library takes it for the
// end of the connection.
func (l *link) dropRequests() {
	l.mu.Lock()
	waiting := l.requests
	l.requests = nil
	l.mu.Unlock()
	for _, resp := range waiting {
		resp <- packets.ControlPacket{}
	}
}

// fromServer turns the library's PUBLISH into a message.
func fromServer(p *packets.Publish) inboundMessage {
	m := inboundMessage{id: p.PacketID, dup: p.Duplicate, Message: broker.Message{
		Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain,
	}}
	from := p.Properties
	if from == nil {
		return m
	}
	var to packet.Properties
	if from.PayloadFormat != nil {
		to.Has |= packet.HasPayloadFormat
		to.PayloadFormat = *from.PayloadFormat
	}
	if from.MessageExpiry != nil {
		to.Has |= packet.HasMessageExpiry
		to.MessageExpiry = *from.MessageExpiry
	}
	if from.ContentType != "" {
		to.Has |= packet.HasContentType
		to.ContentType = from.ContentType
	}
	if from.ResponseTopic != "" {
		to.Has |= packet.HasResponseTopic
		to.ResponseTopic = from.ResponseTopic
	}
	if len(from.CorrelationData) > 0 {
		to.Has |= packet.HasCorrelationData
		to.CorrelationData = from.CorrelationData
	}
	for _, u := range from.User {
		to.UserProperties = append(to.UserProperties, packet.UserProperty(u))
	}
	if !to.IsZero() {
		m.Properties = &to
	}
	return m
}
