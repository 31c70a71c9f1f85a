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
	cfg := config()
	cfg.Retry = []time.Duration{10 * time.Second, time.Minute}
	for v, clean := range map[packet.Version]bool{packet.V31: true, packet.V311: false} {
		t.Run(v.String(), func(t *testing.T) {
			timed(t, cfg, func(t *testing.T, h *house) {
				five := connect(t, h, packet.V5, "five", clean)
				subscribe(t, five, "t", 2)
				sub := connect(t, h, v, "sub", clean)
				subscribe(t, sub, "t", 2)
				pub := connect(t, h, v, "pub", true)
				start := time.Now()
				one, two, done := message("t", "one", 1), message("t", "two", 2), message("t", "done", 1)
				for _, m := range []*packet.Publish{one, two, done} {
					publishAt(pub, m)
					sub.Expect(m)
					five.Expect(m)
				}
				ids := sub.IDs()
				sub.Send(ack(packet.PUBACK, ids[2])).ExpectNothing() // in time
				one.ID, one.DUP, two.ID, two.DUP = ids[0], true, ids[1], true
				sub.Expect(one)
				passed(t, start, 10*time.Second)
				sub.Expect(two)
				passed(t, start, 10*time.Second)
				sleepUntil(start, 15*time.Second)
				sub.Send(ack(packet.PUBREC, two.ID)).Expect(ack(packet.PUBREL, two.ID))
				sub.Expect(ack(packet.PUBREL, two.ID)) // its time begins again
				passed(t, start, 25*time.Second)
				sub.Expect(one)
				passed(t, start, 70*time.Second)
				sub.Send(ack(packet.PUBCOMP, two.ID))
				sub.ExpectClosed()
				passed(t, start, 130*time.Second)
				five.ExpectNothing()
				if !clean {
					connect(t, h, v, "sub", false).Expect(one).Send(ack(packet.PUBACK, one.ID)).ExpectNothing()
				}
			})
		})
	}
}

func TestWithoutARetryScheduleNothingIsSentAgain(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			timed(t, config(), func(t *testing.T, h *house) {
				sub := connect(t, h, v, "sub", true)
				subscribe(t, sub, "t", 1)
				publishAt(connect(t, h, v, "pub", true), message("t", "x", 1))
				sub.Expect(message("t", "x", 1))
				time.Sleep(24 * time.Hour)
				sub.ExpectNothing()
			})
		})
	}
}
