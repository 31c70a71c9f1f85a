package main

import (
	"context"
	"errors"
	"fmt"

	"edgegateway/broker"
)

// healthTopic is where the gateway talks to itself. The $ keeps it out of # and + [MQTT-4.7.2-1].
const healthTopic = "$gateway/health"

// health asks whether the broker does its work, by a message that goes the whole way: in, through the
// broker's lock, and out to a subscriber. It touches no disk on purpose: a full or failing disk must not
// have the watchdog end a gateway whose local life goes on. Safe for concurrent use.
type health struct {
	ask  *broker.Local
	turn chan struct{} // holds a token while a question is open
	echo chan struct{} // holds a token when the message has come out
}

func newHealth(b *broker.Broker) (*health, error) {
	h := &health{
		ask:  b.Local("health", broker.Rights{Publish: []string{healthTopic}, Subscribe: []string{}}),
		turn: make(chan struct{}, 1),
		echo: make(chan struct{}, 1),
	}
	// A client does not hear itself, so another one listens.
	listener := b.Local("health-echo", broker.Rights{Publish: []string{}, Subscribe: []string{healthTopic}})
	if err := listener.Subscribe(healthTopic, broker.SubscribeOptions{}, h); err != nil {
		return nil, fmt.Errorf("prepare the health check: %w", err)
	}
	return h, nil
}

// Deliver implements broker.Sink.
func (h *health) Deliver(*broker.Delivery) {
	select {
	case h.echo <- struct{}{}:
	default:
	}
}

var errStuck = errors.New("the broker does not answer")

// check returns nil if the message comes out before ctx ends, else a sentence. When the broker is so stuck
// that publishing never returns, one goroutine stays in it, and no further question is asked.
func (h *health) check(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return errStuck
	}
	select {
	case <-h.echo: // of a question that was given up
	default:
	}
	published := make(chan error, 1)
	seen := make(chan struct{})
	defer close(seen)
	go func() {
		published <- h.ask.Publish(broker.Message{Topic: healthTopic}).Wait(ctx)
		<-seen // the echo belongs to this question until then
		<-h.turn
	}()
	select {
	case err := <-published:
		if err != nil {
			return fmt.Errorf("the broker did not take the message of the health check: %w", err)
		}
	case <-ctx.Done():
		return errStuck
	}
	select {
	case <-h.echo:
		return nil
	case <-ctx.Done():
		return errors.New("the broker took the message of the health check and did not deliver it")
	}
}
