package field_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// cleared waits until so many retained commands were taken off their topics.
type cleared chan string

func (c cleared) Deliver(d *broker.Delivery) {
	if m := d.Message; m.Retain && len(m.Payload) == 0 && m.Origin == "field" {
		c <- m.Topic
	}
}

func listen(t *testing.T, br *broker.Broker) cleared {
	t.Helper()
	c := make(cleared, 1000)
	o := broker.SubscribeOptions{QoS: 1, RetainAsPublished: true, RetainHandling: packet.NoRetained}
	if err := br.Local("listener", broker.Rights{}).Subscribe("p/#", o, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// More of them than there is room for results: no one may stay.
func TestARetainedCommandIsNotKept(t *testing.T) {
	r, f := startActuator(t, valve)
	gone := listen(t, r.broker)
	const n = 200
	for i := range n {
		topic := "p/x/set"
		if i > 0 {
			topic = fmt.Sprintf("p/x/valve%d/set", i)
		}
		r.client.Publish(broker.Message{Topic: topic, Payload: []byte("on"), QoS: 1, Retain: true})
	}
	seen := make(map[string]bool)
	for len(seen) < n {
		seen[await(t, "a topic to be cleared", gone)] = true
	}
	if left := r.broker.Retained("p/x/+/set", 0); len(left) > 0 {
		t.Errorf("%d are kept", len(left))
	}
	if len(f.acts) > 0 {
		t.Error("one was carried out")
	}
	if state := r.broker.Retained("p/x/availability", 0); len(state) != 1 {
		t.Errorf("what the device says is kept %d times", len(state))
	}
}

func TestACommandThatAnEarlierRunHasKeptIsCleared(t *testing.T) {
	br := openBroker(t)
	gone := listen(t, br)
	receipt := br.Local("test", broker.Rights{}).Publish(broker.Message{Topic: "p/x/valve/set", Payload: []byte("on"), QoS: 1, Retain: true})
	if err := receipt.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := newFake(valve)
	b, err := field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{device("x", "a")}}, br, []drivers.Kind{kind("a", f, actuator{f})}, drivers.Ports{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if topic := await(t, "a topic to be cleared", gone); topic != "p/x/valve/set" || len(br.Retained(topic, 0)) > 0 {
		t.Errorf("%s was cleared", topic)
	}
}

// The publisher may speak MQTT 3.1.1, and nobody listens to the results.
func TestTheLogSaysThatACommandWasNotCarriedOut(t *testing.T) {
	for _, c := range []struct{ name, payload, want string }{
		{"refused", "5", "neither on nor off"},
		{"failed", "on", "the relay does not move"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := new(syncBuffer)
			f := newFake(valve)
			br := openBroker(t)
			done := make(results, 100)
			if err := br.Local("test", broker.Rights{}).Subscribe("p/x/+", broker.SubscribeOptions{QoS: 1}, done); err != nil {
				t.Fatal(err)
			}
			b, err := field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{device("x", "a")}}, br, []drivers.Kind{kind("a", f, actuator{f})}, drivers.Ports{}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				if err := b.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			for await(t, "the device", done) != "online" {
			}
			for range 3 {
				if c.name == "failed" {
					f.finish <- errors.New("the relay does not move")
				}
				br.Local("sender", broker.Rights{}).Publish(broker.Message{Topic: "p/x/set", Payload: []byte(c.payload)})
				for !bytes.Contains([]byte(await(t, "the result", done)), []byte(c.want)) {
				}
			}
			cancel()
			running.Wait()
			if n := log.count("was not carried out"); n != 1 || log.count(c.want) < 1 {
				t.Errorf("%d lines:\n%s", n, log)
			}
		})
	}
}

func TestTheLogSaysOnceThatAMeasuredChannelGivesText(t *testing.T) {
	log, br, f, done := new(syncBuffer), openBroker(t), newFake(), make(results, 100)
	if err := br.Local("test", broker.Rights{}).Subscribe("p/x/state", broker.SubscribeOptions{QoS: 1}, done); err != nil {
		t.Fatal(err)
	}
	c := device("x", "w")
	c.Channels = map[string]field.ChannelConfig{"t": {Unit: "°C", Scale: 1, Round: -1}}
	b, err := field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c}}, br, []drivers.Kind{kind("w", f, watcher{f})}, drivers.Ports{}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for i, text := range []string{"ERR", "21,5"} {
		f.readings <- drivers.Reading{Values: values("t", text, "n", float64(i))}
		if state := await(t, "the state", done); !bytes.Contains([]byte(state), []byte(`"t":null`)) {
			t.Errorf("%s: %s", text, state)
		}
	}
	cancel()
	running.Wait()
	if log.count("gives text") != 1 || log.count("channel=t text=ERR") != 1 {
		t.Errorf("the log says\n%s", log)
	}
}

type results chan string

func (r results) Deliver(d *broker.Delivery) { r <- string(d.Message.Payload) }

// syncBuffer is a log in memory.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// count is how many times the log has a text.
func (b *syncBuffer) count(text string) int { return bytes.Count([]byte(b.String()), []byte(text)) }
