package status_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
)

// 30 messages per second for a while, then silence: the rate follows within its window.
func TestRateFollowsTheCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		src := quiet()
		src.Broker = fakeBroker{func() broker.Stats {
			return broker.Stats{PublishReceived: int64(30 * min(time.Since(begun), 20*time.Second).Seconds())}
		}}
		s := newServer(t, src)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()

		rate := func() float64 {
			synctest.Wait()
			r := s.Report(ctx).Broker.ReceivedRate
			if r == nil {
				return -1
			}
			return *r
		}
		if got := rate(); got != -1 {
			t.Errorf("at the start: %v, want unknown", got)
		}
		time.Sleep(10*time.Second + time.Millisecond)
		if got := rate(); got != 30 {
			t.Errorf("after 10 s: %v, want 30", got)
		}
		time.Sleep(16 * time.Second)
		if got := rate(); got != 0 {
			t.Errorf("6 s after the last message: %v, want 0", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
