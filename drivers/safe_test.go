package drivers_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

// meter goes on from its last total, and is set to zero where that is safe. It tells
// its total at the start of each watch.
type meter struct{ total int64 }

func (m *meter) Channels() []drivers.Channel { return nil }
func (m *meter) Close() error                { return nil }
func (m *meter) Resume(last []drivers.Value) { m.total = last[0].V.(int64) }
func (m *meter) state() drivers.Reading      { return reading(m.total) }
func (m *meter) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	m.total++
	emit(m.state())
	<-ctx.Done()
	return nil
}
func (m *meter) Safe(context.Context) (drivers.Reading, error) {
	m.total = 0
	return m.state(), nil
}

func TestAMeterGoesOnAndIsMadeSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now(), jobs: make(chan drivers.Job, 8), done: make(chan error, 1)}
		r.spec = drivers.Spec{
			Jobs: r.jobs, Stats: &r.stats,
			Kind: drivers.Kind{Name: "meter", Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) { return new(meter), nil }},
			Last: func() []drivers.Value { return []drivers.Value{{Channel: "x", V: int64(41)}} },
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
		r.pass(100 * time.Millisecond)
		r.jobs <- drivers.Job{Context: "A", Safe: true}
		r.jobs <- drivers.Job{Context: "B"}
		r.pass(100 * time.Millisecond)
		r.wantEvents("0s online", "0s x=42",
			"100ms x=0", "100ms result A: 1 <nil>", "100ms x=1", "100ms result B: 0 this device takes no commands", "100ms x=2")
		r.end()
		if got := r.stats.Snapshot().Commands; got != 1 {
			t.Errorf("%d commands are counted, want that of B alone", got)
		}
	})
}

func TestADeviceWithoutASafeStateSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Hour, func(context.Context, int) (*device, error) {
			return &device{actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { panic("not this") }}, nil
		})
		r.jobs <- drivers.Job{Context: "A", Safe: true}
		r.pass(time.Second)
		r.wantEvents("0s online", "0s result A: 0 this device has no safe state")
		r.end()
	})
}

// sampled is a meter that has to be asked.
type sampled struct {
	ask func() (drivers.Reading, error)
}

func (s sampled) Channels() []drivers.Channel                     { return nil }
func (s sampled) Close() error                                    { return nil }
func (s sampled) Resume([]drivers.Value)                          {}
func (s sampled) Sample(context.Context) (drivers.Reading, error) { return s.ask() }

func TestWhatAMeterCountedSinceItsLastSampleIsToldAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func() (drivers.Reading, error)
		want string
		took time.Duration
	}{
		{"it answers", func() (drivers.Reading, error) { return reading(7), nil }, "0s online|0s x=1|1.5s x=7|1.5s offline: the gateway is stopping", 0},
		{"it fails", func() (drivers.Reading, error) { return drivers.Reading{}, drivers.ErrGone }, "0s online|0s x=1|1.5s offline: the gateway is stopping", 0},
		{"it hangs", func() (drivers.Reading, error) { time.Sleep(time.Hour); return reading(7), nil }, "0s online|0s x=1|3.5s offline: the gateway is stopping", 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{t: t, start: time.Now(), done: make(chan error, 1)}
				asked := 0
				dev := sampled{ask: func() (drivers.Reading, error) {
					if asked++; asked == 1 {
						return reading(1), nil
					}
					return c.end()
				}}
				r.spec = drivers.Spec{
					Every: 10 * time.Second,
					Kind:  drivers.Kind{Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) { return dev, nil }},
				}
				ctx, cancel := context.WithCancel(t.Context())
				r.stop = cancel
				go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
				r.pass(1500 * time.Millisecond)
				began := time.Now()
				r.end()
				if got, took := strings.ReplaceAll(r.seen(), "\n", "|"), time.Since(began); got != c.want || took > c.took {
					t.Errorf("after %v: %s", took, got)
				}
				time.Sleep(2 * time.Hour) // what hangs has to end
			})
		})
	}
}
