package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// A subscriber that never returns holds the broker's lock: the worst that can happen to it. The check ends
// in its time, each time, and the broker is healthy again when the lock is free.
func TestStuckBrokerIsFoundOutAndForgiven(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	store, err := buffer.Open(filepath.Join(t.TempDir(), "gateway.db"), buffer.DefaultConfig(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b, err := broker.New(broker.DefaultConfig(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHealth(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.check(t.Context()); err != nil {
		t.Fatalf("at first: %v", err)
	}

	hold, held := make(chan struct{}), make(chan struct{})
	bad := b.Local("bad", broker.Rights{})
	if err := bad.Subscribe("trap", broker.SubscribeOptions{}, sinkFunc(func(*broker.Delivery) { close(held); <-hold })); err != nil {
		t.Fatal(err)
	}
	go b.Local("victim", broker.Rights{}).Publish(broker.Message{Topic: "trap"})
	<-held
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := h.check(ctx); !errors.Is(err, errStuck) {
			t.Errorf("while the lock is held: %v", err)
		}
		cancel()
	}
	close(hold)
	if err := h.check(t.Context()); err != nil {
		t.Errorf("after it was let go: %v", err)
	}
}

// A restart heals no disk, and would end local life: the watchdog is fed although the store hangs.
func TestADiskThatDoesNotAnswerIsNoReasonForARestart(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	answer, asked := make(chan struct{}), make(chan struct{}, 100)
	store, err := buffer.Open(filepath.Join(t.TempDir(), "gateway.db"), buffer.DefaultConfig(), log, buffer.WithFaults(buffer.Faults{
		Commit: func() error { asked <- struct{}{}; <-answer; return nil },
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	defer close(answer)
	b, err := broker.New(broker.DefaultConfig(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHealth(b)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // all of it waits for the disk
		b.Local("client", broker.Rights{}).Publish(broker.Message{Topic: "kept", Payload: make([]byte, 1000), QoS: 1, Retain: true})
	}
	<-asked
	for range 10 {
		if err := h.check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
