package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/broker/packet"
)

// Somebody connects again and again with the identifiers of two publishers and a
// subscriber, at any moment of their handshakes, and goes without a word: at QoS 1
// nothing is lost, at QoS 2 nothing comes twice either, and first arrivals are in
// order.
func TestSessionsSurviveBeingTakenOver(t *testing.T) {
	const n = 2000
	h := open(t, t.TempDir(), config())
	where := func() string { return h.addr }
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()

	sub := &peer{addr: where, id: "sub"}
	if err := sub.connect(); err != nil { // the session has to be there before the first message
		t.Fatal(err)
	}
	if err := sub.send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{{Filter: "t/#", QoS: 2}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.next(); err != nil {
		t.Fatal(err)
	}
	sub.nc.Close()

	var progress atomic.Int64
	errs := make(chan error, 3)
	got := make(map[string][]int)
	go func() { errs <- sub.receiveAll(ctx, n, 2, got) }()
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: where, id: fmt.Sprint("pub", qos)}
		go func() { errs <- p.publishAll(ctx, qos, n, &progress) }()
	}
	taken := 0
	for left := 3; left > 0; {
		select {
		case err := <-errs:
			if err != nil {
				t.Fatalf("after %d acknowledged messages: %v", progress.Load(), err)
			}
			left--
		case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
			thief := &peer{addr: where, id: []string{"sub", "pub1", "pub2"}[rand.IntN(3)]}
			if err := thief.connect(); err == nil {
				taken++
			}
			thief.nc.Close()
		}
	}
	for qos := 1; qos <= 2; qos++ {
		seen := make(map[int]bool)
		high, repeats := 0, 0
		for _, seq := range got[fmt.Sprint("t/pub", qos)] {
			switch {
			case seen[seq]:
				repeats++
			case seq < high:
				t.Errorf("QoS %d: %d came first after %d", qos, seq, high)
			}
			seen[seq] = true
			high = max(high, seq)
		}
		if len(seen) != n || qos == 2 && repeats > 0 {
			t.Errorf("QoS %d: %d of %d messages arrived, %d repeated", qos, len(seen), n, repeats)
		}
		t.Logf("QoS %d: %d messages, %d repeated, %d connections taken over", qos, len(seen), repeats, taken)
	}
}
