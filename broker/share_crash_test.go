package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/broker"
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

// receiveShared receives what comes by shared subscriptions until a message on
// t/end comes by another one.
func (p *peer) receiveShared(ctx context.Context, got map[string][]int) error {
	known := make(map[uint16]bool) // QoS 2 identifiers between PUBLISH and PUBREL
	return p.again(ctx, func() error {
		for {
			q, err := p.next()
			if err != nil {
				return err
			}
			switch q := q.(type) {
			case *packet.Publish:
				if q.QoS != 2 || !known[q.ID] {
					if string(q.Topic) == "t/end" {
						return nil
					}
					got[string(q.Topic)] = append(got[string(q.Topic)], int(binary.BigEndian.Uint32(q.Payload)))
				}
				answer := packet.PUBACK
				if q.QoS == 2 {
					known[q.ID] = true
					answer = packet.PUBREC
				}
				if err := p.send(&packet.Ack{Kind: answer, ID: q.ID}); err != nil {
					return err
				}
			case *packet.Ack: // PUBREL
				delete(known, q.ID)
				if err := p.send(&packet.Ack{Kind: packet.PUBCOMP, ID: q.ID}); err != nil {
					return err
				}
			}
		}
	})
}

// Two members of a share with sessions, and a broker that is killed again and
// again: together they get every message, at QoS 2 exactly once.
func TestSharedSubscriptionsSurviveKill(t *testing.T) {
	const n, kills = 1000, 4
	dir := t.TempDir()
	var addr atomic.Value
	a, kill := startVictim(t, dir)
	addr.Store(a)
	defer func() { kill() }()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	where := func() string { return addr.Load().(string) }

	members := [2]*peer{{addr: where, id: "m1"}, {addr: where, id: "m2"}}
	for _, m := range members { // before the first message
		if err := m.connect(); err != nil {
			t.Fatal(err)
		}
		if err := m.send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{
			{Filter: "$share/g/t/pub1", QoS: 2}, {Filter: "$share/g/t/pub2", QoS: 2}, {Filter: "t/end", QoS: 2}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.next(); err != nil {
			t.Fatal(err)
		}
		m.nc.Close()
	}
	var progress atomic.Int64
	published, received := make(chan error, 2), make(chan error, 2)
	var got [2]map[string][]int
	for i, m := range members {
		got[i] = make(map[string][]int)
		go func() { received <- m.receiveShared(ctx, got[i]) }()
	}
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		p := &peer{addr: where, id: fmt.Sprint("pub", qos)}
		go func() { published <- p.publishAll(ctx, qos, n, &progress) }()
	}
	for i := range kills {
		for progress.Load() < int64((i+1)*2*n/(kills+1)) && ctx.Err() == nil {
			time.Sleep(time.Millisecond) // to strike at a certain progress
		}
		kill()
		a, kill = startVictim(t, dir)
		addr.Store(a)
	}
	for range 2 {
		if err := <-published; err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("after %d acknowledged messages: %v", progress.Load(), err)
		}
	}
	end := &peer{addr: where, id: "end"}
	if err := end.publishAll(ctx, 2, 1, &progress); err != nil {
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
