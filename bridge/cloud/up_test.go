package cloud_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
)

func TestUpCarriesIDAndTime(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	before := time.Now().Add(-time.Millisecond)
	r.publish("g/boiler/state", "a", 1)
	r.publish("g/boiler/state", "b", 1)
	r.run()
	p := s.welcome(false)
	ids := map[string]bool{}
	for _, payload := range []string{"a", "b"} {
		m := p.message(payload, 1, false)
		if string(m.Topic) != "acme/g/boiler/state" {
			t.Errorf("topic %s", m.Topic)
		}
		props := map[string]string{}
		for _, u := range m.Properties.UserProperties {
			props[u.Key] = u.Value
		}
		at, err := time.Parse("2006-01-02T15:04:05.000Z", props["ts"])
		if err != nil || at.Before(before) || at.After(time.Now()) {
			t.Errorf("ts = %q, want the time of the publish in UTC with milliseconds", props["ts"])
		}
		if raw, err := hex.DecodeString(props["id"]); err != nil || len(raw) != 16 || ids[props["id"]] {
			t.Errorf("id = %q, want 16 bytes in hex, each message its own", props["id"])
		}
		ids[props["id"]] = true
		p.ack(packet.PUBACK, m.ID)
	}
	r.drained()
}

func TestAcknowledgementsInAnyOrder(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	for i := range 4 {
		r.publish("g/boiler/state", number(i), 1)
	}
	r.run()
	p := s.welcome(false)
	var ids []uint16
	for i := range 4 {
		ids = append(ids, p.message(number(i), 1, false).ID)
	}
	for _, i := range []int{2, 0, 3} {
		p.ack(packet.PUBACK, ids[i], packet.NoMatchingSubscribers) // 0x10 is a success
	}
	r.until("one is left", func(s cloud.Status) bool { return s.Queued == 1 && s.Sent == 3 })
	p.cut()
	p = s.welcome(true)
	m := p.message(number(1), 1, true)
	if m.ID != ids[1] {
		t.Errorf("sent again as %d, want %d as before", m.ID, ids[1])
	}
	p.quiet()
	p.ack(packet.PUBACK, m.ID)
	r.drained()
}

func TestNothingIsSentTwiceInOneConnection(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.publish("g/boiler/state", "one", 1)
	r.publish("g/boiler/state", "two", 2)
	r.run()
	p := s.welcome(false)
	one := p.message("one", 1, false)
	two := p.message("two", 2, false)
	p.quiet()
	p.ack(packet.PUBREC, two.ID)
	p.ack(packet.PUBREC, two.ID)
	p.wantAck(packet.PUBREL, two.ID, 0)
	p.ack(packet.PUBREC, two.ID)
	p.quiet()
	p.ack(packet.PUBCOMP, two.ID)
	p.ack(packet.PUBACK, one.ID)
	r.drained()
	p.ack(packet.PUBREC, 4711) // nothing of ours
	p.wantAck(packet.PUBREL, 4711, packet.PacketIdentifierNotFound)
}

func TestReleaseIsResumedNotThePublish(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	for i := range 3 {
		r.publish("g/boiler/state", number(i), 2)
	}
	r.run()
	p := s.welcome(false)
	var ids []uint16
	for i := range 3 {
		ids = append(ids, p.message(number(i), 2, false).ID)
	}
	p.ack(packet.PUBREC, ids[1])
	p.wantAck(packet.PUBREL, ids[1], 0)
	p.cut()

	p = s.welcome(true)
	p.message(number(0), 2, true)
	p.wantAck(packet.PUBREL, ids[1], 0)
	p.message(number(2), 2, true)
	p.cut()

	// The same after the process has been away.
	r.close()
	r.open()
	r.run()
	p = s.welcome(true)
	p.message(number(0), 2, true)
	p.wantAck(packet.PUBREL, ids[1], 0)
	p.message(number(2), 2, true)
	p.ack(packet.PUBCOMP, ids[1], packet.PacketIdentifierNotFound) // it had finished before
	for _, i := range []int{0, 2} {
		p.ack(packet.PUBREC, ids[i])
		p.wantAck(packet.PUBREL, ids[i], 0)
		p.ack(packet.PUBCOMP, ids[i])
	}
	r.drained()
}

func TestReleaseWaitsForTheDisk(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		r.publish("g/boiler/state", "a", 2)
		m := p.message("a", 2, false)
		p.settle()
		sent := time.Now()
		p.ack(packet.PUBREC, m.ID)
		p.wantAck(packet.PUBREL, m.ID, 0)
		if d := time.Since(sent); d != time.Second {
			t.Errorf("PUBREL came after %v; the mark was on disk after 1s", d)
		}
		p.ack(packet.PUBCOMP, m.ID)
		p.settle()
		r.publish("g/boiler/state", "b", 2)
		m = p.message("b", 2, false)
		p.ack(packet.PUBREC, m.ID)
		p.ack(packet.PUBCOMP, m.ID) // while the mark is on its way
		if d := expect[*packet.Disconnect](p); d.Code != packet.ProtocolError {
			t.Errorf("DISCONNECT %v", d.Code)
		}
	})
}

func TestLostSessionSendsAllAgainAsNew(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	for i := range 3 {
		r.publish("g/boiler/state", number(i), 2)
	}
	r.run()
	p := s.welcome(false)
	first := p.message(number(0), 2, false)
	second := p.message(number(1), 2, false)
	p.message(number(2), 2, false)
	p.ack(packet.PUBREC, first.ID)
	p.wantAck(packet.PUBREL, first.ID, 0)
	p.ack(packet.PUBCOMP, first.ID)
	p.ack(packet.PUBREC, second.ID)
	p.wantAck(packet.PUBREL, second.ID, 0)
	r.until("the first one is done", func(s cloud.Status) bool { return s.Sent == 1 })
	p.cut()
	p = s.welcome(false)
	for _, id := range []uint16{p.message(number(1), 2, false).ID, p.message(number(2), 2, false).ID} {
		p.ack(packet.PUBREC, id)
		p.wantAck(packet.PUBREL, id, 0)
		p.ack(packet.PUBCOMP, id)
	}
	r.drained()
	if st := r.bridge.Status(); st.SessionsLost != 1 || st.Resent != 0 {
		t.Errorf("lost sessions %d, want 1; resent with DUP %d, want 0", st.SessionsLost, st.Resent)
	}
}

func TestUnknownSessionIsReplacedOnce(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.publish("g/boiler/state", "a", 1)
	r.run()
	p, c := s.accept()
	if c.CleanStart || c.SessionExpiry != 0xffffffff {
		t.Errorf("CONNECT has Clean Start %v, want 0; session expiry %v, want never", c.CleanStart, c.SessionExpiry)
	}
	p.connack(true) // of a time that this gateway does not remember
	expect[*packet.Disconnect](p)
	p.ended()
	p, c = s.accept()
	if !c.CleanStart {
		t.Error("the second CONNECT has no Clean Start")
	}
	p.connack(false)
	p.status("online")
	p.ack(packet.PUBACK, p.message("a", 1, false).ID)
	r.drained()
	p.cut()
	if _, c = s.accept(); c.CleanStart {
		t.Error("Clean Start stays on")
	}
}

func TestSessionOfAnotherServerIsNotBelieved(t *testing.T) {
	a, b := newServer(t), newServer(t)
	cfg := testConfig(a.url())
	cfg.Servers = append(cfg.Servers, b.url())
	r := newRig(t, cfg, nil)
	r.publish("g/boiler/state", "a", 2)
	r.run()
	p := a.welcome(false)
	m := p.message("a", 2, false)
	p.ack(packet.PUBREC, m.ID)
	p.wantAck(packet.PUBREL, m.ID, 0)
	a.ln.Close()
	p.cut()
	p, _ = b.accept()
	p.connack(true)
	expect[*packet.Disconnect](p)
	p.ended()
	p, c := b.accept()
	if !c.CleanStart {
		t.Error("no Clean Start at a server whose session is not ours")
	}
	p.connack(false)
	p.status("online")
	p.message("a", 2, false)
}

func TestReceiveMaximumOne(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	for i := range 3 {
		r.publish("g/boiler/state", number(i), byte(1+i%2))
	}
	r.run()
	p, _ := s.accept()
	p.connack(false, func(c *packet.Connack) { c.ReceiveMaximum = 1 })
	m := expect[*packet.Publish](p)
	if string(m.Payload) != "online" {
		t.Fatalf("the first one is %q, want the status", m.Payload)
	}
	p.quiet() // the status fills the window
	p.ack(packet.PUBACK, m.ID)
	m = p.message(number(0), 1, false)
	p.quiet()
	p.ack(packet.PUBACK, m.ID)
	m = p.message(number(1), 2, false)
	p.ack(packet.PUBREC, m.ID)
	p.wantAck(packet.PUBREL, m.ID, 0)
	p.quiet() // a QoS 2 message counts until PUBCOMP
	p.ack(packet.PUBCOMP, m.ID)
	p.ack(packet.PUBACK, p.message(number(2), 1, false).ID)
	r.drained()
}

func TestIdentifiersNeverMeet(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), func(b *cloud.Bridge) { b.SetModulus(7) }, func(t *testing.T, r *rig, s servers) {
		const n = 40
		for i := range n {
			r.offer("g/boiler/state", number(i), 1)
		}
		settle()
		r.run()
		p := s["a:1"].welcome(false)
		first := p.message(number(0), 1, false)
		// The first one is never acknowledged while the others are: they must stop
		// before its identifier comes round again.
		sent := 1
		for {
			pk, err := p.read(5 * time.Second)
			if err != nil {
				break
			}
			m := pk.(*packet.Publish)
			if m.ID == first.ID || m.ID > 7 {
				t.Fatalf("message %s has identifier %d while the first one with %d is open", m.Payload, m.ID, first.ID)
			}
			sent++
			p.ack(packet.PUBACK, m.ID)
		}
		if sent < 2 || sent >= 7 {
			t.Errorf("%d were sent beside the open one, want a few and less than the modulus", sent)
		}
		p.ack(packet.PUBACK, first.ID)
		for i := sent; i < n; i++ {
			p.ack(packet.PUBACK, p.message(number(i), 1, false).ID)
		}
		settle()
		if st := r.bridge.Status(); st.Queued != 0 {
			t.Errorf("%d are left", st.Queued)
		}
	})
}

// The server holds the identifier from a handshake that we do not know of. It is
// ended before the message is sent again, as new, and not even a cut makes a
// repetition of it: the server would take that for what it has.
func TestAnIdentifierThatTheServerHoldsIsSetFree(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), func(b *cloud.Bridge) { b.SetPause(time.Millisecond) })
	r.publish("g/boiler/state", "first", 2)
	r.run()
	p := s.welcome(false)
	id := p.message("first", 2, false).ID
	p.ack(packet.PUBREC, id, packet.PacketIdentifierInUse)
	p.wantAck(packet.PUBREL, id, 0)
	p.quiet() // not before PUBCOMP
	p.cut()

	p = s.welcome(true)
	p.message("first", 2, false)
	p.ack(packet.PUBREC, id, packet.PacketIdentifierInUse)
	p.wantAck(packet.PUBREL, id, 0)
	p.ack(packet.PUBCOMP, id)
	if again := p.message("first", 2, false).ID; again != id {
		t.Errorf("sent again as %d, want %d", again, id)
	}
	p.ack(packet.PUBREC, id)
	p.wantAck(packet.PUBREL, id, 0)
	p.ack(packet.PUBCOMP, id)
	r.drained()
	p.quiet()
	if st := r.bridge.Status(); st.Sent != 1 || st.Rejected != 0 {
		t.Errorf("status %+v, want one message sent", st)
	}
	if n := strings.Count(r.log.String(), "cloud link has a fault"); n != 2 { // once in each connection
		t.Errorf("the log speaks of it %d times", n)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		qos  byte
		ack  packet.Type
		code packet.ReasonCode
		keep bool
	}{
		{"quota, QoS 1", 1, packet.PUBACK, packet.QuotaExceeded, true},
		{"quota, QoS 2", 2, packet.PUBREC, packet.QuotaExceeded, true},
		{"unspecified", 1, packet.PUBACK, packet.UnspecifiedError, true},
		{"implementation", 2, packet.PUBREC, packet.ImplementationSpecificError, true},
		{"not authorized, QoS 1", 1, packet.PUBACK, packet.NotAuthorized, false},
		{"not authorized, QoS 2", 2, packet.PUBREC, packet.NotAuthorized, false},
		{"topic", 1, packet.PUBACK, packet.TopicNameInvalid, false},
		{"payload", 2, packet.PUBREC, packet.PayloadFormatInvalid, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := newRig(t, testConfig(s.url()), func(b *cloud.Bridge) { b.SetPause(5 * time.Millisecond) })
			r.publish("g/boiler/state", "first", c.qos)
			r.run()
			p := s.welcome(false)
			m := p.message("first", packet.QoS(c.qos), false)
			p.ack(c.ack, m.ID, c.code)
			if c.keep {
				m = p.message("first", packet.QoS(c.qos), false) // as new, no PUBREL in between
				p.ack(c.ack, m.ID, c.code)
				m = p.message("first", packet.QoS(c.qos), false)
				p.ack(c.ack, m.ID)
				if c.qos == 2 {
					p.wantAck(packet.PUBREL, m.ID, 0)
					p.ack(packet.PUBCOMP, m.ID)
				}
				r.drained()
				return
			}
			r.until("it is set aside", func(s cloud.Status) bool { return s.Queued == 0 && s.Rejected == 1 })
			if st := r.bridge.Status(); !strings.Contains(st.LastError, c.code.String()) {
				t.Errorf("last error %q does not say %q", st.LastError, c.code)
			}
			p.quiet()
		})
	}
}

// What is larger than the server takes is not sent [MQTT-3.2.2-15], and does not block
// what comes behind it.
func TestPacketTooLargeIsSetAside(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.publish("g/boiler/state", strings.Repeat("x", 300), 1)
	r.publish("g/boiler/state", "small", 1)
	r.run()
	p := s.welcome(false, func(c *packet.Connack) { c.MaximumPacketSize = 250 })
	p.ack(packet.PUBACK, p.message("small", 1, false).ID)
	r.until("one set aside", func(s cloud.Status) bool { return s.Queued == 0 && s.Rejected == 1 && s.Sent == 1 })
}

func TestServerThatCanLess(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.publish("g/boiler/state", "two", 2)
	r.run()
	one := packet.QoS1
	p, _ := s.accept()
	p.connack(false, func(c *packet.Connack) { c.MaximumQoS, c.RetainUnavailable = &one, true })
	m := expect[*packet.Publish](p)
	if m.Retain { // [MQTT-3.2.2-14]
		t.Error("the status is retained, which the server can not")
	}
	p.ack(packet.PUBACK, m.ID)
	p.ack(packet.PUBACK, p.message("two", 1, false).ID) // [MQTT-3.2.2-11]
	r.drained()
}

func TestWhatStaysHome(t *testing.T) {
	s := newServer(t)
	cfg := testConfig(s.url())
	cfg.Up = []cloud.Route{{From: "#", To: "acme/#", QoS: 1}}
	r := newRig(t, cfg, nil)
	r.publish("g/status", "online", 1)
	r.publish("g/alarm/disk", "full", 1)
	r.publish("g/cloud/other/state", "{}", 1)
	r.publish("g/boiler/state", "this goes", 1)
	r.run()
	p := s.welcome(false)
	m := p.message("this goes", 1, false)
	p.ack(packet.PUBACK, m.ID)
	p.quiet()
	r.drained()
}

func TestNoLoops(t *testing.T) {
	for _, transit := range []bool{false, true} {
		s := newServer(t)
		cfg := testConfig(s.url())
		cfg.Transit = transit
		cfg.Up = []cloud.Route{{From: "remote/#", To: "acme/remote/#", QoS: 1}}
		cfg.Down = []cloud.Route{{From: "acme/remote/#", To: "remote/#", QoS: 1}}
		r := newRig(t, cfg, nil)
		got := r.subscribe("remote/#")
		r.run()
		p := s.welcome(false)
		m := down("from above", 9, 1, false)
		m.Topic = []byte("acme/remote/a")
		p.send(m)
		p.wantAck(packet.PUBACK, 9, 0)
		got.want(t, "remote/a", "from above")
		r.broker.Local("cloud/other", broker.Rights{}).Publish(broker.Message{Topic: "remote/b", Payload: []byte("from another cloud"), QoS: 1})
		r.publish("remote/c", "from here", 1)
		if transit {
			p.ack(packet.PUBACK, p.message("from another cloud", 1, false).ID)
		}
		p.ack(packet.PUBACK, p.message("from here", 1, false).ID)
		r.drained()
		p.quiet()
	}
}

func TestOldSubscriptionsAreGivenUp(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.run()
	p := s.welcome(false)
	p.cut()
	r.close()
	r.cfg.Down = []cloud.Route{{From: "acme/new/#", To: "new/#", QoS: 1}}
	r.open()
	r.run()
	p, _ = s.accept()
	p.connack(true)
	for given, online := false, false; !given || !online; {
		switch pk := expect[packet.Packet](p).(type) {
		case *packet.Publish:
			p.ack(packet.PUBACK, pk.ID)
			online = true
		case *packet.Unsubscribe:
			if len(pk.Filters) != 1 || pk.Filters[0] != "acme/g/+/set" {
				t.Errorf("UNSUBSCRIBE %q", pk.Filters)
			}
			p.send(&packet.Unsuback{ID: pk.ID, Codes: []packet.ReasonCode{0}})
			given = true
		}
	}
	p.subscribes(1) // which follows when the answer has been taken
	r.close()
	r.open()
	r.run()
	p = s.welcome(true)
	p.quiet() // once is enough
}

func TestProtocolErrorsOfTheServerEndTheLink(t *testing.T) {
	for _, c := range []struct {
		name string
		qos  byte
		do   func(p *peer, id uint16)
		code packet.ReasonCode
	}{
		{"PUBREC for QoS 1", 1, func(p *peer, id uint16) { p.ack(packet.PUBREC, id) }, packet.ProtocolError},
		{"PUBACK for QoS 2", 2, func(p *peer, id uint16) { p.ack(packet.PUBACK, id) }, packet.ProtocolError},
		{"PUBCOMP before PUBREL", 2, func(p *peer, id uint16) { p.ack(packet.PUBCOMP, id) }, packet.ProtocolError},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := newRig(t, testConfig(s.url()), nil)
			r.publish("g/boiler/state", "a", c.qos)
			r.run()
			p := s.welcome(false)
			c.do(p, p.message("a", packet.QoS(c.qos), false).ID)
			if d := expect[*packet.Disconnect](p); d.Code != c.code {
				t.Errorf("DISCONNECT %v, want %v", d.Code, c.code)
			}
			p.ended()
			s.welcome(true).message("a", packet.QoS(c.qos), true) // nothing is lost by it
		})
	}
}
