package broker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// inbox is a sink that keeps what it gets.
type inbox struct {
	mu      sync.Mutex
	got     []string
	deliver func(d *broker.Delivery)
}

func (i *inbox) Deliver(d *broker.Delivery) {
	i.mu.Lock()
	i.got = append(i.got, fmt.Sprintf("%s=%s qos%d retain=%v replay=%v ids=%v", d.Message.Topic, d.Message.Payload, d.QoS, d.Retain, d.Replay, d.SubscriptionIDs))
	i.mu.Unlock()
	if i.deliver != nil {
		i.deliver(d)
	}
}

func (i *inbox) list() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.got...)
}

func wait(t *testing.T, r *broker.Receipt) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), brokertest.Patience)
	defer cancel()
	err := r.Wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("the receipt is not done")
	}
	return err
}

func TestLocalsHearEachOtherAndNotThemselves(t *testing.T) {
	h := open(t, t.TempDir(), config())
	a, b := h.Local("a", broker.Rights{}), h.Local("b", broker.Rights{})
	if err := wait(t, a.Publish(broker.Message{Topic: "kept", Payload: []byte("k"), QoS: 1, Retain: true})); err != nil {
		t.Fatal(err)
	}
	var inA, inB inbox
	for _, sub := range []struct {
		l *broker.Local
		i *inbox
	}{{a, &inA}, {b, &inB}} {
		if err := sub.l.Subscribe("#", broker.SubscribeOptions{QoS: 1, ID: 7}, sub.i); err != nil {
			t.Fatal(err)
		}
	}
	if err := wait(t, a.Publish(broker.Message{Topic: "t", Payload: []byte("x"), QoS: 2})); err != nil {
		t.Fatal(err)
	}
	c := connect(t, h, packet.V311, "c", true)
	c.Send(message("from/client", "y", 0)).ExpectNothing()
	b.Unsubscribe("#")
	c.Send(message("late", "z", 0)).ExpectNothing()
	wantA := []string{"kept=k qos1 retain=true replay=true ids=[7]", "from/client=y qos0 retain=false replay=false ids=[7]", "late=z qos0 retain=false replay=false ids=[7]"}
	wantB := []string{"kept=k qos1 retain=true replay=true ids=[7]", "t=x qos1 retain=false replay=false ids=[7]", "from/client=y qos0 retain=false replay=false ids=[7]"}
	if got := inA.list(); strings.Join(got, "\n") != strings.Join(wantA, "\n") {
		t.Errorf("a got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wantA, "\n"))
	}
	if got := inB.list(); strings.Join(got, "\n") != strings.Join(wantB, "\n") {
		t.Errorf("b got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wantB, "\n"))
	}
}

// A client chooses its identifier: it is not taken for the Local of that name.
func TestAClientIsNotTakenForALocal(t *testing.T) {
	h := open(t, t.TempDir(), config())
	var in inbox
	var origins []string
	in.deliver = func(d *broker.Delivery) { origins = append(origins, d.Message.Origin) }
	if err := h.Local("observer", broker.Rights{}).Subscribe("#", broker.SubscribeOptions{QoS: 1}, &in); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, h.Local("field", broker.Rights{}).Publish(broker.Message{Topic: "a", Payload: []byte("x"), QoS: 1, Retain: true})); err != nil {
		t.Fatal(err)
	}
	m := message("b", "x", 1)
	m.ID, m.Retain = 1, true
	connect(t, h, packet.V5, "field", true).Send(m).Expect(ack(packet.PUBACK, 1))
	if want := []string{"field", ""}; !slices.Equal(origins, want) {
		t.Errorf("delivered from %q, want %q", origins, want)
	}
	var kept []string
	for _, m := range h.Retained("#", 0) {
		kept = append(kept, m.Topic+" from "+m.Origin)
	}
	if want := []string{"a from field", "b from "}; !slices.Equal(kept, want) {
		t.Errorf("retained %q, want %q", kept, want)
	}
}

func TestRightsOfALocal(t *testing.T) {
	h := open(t, t.TempDir(), config())
	l := h.Local("l", broker.Rights{Publish: []string{"out/#"}, Subscribe: []string{"in/+"}})
	for topic, want := range map[string]packet.ReasonCode{"out/x": 0, "else": packet.NotAuthorized, "out/#": packet.TopicNameInvalid, "": packet.TopicNameInvalid} {
		err := wait(t, l.Publish(broker.Message{Topic: topic, QoS: 1}))
		var refused broker.ErrRefused
		if errors.As(err, &refused); refused.Code != want {
			t.Errorf("publish to %q: %v, want code %v", topic, err, want)
		}
	}
	var in inbox
	if err := l.Subscribe("#", broker.SubscribeOptions{}, &in); err != nil {
		t.Fatal(err)
	}
	c := connect(t, h, packet.V311, "c", true)
	c.Send(message("in/x", "1", 0), message("else", "2", 0)).ExpectNothing()
	if got := in.list(); len(got) != 1 {
		t.Errorf("got %q, want in/x only", got)
	}
}

// The acknowledgement waits for whoever holds the receipt, and says what he says.
func TestHeldReceiptHoldsTheAcknowledgement(t *testing.T) {
	h := open(t, t.TempDir(), config())
	l := h.Local("l", broker.Rights{})
	releases := make(chan func(error), 4)
	in := inbox{deliver: func(d *broker.Delivery) { releases <- d.Receipt.Hold() }}
	if err := l.Subscribe("t", broker.SubscribeOptions{QoS: 2}, &in); err != nil {
		t.Fatal(err)
	}
	c := connect(t, h, packet.V5, "c", true)
	for i, qos := range []packet.QoS{1, 2} {
		kind := []packet.Type{packet.PUBACK, packet.PUBREC}[i]
		m := message("t", "x", qos)
		m.ID = 1
		c.Send(m).ExpectNothing()
		(<-releases)(nil)
		c.Expect(ack(kind, 1))
		m.ID = 2
		c.Send(m).ExpectNothing()
		(<-releases)(broker.ErrRefused{Code: packet.QuotaExceeded, Reason: "no room"})
		got := c.Receive().(*packet.Ack)
		if got.Kind != kind || got.Code != packet.QuotaExceeded || got.ReasonString != "no room" {
			t.Errorf("QoS %d: got %+v, want 0x97 with the reason", qos, got)
		}
	}
	// 3.1.1 has no word for it: the connection is closed, so that it is sent again
	// [v3 MQTT-4.8.0-2].
	old := connect(t, h, packet.V311, "old", true)
	m := message("t", "x", 1)
	m.ID = 1
	old.Send(m)
	(<-releases)(broker.ErrRefused{Code: packet.QuotaExceeded, Reason: "no room"})
	old.ExpectClosed()
	// What will never be accepted is acknowledged there [v3 MQTT-3.3.5-2].
	old = connect(t, h, packet.V311, "old", true)
	old.Send(m)
	(<-releases)(broker.ErrRefused{Code: packet.NotAuthorized, Reason: "no"})
	old.Expect(ack(packet.PUBACK, 1))
}

func TestDurableSessionOfALocal(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	local := func(h *house) (*broker.Local, *broker.Session) {
		l := h.Local("cloud", broker.Rights{})
		s, err := l.Session(buffer.Limits{Messages: 100})
		if err != nil {
			t.Fatal(err)
		}
		c := h.store.Begin()
		c.Attach(s.Queue(), buffer.Sync)
		c.Commit(nil)
		if err := s.Subscribe("t/#", broker.SubscribeOptions{QoS: 2, ID: 3, RetainAsPublished: true}); err != nil {
			t.Fatal(err)
		}
		if err := s.Subscribe("t/+", broker.SubscribeOptions{QoS: 1, ID: 4}); err != nil {
			t.Fatal(err)
		}
		return l, s
	}
	l, s := local(h)
	c := connect(t, h, packet.V5, "c", true)
	m := message("t/x", "hello", 2)
	m.ID = 1
	m.Retain = true
	m.Properties.UserProperties = []packet.UserProperty{{Key: "k", Value: "v"}}
	c.Send(m).Expect(ack(packet.PUBREC, 1))
	c.Send(message("t/zero", "0", 0)).ExpectNothing()
	l.Publish(broker.Message{Topic: "t/own", QoS: 1}) // no echo
	<-s.Wake()
	next := func(s *broker.Session) broker.Record {
		t.Helper()
		for {
			e, ok, err := s.Queue().Next()
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				r, err := h.Decoder().Decode(e)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			<-s.Wake()
		}
	}
	r := next(s)
	if r.Message.Topic != "t/x" || string(r.Message.Payload) != "hello" || r.QoS != 2 || !r.Retain || fmt.Sprint(r.SubscriptionIDs) != "[3 4]" && fmt.Sprint(r.SubscriptionIDs) != "[4 3]" ||
		r.Message.Origin != "" || r.Message.Properties == nil || r.Message.Properties.UserProperties[0].Value != "v" || time.Since(r.Message.At) > time.Minute {
		t.Errorf("the record is %+v", r)
	}
	first := r.ID
	if r = next(s); r.Message.Topic != "t/zero" || r.QoS != 0 || r.ID == first {
		t.Errorf("the second record is %+v", r)
	}
	if _, ok, _ := s.Queue().Next(); ok {
		t.Error("a third record, of its own")
	}
	h.stop()
	h = open(t, dir, config())
	_, s = local(h)
	if r = next(s); r.Message.Topic != "t/x" || r.ID != first {
		t.Errorf("after the restart the first record is %+v", r)
	}
}

func TestQueueThatRefuses(t *testing.T) {
	h := open(t, t.TempDir(), config())
	l := h.Local("cloud", broker.Rights{})
	s, err := l.Session(buffer.Limits{Messages: 1, WhenFull: buffer.Refuse})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("t", broker.SubscribeOptions{QoS: 1}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, h, packet.V5, "c", true)
	subscribe(t, c, "t", 0)
	m := message("t", "x", 1)
	m.ID = 1
	c.Send(m).ExpectInAnyOrder(message("t", "x", 0), ack(packet.PUBACK, 1))
	m.ID = 2
	got := c.Send(m).Receive().(*packet.Ack)
	if got.Code != packet.QuotaExceeded || !strings.Contains(got.ReasonString, "local/cloud") {
		t.Errorf("got %+v, want 0x97 that names the queue", got)
	}
	c.ExpectNothing() // decided before anything was delivered
	err = wait(t, h.Local("other", broker.Rights{}).Publish(broker.Message{Topic: "t", QoS: 1}))
	var refused broker.ErrRefused
	if !errors.As(err, &refused) || refused.Code != packet.QuotaExceeded {
		t.Errorf("a Local gets %v, want 0x97", err)
	}
}

func TestWithinIsWrittenWithTheMessage(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	table := h.store.Table("mine")
	err := wait(t, h.Local("l", broker.Rights{}).Publish(broker.Message{Topic: "t", QoS: 2, Retain: true, Payload: []byte("x")},
		broker.Within(func(c *buffer.Change) { c.Put(table, []byte("key"), []byte("value"), buffer.Sync) })))
	if err != nil {
		t.Fatal(err)
	}
	h.stop()
	h = open(t, dir, config())
	if v, ok, err := h.store.Table("mine").Get([]byte("key")); err != nil || !ok || string(v) != "value" {
		t.Errorf("after the restart: %q, %v, %v", v, ok, err)
	}
}

// A value that is published again and again unchanged does not wear the card.
func TestUnchangedRetainedValueIsNotWritten(t *testing.T) {
	h := open(t, t.TempDir(), config())
	c := connect(t, h, packet.V311, "c", true)
	publish := func(payload string) {
		m := message("t", payload, 1)
		m.Retain, m.ID = true, 1
		c.Send(m).Expect(ack(packet.PUBACK, 1))
	}
	publish("same")
	before := h.store.Stats().BytesWritten
	for range 20 {
		publish("same")
	}
	if n := h.store.Stats().BytesWritten - before; n != 0 {
		t.Errorf("%d bytes written for nothing new", n)
	}
	publish("other")
	if h.store.Stats().BytesWritten == before {
		t.Error("a new value was acknowledged and not written")
	}
}

func TestPanicEndsOneConnectionOnly(t *testing.T) {
	h := open(t, t.TempDir(), config())
	l := h.Local("l", broker.Rights{})
	in := inbox{deliver: func(*broker.Delivery) { panic("of a test") }}
	if err := l.Subscribe("panic", broker.SubscribeOptions{}, &in); err != nil {
		t.Fatal(err)
	}
	lasting := connect(t, h, packet.V311, "lasting", false)
	subscribe(t, lasting, "#", 1)
	other := connect(t, h, packet.V311, "other", true)
	c := connect(t, h, packet.V311, "c", true)
	m := message("panic", "x", 1)
	m.ID = 1
	c.Send(m).ExpectClosed()
	m = message("fine", "x", 1)
	m.ID = 2
	other.Send(m).Expect(ack(packet.PUBACK, 2))
	for {
		if p := lasting.Receive().(*packet.Publish); string(p.Topic) == "fine" {
			break
		}
	}
	if n := h.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	h.panics = 1
}

func TestSysTopics(t *testing.T) {
	cfg := config()
	cfg.SysInterval = time.Second
	timed(t, cfg, func(t *testing.T, h *house) {
		c := connect(t, h, packet.V311, "c", true)
		subscribe(t, c, "$SYS/#", 0)
		want := map[string]bool{}
		for _, name := range strings.Fields("version uptime clients/connected clients/total clients/maximum messages/received messages/sent bytes/received " +
			"publish/messages/received publish/messages/dropped subscriptions/count load/messages/received/1min heap/current") {
			want["$SYS/broker/"+name] = true
		}
		for len(want) > 0 {
			p, ok := c.Receive().(*packet.Publish)
			if !ok {
				t.Fatalf("received something else with %v still to come", want)
			}
			delete(want, string(p.Topic))
		}
		// Nobody else publishes there.
		m := message("$SYS/broker/version", "mine", 1)
		m.ID = 9
		five := connect(t, h, packet.V5, "five", true)
		five.Send(m).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 9, Code: packet.NotAuthorized})
	})
}

func TestWhatIsNotMQTTIsClosedAndCounted(t *testing.T) {
	h := open(t, t.TempDir(), config())
	for i, bytes := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH-2.0-x\r\n", "\x00\x00\x00\x00"} {
		brokertest.Dial(t, h.addr, packet.V311).TrySend([]byte(bytes)).ExpectClosed()
		if n := h.Stats().NotMQTT; n != int64(i+1) {
			t.Errorf("after %q %d are counted, want %d", bytes, n, i+1)
		}
	}
	connect(t, h, packet.V311, "fine", true).ExpectNothing()
}

func TestReceiveMaximumOfTheBroker(t *testing.T) {
	cfg := config()
	cfg.ReceiveMaximum = 2
	h := open(t, t.TempDir(), cfg)
	c, hello := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "c", CleanStart: true})
	if hello.ReceiveMaximum != 2 {
		t.Errorf("the CONNACK says %d, want 2", hello.ReceiveMaximum)
	}
	m := message("t", "x", 2)
	for id := uint16(1); id <= 3; id++ {
		m.ID = id
		c.Send(m)
	}
	c.Expect(ack(packet.PUBREC, 1), ack(packet.PUBREC, 2)).ExpectClosed(packet.ReceiveMaximumExceeded) // [MQTT-3.3.4-7]
}

func TestTooLargePacketIsRefusedByItsHeader(t *testing.T) {
	cfg := config()
	cfg.MaxPacketSize = 2000
	h := open(t, t.TempDir(), cfg)
	c := connect(t, h, packet.V5, "c", true)
	c.SendBytes([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}).ExpectClosed(packet.PacketTooLarge)
}

func TestWhatIsNotSupportedIsRefused(t *testing.T) {
	for name, change := range map[string]func(*broker.Config){
		"shared_strategy":       func(c *broker.Config) { c.SharedStrategy = "first-come" },
		"max_retained_messages": func(c *broker.Config) { c.MaxRetainedMessages = -1 },
		"max_retained_bytes":    func(c *broker.Config) { c.MaxRetainedBytes = -1 },
		"max_keep_alive":        func(c *broker.Config) { c.MaxKeepAlive = 1500 * time.Millisecond },
		"response_prefix":       func(c *broker.Config) { c.ResponsePrefix = "answers/#" },
		"retry":                 func(c *broker.Config) { c.Retry = []time.Duration{time.Second, 0} },
	} {
		c := broker.DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
	if err := broker.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"no colon", "a:$8$x$y", "a:$7$0$QUFB$QUFB", "a:$7$101$!$x"} {
		file := t.TempDir() + "/passwd"
		if err := os.WriteFile(file, []byte("# comment\n\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		h := open(t, t.TempDir(), config())
		l := broker.ListenerConfig{Address: "tcp://127.0.0.1:0", PasswordFile: file}
		_, opened := broker.Listen(l)
		ln, err := broker.Listen(broker.ListenerConfig{Address: l.Address})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{opened, h.Serve(t.Context(), ln, l)} {
			if err == nil || !strings.Contains(err.Error(), file+":3:") {
				t.Errorf("password file %q: got %v, want an error with its line", text, err)
			}
		}
	}
}

// A QoS 2 message that a sink refuses leaves nothing behind: its identifier stands
// for a new message, also after a restart [MQTT-4.3.3-9].
func TestRefusedQoS2IdentifierIsFreeAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for _, refuse := range []bool{true, false} {
		h := open(t, dir, config())
		in := inbox{deliver: func(d *broker.Delivery) {
			if refuse {
				d.Receipt.Hold()(broker.ErrRefused{Code: packet.QuotaExceeded, Reason: "full"})
			}
		}}
		if err := h.Local("l", broker.Rights{}).Subscribe("t", broker.SubscribeOptions{QoS: 2}, &in); err != nil {
			t.Fatal(err)
		}
		m := message("t", "x", 2)
		m.ID = 7
		want := &packet.Ack{Kind: packet.PUBREC, ID: 7}
		if refuse {
			want.Code = packet.QuotaExceeded
		}
		connect(t, h, packet.V5, "c", false).Send(m).Expect(want)
		if n := len(in.list()); n != 1 {
			t.Errorf("refused %v: delivered %d times, want once", refuse, n)
		}
		h.stop()
	}
}
