package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// Run runs the suite against the broker at an address as Dial takes it: what every
// broker has to do, in each version of the protocol. The broker has to let
// anonymous clients in. deviations names cases of which is known that the broker
// does otherwise; they are skipped.
func Run(t *testing.T, addr string, deviations ...string) {
	for _, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
		t.Run("MQTT "+v.String(), func(t *testing.T) {
			for _, c := range slices.Concat(cases, more, more5, faults(v)) {
				if c.since > v {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					if slices.Contains(deviations, c.name) {
						t.Skip("SKIPPED: this broker is known to do otherwise")
					}
					c.run(&scene{T: t, addr: addr, v: v, name: unique(t)})
				})
			}
		})
	}
}

// scene is one case in one version.
type scene struct {
	*testing.T
	addr string
	v    packet.Version
	name string // unique; part of topics and client identifiers
}

func unique(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
}

func (s *scene) topic(rest string) string { return s.name + "/" + rest }

// clean connects a client whose session ends with its connection.
func (s *scene) clean(id string) *Client {
	s.Helper()
	c, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + id, KeepAlive: 60})
	return c
}

// lasting connects a client whose session is kept.
func (s *scene) lasting(id string, present bool) *Client {
	s.Helper()
	c, ack := Connect(s, s.addr, s.v, &packet.Connect{ClientID: s.name + id, KeepAlive: 60, SessionExpiry: 600})
	if s.v != packet.V31 && ack.SessionPresent != present {
		s.Fatalf("session present is %v, want %v", ack.SessionPresent, present)
	}
	return c
}

func (s *scene) subscribe(c *Client, qos packet.QoS, filters ...string) {
	s.Helper()
	p := &packet.Subscribe{ID: 77}
	ack := &packet.Suback{ID: 77}
	for _, f := range filters {
		p.Subscriptions = append(p.Subscriptions, packet.Subscription{Filter: f, QoS: qos})
		ack.Codes = append(ack.Codes, packet.ReasonCode(qos))
	}
	c.Send(p).Expect(ack)
}

func (s *scene) message(rest, payload string, qos packet.QoS) *packet.Publish {
	return &packet.Publish{Topic: []byte(s.topic(rest)), Payload: []byte(payload), QoS: qos}
}

// publish sends a message and ends its handshake.
func (s *scene) publish(c *Client, m *packet.Publish, id uint16) {
	s.Helper()
	p := *m
	switch p.QoS {
	case 0:
		c.Send(&p)
	case 1:
		p.ID = id
		c.Send(&p).Expect(s.ack(packet.PUBACK, id))
	case 2:
		p.ID = id
		c.Send(&p).Expect(s.ack(packet.PUBREC, id)).
			Send(s.ack(packet.PUBREL, id)).Expect(s.ack(packet.PUBCOMP, id))
	}
}

func (s *scene) ack(kind packet.Type, id uint16) *packet.Ack {
	return &packet.Ack{Kind: kind, ID: id}
}

// receive expects a message and ends its handshake.
func (s *scene) receive(c *Client, m *packet.Publish) {
	s.Helper()
	c.Expect(m)
	ids := c.IDs()
	switch m.QoS {
	case 1:
		c.Send(s.ack(packet.PUBACK, ids[0]))
	case 2:
		c.Send(s.ack(packet.PUBREC, ids[0])).Expect(s.ack(packet.PUBREL, ids[0])).Send(s.ack(packet.PUBCOMP, ids[0]))
	}
}

type testCase struct {
	name  string
	since packet.Version
	run   func(s *scene)
}

var cases = []testCase{
	// [MQTT-3.12.4-1] [v3 MQTT-3.12.4-1]
	{"ping is answered", 0, func(s *scene) {
		s.clean("").Send(&packet.Pingreq{}).Expect(&packet.Pingresp{})
	}},
	// [MQTT-3.8.4-8] [v3 MQTT-3.8.4-6] [MQTT-3.3.4-1] [v3 MQTT-3.3.4-1] [MQTT-3.3.2-3] [v3 MQTT-3.3.2-3]
	// [MQTT-2.2.1-5] [v3 MQTT-2.3.1-6] [MQTT-4.3.1-1] [v3 MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.2-2]
	// [MQTT-4.3.2-4] [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-8] [MQTT-4.5.0-1] [v3 MQTT-4.5.0-1]
	{"a message arrives at every QoS with the lower of both", 0, func(s *scene) { // 3.8.4
		for pub := packet.QoS0; pub <= packet.QoS2; pub++ {
			for sub := packet.QoS0; sub <= packet.QoS2; sub++ {
				a, b := s.clean(fmt.Sprint("a", pub, sub)), s.clean(fmt.Sprint("b", pub, sub))
				s.subscribe(b, sub, s.topic("t"))
				s.publish(a, s.message("t", "x", pub), 9)
				s.receive(b, s.message("t", "x", min(pub, sub)))
				b.ExpectNothing()
				a.Leave()
				b.Leave()
			}
		}
	}},
	// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [v3 MQTT-4.6.0-5] [v3 MQTT-4.6.0-6]
	{"order is kept per QoS", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 2, s.topic("#"))
		for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
			for i := range 10 {
				s.publish(a, s.message("t", fmt.Sprint(i), qos), uint16(i+1))
			}
			for i := range 10 {
				b.Expect(s.message("t", fmt.Sprint(i), qos))
			}
			for _, id := range b.IDs() {
				if qos == 1 {
					b.Send(s.ack(packet.PUBACK, id))
				} else {
					b.Send(s.ack(packet.PUBREC, id)).Expect(s.ack(packet.PUBREL, id)).Send(s.ack(packet.PUBCOMP, id))
				}
			}
		}
	}},
	{"an empty payload arrives", 0, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("t"))
		s.publish(a, s.message("t", "", 0), 0)
		a.Expect(s.message("t", "", 0))
	}},
	// [MQTT-3.3.2-3] [v3 MQTT-3.3.2-3]
	{"wildcards match as the standard says", 0, func(s *scene) { // 4.7
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 0, s.topic("+/x"), s.topic("deep/#"))
		for _, topic := range []string{"one/x", "deep", "deep/er/still", "one/y", "x", "one/x/z", "/x"} {
			s.publish(a, s.message(topic, "", 0), 0)
		}
		for _, topic := range []string{"one/x", "deep", "deep/er/still", "/x"} {
			b.Expect(s.message(topic, "", 0))
		}
		b.ExpectNothing()
	}},
	// [MQTT-4.7.2-1] [v3 MQTT-4.7.2-1]
	{"topics that begin with $ are hidden from wildcards", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 0, "+/"+s.name+"/hidden")
		hidden := &packet.Publish{Topic: []byte("$any/" + s.name + "/hidden")}
		seen := &packet.Publish{Topic: []byte("any/" + s.name + "/hidden")}
		a.Send(hidden, seen)
		b.Expect(seen).ExpectNothing()
	}},
	// [MQTT-3.10.4-1] [v3 MQTT-3.10.4-1] [MQTT-3.10.4-2] [v3 MQTT-3.10.4-2] [MQTT-3.10.4-4] [v3 MQTT-3.10.4-4]
	// [MQTT-2.2.1-6] [v3 MQTT-2.3.1-7]
	{"unsubscribe ends delivery", 0, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("t"), s.topic("u"))
		a.Send(&packet.Unsubscribe{ID: 5, Filters: []string{s.topic("t")}}).
			Expect(&packet.Unsuback{ID: 5, Codes: []packet.ReasonCode{packet.Success}})
		s.publish(a, s.message("t", "no", 0), 0)
		s.publish(a, s.message("u", "yes", 0), 0)
		a.Expect(s.message("u", "yes", 0)).ExpectNothing()
	}},
	// [MQTT-3.10.4-5] [v3 MQTT-3.10.4-5]
	{"unsubscribing what was not subscribed is answered", 0, func(s *scene) {
		s.clean("a").Send(&packet.Unsubscribe{ID: 6, Filters: []string{s.topic("never")}}).
			Expect(&packet.Unsuback{ID: 6, Codes: []packet.ReasonCode{packet.NoSubscriptionExisted}})
	}},
	// [MQTT-3.3.1-5] [v3 MQTT-3.3.1-5] [MQTT-3.3.1-6] [v3 MQTT-3.3.1-6] [MQTT-3.3.1-7] [v3 MQTT-3.3.1-7]
	// [v3 MQTT-3.3.1-8] [v3 MQTT-3.3.1-10] [v3 MQTT-3.3.1-11] [MQTT-3.3.1-12] [v3 MQTT-3.3.1-9]
	{"a retained message is kept, replaced and cleared", 0, func(s *scene) {
		a := s.clean("a")
		for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
			m := s.message(fmt.Sprint("t", qos), "old", qos)
			m.Retain = true
			s.publish(a, m, 1)
			m.Payload = []byte("new")
			s.publish(a, m, 2)
			a.ExpectNothing()
			b := s.clean(fmt.Sprint("b", qos))
			s.subscribe(b, 2, string(m.Topic))
			s.receive(b, m)
			// To an established subscription the flag is 0 [MQTT-3.3.1-12] [v3 MQTT-3.3.1-9].
			live := *m
			live.Payload, live.Retain = []byte("live"), false
			m.Payload = []byte("live")
			s.publish(a, m, 3)
			s.receive(b, &live)
			m.Payload = nil
			live.Payload = nil
			s.publish(a, m, 4)
			s.receive(b, &live)
			a.ExpectNothing()
			c := s.clean(fmt.Sprint("c", qos))
			s.subscribe(c, 2, string(m.Topic))
			c.ExpectNothing()
			b.Leave()
			c.Leave()
		}
	}},
	// [MQTT-3.3.1-9] [MQTT-3.8.4-4] [v3 MQTT-3.8.4-3]
	{"retained messages come again with a repeated subscription", 0, func(s *scene) {
		a := s.clean("a")
		m := s.message("t", "x", 1)
		m.Retain = true
		s.publish(a, m, 1)
		s.subscribe(a, 1, s.topic("+"))
		s.receive(a, m)
		s.subscribe(a, 1, s.topic("+"))
		s.receive(a, m)
		m.Payload = nil
		s.publish(s.clean("clear"), m, 1)
	}},
	// [MQTT-3.1.2-7] [MQTT-3.1.2-8] [v3 MQTT-3.1.2-8] [MQTT-3.1.2-14] [v3 MQTT-3.1.2-16] [v3 MQTT-3.1.2-9]
	// [v3 MQTT-3.1.2-14]
	{"a will is published when the connection breaks", 0, func(s *scene) {
		for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
			b := s.clean(fmt.Sprint("b", qos))
			s.subscribe(b, 2, s.topic("will"))
			w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + fmt.Sprint("w", qos),
				Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), QoS: qos}})
			w.Drop()
			s.receive(b, s.message("will", "gone", qos))
			b.Leave()
		}
	}},
	// [MQTT-3.3.1-9]
	{"a session that lasts gets retained messages at every QoS", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
			m := s.message(fmt.Sprint("t", qos), "kept", qos)
			m.Retain = true
			s.publish(a, m, 7)
			a.Send(&packet.Pingreq{}).Expect(&packet.Pingresp{}) // the broker has it
			s.subscribe(b, qos, s.topic(fmt.Sprint("t", qos)))
			s.receive(b, m)
		}
		b.ExpectNothing()
	}},
	// [MQTT-3.1.2-15] [v3 MQTT-3.1.2-17]
	{"a will may be empty and retained", 0, func(s *scene) {
		a := s.clean("a")
		m := s.message("will", "here", 0)
		m.Retain = true
		s.publish(a, m, 0)
		a.ExpectNothing()
		s.subscribe(a, 0, s.topic("#"))
		a.Expect(m)
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Retain: true}})
		w.Drop()
		a.Expect(s.message("will", "", 0))
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("#"))
		b.ExpectNothing()
	}},
	// [MQTT-3.14.4-3] [v3 MQTT-3.14.4-3] [MQTT-3.1.2-10] [v3 MQTT-3.1.2-10]
	{"DISCONNECT takes the will back", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
		w.Leave()
		b.ExpectNothing()
	}},
	// [MQTT-3.1.4-3] [v3 MQTT-3.1.4-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
	{"a second connection takes over", 0, func(s *scene) {
		first := s.clean("x")
		second := s.clean("x")
		first.ExpectClosed(packet.SessionTakenOver)
		second.ExpectNothing()
	}},
	{"a will is published when a second connection takes over", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
		s.clean("w")
		w.ExpectClosed()
		b.Expect(s.message("will", "gone", 0))
	}},
	// [MQTT-3.1.2-5] [MQTT-3.1.2-23] [v3 MQTT-3.1.2-4] [v3 MQTT-3.1.2-5] [MQTT-3.2.2-3] [v3 MQTT-3.2.2-2]
	// [v3 MQTT-3.2.2-3] [MQTT-3.1.3-2] [v3 MQTT-3.1.3-2] [v3 MQTT-4.1.0-1] [MQTT-4.5.0-1]
	{"a session keeps subscriptions and messages", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("#"))
		b.Leave()
		s.publish(a, s.message("t", "zero", 0), 0)
		s.publish(a, s.message("t", "one", 1), 1)
		s.publish(a, s.message("t", "two", 2), 2)
		b = s.lasting("b", true)
		b.ExpectInAnyOrder(s.message("t", "one", 1), s.message("t", "two", 2))
		s.clean("b")
	}},
	// [MQTT-3.1.2-4] [v3 MQTT-3.1.2-6] [MQTT-3.1.4-4] [v3 MQTT-3.1.4-3]
	{"a clean session forgets", 0, func(s *scene) {
		b := s.lasting("b", false)
		s.subscribe(b, 1, s.topic("#"))
		b.Leave()
		s.clean("b").Leave()
		s.publish(s.clean("a"), s.message("t", "x", 1), 1)
		b = s.lasting("b", false)
		b.ExpectNothing()
		b.Leave()
		s.clean("b")
	}},
	// [MQTT-4.4.0-1] [v3 MQTT-4.4.0-1] [MQTT-3.3.1-1] [v3 MQTT-3.3.1-1] [v3 MQTT-2.3.1-4] [MQTT-4.3.2-3]
	// [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [v3 MQTT-4.3.2-1] [v3 MQTT-4.3.3-1]
	// [v3 MQTT-4.6.0-1]
	{"what was not acknowledged comes again with DUP and its identifier", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("#"))
		s.publish(a, s.message("t", "one", 1), 1)
		b.Expect(s.message("t", "one", 1))
		one := b.IDs()[0]
		s.publish(a, s.message("t", "two", 2), 2)
		b.Expect(s.message("t", "two", 2))
		two := b.IDs()[0]
		b.Drop()
		b = s.lasting("b", true)
		m1, m2 := s.message("t", "one", 1), s.message("t", "two", 2)
		m1.ID, m1.DUP, m2.ID, m2.DUP = one, true, two, true
		b.Expect(m1, m2)
		b.Send(s.ack(packet.PUBACK, one), s.ack(packet.PUBREC, two)).Expect(s.ack(packet.PUBREL, two))
		b.Drop()
		b = s.lasting("b", true)
		b.Expect(s.ack(packet.PUBREL, two)).Send(s.ack(packet.PUBCOMP, two)).ExpectNothing()
		b.Leave()
		s.lasting("b", true).ExpectNothing()
		s.clean("b")
	}},
	// [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] [v3 MQTT-4.3.3-2]
	{"a QoS 2 message that is sent twice arrives once", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 2, s.topic("#"))
		a := s.lasting("a", false)
		m := s.message("t", "once", 2)
		m.ID = 11
		a.Send(m).Expect(s.ack(packet.PUBREC, 11))
		a.Drop()
		a = s.lasting("a", true)
		m.DUP = true
		a.Send(m).Expect(s.ack(packet.PUBREC, 11)).Send(s.ack(packet.PUBREL, 11)).Expect(s.ack(packet.PUBCOMP, 11))
		s.receive(b, s.message("t", "once", 2))
		b.ExpectNothing()
		// After PUBCOMP the identifier stands for a new message.
		m.DUP, m.Payload = false, []byte("again")
		a.Send(m).Expect(s.ack(packet.PUBREC, 11)).Send(s.ack(packet.PUBREL, 11)).Expect(s.ack(packet.PUBCOMP, 11))
		s.receive(b, s.message("t", "again", 2))
		a.Leave()
		s.clean("a")
	}},
	// [MQTT-4.3.3-11]
	{"PUBREL for nothing is answered", 0, func(s *scene) { // 3.7.2.1
		a := s.clean("a")
		code := packet.Success
		if s.v == packet.V5 {
			code = packet.PacketIdentifierNotFound
		}
		a.Send(s.ack(packet.PUBREL, 99)).Expect(&packet.Ack{Kind: packet.PUBCOMP, ID: 99, Code: code})
	}},
	// [MQTT-3.1.3-6] [v3 MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
	{"an empty client identifier gets one", packet.V311, func(s *scene) {
		_, ack := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true})
		if s.v == packet.V5 && ack.AssignedClientID == "" { // [MQTT-3.1.3-7]
			s.Fatal("the CONNACK has no assigned client identifier")
		}
	}},
	// [MQTT-3.1.0-1] [v3 MQTT-3.1.0-1] [MQTT-3.14.0-1] [MQTT-3.2.0-1]
	{"a packet before CONNECT ends the connection", 0, func(s *scene) {
		Dial(s, s.addr, s.v).TrySend((&packet.Pingreq{}).Append(nil, s.v)).ExpectClosed()
	}},
	// [MQTT-3.1.0-2] [v3 MQTT-3.1.0-2] [MQTT-4.13.1-1] [MQTT-4.13.2-1]
	{"a second CONNECT ends the connection", 0, func(s *scene) {
		s.clean("a").Send(&packet.Connect{CleanStart: true, ClientID: s.name + "a"}).ExpectClosed(packet.ProtocolError)
	}},
	// [MQTT-3.3.2-2] [v3 MQTT-3.3.2-2]
	{"a wildcard in a topic name ends the connection", 0, func(s *scene) {
		c := s.clean("a")
		c.Send(&packet.Publish{Topic: []byte("a/+/b")}).ExpectClosed()
	}},
	// [MQTT-3.8.3-3]
	{"No Local keeps own messages away", packet.V5, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		a.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: s.topic("t"), NoLocal: true}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
		s.publish(a, s.message("t", "mine", 0), 0)
		a.ExpectNothing()
		s.publish(b, s.message("t", "yours", 0), 0)
		a.Expect(s.message("t", "yours", 0))
	}},
	// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.3.1-13]
	{"Retain As Published and Retain Handling are obeyed", packet.V5, func(s *scene) {
		a := s.clean("a")
		m := s.message("t", "x", 0)
		m.Retain = true
		s.publish(a, m, 0)
		for i, h := range []packet.RetainHandling{packet.NoRetained, packet.SendRetainedIfNew, packet.SendRetained} {
			sub := &packet.Subscribe{ID: uint16(i + 1), Subscriptions: []packet.Subscription{{Filter: s.topic("t"), RetainAsPublished: true, RetainHandling: h}}}
			a.Send(sub).Expect(&packet.Suback{ID: uint16(i + 1), Codes: []packet.ReasonCode{0}})
			if h == packet.SendRetained {
				a.Expect(m)
			}
			a.ExpectNothing()
		}
		s.publish(a, m, 0)
		a.Expect(m)
		m.Payload = nil
		s.publish(a, m, 0)
	}},
	// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]
	{"properties travel in order", packet.V5, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 1, s.topic("t"))
		m := s.message("t", "x", 1)
		m.Properties = packet.Properties{
			Has: packet.HasPayloadFormat | packet.HasResponseTopic | packet.HasCorrelationData | packet.HasContentType, PayloadFormat: 1,
			ResponseTopic: "answer/here", ContentType: "text/plain", CorrelationData: []byte{0, 1, 255},
			UserProperties: []packet.UserProperty{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}},
		}
		p := *m
		p.ID = 3
		a.Send(&p).ExpectInAnyOrder(s.ack(packet.PUBACK, 3), m)
	}},
	// [MQTT-3.3.4-3]
	{"subscription identifiers come with the message", packet.V5, func(s *scene) {
		a := s.clean("a")
		a.Send(&packet.Subscribe{ID: 1, SubscriptionID: 268435455, Subscriptions: []packet.Subscription{{Filter: s.topic("t")}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
		s.publish(a, s.message("t", "x", 0), 0)
		m := s.message("t", "x", 0)
		m.Properties.SubscriptionIDs = []uint32{268435455}
		a.Expect(m)
	}},
	// [MQTT-3.3.2-12]
	{"a topic alias stands for its topic", packet.V5, func(s *scene) { // 3.3.2.3.4
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("t"))
		m := s.message("t", "one", 0)
		m.Properties = packet.Properties{Has: packet.HasTopicAlias, TopicAlias: 3}
		short := &packet.Publish{Payload: []byte("two"), Properties: m.Properties}
		a.Send(m, short).Expect(s.message("t", "one", 0), s.message("t", "two", 0))
	}},
	{"an unknown topic alias ends the connection", packet.V5, func(s *scene) {
		c := s.clean("a")
		c.Send(&packet.Publish{Properties: packet.Properties{Has: packet.HasTopicAlias, TopicAlias: 2}}).
			ExpectClosed(packet.ProtocolError, packet.TopicAliasInvalid)
	}},
	// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
	{"the client's Receive Maximum is kept", packet.V5, func(s *scene) {
		b, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "b", ReceiveMaximum: 2})
		s.subscribe(b, 1, s.topic("t"))
		a := s.clean("a")
		for i := range 5 {
			s.publish(a, s.message("t", fmt.Sprint(i), 1), uint16(i+1))
		}
		b.Expect(s.message("t", "0", 1), s.message("t", "1", 1)).ExpectNothing()
		b.Send(s.ack(packet.PUBACK, b.IDs()[0])).Expect(s.message("t", "2", 1)).ExpectNothing()
	}},
	// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
	{"the client's Maximum Packet Size is kept", packet.V5, func(s *scene) {
		b, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "b", MaximumPacketSize: 300})
		s.subscribe(b, 1, s.topic("t"))
		a := s.clean("a")
		for i, qos := range []packet.QoS{0, 1} {
			s.publish(a, s.message("t", strings.Repeat("x", 400), qos), uint16(2*i+1))
			s.publish(a, s.message("t", "small", qos), uint16(2*i+2))
			s.receive(b, s.message("t", "small", qos))
		}
		b.ExpectNothing()
	}},
	// [MQTT-3.3.2-6]
	{"a message expiry passes on what is left", packet.V5, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 1, s.topic("t"))
		m := s.message("t", "x", 1)
		m.ID = 4
		m.Properties = packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: 100}
		a.Send(m)
		for range 2 {
			if p, ok := a.Receive().(*packet.Publish); ok && (p.Properties.MessageExpiry < 98 || p.Properties.MessageExpiry > 100) {
				s.Fatalf("the message expiry is %d of 100", p.Properties.MessageExpiry)
			}
		}
	}},
	// [MQTT-3.1.3-10] [MQTT-3.1.2-9]
	{"a will has properties", packet.V5, func(s *scene) { // 3.1.3.2
		b := s.clean("b")
		s.subscribe(b, 1, s.topic("will"))
		m := s.message("will", "gone", 1)
		m.Properties = packet.Properties{
			Has: packet.HasPayloadFormat | packet.HasResponseTopic | packet.HasCorrelationData | packet.HasContentType, PayloadFormat: 1,
			ResponseTopic: "answer/here", ContentType: "text/plain", CorrelationData: []byte{0, 1, 255},
			UserProperties: []packet.UserProperty{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}},
		}
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), QoS: 1, Properties: m.Properties}})
		w.Drop()
		s.receive(b, m)
	}},
	// [MQTT-3.1.2-8]
	{"DISCONNECT 0x04 keeps the will", packet.V5, func(s *scene) { // 3.14.2.1
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
		w.Send(&packet.Disconnect{Code: packet.DisconnectWithWillMessage}).ExpectClosed()
		b.Expect(s.message("will", "gone", 0))
	}},
	// [MQTT-3.1.3-9] [MQTT-3.1.2-8]
	{"a delayed will is not published if the client is back in time", packet.V5, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		connect := &packet.Connect{ClientID: s.name + "w", SessionExpiry: 60,
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), Delay: 30}}
		w, _ := Connect(s, s.addr, s.v, connect)
		w.Drop()
		connect.Will = nil
		w, _ = Connect(s, s.addr, s.v, connect)
		b.ExpectNothing()
		w.Leave()
		// The end of the session does not wait for the delay.
		connect.Will = &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), Delay: 30}
		w, _ = Connect(s, s.addr, s.v, connect)
		w.Drop()
		Connect(s, s.addr, s.v, &packet.Connect{ClientID: s.name + "w", CleanStart: true})
		b.Expect(s.message("will", "gone", 0))
	}},
	{"a session ends when DISCONNECT says so", packet.V5, func(s *scene) { // 3.14.2.2.2
		b := s.lasting("b", false)
		b.Send(&packet.Disconnect{SessionExpiry: new(uint32(0))}).ExpectClosed()
		s.lasting("b", false).Leave()
		s.clean("b")
	}},
	{"DISCONNECT can not make a session last", packet.V5, func(s *scene) {
		s.clean("b").Send(&packet.Disconnect{SessionExpiry: new(uint32(60))}).ExpectClosed(packet.ProtocolError)
	}},
	// [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-3.2.2-7]
	{"an authentication method is refused", packet.V5, func(s *scene) {
		c := Dial(s, s.addr, s.v)
		c.Send(&packet.Connect{CleanStart: true, ClientID: s.name, Authentication: &packet.Authentication{Method: "none such"}}).
			Expect(&packet.Connack{Code: packet.BadAuthenticationMethod}).ExpectClosed()
	}},
}
