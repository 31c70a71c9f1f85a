package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker/packet"
)

// A board without a clock of its own starts somewhere, and is set right when the
// network tells the time. Between two runs its clock may have gone fifty years
// ahead, or back: nothing expires by that, no session ends, no will comes, and
// nothing is sent again that would not have been.
func TestAStepOfTheWallClockByFiftyYearsChangesNothing(t *testing.T) {
	const step = 50 * 365 * 24 * time.Hour
	for name, c := range map[string]struct{ before, between time.Duration }{
		"ahead": {0, step},
		"back":  {step, -step},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var sent uint16
			synctest.Test(t, func(t *testing.T) { // every bubble begins in the year 2000
				time.Sleep(c.before)
				h := openTimed(t, dir, config())
				sub := connect(t, h, packet.V5, "sub", false)
				subscribe(t, sub, "t", 2)
				pub := connect(t, h, packet.V5, "pub", true)
				publishAt(pub, message("t", "in flight", 1))
				sub.Expect(message("t", "in flight", 1))
				sent = sub.IDs()[0]
				sub.Leave()
				will, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "will", SessionExpiry: 3600, Will: gone(600)})
				will.Drop()
				retained := expiring("r", "retained", 1, 600)
				retained.Retain = true
				publishAt(pub, retained)
				publishAt(pub, expiring("t", "waits", 1, 600))
				time.Sleep(100 * time.Second)
				h.stop()
			})
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(c.before + c.between)
				h := openTimed(t, dir, config())
				start := time.Now()
				watch := connect(t, h, packet.V5, "watch", true)
				subscribe(t, watch, "will", 0)
				sub := connectAgain(t, h, packet.V5, "sub") // its session has 3500 s left
				again := withID(message("t", "in flight", 1), sent)
				again.DUP = true
				left := func(payload string) *packet.Publish {
					t.Helper()
					m, ok := sub.Receive().(*packet.Publish)
					if !ok || string(m.Payload) != payload || m.Properties.MessageExpiry < 495 || m.Properties.MessageExpiry > 500 {
						t.Fatalf("received %+v, want %q with 500 s left", m, payload)
					}
					return m
				}
				sub.Expect(again).Send(ack(packet.PUBACK, sent), ack(packet.PUBACK, left("waits").ID))
				sub.ExpectNothing()
				subscribe(t, sub, "r", 0)
				left("retained")
				watch.Expect(message("will", "gone", 0))
				if d := time.Since(start); d < 495*time.Second || d > 501*time.Second {
					t.Errorf("the will came after %v, want the 500 s that were left", d)
				}
				sub.ExpectNothing()
				watch.ExpectNothing()
			})
		})
	}
}
