package broker_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

func ack(kind packet.Type, id uint16) *packet.Ack { return &packet.Ack{Kind: kind, ID: id} }

func message(topic, payload string, qos packet.QoS) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: qos}
}

func connect(t testing.TB, h *house, v packet.Version, id string, clean bool) *brokertest.Client {
	t.Helper()
	c, _ := h.join(t, v, &packet.Connect{ClientID: id, CleanStart: clean, SessionExpiry: expiryOf(clean)})
	return c
}

func expiryOf(clean bool) uint32 {
	if clean {
		return 0
	}
	return 3600
}

func subscribe(t testing.TB, c *brokertest.Client, filter string, qos packet.QoS) {
	t.Helper()
	c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: qos}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.ReasonCode(qos)}})
}

func TestSessionSurvivesARestart(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		t.Run(v.String(), func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir, config())
			b := connect(t, h, v, "b", false)
			subscribe(t, b, "t/#", 2)
			a := connect(t, h, v, "a", false)
			m := message("t/x", "sent", 2)
			m.ID = 5
			a.Send(m).Expect(ack(packet.PUBREC, 5)) // and no PUBREL
			b.Expect(message("t/x", "sent", 2))
			sent := b.IDs()[0]
			b.Leave()
			for i, qos := range []packet.QoS{0, 1, 2} {
				m := message("t/y", fmt.Sprint("queued", qos), qos)
				if qos > 0 {
					m.ID = uint16(10 + i)
				}
				a.Send(m)
				switch qos {
				case 1:
					a.Expect(ack(packet.PUBACK, 11))
				case 2:
					a.Expect(ack(packet.PUBREC, 12)).Send(ack(packet.PUBREL, 12)).Expect(ack(packet.PUBCOMP, 12))
				}
			}
			h.stop()

			h = open(t, dir, config())
			if n := len(h.Clients()); n != 2 {
				t.Fatalf("%d sessions after the restart, want 2", n)
			}
			b, present := brokertest.Connect(t, h.addr, v, &packet.Connect{ClientID: "b", SessionExpiry: 3600})
			if !present.SessionPresent {
				t.Fatal("the session is gone")
			}
			again := message("t/x", "sent", 2)
			again.ID, again.DUP = sent, true
			// DUP for what was sent, none for what was not.
			b.Expect(again, message("t/y", "queued1", 1), message("t/y", "queued2", 2))
			// The publisher's identifier is known, too: the message is not routed again.
			a = connect(t, h, v, "a", false)
			m.DUP = true
			a.Send(m).Expect(ack(packet.PUBREC, 5)).Send(ack(packet.PUBREL, 5)).Expect(ack(packet.PUBCOMP, 5))
			b.ExpectNothing()
			// And subscriptions are.
			a.Send(message("t/z", "new", 0))
			b.Expect(message("t/z", "new", 0))
		})
	}
}

func TestMarksSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	b := connect(t, h, packet.V311, "b", false)
	subscribe(t, b, "t", 2)
	a := connect(t, h, packet.V311, "a", true)
	m := message("t", "x", 2)
	m.ID = 1
	a.Send(m).Expect(ack(packet.PUBREC, 1))
	b.Expect(message("t", "x", 2))
	id := b.IDs()[0]
	b.Send(ack(packet.PUBREC, id)).Expect(ack(packet.PUBREL, id))
	h.stop()
	h = open(t, dir, config())
	connect(t, h, packet.V311, "b", false).Expect(ack(packet.PUBREL, id)).Send(ack(packet.PUBCOMP, id)).ExpectNothing()
}

func TestRetainedMessagesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	a := connect(t, h, packet.V5, "a", true)
	long := strings.Repeat("long/", 1000) + "topic"
	keep := message(long, "kept", 1)
	keep.Retain, keep.ID = true, 1
	keep.Properties = packet.Properties{UserProperties: []packet.UserProperty{{Key: "k", Value: "v"}}}
	gone := message("gone", "x", 0)
	gone.Retain = true
	clear := message("gone", "", 0)
	clear.Retain = true
	a.Send(keep).Expect(ack(packet.PUBACK, 1)).Send(gone, clear).ExpectNothing()
	h.stop()
	h = open(t, dir, config())
	if got := h.Retained("#", 0); len(got) != 1 || got[0].Topic != long || string(got[0].Payload) != "kept" || got[0].Properties == nil {
		t.Fatalf("retained after the restart: %d messages, want the one", len(got))
	}
	b := connect(t, h, packet.V5, "b", true)
	subscribe(t, b, "#", 1)
	keep.ID = 0
	b.Expect(keep)
}

// A QoS 0 flood towards one who does not read takes nothing from the others.
func TestSlowSubscriberLosesOnlyItsOwn(t *testing.T) {
	h := open(t, t.TempDir(), config())
	slow := connect(t, h, packet.V311, "slow", true)
	subscribe(t, slow, "t", 0)
	fast := connect(t, h, packet.V311, "fast", true)
	subscribe(t, fast, "t", 0)
	a := connect(t, h, packet.V311, "a", true)
	payload := bytes.Repeat([]byte("x"), 64<<10)
	const n = 400 // 25 MiB: more than sockets and the outbox hold
	for range n {
		m := &packet.Publish{Topic: []byte("t"), Payload: payload}
		a.Send(m)
		fast.Expect(m)
	}
	if d := h.Stats().PublishDropped; d == 0 || d >= n {
		t.Errorf("%d messages dropped, want some of the %d of the slow one", d, n)
	}
	for _, c := range h.Clients() {
		if c.ID == "fast" && c.Dropped != 0 {
			t.Errorf("the fast one lost %d", c.Dropped)
		}
	}
}

func TestFullQueueDropsTheOldest(t *testing.T) {
	cfg := config()
	cfg.MaxQueuedMessages = 3
	h := open(t, t.TempDir(), cfg)
	b := connect(t, h, packet.V311, "b", false)
	subscribe(t, b, "t", 1)
	b.Leave()
	a := connect(t, h, packet.V311, "a", true)
	for i := range 5 {
		m := message("t", fmt.Sprint(i), 1)
		m.ID = uint16(i + 1)
		a.Send(m).Expect(ack(packet.PUBACK, m.ID))
	}
	connect(t, h, packet.V311, "b", false).
		Expect(message("t", "2", 1), message("t", "3", 1), message("t", "4", 1)).ExpectNothing()
}

func TestManyRetainedMessagesReachANewSubscriber(t *testing.T) {
	for _, qos := range []packet.QoS{0, 1} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			h := open(t, t.TempDir(), config())
			local := h.Local("filler", broker.Rights{})
			const n = 30000 // more than a queue of 10,000 holds, more than an outbox
			for i := range n {
				local.Publish(broker.Message{Topic: fmt.Sprintf("r/%05d", i), Payload: bytes.Repeat([]byte("x"), 100), QoS: byte(qos), Retain: true}, broker.Lazy())
			}
			c := connect(t, h, packet.V311, "c", true)
			c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "r/+", QoS: qos}}}).
				Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.ReasonCode(qos)}})
			for i := range n {
				p, ok := c.Receive().(*packet.Publish)
				if !ok || string(p.Topic) != fmt.Sprintf("r/%05d", i) || !p.Retain {
					t.Fatalf("message %d: got %v", i, p)
				}
				if qos == 1 {
					c.Send(ack(packet.PUBACK, p.ID))
				}
			}
			c.ExpectNothing()
		})
	}
}

func TestReplayedValueNeverOvertakesANewOne(t *testing.T) {
	h := open(t, t.TempDir(), config())
	local := h.Local("filler", broker.Rights{})
	const n = 5000
	topic := func(i int) string { return fmt.Sprintf("r/%05d", i) }
	old := bytes.Repeat([]byte("x"), 4<<10) // 20 MiB in all: more than sockets and the outbox hold
	for i := range n {
		local.Publish(broker.Message{Topic: topic(i), Payload: old, Retain: true}, broker.Lazy())
	}
	local.Publish(broker.Message{Topic: "r/last", Payload: []byte("unchanged"), Retain: true}, broker.Lazy())
	c := connect(t, h, packet.V311, "c", true)
	subscribe(t, c, "r/+", 0)
	// The replay has begun, and stands still, because nobody reads.
	for i := n - 1; i >= 0; i-- {
		local.Publish(broker.Message{Topic: topic(i), Payload: []byte("new"), Retain: true}, broker.Lazy())
	}
	local.Publish(broker.Message{Topic: "r/end", Payload: []byte("end")})
	seen := make(map[string]string)
	replayed := 0
	for end, last := false, false; !end || !last; {
		p := c.Receive().(*packet.Publish)
		switch string(p.Topic) {
		case "r/end":
			end = true
			continue
		case "r/last": // the replay has come to its end
			last = true
			continue
		}
		if p.Retain {
			replayed++
			if last := seen[string(p.Topic)]; last == "new" {
				t.Fatalf("%s: the retained value %q came after the new one", p.Topic, p.Payload)
			}
			if string(p.Payload) == "new" {
				t.Fatalf("%s: the new value came as a retained one, too", p.Topic)
			}
		}
		seen[string(p.Topic)] = string(p.Payload)
	}
	if len(seen) != n {
		t.Errorf("%d topics seen, want %d", len(seen), n)
	}
	for topic, value := range seen {
		if value != "new" {
			t.Errorf("%s: the last value is %q", topic, value)
		}
	}
	if replayed == 0 || replayed == n {
		t.Errorf("%d of %d values were replayed, want some: the test is about the others", replayed, n)
	}
}

func TestServerShuttingDownIsTold(t *testing.T) {
	h := open(t, t.TempDir(), config())
	five := connect(t, h, packet.V5, "five", true)
	three := connect(t, h, packet.V311, "three", true)
	h.stop()
	five.ExpectClosed(packet.ServerShuttingDown)
	three.ExpectClosed()
}

// [MQTT-3.1.4-2] [MQTT-3.2.2-7] [v3 MQTT-3.2.2-5]
func TestPasswordFile(t *testing.T) {
	t.Run("of Mosquitto", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "passwd")
		brokertest.Passwd(t, file, "anna", "secret")
		testPasswordFile(t, file)
	})
	t.Run("of our own", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "passwd")
		if err := os.WriteFile(file, []byte("anna:"+broker.HashPassword([]byte("secret"))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		testPasswordFile(t, file)
	})
}

func testPasswordFile(t *testing.T, file string) {
	h := open(t, t.TempDir(), config())
	addr := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", PasswordFile: file}).String()
	login := func(v packet.Version, user, password string) packet.ReasonCode {
		p := &packet.Connect{ClientID: "x", CleanStart: true}
		if user != "" {
			p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, user, true, []byte(password)
		}
		c := brokertest.Dial(t, addr, v).Send(p)
		ack, ok := c.Receive().(*packet.Connack)
		if !ok {
			t.Fatal("the answer is not CONNACK")
		}
		if ack.Code.IsError() {
			c.ExpectClosed() // [MQTT-3.1.4-2] [MQTT-3.2.2-7] [v3 MQTT-3.2.2-5]
		}
		return ack.Code
	}
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		for _, c := range []struct {
			user, password string
			want           packet.ReasonCode
		}{
			{"anna", "secret", packet.Success},
			{"anna", "wrong", packet.BadUserNameOrPassword},
			{"bert", "secret", packet.BadUserNameOrPassword},
			{"", "", packet.NotAuthorized},
		} {
			if got := login(v, c.user, c.password); got != c.want {
				t.Errorf("MQTT %v, user %q, password %q: got %v, want %v", v, c.user, c.password, got, c.want)
			}
		}
	}
}
