package brokertest

import (
	"fmt"
	"strings"

	"edgegateway/broker/packet"
)

// more5 are further cases of what MQTT 5 alone has.
var more5 = []testCase{
	// [MQTT-3.1.2-6] [MQTT-3.2.2-3] [MQTT-3.1.2-28] [MQTT-4.12.0-6] [MQTT-3.2.2-1]
	{"CONNACK of a new session promises nothing that was not asked for", packet.V5, func(s *scene) {
		_, ack := Connect(s, s.addr, s.v, &packet.Connect{ClientID: s.name, CleanStart: false})
		if ack.SessionPresent || ack.ResponseInformation != "" || ack.Authentication != nil || ack.AssignedClientID != "" {
			s.Errorf("the CONNACK is %s", show(ack))
		}
	}},
	// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
	{"a client that takes no topic aliases gets none", packet.V5, func(s *scene) {
		a := s.clean("a")
		s.subscribe(a, 0, s.topic("t"))
		for i := range 3 {
			m := s.message("t", fmt.Sprint(i), 0)
			a.Send(m).Expect(m)
		}
	}},
	// [MQTT-3.3.2-7]
	{"topic aliases end with their connection", packet.V5, func(s *scene) {
		m := s.message("t", "one", 0)
		m.Properties = packet.Properties{Has: packet.HasTopicAlias, TopicAlias: 3}
		a := s.lasting("a", false)
		a.Send(m).ExpectNothing()
		a.Leave()
		a = s.lasting("a", true)
		a.Send(&packet.Publish{Properties: m.Properties}).ExpectClosed(packet.ProtocolError, packet.TopicAliasInvalid)
		s.clean("a")
	}},
	// [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.3.2-12]
	{"the topic alias maximum of the broker holds", packet.V5, func(s *scene) {
		a, ack := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "a"})
		s.subscribe(a, 0, s.topic("t"))
		m := s.message("t", "x", 0)
		m.Properties = packet.Properties{Has: packet.HasTopicAlias, TopicAlias: ack.TopicAliasMaximum}
		a.Send(m).Expect(s.message("t", "x", 0))
		m.Properties.TopicAlias++
		a.Send(m).ExpectClosed(packet.TopicAliasInvalid)
	}},
	// [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-2]
	{"one copy carries the identifiers of all overlapping subscriptions", packet.V5, func(s *scene) {
		a := s.clean("a")
		for id, filter := range []string{0: s.topic("#"), 1: s.topic("+"), 2: s.topic("t")} {
			a.Send(&packet.Subscribe{ID: 1, SubscriptionID: uint32(id), Subscriptions: []packet.Subscription{{Filter: filter, QoS: packet.QoS(id)}}}).
				Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.ReasonCode(id)}})
		}
		b := s.clean("b")
		s.publish(b, s.message("t", "x", 2), 1)
		got, ok := a.Receive().(*packet.Publish)
		if !ok || got.QoS != 2 || len(got.Properties.SubscriptionIDs) != 2 || got.Properties.SubscriptionIDs[0]+got.Properties.SubscriptionIDs[1] != 3 {
			s.Fatalf("received %s, want QoS 2 with the identifiers 1 and 2", show(got))
		}
		a.ExpectNothing()
	}},
	// [MQTT-3.3.4-3]
	{"retained messages carry the subscription identifier", packet.V5, func(s *scene) {
		a := s.clean("a")
		m := s.message("t", "x", 0)
		m.Retain = true
		a.Send(m).ExpectNothing()
		a.Send(&packet.Subscribe{ID: 1, SubscriptionID: 5, Subscriptions: []packet.Subscription{{Filter: s.topic("t")}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
		m.Properties.SubscriptionIDs = []uint32{5}
		a.Expect(m)
		m.Payload, m.Properties.SubscriptionIDs = nil, nil
		a.Send(m)
	}},
	// [MQTT-3.8.4-3]
	{"a subscription that is replaced loses its identifier and options", packet.V5, func(s *scene) {
		a := s.clean("a")
		a.Send(&packet.Subscribe{ID: 1, SubscriptionID: 5, Subscriptions: []packet.Subscription{{Filter: s.topic("t"), NoLocal: true, RetainAsPublished: true}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
		s.subscribe(a, 0, s.topic("t"))
		m := s.message("t", "x", 0)
		m.Retain = true
		a.Send(m).Expect(s.message("t", "x", 0))
		m.Payload = nil
		a.Send(m)
	}},
	// [MQTT-3.3.1-12] [MQTT-3.3.1-13]
	{"RETAIN of a live message is 0 unless Retain As Published", packet.V5, func(s *scene) {
		a, b, c := s.clean("a"), s.clean("b"), s.clean("c")
		s.subscribe(b, 0, s.topic("t"))
		c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: s.topic("t"), RetainAsPublished: true}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
		for _, retain := range []bool{true, false} {
			m := s.message("t", "x", 0)
			m.Retain = retain
			a.Send(m)
			c.Expect(m)
			b.Expect(s.message("t", "x", 0))
		}
		m := s.message("t", "", 0)
		m.Retain = true
		a.Send(m)
	}},
	// [MQTT-3.3.4-10] [MQTT-4.9.0-3] [MQTT-4.9.0-2]
	{"a full window delays nothing but QoS 1 and 2 messages", packet.V5, func(s *scene) {
		b, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "b", ReceiveMaximum: 1})
		s.subscribe(b, 1, s.topic("t"))
		a := s.clean("a")
		s.publish(a, s.message("t", "fills the window", 1), 1)
		s.publish(a, s.message("t", "waits", 1), 2)
		b.Expect(s.message("t", "fills the window", 1)).ExpectNothing()
		s.subscribe(b, 0, s.topic("u"))
		s.publish(a, s.message("u", "passes", 0), 0)
		b.Expect(s.message("u", "passes", 0))
		s.publish(b, s.message("v", "mine", 2), 1)
		b.Send(&packet.Unsubscribe{ID: 3, Filters: []string{s.topic("u")}}).Expect(s.unsuback(3, 0))
		b.Send(s.ack(packet.PUBACK, b.IDs()[0])).Expect(s.message("t", "waits", 1))
	}},
	// [MQTT-4.4.0-2] [MQTT-4.3.3-4]
	{"what is answered with an error is done with", packet.V5, func(s *scene) {
		a, b := s.clean("a"), s.lasting("b", false)
		s.subscribe(b, 2, s.topic("t"))
		s.publish(a, s.message("t", "one", 1), 1)
		s.publish(a, s.message("t", "two", 2), 2)
		b.Expect(s.message("t", "one", 1), s.message("t", "two", 2))
		ids := b.IDs()
		b.Send(&packet.Ack{Kind: packet.PUBACK, ID: ids[0], Code: packet.QuotaExceeded},
			&packet.Ack{Kind: packet.PUBREC, ID: ids[1], Code: packet.UnspecifiedError}).ExpectNothing() // and no PUBREL
		b.Leave()
		s.lasting("b", true).ExpectNothing()
		s.clean("b")
	}},
	// [MQTT-3.4.2-1] [MQTT-3.5.2-1]
	{"user properties of a message are not echoed in its acknowledgement", packet.V5, func(s *scene) {
		a := s.clean("a")
		for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
			m := s.message("t", "x", qos)
			m.ID, m.Properties.UserProperties = 9, []packet.UserProperty{{Key: "k", Value: "v"}}
			got, ok := a.Send(m).Receive().(*packet.Ack)
			if !ok || len(got.UserProperties) > 0 || got.Code.IsError() {
				s.Fatalf("received %s with %+v", show(got), got)
			}
		}
		a.Send(&packet.Ack{Kind: packet.PUBREL, ID: 9, Info: packet.Info{UserProperties: []packet.UserProperty{{Key: "k", Value: "v"}}}})
		if got, ok := a.Receive().(*packet.Ack); !ok || len(got.UserProperties) > 0 || got.Code != packet.Success {
			s.Fatalf("received %s with %+v", show(got), got)
		}
	}},
	// [MQTT-3.14.4-3] [MQTT-3.1.2-8]
	{"a will with a delay longer than the session is published at its end", packet.V5, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), Delay: 3600}})
		w.Drop() // and its session ends at once
		b.Expect(s.message("will", "gone", 0))
	}},
	// [MQTT-3.1.2-8]
	{"DISCONNECT with any other code than 0 keeps the will", packet.V5, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		for _, code := range []packet.ReasonCode{packet.UnspecifiedError, packet.ImplementationSpecificError, packet.AdministrativeAction} {
			w, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "w",
				Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone")}})
			w.Send(&packet.Disconnect{Code: code}).ExpectClosed()
			b.Expect(s.message("will", "gone", 0))
		}
	}},
	// [MQTT-3.1.2-8] [MQTT-3.1.2-10]
	{"DISCONNECT 0x00 takes a delayed will back", packet.V5, func(s *scene) {
		b := s.clean("b")
		s.subscribe(b, 0, s.topic("will"))
		w, _ := Connect(s, s.addr, s.v, &packet.Connect{ClientID: s.name + "w", SessionExpiry: 60,
			Will: &packet.Will{Topic: s.topic("will"), Payload: []byte("gone"), Delay: 1}})
		w.Leave()
		s.clean("w").Leave() // ends the session, and with it any will
		b.ExpectNothing()
	}},
	// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
	{"a too large retained message is left out, and the others come", packet.V5, func(s *scene) {
		a := s.clean("a")
		for i, size := range []int{10, 400, 20} {
			m := s.message(fmt.Sprint("t", i), strings.Repeat("x", size), 1)
			m.Retain = true
			s.publish(a, m, 1)
		}
		b, _ := Connect(s, s.addr, s.v, &packet.Connect{CleanStart: true, ClientID: s.name + "b", MaximumPacketSize: 350})
		s.subscribe(b, 1, s.topic("+"))
		first, last := s.message("t0", strings.Repeat("x", 10), 1), s.message("t2", strings.Repeat("x", 20), 1)
		first.Retain, last.Retain = true, true
		b.ExpectInAnyOrder(first, last).ExpectNothing()
		for i := range 3 {
			m := s.message(fmt.Sprint("t", i), "", 0)
			m.Retain = true
			s.publish(a, m, 0)
		}
	}},
	// [MQTT-4.12.0-7] [MQTT-4.13.1-1]
	{"AUTH without an authentication method ends the connection", packet.V5, func(s *scene) {
		s.clean("a").Send(&packet.Auth{Code: packet.Reauthenticate, Authentication: &packet.Authentication{Method: "m"}}).
			ExpectClosed(packet.ProtocolError)
	}},
	// [MQTT-3.3.4-6]
	{"a subscription identifier from a client ends the connection", packet.V5, func(s *scene) {
		m := s.message("t", "x", 0)
		m.Properties.SubscriptionIDs = []uint32{1}
		s.clean("a").Send(m).ExpectClosed(packet.ProtocolError)
	}},
}
