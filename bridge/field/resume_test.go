package field_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/drivers"
)

// tally is a device of the kind tally: it counts pulses that a test gives, from what it
// said last.
type tally struct {
	pulses chan any   // a number is added and told; nil is told as bad; an error ends the watch
	last   chan []any // what Resume got
	count  any
}

type tallyOptions struct{}

func (tallyOptions) Validate() error   { return nil }
func (tallyOptions) Resumes() []string { return []string{"pulses"} }

func newTally() *tally { return &tally{pulses: make(chan any), last: make(chan []any, 10)} }

func (c *tally) kind() drivers.Kind {
	return drivers.KindOf("tally", "a fake", "", func() tallyOptions { return tallyOptions{} },
		func(context.Context, tallyOptions, drivers.Ports) (drivers.Device, error) {
			c.count = int64(0)
			return c, nil
		})
}

func (c *tally) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "pulses", Type: drivers.Int, Cumulative: true}, {Name: "total", Type: drivers.Float}}
}
func (c *tally) Close() error { return nil }
func (c *tally) Resume(last []drivers.Value) {
	var got []any
	for _, v := range last {
		got = append(got, v.Channel, v.V)
		c.count = v.V
	}
	c.last <- got
}

func (c *tally) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-c.pulses:
			switch p := p.(type) {
			case error:
				return p
			case nil:
				emit(drivers.Reading{At: noon, Bad: []string{"pulses"}})
				continue
			case int64:
				c.count = c.count.(int64) + p
			default:
				c.count = p
			}
			emit(drivers.Reading{At: noon, Values: values("pulses", c.count, "total", 0.5)})
		}
	}
}

func (c *tally) resumed(t *testing.T, want ...any) {
	t.Helper()
	if got := await(t, "Resume", c.last); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("goes on from %#v, want %#v", got, want)
	}
}

// oneRun runs a gateway's floors on the store in dir until fn returns, and stops them
// cleanly.
func oneRun(t *testing.T, dir string, kind drivers.Kind, c field.DeviceConfig, log io.Writer, fn func(r *rig)) {
	t.Helper()
	store, br := open(t, dir)
	r := &rig{t: t, broker: br, got: make(chan broker.Message, 1000), client: br.Local("test", broker.Rights{})}
	if err := r.client.Subscribe("#", broker.SubscribeOptions{QoS: 2}, r); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.bridge, err = field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c}}, br, []drivers.Kind{kind}, drivers.Ports{},
		slog.New(slog.NewTextHandler(log, nil))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.bridge.Run(ctx) }()
	fn(r)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAMeterGoesOnAfterARestart(t *testing.T) {
	dir, c := t.TempDir(), device("x", "tally")
	c.Topic = "somewhere/else"
	state := c.Topic + "/state"
	total := int64(0)
	for run, add := range []int64{5, 1<<53 + 1, 1, 0} {
		meter := newTally()
		oneRun(t, dir, meter.kind(), c, io.Discard, func(r *rig) {
			if run == 0 {
				meter.resumed(t)
			} else {
				meter.resumed(t, "pulses", total)
			}
			total += add
			meter.pulses <- add
			for payload := ""; !strings.HasPrefix(payload, fmt.Sprintf(`{"pulses":%d,"total":0.5,`, total)); {
				payload = string(r.next(state).Payload)
			}
		})
	}
}

func TestAMeterGoesOnWhenItIsOpenedAgain(t *testing.T) {
	meter := newTally()
	oneRun(t, t.TempDir(), meter.kind(), device("x", "tally"), io.Discard, func(r *rig) {
		meter.resumed(t)
		meter.pulses <- int64(7)
		r.next("p/x/state")
		meter.pulses <- nil // the state says null now; the meter knows better
		r.next("p/x/state")
		meter.pulses <- fmt.Errorf("pulled out: %w", drivers.ErrGone)
		meter.resumed(t, "pulses", int64(7))
		meter.pulses <- 2.5 // and no digits are lost in this run
		r.next("p/x/state")
		meter.pulses <- errors.New("again")
		meter.resumed(t, "pulses", 2.5)
	})
}

// What a deadband and min_interval hold back is on the topic when the device ends.
func TestWhatWasHeldBackIsPublishedAtTheEnd(t *testing.T) {
	meter, dir := newTally(), t.TempDir()
	var wide field.ChannelConfig
	wide.SetDefaults()
	if err := wide.Deadband.UnmarshalText([]byte("100")); err != nil {
		t.Fatal(err)
	}
	banded, paced := device("x", "tally"), device("x", "tally")
	banded.Channels = map[string]field.ChannelConfig{"pulses": wide}
	paced.MinInterval = time.Hour
	total := int64(0)
	for run, c := range []field.DeviceConfig{banded, paced, paced} {
		oneRun(t, dir, meter.kind(), c, io.Discard, func(r *rig) {
			if run == 0 {
				meter.resumed(t)
			} else {
				meter.resumed(t, "pulses", total)
			}
			for range 3 {
				meter.pulses <- int64(1)
				total++
			}
		})
	}
}

func TestAStateThatAnotherPublisherHasReplacedIsNoTotal(t *testing.T) {
	dir, log := t.TempDir(), new(strings.Builder)
	for run := range 2 {
		meter := newTally()
		oneRun(t, dir, meter.kind(), device("x", "tally"), log, func(r *rig) {
			meter.resumed(t)
			if run == 0 {
				meter.pulses <- int64(5)
				r.next("p/x/state")
				if err := r.command(broker.Message{Topic: "p/x/state", Payload: []byte(`{"pulses":1000}`), QoS: 1, Retain: true}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if n := strings.Count(log.String(), "replaced by another publisher"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

func TestTheChannelOfAMeterIsNotChanged(t *testing.T) {
	for name, edit := range map[string]func(*field.ChannelConfig){
		"":          func(c *field.ChannelConfig) { c.Unit, c.Title = "L", "Water" },
		"scale":     func(c *field.ChannelConfig) { c.Scale = 2 },
		"offset":    func(c *field.ChannelConfig) { c.Offset = 2 },
		"points":    func(c *field.ChannelConfig) { c.Points = [][]float64{{0, 0}, {1, 1}} },
		"valid":     func(c *field.ChannelConfig) { c.Valid = []float64{0, 1} },
		"aggregate": func(c *field.ChannelConfig) { c.Aggregate, c.Window = "mean", time.Minute },
		"round":     func(c *field.ChannelConfig) { c.Round = 1 },
	} {
		var ch field.ChannelConfig
		ch.SetDefaults()
		edit(&ch)
		c := device("x", "tally")
		c.Channels = map[string]field.ChannelConfig{"total": ch}
		if err := field.Check(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c}}, []drivers.Kind{newTally().kind()}); err != nil {
			t.Errorf("%s of another channel: %v", name, err)
		}
		c.Channels = map[string]field.ChannelConfig{"pulses": ch}
		err := field.Check(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c}}, []drivers.Kind{newTally().kind()})
		if (err == nil) != (name == "") || err != nil && !strings.HasPrefix(err.Error(), `device "x": channels.pulses is what a tally goes on from after a restart`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A meter that moves is on disk once a minute, however many there are, and costs nothing
// when it rests.
func TestMetersThatMoveShareACommitEachMinute(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		silent := slog.New(slog.DiscardHandler)
		store, br := open(t, dir)
		defer store.Close()
		meters := []*tally{newTally(), newTally(), newTally()}
		var kinds []drivers.Kind
		var devices []field.DeviceConfig
		for i, m := range meters {
			k := m.kind()
			k.Name = fmt.Sprintf("tally%d", i)
			kinds, devices = append(kinds, k), append(devices, device(fmt.Sprintf("x%d", i), k.Name))
		}
		bridge, err := field.New(field.Config{Prefix: "p", Devices: devices}, br, kinds, drivers.Ports{}, silent)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- bridge.Run(ctx) }()
		for _, c := range []struct {
			pulse       int64
			least, most int64
		}{{1, 9, 10}, {0, 0, 2}, {1, 9, 10}} { // of a state that only has a new time, the last one goes with retained_every
			before := store.Stats().Commits
			for range 600 - 6 {
				for _, m := range meters {
					m.pulses <- c.pulse
					time.Sleep(100 * time.Millisecond)
				}
				sleep(700 * time.Millisecond)
			}
			sleep(6 * time.Second) // lazy
			if n := store.Stats().Commits - before; n < c.least || n > c.most {
				t.Errorf("%d commits in ten minutes of %d pulses per second, want %d to %d", n, c.pulse, c.least, c.most)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// settable is a tally that a command sets.
type settable struct{ *tally }

func (settable) Check(c drivers.Command) (drivers.Command, error) { return c, nil }
func (s settable) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	s.count = int64(c.Value.(float64))
	return drivers.Reading{At: noon, Values: values("pulses", s.count)}, nil
}

// Somebody went to the mechanical meter for it, and was told that it is set.
func TestWhatAMeterWasSetToIsKeptAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		silent := slog.New(slog.DiscardHandler)
		store, br := open(t, dir)
		defer store.Close()
		meter := newTally()
		kind := drivers.KindOf("tally", "a fake", "", func() tallyOptions { return tallyOptions{} },
			func(context.Context, tallyOptions, drivers.Ports) (drivers.Device, error) {
				return settable{meter}, nil
			})
		bridge, err := field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{device("x", "tally")}}, br, []drivers.Kind{kind}, drivers.Ports{}, silent)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- bridge.Run(ctx) }()
		meter.count = int64(0)
		meter.pulses <- int64(1)
		sleep(6 * time.Second) // lazy; for this minute that is all
		before := store.Stats().Commits
		if err := br.Local("test", broker.Rights{}).Publish(broker.Message{Topic: "p/x/set", Payload: []byte("1234"), QoS: 1}).Wait(t.Context()); err != nil {
			t.Error(err)
		}
		sleep(6 * time.Second)
		if n := store.Stats().Commits - before; n != 1 {
			t.Errorf("%d commits of what it was set to, want 1", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
