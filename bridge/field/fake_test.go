package field_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/drivers"
	"edgegateway/internal/need"
)

// patience is how long a test waits for what must happen.
const patience = need.Patience

// fake is a device in the hands of a test: it says what the test makes it say and
// acts when the test lets it.
type fake struct {
	channels []drivers.Channel
	readings chan drivers.Reading // what Watch emits
	acts     chan drivers.Command // what Actuate was asked to do
	finish   chan error           // what Actuate returns; it waits for it
	state    drivers.Reading      // and its state after it
	broken   error                // why it can not be opened; nil: it can
	closed   chan struct{}
}

func newFake(channels ...drivers.Channel) *fake {
	return &fake{
		channels: channels,
		readings: make(chan drivers.Reading),
		acts:     make(chan drivers.Command, 100),
		finish:   make(chan error, 100),
		closed:   make(chan struct{}),
	}
}

func (f *fake) Channels() []drivers.Channel { return f.channels }
func (f *fake) Close() error                { close(f.closed); return nil }

// watcher only tells.
type watcher struct{ *fake }

func (f watcher) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	for {
		select {
		case r := <-f.readings:
			emit(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// actuator only acts.
type actuator struct{ *fake }

func (f actuator) Check(c drivers.Command) (drivers.Command, error) {
	c, channel, err := drivers.Resolve(c, f.channels)
	if err != nil {
		return c, err
	}
	if channel.Type == drivers.Bool {
		c.Value, err = drivers.ParseBool(c.Value)
	} else {
		c.Value, err = drivers.ParseNumber(c.Value, channel.Range)
	}
	return c, err
}

func (f actuator) Actuate(ctx context.Context, c drivers.Command) (drivers.Reading, error) {
	f.acts <- c
	select {
	case err := <-f.finish:
		if err != nil {
			return drivers.Reading{}, err
		}
		return f.state, nil
	case <-ctx.Done():
		return drivers.Reading{}, ctx.Err()
	}
}

type options struct {
	Pin string `toml:"pin"`
}

func (o options) Validate() error {
	if o.Pin == "none" {
		return errors.New("pin must name a line")
	}
	return nil
}

// kind makes a kind of a device that a test holds.
func kind(name string, f *fake, device drivers.Device) drivers.Kind {
	return drivers.KindOf(name, "a fake", "", func() options { return options{Pin: "GPIO17"} },
		func(context.Context, options, drivers.Ports) (drivers.Device, error) {
			if f.broken != nil {
				return nil, f.broken
			}
			return device, nil
		})
}

// rig is a bridge on a real broker, with a client that sees all its topics.
type rig struct {
	t      *testing.T
	broker *broker.Broker
	client *broker.Local
	bridge *field.Bridge

	got  chan broker.Message
	stop func() // ends the bridge and waits for its end
}

// Deliver implements broker.Sink.
func (r *rig) Deliver(d *broker.Delivery) {
	select {
	case r.got <- *d.Message:
	default:
		r.t.Error("more messages than any test expects")
	}
}

func device(name, kind string) field.DeviceConfig {
	c := field.DefaultDeviceConfig()
	c.Name, c.Kind = name, kind
	return c
}

func openBroker(t *testing.T) *broker.Broker {
	t.Helper()
	store, br := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return br
}

// open opens a broker on the store in dir, which the caller closes.
func open(t *testing.T, dir string) (*buffer.Store, *broker.Broker) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := buffer.Open(filepath.Join(dir, "store"), buffer.DefaultConfig(), log)
	if err != nil {
		t.Fatal(err)
	}
	br, err := broker.New(broker.DefaultConfig(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	return store, br
}

// start runs a bridge with these devices.
func start(t *testing.T, kinds []drivers.Kind, devices ...field.DeviceConfig) *rig {
	t.Helper()
	r := &rig{t: t, broker: openBroker(t), got: make(chan broker.Message, 1000)}
	r.client = r.broker.Local("test", broker.Rights{})
	for _, filter := range []string{"p/+/state", "p/+/availability", "p/+/result", "reply/#"} {
		if err := r.client.Subscribe(filter, broker.SubscribeOptions{QoS: 2}, r); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.bridge, err = field.New(field.Config{Prefix: "p", Devices: devices}, r.broker, kinds, drivers.Ports{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.bridge.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	return r
}

// next waits for the next message on a topic, and skips those on others.
func (r *rig) next(topic string) broker.Message {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-r.got:
			if m.Topic == topic {
				return m
			}
		case <-timeout:
			r.t.Fatalf("no message on %s", topic)
		}
	}
}

// expect waits for the next message on a topic and compares its payload. "TIME"
// stands for any time.
func (r *rig) expect(topic, want string) {
	r.t.Helper()
	got := string(r.next(topic).Payload)
	before, after, timed := strings.Cut(want, "TIME")
	if got != want && !(timed && strings.HasPrefix(got, before) && strings.HasSuffix(got, after) && isTime(got[len(before):len(got)-len(after)])) {
		r.t.Errorf("%s: got %s, want %s", topic, got, want)
	}
}

func isTime(s string) bool {
	at, err := time.Parse("2006-01-02T15:04:05.000Z", s)
	return err == nil && time.Since(at).Abs() < time.Hour
}

// command publishes and waits for the acknowledgement.
func (r *rig) command(m broker.Message) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return r.client.Publish(m).Wait(ctx)
}

func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

func values(pairs ...any) []drivers.Value {
	var all []drivers.Value
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, drivers.Value{Channel: fmt.Sprint(pairs[i]), V: pairs[i+1]})
	}
	return all
}

// The times of announcements, in the bubbles of synctest.
const (
	gatherTime = time.Second
	birthLeast = time.Second
	birthTime  = 5 * time.Second
	unbornTime = 5 * time.Minute
)

// sleep lets the time of a bubble pass, and what it brings.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
