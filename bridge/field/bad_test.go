package field_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/drivers"
)

// rogue is a device whose sample does what a test wants.
type rogue func(n int) (drivers.Reading, error)

type rogueDevice struct {
	sample rogue
	n      int
}

func (d *rogueDevice) Channels() []drivers.Channel { return []drivers.Channel{{Name: "x"}} }
func (d *rogueDevice) Close() error                { return nil }
func (d *rogueDevice) Sample(context.Context) (drivers.Reading, error) {
	d.n++
	return d.sample(d.n)
}

// flood names a new channel with each of its readings, and makes no pause.
type flood struct{ rogueDevice }

func (f *flood) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	for i := 0; ctx.Err() == nil; i++ {
		emit(drivers.Reading{Values: values(fmt.Sprint("x", i), i)})
	}
	return nil
}

func kindOf(name string, open func() drivers.Device) drivers.Kind {
	return drivers.KindOf(name, "a fake", "", func() options { return options{} },
		func(context.Context, options, drivers.Ports) (drivers.Device, error) { return open(), nil })
}

// street notes when states came, and what they were.
type street struct {
	mu     sync.Mutex
	times  map[string][]time.Time // by topic
	last   map[string]string
	states chan string // topics
	topic  string      // the one that is waited for
}

func (s *street) Deliver(d *broker.Delivery) {
	m := d.Message
	s.mu.Lock()
	s.times[m.Topic] = append(s.times[m.Topic], time.Now())
	s.last[m.Topic] = string(m.Payload)
	s.mu.Unlock()
	if m.Topic == s.topic {
		select {
		case s.states <- m.Topic:
		default:
		}
	}
}

// What devices do to each other through the bridge and the broker: nothing. In real
// time, with three tries for a machine that is busy with something else.
func TestBadDevicesDoNotDisturbTheStatesOfOthers(t *testing.T) {
	const every, states, longest = 100 * time.Millisecond, 30, 500 * time.Millisecond
	stuck := make(chan struct{})
	defer close(stuck)
	million := make([]drivers.Value, 1_000_000)
	for i := range million {
		million[i] = drivers.Value{Channel: "x", V: float64(i)}
	}
	bad := map[string]struct {
		sample rogue
		online bool
		status string // why it is offline, or what was wrong last
		state  string // holds
	}{
		"panics": {func(int) (drivers.Reading, error) { panic("boom") }, false, "the driver panicked in sample: boom", ""},
		"hangs":  {func(int) (drivers.Reading, error) { <-stuck; return drivers.Reading{}, nil }, false, "not opened yet", ""},
		"nan": {func(int) (drivers.Reading, error) { return drivers.Reading{Values: values("x", math.NaN())}, nil }, false,
			`channel "x": NaN is not a measured value`, ""},
		"bytes": {func(int) (drivers.Reading, error) { return drivers.Reading{Values: values("x", "\xff", "y", 1.0)}, nil }, true,
			`channel "x": "\xff" is not UTF-8`, `{"x":null,"y":1,"quality":{"x":"bad"},`},
		"million": {func(int) (drivers.Reading, error) { return drivers.Reading{Values: million}, nil }, true,
			"a reading of 1000000 values is too large; 1024 are taken", `{"x":1023,`},
		"naks": {func(n int) (drivers.Reading, error) {
			if n%2 == 0 {
				return drivers.Reading{}, errors.New("no acknowledgement")
			}
			return drivers.Reading{Values: values("x", 1.0)}, nil
		}, true, "no acknowledgement", `{"x":1,`},
		"flood": {nil, true, "", `"x255":255,`},
	}
	for try := 1; ; try++ {
		var kinds []drivers.Kind
		var devices []field.DeviceConfig
		add := func(name string, every time.Duration, open func() drivers.Device) {
			c := device(name, name)
			c.Every = every
			kinds, devices = append(kinds, kindOf(name, open)), append(devices, c)
		}
		good := func(int) (drivers.Reading, error) { return drivers.Reading{Values: values("x", 1.0)}, nil }
		add("first", every, func() drivers.Device { return &rogueDevice{sample: good} })
		for name, b := range bad {
			add(name, 10*time.Millisecond, func() drivers.Device {
				if b.sample == nil {
					return new(flood)
				}
				return &rogueDevice{sample: b.sample}
			})
		}
		add("last", every, func() drivers.Device { return &rogueDevice{sample: good} })

		br := openBroker(t)
		seen := &street{times: make(map[string][]time.Time), last: make(map[string]string), states: make(chan string, 1), topic: "p/last/state"}
		if err := br.Local("test", broker.Rights{}).Subscribe("p/+/+", broker.SubscribeOptions{QoS: 1}, seen); err != nil {
			t.Fatal(err)
		}
		log := new(logged)
		bridge, err := field.New(field.Config{Prefix: "p", Devices: devices}, br, kinds, drivers.Ports{}, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- bridge.Run(ctx) }()
		// No Fatal before the end of the bridge.
		for n := 0; n <= states; {
			await(t, "a state of the last device", seen.states)
			seen.mu.Lock()
			n = min(len(seen.times["p/first/state"]), len(seen.times["p/last/state"]))
			seen.mu.Unlock()
		}
		status := bridge.Devices()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}

		after := bridge.Devices()
		for i, s := range status {
			b, isBad := bad[s.Name]
			if !isBad {
				continue
			}
			told := s.Reason
			if b.online {
				told = s.Counts.LastError
			}
			if s.Online != b.online || told != b.status || !strings.HasPrefix(seen.last["p/"+s.Name+"/state"], b.state) && !strings.Contains(seen.last["p/"+s.Name+"/state"], b.state) {
				t.Errorf("%s: online %v, %q, %+v, state %.100s", s.Name, s.Online, told, s.Counts, seen.last["p/"+s.Name+"/state"])
			}
			if n := log.count("device=" + s.Name); n == 0 || n > 3 {
				t.Errorf("%s: %d lines in the log", s.Name, n)
			}
			if n, most := len(seen.times["p/"+s.Name+"/state"]), int(after[i].Counts.Samples); b.sample != nil && n > most {
				t.Errorf("%s: %d states of %d samples", s.Name, n, most)
			}
		}
		worst, gap := 0.0, time.Duration(0)
		for _, name := range []string{"first", "last"} {
			times := seen.times["p/"+name+"/state"]
			mean := float64(times[states].Sub(times[1])) / (states - 1) // to the second one is the phase of the device, too
			worst = max(worst, math.Abs(mean/float64(every)-1))
			for i := range states {
				gap = max(gap, times[i+1].Sub(times[i]))
			}
		}
		t.Logf("the mean interval of a neighbour is off by %.2f %% at most, the longest gap is %v", 100*worst, gap)
		if worst <= 0.05 && gap <= longest {
			return
		}
		if try == 3 || t.Failed() {
			t.Fatal("bad devices disturb the states of their neighbours")
		}
	}
}

// logged is a log in memory.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count is how many lines hold text.
func (l *logged) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
