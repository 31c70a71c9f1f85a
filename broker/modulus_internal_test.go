package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// withSeven runs fn with a broker that has seven identifiers instead of 65,000, at an
// address. Removals wait for the next message, or an hour.
func withSeven(t *testing.T, fn func(b *Broker, path, addr string)) {
	log := slog.New(slog.DiscardHandler)
	cfg := buffer.DefaultConfig()
	cfg.Sync, cfg.Lazy = 0, time.Hour
	path := filepath.Join(t.TempDir(), "gateway.db")
	store, err := buffer.Open(path, cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := DefaultConfig()
	c.MaxInflight = 3
	b, err := New(c, store, log)
	if err != nil {
		t.Fatal(err)
	}
	b.modulus = 7
	l := ListenerConfig{Address: "tcp://127.0.0.1:0"}
	ln, err := Listen(l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- b.Serve(ctx, ln, l) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	fn(b, path, ln.Addr().String())
}

// What the client has acknowledged comes back after a crash until its removal is on
// disk, and takes its identifier back. So an identifier is not given away before.
func TestIdentifierIsNotGivenAwayBeforeTheEndOfItsMessageIsOnDisk(t *testing.T) {
	withSeven(t, func(_ *Broker, path, addr string) {
		sub, _ := brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "sub"})
		sub.Send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}}).
			Expect(&packet.Suback{ID: 65001, Codes: []packet.ReasonCode{1}})
		sub.Leave()
		pub, _ := brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "pub", CleanStart: true})
		const n = 30
		for i := range uint16(n) {
			pub.Send(&packet.Publish{Topic: []byte("t"), Payload: fmt.Append(nil, i), QoS: 1, ID: i + 1}).
				Expect(&packet.Ack{Kind: packet.PUBACK, ID: i + 1})
		}
		sub, _ = brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "sub"})
		for i := range n {
			sub.Expect(&packet.Publish{Topic: []byte("t"), Payload: fmt.Append(nil, i), QoS: 1})
			if onDisk := queued(t, path); onDisk > n-i+4 { // the span is below 7 - 3
				t.Fatalf("message %d has come, and %d of %d are on disk: the first ones would come back with identifiers that others have", i, onDisk, n)
			}
			sub.Send(&packet.Ack{Kind: packet.PUBACK, ID: sub.IDs()[0]})
		}
	})
}

// queued returns how many messages a gateway that is killed now finds for "sub".
func queued(t *testing.T, path string) int {
	t.Helper()
	killed := filepath.Join(t.TempDir(), "gateway.db")
	for _, suffix := range []string{"", ".state"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(killed+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := buffer.Open(killed, buffer.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range s.Queues() {
		if strings.HasPrefix(name, "client/sub/") {
			q, err := s.Queue(name, buffer.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			return q.Stats().Messages
		}
	}
	t.Fatal("no queue")
	return 0
}

// A message that is never acknowledged stops the queue before its identifier would be
// given away, and what was stopped was not sent: it has no DUP in the next connection.
func TestIdentifierIsNotGivenAwayWhileItIsInUse(t *testing.T) {
	withSeven(t, func(b *Broker, _, addr string) {
		sub, _ := brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "sub"})
		sub.Send(&packet.Subscribe{ID: 65001, Subscriptions: []packet.Subscription{{Filter: "t", QoS: 1}}}).
			Expect(&packet.Suback{ID: 65001, Codes: []packet.ReasonCode{1}})
		pub, _ := brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "pub", CleanStart: true})
		message := func(i int) *packet.Publish {
			return &packet.Publish{Topic: []byte("t"), Payload: fmt.Append(nil, i), QoS: 1}
		}
		const n = 20
		for i := range n {
			m := message(i)
			m.ID = uint16(i + 1)
			pub.Send(m).Expect(&packet.Ack{Kind: packet.PUBACK, ID: m.ID})
		}
		sub.Expect(message(0))
		first := sub.IDs()[0]
		sent := 1
		stuck := func() bool { // for want of an identifier, not of a commit
			b.mu.Lock()
			s := b.sessions["sub"]
			b.mu.Unlock()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.held.Seq != 0 && !s.out.admits(s.held.Seq)
		}
		for last := false; !last; {
			last = stuck() // what was sent before comes in this round
			sub.Send(&packet.Pingreq{})
			for {
				p, ok := sub.Receive().(*packet.Publish)
				if !ok {
					break // PINGRESP
				}
				if p.ID == first {
					t.Fatalf("message %s got identifier %d, which message 0 has", p.Payload, first)
				}
				sent++
				sub.Send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			}
		}
		if sent < 3 || sent > 5 { // the span of sequence numbers is below 7 - 3
			t.Fatalf("%d messages were sent, want about 4", sent)
		}
		sub.Leave()
		sub, _ = brokertest.Connect(t, addr, packet.V311, &packet.Connect{ClientID: "sub"})
		again := message(0)
		again.ID, again.DUP = first, true
		sub.Expect(again).Send(&packet.Ack{Kind: packet.PUBACK, ID: sub.IDs()[0]})
		for i := sent; i < n; i++ {
			sub.Expect(message(i)) // without DUP
			sub.Send(&packet.Ack{Kind: packet.PUBACK, ID: sub.IDs()[0]})
		}
	})
}
