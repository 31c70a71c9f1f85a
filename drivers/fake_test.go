package drivers_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

// device does what its functions say; nil ones are not offered.
type device struct {
	sample  func(ctx context.Context, n int) (drivers.Reading, error)
	watch   func(ctx context.Context, emit func(drivers.Reading)) error
	actuate func(ctx context.Context, c drivers.Command) (drivers.Reading, error)
	check   func(drivers.Command) (drivers.Command, error)
	close   func() error

	rig *rig
	n   int
}

func (d *device) Channels() []drivers.Channel { return []drivers.Channel{{Name: "x", Writable: true}} }
func (d *device) Close() error {
	defer d.rig.enter("close")()
	if d.close != nil {
		return d.close()
	}
	return nil
}

type sampler struct{ *device }

func (d sampler) Sample(ctx context.Context) (drivers.Reading, error) {
	defer d.rig.enter("sample")()
	d.n++
	return d.sample(ctx, d.n)
}

type watcher struct{ *device }

func (d watcher) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	defer d.rig.enter("watch")()
	return d.watch(ctx, emit)
}

type actuator struct{ *device }

func (d actuator) Check(c drivers.Command) (drivers.Command, error) {
	if d.check != nil {
		return d.check(c)
	}
	return c, nil
}

func (d actuator) Actuate(ctx context.Context, c drivers.Command) (drivers.Reading, error) {
	defer d.rig.enter("actuate")()
	return d.actuate(ctx, c)
}

// faces gives a device exactly the interfaces that it has functions for.
func faces(d *device) drivers.Device {
	switch s, w, a := d.sample != nil, d.watch != nil, d.actuate != nil; {
	case s && a:
		return struct {
			sampler
			actuator
			drivers.Device
		}{sampler{d}, actuator{d}, d}
	case w && a:
		return struct {
			watcher
			actuator
			drivers.Device
		}{watcher{d}, actuator{d}, d}
	case s:
		return sampler{d}
	case w:
		return watcher{d}
	case a:
		return actuator{d}
	}
	return d
}

// rig runs one device in a bubble and writes down what happens, with the time
// since the start.
type rig struct {
	t     *testing.T
	start time.Time
	spec  drivers.Spec
	jobs  chan drivers.Job
	stats drivers.Stats
	stop  context.CancelFunc
	done  chan error

	mu      sync.Mutex
	inside  int      // calls of the driver under way
	overlap bool     // two were under way at once
	calls   []string // "op@time"
	events  []string
	times   []time.Duration // of readings
	news    chan struct{}   // holds a token when there is a new one
	values  []any
	logs    strings.Builder
	check   func(drivers.Command) (drivers.Command, error)
}

func (r *rig) at() string { return time.Since(r.start).Round(time.Millisecond).String() }

func (r *rig) enter(op string) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, op+"@"+r.at())
	r.inside++
	r.overlap = r.overlap || r.inside > 1
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inside--
	}
}

func (r *rig) event(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, r.at()+" "+fmt.Sprintf(format, args...))
}

func (r *rig) Online(_ []drivers.Channel, check func(drivers.Command) (drivers.Command, error)) {
	r.event("online")
	r.check = check
}
func (r *rig) Offline(reason error) { r.event("offline: %v", reason) }
func (r *rig) Reading(reading drivers.Reading) {
	if reading.Missed {
		r.event("missed")
	}
	for _, v := range reading.Values {
		r.event("%s=%v", v.Channel, v.V)
		r.mu.Lock()
		r.times = append(r.times, time.Since(r.start))
		r.values = append(r.values, v.V)
		r.mu.Unlock()
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
	if len(reading.Bad) > 0 {
		r.event("bad %s", strings.Join(reading.Bad, " "))
	}
}
func (r *rig) Result(j drivers.Job, state drivers.Reading, err error) {
	r.event("result %v: %v %v", j.Context, len(state.Values), err)
}

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.Write(p)
}

// run starts Run on devices that open gives, in the bubble of the calling test if it
// has one.
func run(t *testing.T, every time.Duration, open func(ctx context.Context, attempt int) (*device, error), edit ...func(*drivers.Spec)) *rig {
	r := &rig{t: t, start: time.Now(), jobs: make(chan drivers.Job, 8), done: make(chan error, 1), news: make(chan struct{}, 1)}
	attempt := 0
	r.spec = drivers.Spec{
		Name: "dut", Every: every, Timeout: time.Second, Jobs: r.jobs, Stats: &r.stats,
		Log: slog.New(slog.NewTextHandler(r, nil)),
		Kind: drivers.Kind{Name: "fake", Open: func(ctx context.Context, _ func(any) error, _ drivers.Ports) (drivers.Device, error) {
			defer r.enter("open")()
			attempt++
			d, err := open(ctx, attempt)
			if d == nil || err != nil {
				return nil, err
			}
			d.rig = r
			return faces(d), nil
		}},
	}
	for _, f := range edit {
		f(&r.spec)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
	return r
}

// pass lets the time of the bubble go on.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// await waits for a number of readings, in real time.
func (r *rig) await(readings int) {
	late := time.After(time.Minute)
	for {
		r.mu.Lock()
		n := len(r.times)
		r.mu.Unlock()
		if n >= readings {
			return
		}
		select {
		case <-r.news:
		case <-late:
			r.t.Fatalf("%d readings in a minute, want %d", n, readings)
		}
	}
}

// end stops Run and returns its error.
func (r *rig) end() error {
	r.stop()
	err := <-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlap {
		r.t.Error("two calls of the driver were under way at once")
	}
	return err
}

func (r *rig) count(list []string, part string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range list {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func (r *rig) seen() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.events, "\n")
}

func (r *rig) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs.String()
}

func (r *rig) wantEvents(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := strings.Join(r.events, "\n")
	if got != strings.Join(want, "\n") {
		r.t.Errorf("events:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func reading(v any) drivers.Reading {
	return drivers.Reading{Values: []drivers.Value{{Channel: "x", V: v}}}
}
