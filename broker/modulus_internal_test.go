package broker

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// With seven identifiers instead of 65,000, a message that is never acknowledged
// stops the queue before its identifier would be given away, and what was stopped
// was not sent: it has no DUP in the next connection.
func TestIdentifierIsNotGivenAwayWhileItIsInUse(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := buffer.DefaultConfig()
	cfg.Sync = 0
	store, err := buffer.Open(filepath.Join(t.TempDir(), "gateway.db"), cfg, log)
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
	addr := ln.Addr().String()
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
}
