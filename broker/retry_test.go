package broker_test

import (
	"testing"
	"time"

	"edgegateway/broker/packet"
)

// An MQTT 3.x client that does not acknowledge gets PUBLISH again with DUP, and
// PUBREL, and is sent away in the end; its session waits. An MQTT 5 client gets
// nothing again [MQTT-4.4.0-1].
func TestRetry(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Retry = []time.Duration{time.Second, 2 * time.Second}
	h := open(t, t.TempDir(), cfg)
	for v, clean := range map[packet.Version]bool{packet.V31: true, packet.V311: false} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			topic := "t/" + v.String()
			five := connect(t, h, packet.V5, "five"+topic, clean)
			subscribe(t, five, topic, 2)
			sub := connect(t, h, v, "sub"+topic, clean)
			subscribe(t, sub, topic, 2)
			pub := connect(t, h, v, "pub"+topic, true)
			start := time.Now()
			after := func(want time.Duration) {
				t.Helper()
				if got := time.Since(start); got < want-10*time.Millisecond || got > want+1500*time.Millisecond {
					t.Errorf("it came after %v, want %v", got, want)
				}
			}
			one, two, done := message(topic, "one", 1), message(topic, "two", 2), message(topic, "done", 1)
			for _, m := range []*packet.Publish{one, two, done} {
				publishAt(pub, m)
				sub.Expect(m)
				five.Expect(m)
			}
			ids := sub.IDs()
			sub.Send(ack(packet.PUBACK, ids[2])).ExpectNothing() // in time
			one.ID, one.DUP, two.ID, two.DUP = ids[0], true, ids[1], true
			sub.Expect(one, two)
			after(time.Second)
			sub.Send(ack(packet.PUBREC, two.ID)).Expect(ack(packet.PUBREL, two.ID))
			sub.Expect(ack(packet.PUBREL, two.ID)) // its time begins again
			after(2 * time.Second)
			sub.Expect(one)
			after(3 * time.Second)
			sub.Send(ack(packet.PUBCOMP, two.ID))
			sub.ExpectClosed()
			after(5 * time.Second)
			five.ExpectNothing()
			if !clean {
				connect(t, h, v, "sub"+topic, false).Expect(one).Send(ack(packet.PUBACK, one.ID)).ExpectNothing()
			}
		})
	}
}
