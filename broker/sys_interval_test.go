package broker_test

import (
	"testing"
	"time"

	"edgegateway/broker/packet"
)

// $SYS is published at the start and then at every interval, and with interval 0
// not at all.
func TestSysIsPublishedAtEveryInterval(t *testing.T) {
	cfg := config()
	cfg.SysInterval = 30 * time.Second
	timed(t, cfg, func(t *testing.T, h *house) {
		start := time.Now()
		c := connect(t, h, packet.V311, "c", true)
		subscribe(t, c, "$share/a/t", 0)
		subscribe(t, c, "$share/b/t", 0)
		watch := connect(t, h, packet.V311, "watch", true)
		subscribe(t, watch, "$SYS/broker/uptime", 0)
		first := message("$SYS/broker/uptime", "0 seconds", 0)
		first.Retain = true
		watch.Expect(first)
		for _, uptime := range []string{"30 seconds", "60 seconds", "90 seconds"} {
			watch.Expect(message("$SYS/broker/uptime", uptime, 0))
		}
		passed(t, start, 90*time.Second)
		shared := connect(t, h, packet.V311, "shared", true)
		subscribe(t, shared, "$SYS/broker/shared_subscriptions/count", 0)
		two := message("$SYS/broker/shared_subscriptions/count", "2", 0)
		two.Retain = true
		shared.Expect(two)
	})
	timed(t, config(), func(t *testing.T, h *house) {
		c := connect(t, h, packet.V311, "c", true)
		subscribe(t, c, "$SYS/#", 0)
		time.Sleep(time.Hour)
		c.ExpectNothing()
		if n := len(h.Retained("$SYS/#", 0)); n != 0 {
			t.Errorf("%d topics are retained", n)
		}
	})
}
