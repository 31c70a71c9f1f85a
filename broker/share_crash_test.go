package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A power cut between the end of a session and the moment when what it leaves is
// with others: a broker without Run never gets there. The next start does it.
func TestLegacyOfASessionSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	func() {
		store, err := buffer.Open(filepath.Join(dir, "gateway.db"), storeConfig(), logger(t))
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		b, err := broker.New(config(), store, logger(t))
		if err != nil {
			t.Fatal(err)
		}
		h := &house{Broker: b, t: t, store: store}
		ctx, cancel := context.WithCancel(t.Context())
		l := broker.ListenerConfig{Address: "tcp://127.0.0.1:0"}
		ln, err := broker.Listen(l)
		if err != nil {
			t.Fatal(err)
		}
		h.addr = ln.Addr().String()
		ended := make(chan error)
		go func() { ended <- b.Serve(ctx, ln, l) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		heir := connect(t, h, packet.V5, "heir", false)
		subscribe(t, heir, "$share/g/t", 2)
		heir.Leave()
		a := connect(t, h, packet.V5, "a", false)
		subscribe(t, a, "$share/g/t", 2)
		a.Leave()
		pub := connect(t, h, packet.V5, "pub", true)
		for i := range 4 { // in turn
			publishAt(pub, message("t", fmt.Sprint(i), 1+packet.QoS(i/2)))
		}
		a = connect(t, h, packet.V5, "a", true)
		subscribe(t, a, "none", 1) // its answer is on disk, and so is what was before
	}()
	h := open(t, dir, config())
	heir := connect(t, h, packet.V5, "heir", false)
	heir.ExpectInAnyOrder(message("t", "0", 1), message("t", "2", 2), message("t", "1", 1), message("t", "3", 2)).ExpectNothing()
	if n := len(h.Clients()); n != 1 {
		t.Errorf("%d sessions, want that of the heir", n)
	}
	for _, name := range h.store.Queues() {
		if q, err := h.store.Queue(name, buffer.Limits{}); err != nil || name[:8] == "client/a" {
			t.Errorf("queue %s is still there with %d messages, %v", name, q.Stats().Messages, err)
		}
	}
}

// Two members of a share with sessions, and a broker that is killed again and
// again: together they get every message, at QoS 2 exactly once.
func TestSharedSubscriptionsSurviveKill(t *testing.T) {
	const n, kills = 1000, 4
	m := newMortal(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*brokertest.Patience)
	defer cancel()

	members := [2]*peer{{addr: m.where, id: "m1"}, {addr: m.where, id: "m2"}}
	for _, p := range members {
		p.establish(t, "$share/g/t/pub1", "$share/g/t/pub2", "t/end")
	}
	var acked counter
	published, received := make(chan error, 2), make(chan error, 2)
	var got [2]map[string][]int
	for i, p := range members {
		got[i] = make(map[string][]int)
		go func() {
			received <- p.receive(ctx, func(topic string, number int) bool {
				got[i][topic] = append(got[i][topic], number)
				return topic == "t/end"
			})
		}()
	}
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: m.where, id: fmt.Sprint("pub", qos)}
		go func() { published <- p.publishAll(ctx, qos, n, &acked) }()
	}
	m.die(ctx, kills, 2*n, &acked)
	for range 2 {
		if err := <-published; err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("after %d acknowledged messages: %v", acked.count(), err)
		}
	}
	end := &peer{addr: m.where, id: "end"}
	if err := end.publishAll(ctx, 2, 1, &acked); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-received; err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	for qos := 1; qos <= 2; qos++ {
		topic := fmt.Sprint("t/pub", qos)
		seen := make(map[int]int)
		for i := range got {
			if len(got[i][topic]) == 0 {
				t.Errorf("QoS %d: member %d got nothing", qos, i)
			}
			for _, seq := range got[i][topic] {
				seen[seq]++
			}
		}
		repeats := len(got[0][topic]) + len(got[1][topic]) - len(seen)
		if len(seen) != n {
			t.Errorf("QoS %d: %d of %d messages arrived", qos, len(seen), n)
		}
		if qos == 2 && repeats > 0 {
			t.Errorf("QoS 2: %d messages came twice", repeats)
		}
		t.Logf("QoS %d: %d and %d messages, %d repeated", qos, len(got[0][topic]), len(got[1][topic]), repeats)
	}
}
