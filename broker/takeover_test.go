package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
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
	ctx, cancel := context.WithTimeout(t.Context(), 5*brokertest.Patience)
	defer cancel()

	sub := &peer{addr: where, id: "sub"}
	sub.establish(t, "t/#")
	var acked counter
	errs := make(chan error, 3)
	got := make(map[string][]int)
	go func() { errs <- sub.receive(ctx, untilAll(n, 2, got)) }()
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: where, id: fmt.Sprint("pub", qos)}
		go func() { errs <- p.publishAll(ctx, qos, n, &acked) }()
	}
	taken := 0
	for left := 3; left > 0; {
		select {
		case err := <-errs:
			if err != nil {
				t.Fatalf("after %d acknowledged messages: %v", acked.count(), err)
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
		checkArrivals(t, qos, n, got[fmt.Sprint("t/pub", qos)])
	}
	t.Logf("%d connections taken over", taken)
}
