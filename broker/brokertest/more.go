package brokertest

import (
	"fmt"
	"strings"

	"edgegateway/broker/packet"
)

// unsuback is the answer to an UNSUBSCRIBE; the codes are for MQTT 5 only.
func (s *scene) unsuback(id uint16, codes ...packet.ReasonCode) *packet.Unsuback {
	return &packet.Unsuback{ID: id, Codes: codes}
}

// more are the cases that follow the statements of the standards one by one, where
// the cases of everyday use in suite.go have left some out.
var more = []testCase{
	// [v3 MQTT-3.1.3-5] [MQTT-3.1.3-5] [v3 MQTT-3.1.4-4] [MQTT-3.1.4-5] [v3 MQTT-3.2.2-1] [MQTT-3.2.2-2]
	{"identifiers of 1 to 23 letters and digits are accepted", 0, func(s *scene) {
		for _, id := range []string{"0", "abcdefghijklmnopqrstuvw", "xyzABCDEFGHIJKLMNOPQRST", "UVWXYZ0123456789"} {
			c := Dial(s, s.addr, s.v)
			c.Send(&packet.Connect{CleanStart: true, ClientID: id}).Expect(&packet.Connack{})
			c.Leave()
		}
	}},
	// [v3 MQTT-3.1.3-8] [v3 MQTT-3.1.3-9] [v3 MQTT-3.2.2-4] [v3 MQTT-3.2.2-5]
	{"an empty identifier for a session that lasts is refused before MQTT 5", 0, func(s *scene) {
		if s.v == packet.V5 {
			_, ack := Connect(s, s.addr, s.v, &packet.Connect{})
			if ack.AssignedClientID == "" {
				s.Error("the CONNACK has no assigned client identifier")
			}
			return
		}
		c := Dial(s, s.addr, s.v)
		c.Send(&packet.Connect{}).Expect(&packet.Connack{Code: packet.ClientIdentifierNotValid}).ExpectClosed()
	}},
	// [v3 MQTT-3.1.4-5] [MQTT-3.1.4-6] [MQTT-3.2.2-7] [v3 MQTT-3.2.2-5]
	{"what follows a refused CONNECT is not processed", packet.V311, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("t"))
		refused := &packet.Connect{} // 3.1.1: no identifier for a session that lasts
		code := packet.ClientIdentifierNotValid
		if s.v == packet.V5 {
			refused = &packet.Connect{CleanStart: true, ClientID: s.name, Authentication: &packet.Authentication{Method: "none such"}}
			code = packet.BadAuthenticationMethod
		}
		c := Dial(s, s.addr, s.v)
		c.Send(refused, s.message("t", "too late", 0)).Expect(&packet.Connack{Code: code}).ExpectClosed()
		b.ExpectNothing()
	}},
	// [v3 MQTT-3.1.2-2] [MQTT-3.1.2-2] [v3 MQTT-3.2.2-5]
	{"an unknown protocol level is refused", packet.V311, func(s *scene) {
		b := (&packet.Connect{CleanStart: true, ClientID: s.name}).Append(nil, s.v)
		b[8] = 9 // behind the fixed header and the name
		if s.v == packet.V311 {
			b[8] = 2
		}
		Dial(s, s.addr, s.v).SendBytes(b).Expect(&packet.Connack{Code: packet.UnsupportedProtocolVersion}).ExpectClosed()
	}},
	// [v3 MQTT-3.1.2-1] [MQTT-3.1.2-1]
	{"another protocol name is refused", packet.V311, func(s *scene) {
		b := (&packet.Connect{CleanStart: true, ClientID: s.name}).Append(nil, s.v)
		copy(b[4:], "mqtt")
		Dial(s, s.addr, s.v).TrySend(b).ExpectClosed()
	}},
	// [v3 MQTT-3.1.4-1] [v3 MQTT-3.2.2-6] [v3 MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.1.2-3] [MQTT-3.14.0-1]
	{"a malformed CONNECT is refused, in 3.1.1 without a CONNACK", packet.V311, func(s *scene) {
		b := (&packet.Connect{CleanStart: true, ClientID: s.name}).Append(nil, s.v)
		b[9] |= 1 // the reserved flag
		c := Dial(s, s.addr, s.v).TrySend(b)
		if p, err := c.next(); err == nil {
			if ack, ok := p.(*packet.Connack); s.v == packet.V311 || !ok || !ack.Code.IsError() {
				s.Fatalf("received %s", show(p))
			}
			c.ExpectClosed()
		}
	}},
	// [v3 MQTT-3.2.0-1] [MQTT-3.2.0-1] [MQTT-3.2.0-2] [v3 MQTT-3.2.2-2]
	{"CONNACK comes once and before what waits", 0, func(s *scene) {
		b := s.lasting("b", false)
		s.subscribe(b, 1, s.topic("#"))
		b.Leave()
		a := s.clean("a")
		s.publish(a, s.message("t", "waits", 1), 1)
		b = Dial(s, s.addr, s.v)
		// What follows CONNECT at once is handled after it.
		b.Send(&packet.Connect{ClientID: s.name + "b", SessionExpiry: 600}, &packet.Pingreq{})
		b.Expect(&packet.Connack{SessionPresent: s.v != packet.V31}).
			ExpectInAnyOrder(&packet.Pingresp{}, s.message("t", "waits", 1))
		b.ExpectNothing()
		s.clean("b")
	}},
	// [v3 MQTT-3.1.2-12]
	{"without a will none is published", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 2, s.topic("#"))
		s.clean("w").Drop()
		s.clean("w").Leave() // the broker has seen the end of the first
		b.ExpectNothing()
	}},
	// [v3 MQTT-3.1.2-10] [MQTT-3.1.2-10]
	{"a will is published once", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("#"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
		w.Drop()
		b.Expect(s.message("will", "gone", 0))
		s.clean("w").Drop()
		s.clean("w").Leave()
		b.ExpectNothing()
	}},
	// [v3 MQTT-3.1.2-17] [MQTT-3.1.2-15] [v3 MQTT-3.1.2-16] [MQTT-3.1.2-14]
	{"a will is retained if it says so", 0, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("#"))
		for _, retain := range []bool{true, false} {
			topic := fmt.Sprint("will/", retain)
			w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
				Will: &packet.Will{Topic: s.topic(topic), Payload: []byte("gone"), Retain: retain}})
			w.Drop()
			a.Expect(s.message(topic, "gone", 0))
		}
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("#"))
		kept := s.message("will/true", "gone", 0)
		kept.Retain = true
		b.Expect(kept).ExpectNothing()
		kept.Payload = nil
		s.publish(a, kept, 0)
	}},
	// [v3 MQTT-3.1.2-7]
	{"retained messages stay when the session of their publisher ends", 0, func(s *scene) {
		m := s.message("t", "stays", 1)
		m.Retain = true
		a := s.clean("a")
		s.publish(a, m, 1)
		a.Leave()
		s.clean("a").Leave()
		b := s.clean("b")
		s.subscribe(b, 1, s.topic("t"))
		s.receive(b, m)
		m.Payload = nil
		s.publish(s.clean("clear"), m, 2)
	}},
	// [v3 MQTT-3.3.1-12] [MQTT-3.3.1-8] [v3 MQTT-3.3.1-6] [v3 MQTT-3.3.1-8]
	{"a message without RETAIN leaves what is retained alone", 0, func(s *scene) {
		a := s.clean("a")
		m := s.message("t", "kept", 1)
		m.Retain = true
		s.publish(a, m, 1)
		s.publish(a, s.message("t", "passing", 1), 2)
		s.publish(a, s.message("t", "", 1), 3)
		s.publish(a, s.message("u", "never kept", 1), 4)
		b := s.clean("b")
		s.subscribe(b, 1, s.topic("#"))
		s.receive(b, m)
		b.ExpectNothing()
		m.Payload = nil
		s.publish(a, m, 5)
	}},
	// [v3 MQTT-3.3.1-3] [MQTT-3.3.1-3] [v3 MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
	{"DUP is not passed on", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 2, s.topic("t"))
		for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
			m := s.message("t", "again", qos)
			m.DUP = true
			s.publish(a, m, 1)
			m.DUP = false
			s.receive(b, m)
		}
	}},
	// [MQTT-3.3.1-1] [v3 MQTT-3.3.1-1] [v3 MQTT-3.1.2-5]
	{"what waited for an absent client is not flagged DUP", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("#"))
		for range 2 { // also the second time that the session is resumed
			b.Leave()
			s.publish(a, s.message("t", "one", 1), 1)
			s.publish(a, s.message("u", "two", 2), 2)
			b = s.lasting("b", true)
			b.ExpectInAnyOrder(s.message("t", "one", 1), s.message("u", "two", 2))
			ids := b.IDs()
			for i, id := range ids {
				if i == 0 {
					b.Send(s.ack(packet.PUBACK, id))
				} else {
					b.Send(s.ack(packet.PUBREC, id)).Expect(s.ack(packet.PUBREL, id)).Send(s.ack(packet.PUBCOMP, id))
				}
			}
			b.ExpectNothing()
		}
		s.clean("b")
	}},
	// [v3 MQTT-4.3.2-2] [MQTT-4.3.2-5] [MQTT-4.3.2-4]
	{"after PUBACK the identifier stands for a new message", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 0, s.topic("t"))
		for _, dup := range []bool{false, false, true} {
			m := s.message("t", fmt.Sprint(dup), 1)
			m.DUP = dup
			s.publish(a, m, 7)
			b.Expect(s.message("t", fmt.Sprint(dup), 0))
		}
	}},
	// [v3 MQTT-4.6.0-2] [v3 MQTT-4.6.0-3] [v3 MQTT-2.3.1-6] [MQTT-2.2.1-5]
	{"acknowledgements leave in the order of the messages", 0, func(s *scene) {
		a := s.lasting("a", false)
		b := s.lasting("b", false) // so that some wait for the disk and some do not
		s.subscribe(b, 2, s.topic("kept"))
		for kind, qos := range map[packet.Type]packet.QoS{packet.PUBACK: 1, packet.PUBREC: 2} {
			var send, want []packet.Packet
			for id := uint16(1); id <= 8; id++ {
				m := s.message([]string{"nobody", "kept"}[id%2], "x", qos)
				m.ID = id
				send, want = append(send, m), append(want, s.ack(kind, id))
			}
			a.Send(send...).Expect(want...)
		}
		s.clean("a")
		s.clean("b")
	}},
	// [v3 MQTT-4.6.0-4] [v3 MQTT-4.3.3-1]
	{"PUBRELs leave in the order of the PUBRECs", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("t"))
		var want []packet.Packet
		for id := uint16(1); id <= 5; id++ {
			m := s.message("t", fmt.Sprint(id), 2)
			s.publish(a, m, id)
			want = append(want, m)
		}
		b.Expect(want...)
		var recs, rels []packet.Packet
		for _, id := range b.IDs() {
			recs, rels = append(recs, s.ack(packet.PUBREC, id)), append(rels, s.ack(packet.PUBREL, id))
		}
		b.Send(recs...).Expect(rels...)
		s.clean("b")
	}},
	// [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1] [v3 MQTT-4.3.2-1]
	{"messages under way have different identifiers, and none is 0", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 2, s.topic("t"))
		seen := map[uint16]bool{0: true}
		for i := range 15 {
			m := s.message("t", fmt.Sprint(i), packet.QoS(1+i%2))
			s.publish(a, m, 1)
			b.Expect(m)
			id := b.IDs()[0]
			if seen[id] {
				s.Fatalf("message %d has identifier %d, which is in use or 0", i, id)
			}
			seen[id] = true
		}
	}},
	// [v3 MQTT-3.3.5-1] [MQTT-3.3.4-2]
	{"overlapping subscriptions: the highest QoS counts", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 0, s.topic("#"))
		s.subscribe(b, 2, s.topic("+"))
		s.subscribe(b, 1, s.topic("t"))
		s.publish(a, s.message("t", "x", 2), 1)
		s.receive(b, s.message("t", "x", 2))
	}},
	// [v3 MQTT-3.8.4-1] [MQTT-3.8.4-1] [v3 MQTT-3.8.4-2] [MQTT-3.8.4-2] [v3 MQTT-3.8.4-4] [MQTT-3.8.4-5]
	// [v3 MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [v3 MQTT-3.9.3-1] [MQTT-3.9.3-1] [v3 MQTT-2.3.1-7]
	{"SUBACK answers every filter in its order", 0, func(s *scene) {
		a := s.clean("a")
		a.Send(&packet.Subscribe{ID: 65535, Subscriptions: []packet.Subscription{
			{Filter: s.topic("two"), QoS: 2}, {Filter: s.topic("zero"), QoS: 0}, {Filter: s.topic("one"), QoS: 1}, {Filter: s.topic("zero"), QoS: 2},
		}}).Expect(&packet.Suback{ID: 65535, Codes: []packet.ReasonCode{2, 0, 1, 2}})
		for _, topic := range []string{"two", "zero", "one"} {
			s.publish(a, s.message(topic, "x", 0), 0)
			a.Expect(s.message(topic, "x", 0))
		}
		a.ExpectNothing()
	}},
	// [v3 MQTT-3.8.4-3] [MQTT-3.8.4-3]
	{"the same filter again replaces the subscription", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		s.subscribe(b, 2, s.topic("t"))
		s.subscribe(b, 0, s.topic("t"))
		s.publish(a, s.message("t", "x", 2), 1)
		b.Expect(s.message("t", "x", 0)).ExpectNothing()
		b.Send(&packet.Unsubscribe{ID: 3, Filters: []string{s.topic("t")}}).Expect(s.unsuback(3, 0))
		s.publish(a, s.message("t", "x", 2), 2)
		b.ExpectNothing()
	}},
	// [v3 MQTT-3.10.4-6] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [v3 MQTT-3.10.4-1] [MQTT-3.10.4-1]
	{"UNSUBACK answers every filter in its order", 0, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("t"), s.topic("+"), s.topic("u"))
		a.Send(&packet.Unsubscribe{ID: 8, Filters: []string{s.topic("T"), s.topic("t"), s.topic("#"), s.topic("+")}}).
			Expect(s.unsuback(8, packet.NoSubscriptionExisted, 0, packet.NoSubscriptionExisted, 0))
		s.publish(a, s.message("t", "x", 0), 0)
		s.publish(a, s.message("u", "x", 0), 0)
		a.Expect(s.message("u", "x", 0)).ExpectNothing()
	}},
	// [v3 MQTT-3.10.4-3] [MQTT-3.10.4-3]
	{"what is under way is delivered to the end after UNSUBSCRIBE", 0, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("#"))
		s.publish(a, s.message("t", "one", 1), 1)
		s.publish(a, s.message("t", "two", 2), 2)
		b.Expect(s.message("t", "one", 1), s.message("t", "two", 2))
		ids := b.IDs()
		b.Send(&packet.Unsubscribe{ID: 3, Filters: []string{s.topic("#")}}).Expect(s.unsuback(3, 0))
		b.Drop()
		b = s.lasting("b", true)
		one, two := s.message("t", "one", 1), s.message("t", "two", 2)
		one.ID, one.DUP, two.ID, two.DUP = ids[0], true, ids[1], true
		b.Expect(one, two).Send(s.ack(packet.PUBACK, ids[0]), s.ack(packet.PUBREC, ids[1])).
			Expect(s.ack(packet.PUBREL, ids[1])).Send(s.ack(packet.PUBCOMP, ids[1])).ExpectNothing()
		s.clean("b")
	}},
	// [v3 MQTT-4.7.3-4] [MQTT-4.7.3-4] [MQTT-1.5.4-3] [v3 MQTT-1.5.3-3]
	{"names and filters are compared as they are", 0, func(s *scene) {
		a, b := s.clean("a"), s.clean("b")
		composed, decomposed, marked := "caf\u00e9", "cafe\u0301", "\ufeffcaf\u00e9"
		s.subscribe(b, 0, s.topic(composed), s.topic("a//b"))
		for _, topic := range []string{decomposed, marked, strings.ToUpper(composed), "a/b", "/a//b", composed, "a//b"} {
			s.publish(a, s.message(topic, "x", 0), 0)
		}
		b.Expect(s.message(composed, "x", 0), s.message("a//b", "x", 0)).ExpectNothing()
	}},
	// [v3 MQTT-4.7.3-3] [MQTT-4.7.3-3]
	{"names and filters may have 65,535 bytes", 0, func(s *scene) {
		a := s.clean("a")
		long := strings.Repeat("x", 65535-len(s.topic("")))
		s.subscribe(a, 0, s.topic(long))
		s.publish(a, s.message(long, "x", 0), 0)
		a.Expect(s.message(long, "x", 0))
	}},
	// [v3 MQTT-4.1.0-2] [MQTT-4.1.0-1]
	{"a session lasts as long as its connection", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 1, s.topic("t"))
		a := s.clean("a")
		for i := range 3 {
			s.publish(a, s.message("t", fmt.Sprint(i), 1), 1)
			s.receive(b, s.message("t", fmt.Sprint(i), 1))
			b.ExpectNothing()
		}
	}},
	// [v3 MQTT-7.1.1-1] [MQTT-4.2.0-1] [v3 MQTT-7.0.0-2]
	{"packets may arrive byte by byte and all at once", 0, func(s *scene) {
		var all []byte
		for _, p := range []packet.Packet{
			&packet.Connect{CleanStart: true, ClientID: s.name + "a"},
			&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: s.topic("t")}}},
			s.message("t", "x", 0), &packet.Pingreq{},
		} {
			all = p.Append(all, s.v)
		}
		for _, step := range []int{1, 7, len(all)} {
			c := Dial(s, s.addr, s.v)
			for rest := all; len(rest) > 0; {
				n := min(step, len(rest))
				c.SendBytes(rest[:n])
				rest = rest[n:]
			}
			c.Expect(&packet.Connack{}, &packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}}).
				ExpectInAnyOrder(s.message("t", "x", 0), &packet.Pingresp{})
			c.Leave()
		}
	}},
	// [v3 MQTT-4.8.0-1] [MQTT-4.13.1-1]
	{"an acknowledgement that does not fit the QoS ends the connection", 0, func(s *scene) {
		a := s.clean("a")
		for qos, wrong := range map[packet.QoS][]packet.Type{1: {packet.PUBREC, packet.PUBCOMP}, 2: {packet.PUBACK, packet.PUBCOMP}} {
			for _, kind := range wrong {
				b := s.clean("b")
				s.subscribe(b, qos, s.topic("t"))
				s.publish(a, s.message("t", "x", qos), 1)
				b.Expect(s.message("t", "x", qos))
				b.Send(s.ack(kind, b.IDs()[0])).ExpectClosed(packet.ProtocolError)
			}
		}
	}},
	// [v3 MQTT-3.1.3-11] [v3 MQTT-1.5.3-2] [MQTT-3.1.3-12] [MQTT-1.5.4-2] [v3 MQTT-3.1.4-1]
	{"a user name with NUL is refused", packet.V311, func(s *scene) {
		c := Dial(s, s.addr, s.v).TrySend((&packet.Connect{CleanStart: true, ClientID: s.name, UsernameFlag: true, Username: "a\x00b"}).Append(nil, s.v))
		if p, err := c.next(); err == nil {
			if ack, ok := p.(*packet.Connack); s.v == packet.V311 || !ok || !ack.Code.IsError() {
				s.Fatalf("received %s", show(p))
			}
			c.ExpectClosed()
		}
	}},
	// [v3 MQTT-3.14.4-3] [MQTT-3.14.4-2]
	{"what follows DISCONNECT is not processed", 0, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("t"))
		s.clean("a").Send(&packet.Disconnect{}, s.message("t", "too late", 0)).ExpectClosed()
		b.ExpectNothing()
	}},
}
