package broker_test

import (
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// A client that takes topic aliases gets them, at every QoS, and after a
// reconnection from the beginning.
func TestTopicAliasTowardsTheClient(t *testing.T) {
	h := open(t, t.TempDir(), config())
	pub := connect(t, h, packet.V5, "pub", true)
	join := func(most uint16) *brokertest.Client {
		c, _ := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "c", SessionExpiry: 600, TopicAliasMaximum: most})
		return c
	}
	aliased := func(topic string, alias uint16, qos packet.QoS) *packet.Publish {
		m := message(topic, "x", qos)
		m.Properties = packet.Properties{Has: packet.HasTopicAlias, TopicAlias: alias}
		return m
	}
	c := join(1)
	subscribe(t, c, "#", 1)
	for qos := packet.QoS0; qos <= packet.QoS1; qos++ {
		publishAt(pub, message("the/first", "x", qos))
		publishAt(pub, message("the/second", "x", qos))
		if qos == 0 {
			c.Expect(aliased("the/first", 1, 0))
		} else {
			c.Expect(aliased("", 1, 1))
		}
		c.Expect(message("the/second", "x", qos)) // [MQTT-3.1.2-26]
	}
	unacknowledged := c.IDs()
	c.Drop()
	c = join(5)
	again := aliased("the/first", 1, 1) // [MQTT-3.3.2-7]
	again.ID, again.DUP = unacknowledged[0], true
	second := aliased("the/second", 2, 1)
	second.ID, second.DUP = unacknowledged[1], true
	c.Expect(again, second)
	publishAt(pub, message("the/second", "x", 0))
	c.Expect(aliased("", 2, 0))
	c.Drop()
	c = join(0) // [MQTT-3.1.2-27]
	again, second = message("the/first", "x", 1), message("the/second", "x", 1)
	again.ID, again.DUP, second.ID, second.DUP = unacknowledged[0], true, unacknowledged[1], true
	c.Expect(again, second)
}

func TestPayloadFormatIsCheckedWhereTheListenerSaysSo(t *testing.T) {
	h := open(t, t.TempDir(), config())
	careful := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", CheckPayloadFormat: true}).String()
	sub := connect(t, h, packet.V5, "sub", true)
	subscribe(t, sub, "#", 2)
	said := packet.Properties{Has: packet.HasPayloadFormat, PayloadFormat: 1}
	bad := func(qos packet.QoS) *packet.Publish {
		m := message("t", "\xff", qos)
		if qos > 0 {
			m.ID = 3
		}
		m.Properties = said
		return m
	}
	in := func(addr string) *brokertest.Client {
		c, _ := brokertest.Connect(t, addr, packet.V5, &packet.Connect{ClientID: "c", CleanStart: true})
		return c
	}
	// 3.3.2.3.2
	c := in(careful)
	c.Send(bad(1)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 3, Code: packet.PayloadFormatInvalid})
	c.Send(bad(2)).Expect(&packet.Ack{Kind: packet.PUBREC, ID: 3, Code: packet.PayloadFormatInvalid})
	text := message("t", "ä", 0)
	text.Properties = said
	bytes := message("t", "\xff", 0)
	bytes.Properties = packet.Properties{Has: packet.HasPayloadFormat}
	c.Send(text, bytes, message("t", "\xff", 0))
	sub.Expect(text, bytes, message("t", "\xff", 0)).ExpectNothing()
	c.Send(bad(0)).ExpectClosed(packet.PayloadFormatInvalid)
	sub.ExpectNothing()
	brokertest.Dial(t, careful, packet.V5). // 3.1.3.2.3
						Send(&packet.Connect{ClientID: "w", CleanStart: true, Will: &packet.Will{Topic: "t", Payload: []byte{0xff}, Properties: said}}).
						Expect(&packet.Connack{Code: packet.PayloadFormatInvalid}).ExpectClosed()
	// The other listener does not look.
	in(h.addr).Send(bad(0))
	sub.Expect(bad(0))
}

func TestResponseInformation(t *testing.T) {
	cfg := config()
	cfg.ResponsePrefix = "answers"
	with, without := open(t, t.TempDir(), cfg), open(t, t.TempDir(), config())
	for _, c := range []struct {
		name string
		h    *house
		p    packet.Connect
		want string
	}{
		{"who asks is told", with, packet.Connect{ClientID: "c", RequestResponseInfo: true}, "answers/c"},
		{"who does not ask is not", with, packet.Connect{ClientID: "c"}, ""}, // [MQTT-3.1.2-28]
		{"an identifier that is no topic", with, packet.Connect{ClientID: "c/#", RequestResponseInfo: true}, ""},
		{"nothing is configured", without, packet.Connect{ClientID: "c", RequestResponseInfo: true}, ""},
	} {
		c.p.CleanStart = true
		if _, a := brokertest.Connect(t, c.h.addr, packet.V5, &c.p); a.ResponseInformation != c.want {
			t.Errorf("%s: got %q, want %q", c.name, a.ResponseInformation, c.want)
		}
	}
	_, a := brokertest.Connect(t, with.addr, packet.V5, &packet.Connect{CleanStart: true, RequestResponseInfo: true})
	if a.AssignedClientID == "" || a.ResponseInformation != "answers/"+a.AssignedClientID {
		t.Errorf("an assigned identifier %q: got %q", a.AssignedClientID, a.ResponseInformation)
	}
}

// [MQTT-3.1.2-29]: reason strings are for those who have not declined them, and
// user properties are the broker's own in no packet.
func TestReasonStringsAreForThoseWhoWantThem(t *testing.T) {
	h := open(t, t.TempDir(), config())
	for _, declined := range []bool{false, true} {
		c, _ := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "c", CleanStart: true, NoProblemInfo: declined})
		forbidden := func(qos packet.QoS) *packet.Publish {
			m := message("$SYS/x", "", qos)
			m.ID = 1
			return m
		}
		c.Send(&packet.Subscribe{ID: 2, Subscriptions: []packet.Subscription{{Filter: strings.Repeat("a/", 300)}}},
			forbidden(1), forbidden(2), ack(packet.PUBREL, 7), &packet.Unsubscribe{ID: 3, Filters: []string{"none"}})
		told := false
		for range 5 {
			switch p := c.Receive().(type) {
			case *packet.Ack:
				told = told || p.ReasonString != ""
				if len(p.UserProperties) > 0 {
					t.Errorf("%v has user properties", p.Kind)
				}
			case *packet.Suback:
				told = told || p.ReasonString != ""
			case *packet.Unsuback:
				told = told || p.ReasonString != ""
			default:
				t.Fatalf("received %v", p.Type())
			}
		}
		if told == declined {
			t.Errorf("declined is %v, told is %v", declined, told)
		}
		c.Send(&packet.Auth{})
		d, ok := c.Receive().(*packet.Disconnect)
		if !ok || (d.ReasonString == "") != declined {
			t.Errorf("declined is %v, the DISCONNECT says %+v", declined, d)
		}
	}
}
