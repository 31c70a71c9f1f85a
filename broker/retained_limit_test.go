package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

func retained(topic, payload string, qos packet.QoS) *packet.Publish {
	m := message(topic, payload, qos)
	m.Retain = true
	if qos > 0 {
		m.ID = 9
	}
	return m
}

func TestRetainedMessagesAreBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit func(*broker.Config)
	}{
		{"by number", func(c *broker.Config) { c.MaxRetainedMessages = 2 }},
		{"by bytes", func(c *broker.Config) { c.MaxRetainedBytes = 60 }}, // two of some 24 have room, three have not
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config()
			cfg.SysInterval = time.Hour // its figures are retained, and do not count
			c.limit(&cfg)
			h := open(t, dir, cfg)
			five, three := connect(t, h, packet.V5, "five", true), connect(t, h, packet.V311, "three", true)
			watch := connect(t, h, packet.V5, "watch", true)
			subscribe(t, watch, "t/+", 0)
			for i := range 2 {
				m := retained(fmt.Sprint("t/", i), "x", 1)
				five.Send(m).Expect(ack(packet.PUBACK, 9))
				watch.Expect(message(fmt.Sprint("t/", i), "x", 0))
			}
			full := func() {
				t.Helper()
				for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
					m := retained("t/new", "x", qos)
					five.Send(m)
					three.Send(m)
					switch qos {
					case 1:
						five.Expect(&packet.Ack{Kind: packet.PUBACK, ID: 9, Code: packet.QuotaExceeded})
						three.Expect(ack(packet.PUBACK, 9))
					case 2:
						five.Expect(&packet.Ack{Kind: packet.PUBREC, ID: 9, Code: packet.QuotaExceeded})
						three.Expect(ack(packet.PUBREC, 9)).Send(ack(packet.PUBREL, 9)).Expect(ack(packet.PUBCOMP, 9))
					}
				}
				five.ExpectNothing()
				three.ExpectNothing()
			}
			full()
			watch.ExpectNothing() // refused as a whole
			if n := h.Stats().PublishRefused; n != 6 {
				t.Errorf("%d messages counted as refused, want 6", n)
			}
			// What replaces a message is taken, even a larger one; so is what clears one, and
			// what is not retained; and our own devices do not suffer.
			long := strings.Repeat("x", 400)
			five.Send(retained("t/0", long, 1)).Expect(ack(packet.PUBACK, 9))
			publishAt(three, message("t/new", "not retained", 1))
			watch.Expect(message("t/0", long, 0), message("t/new", "not retained", 0))
			if err := h.Local("device", broker.Rights{}).Publish(broker.Message{Topic: "device", Payload: []byte("on"), Retain: true, QoS: 1}).Wait(t.Context()); err != nil {
				t.Errorf("the device: %v", err)
			}
			five.Send(retained("unknown", "", 1)).Expect(ack(packet.PUBACK, 9))

			// A restart counts the same.
			h.stop()
			h = open(t, dir, cfg)
			five, three = connect(t, h, packet.V5, "five", true), connect(t, h, packet.V311, "three", true)
			full()
			for _, m := range h.Retained("+/#", 0) { // not those below $SYS
				if m.Topic == "t/new" {
					t.Error("the refused one is retained")
				}
				five.Send(retained(m.Topic, "", 1)).Expect(ack(packet.PUBACK, 9))
			}
			five.Send(retained("t/new", "x", 1)).Expect(ack(packet.PUBACK, 9))
		})
	}
}

func TestRetainedMessagesAreUnlimitedByDefault(t *testing.T) {
	h := open(t, t.TempDir(), config())
	c := connect(t, h, packet.V311, "c", true)
	const n = 20000
	for i := range n {
		c.Send(retained(fmt.Sprint("t/", i), "x", 0))
	}
	c.ExpectNothing()
	if got := h.Stats().RetainedMessages; got != n {
		t.Errorf("%d of %d are retained", got, n)
	}
}
