package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

// A bad device is one that nobody would want for a neighbour.
type bad struct {
	name  string
	make  func() (*device, error) // what an attempt to open it gives
	job   bool                    // it gets a command
	event string                  // how its Events hear of it
	log   string                  // what the log says once
	slow  bool                    // it takes longer than the test in real time
}

var errBroken = errors.New("broken")

// badDevices lists them. Calls that hang return when stuck is closed, and not before.
func badDevices(stuck <-chan struct{}) []bad {
	hang := func() { <-stuck }
	boom := func() { panic("boom") }
	samples := func(f func(n int) (drivers.Reading, error)) func() (*device, error) {
		return func() (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) { return f(n) }}, nil
		}
	}
	says := func(values ...drivers.Value) func() (*device, error) {
		return samples(func(int) (drivers.Reading, error) { return drivers.Reading{Values: values}, nil })
	}
	watches := func(f func(ctx context.Context, emit func(drivers.Reading))) func() (*device, error) {
		return func() (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error { f(ctx, emit); return nil }}, nil
		}
	}
	acts := func(f func()) func() (*device, error) {
		return func() (*device, error) {
			return &device{actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { f(); return drivers.Reading{}, nil }}, nil
		}
	}
	closes := func(f func()) func() (*device, error) {
		return func() (*device, error) {
			return &device{
				sample: func(context.Context, int) (drivers.Reading, error) { return drivers.Reading{}, errBroken },
				close:  func() error { f(); return nil },
			}, nil
		}
	}
	million := slices.Repeat([]drivers.Value{{Channel: "x", V: 1.5}}, 1_000_000)

	return []bad{
		{name: "panics in open", make: func() (*device, error) { boom(); return nil, nil },
			event: "offline: the driver panicked in open: boom", log: "panicked in open: boom"},
		{name: "panics in sample", make: samples(func(int) (drivers.Reading, error) { boom(); return drivers.Reading{}, nil }),
			event: "offline: the driver panicked in sample: boom", log: "panicked in sample: boom"},
		{name: "panics in watch", make: watches(func(context.Context, func(drivers.Reading)) { boom() }),
			event: "offline: the driver panicked in watch: boom", log: "panicked in watch: boom"},
		{name: "panics in actuate", make: acts(boom), job: true,
			event: "offline: the driver panicked in actuate: boom", log: "panicked in actuate: boom"},
		{name: "panics in close", make: closes(boom),
			event: "offline: broken; then: the driver panicked in close: boom", log: "panicked in close: boom"},

		{name: "hangs in open", make: func() (*device, error) { hang(); return nil, errBroken }, slow: true,
			event: "offline: stuck: open has not returned after 10.5s", log: "stuck: open"},
		{name: "hangs in sample", make: samples(func(int) (drivers.Reading, error) { hang(); return drivers.Reading{}, nil }),
			event: "offline: stuck: sample has not returned after 600ms", log: "stuck: sample"},
		{name: "hangs in watch", job: true, make: func() (*device, error) {
			return &device{
				watch:   func(context.Context, func(drivers.Reading)) error { hang(); return nil },
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { return drivers.Reading{}, nil },
			}, nil
		}, event: "offline: stuck: watch has not returned after 600ms", log: "stuck: watch"},
		{name: "hangs in actuate", make: acts(hang), job: true,
			event: "offline: stuck: actuate has not returned after 600ms", log: "stuck: actuate"},
		{name: "hangs in close", make: closes(hang),
			event: "offline: broken; then: stuck: close has not returned after 2.5s", log: "stuck: close"},

		{name: "opens nothing", make: func() (*device, error) { return nil, nil },
			event: "offline: the driver fake opened nothing", log: "opened nothing"},
		{name: "NaN", make: says(drivers.Value{Channel: "x", V: math.NaN()}),
			event: `offline: channel "x": NaN is not a measured value`, log: "NaN is not"},
		{name: "infinite beside a good value", make: says(drivers.Value{Channel: "x", V: math.Inf(1)}, drivers.Value{Channel: "y", V: 1.0}),
			event: "bad x", log: "+Inf is not"},
		{name: "no UTF-8 beside a good value", make: says(drivers.Value{Channel: "x", V: strings.Repeat("\xff", 1000)}, drivers.Value{Channel: "y", V: 1.0}),
			event: "bad x", log: "is not UTF-8"},
		{name: "a long text", make: says(drivers.Value{Channel: "x", V: strings.Repeat("x", 1<<20)}),
			event: `offline: channel "x": a text of 1048576 bytes is longer than 65536`, log: "a text of"},
		{name: "a value of no type", make: says(drivers.Value{Channel: "x", V: struct{}{}}),
			event: "cannot be used", log: "cannot be used"},
		{name: "a million channels", make: says(million...),
			event: "x=1.5", log: "a reading of 1000000 values is too large"},
		{name: "NAKs every second sample", make: samples(func(n int) (drivers.Reading, error) {
			if n%2 == 0 {
				return drivers.Reading{}, errors.New("NAK")
			}
			return reading(n), nil
		}), event: "missed", log: "NAK"},

		{name: "floods", make: watches(func(ctx context.Context, emit func(drivers.Reading)) {
			for i := 0; ctx.Err() == nil; i++ {
				emit(reading(i))
			}
		}), event: "x=0", log: "device online"},
		{name: "floods with faults", make: watches(func(ctx context.Context, emit func(drivers.Reading)) {
			for i := 0; ctx.Err() == nil; i++ {
				emit(drivers.Reading{Fault: fmt.Errorf("fault %d", i)})
			}
		}), event: "online", log: "fault "},
		{name: "floods with channels", make: watches(func(ctx context.Context, emit func(drivers.Reading)) {
			for i := 0; ctx.Err() == nil; i++ {
				emit(drivers.Reading{Values: []drivers.Value{{Channel: fmt.Sprint("x", i), V: i}}, Bad: []string{fmt.Sprint("y", i)}})
			}
		}), event: "x0=0", log: "device online"},
	}
}

// quarter is a house of bad devices, and of good ones between them.
type quarter struct {
	bad   []bad
	rigs  []*rig // of the bad ones
	good  []*rig
	began time.Time
}

const goodEvery = 100 * time.Millisecond

// settle runs them all.
func settle(t *testing.T, stuck <-chan struct{}) *quarter {
	q := &quarter{bad: badDevices(stuck), began: time.Now()}
	for i, b := range q.bad {
		r := run(t, 10*time.Millisecond, func(context.Context, int) (*device, error) { return b.make() }, func(s *drivers.Spec) {
			s.Timeout = 100 * time.Millisecond
		})
		if b.job {
			r.jobs <- drivers.Job{Context: b.name}
		}
		q.rigs = append(q.rigs, r)
		if i%5 == 0 {
			q.good = append(q.good, run(t, goodEvery, func(context.Context, int) (*device, error) {
				return &device{sample: steady}, nil
			}))
		}
	}
	return q
}

// moveOut ends them all. Only who hangs may end with an error.
func (q *quarter) moveOut(t *testing.T, release func()) {
	for _, r := range append(q.rigs, q.good...) {
		r.stop()
	}
	release()
	for _, r := range append(q.rigs, q.good...) {
		<-r.done
		if r.overlap {
			t.Error("two calls of a driver were under way at once")
		}
	}
}

// floodRest is how long a device rests at least for each reading that has to be merged.
const floodRest = 250 * time.Microsecond

// judge says what of the bad devices was not told, or not once, and which takes more of the
// processor than its share, however busy the machine is.
func (q *quarter) judge(t *testing.T, all bool) {
	t.Helper()
	for i, b := range q.bad {
		if b.slow && !all {
			continue
		}
		r := q.rigs[i]
		if seen := r.seen(); !strings.Contains(seen, b.event) {
			t.Errorf("%s: no %q among its events: %.1000s", b.name, b.event, seen)
		}
		if n := strings.Count(r.log(), b.log); n != 1 {
			t.Errorf("%s: the log says %q %d times:\n%.2000s", b.name, b.log, n, r.log())
		}
		if n := strings.Count(r.log(), "level="); n > 3 {
			t.Errorf("%s: the log has %d lines:\n%.2000s", b.name, n, r.log())
		}
		if c := r.stats.Snapshot(); c.Errors == 0 && c.Coalesced == 0 {
			t.Errorf("%s: nothing is counted: %+v", b.name, c)
		} else if most := int64(time.Since(q.began)/floodRest) + 1; c.Coalesced > most {
			t.Errorf("%s: it was not slowed down: %d readings in vain, at most %d have had the time", b.name, c.Coalesced, most)
		}
	}
}

// As far as the drivers of the neighbours go, there is no disturbance at all.
func TestBadDevicesAreMarkedAndTheirTroubleIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		q := settle(t, stuck)
		time.Sleep(20*time.Second + goodEvery/2)
		synctest.Wait()
		q.judge(t, true)
		q.moveOut(t, func() { close(stuck) })
		for _, r := range q.good {
			for i, at := range r.times {
				if at != time.Duration(i)*goodEvery {
					t.Fatalf("sample %d of a neighbour came at %v", i, at)
				}
			}
			if len(r.times) != 201 {
				t.Errorf("a neighbour has %d readings in 20 s, want 201", len(r.times))
			}
		}
	})
}

// In real time, because floods and panics are real work. A machine that is busy disturbs
// as well: a try counts only if right afterwards the neighbours keep their time without bad
// devices, beside as much of other work.
func TestBadDevicesDoNotDisturbTheirNeighbours(t *testing.T) {
	for try, disturbed := 1, 0; ; try++ {
		stuck := make(chan struct{})
		q := settle(t, stuck)
		for _, r := range q.good {
			r.await(punctualSamples + 1)
		}
		q.judge(t, false)
		q.moveOut(t, func() { close(stuck) })
		if punctual(t, "beside bad devices", q.good) || t.Failed() {
			return
		}
		if punctual(t, "beside other work", besideWork(t, len(q.good))) {
			disturbed++
		}
		switch {
		case disturbed == 3:
			t.Fatal("bad devices disturb their neighbours")
		case try == 6:
			// That no flood takes a whole processor has been judged each time, by counting.
			t.Log("this machine is too busy to tell who disturbs whom; in virtual time nobody does")
			return
		}
	}
}

// besideWork runs n good devices beside goroutines that do nothing but use the processors:
// two for each flood, who makes it and who takes it.
func besideWork(t *testing.T, n int) (good []*rig) {
	var working sync.WaitGroup
	var over atomic.Bool
	for range 6 {
		working.Go(func() {
			for !over.Load() {
				rand.Uint32()
			}
		})
	}
	defer working.Wait()
	defer over.Store(true)
	for range n {
		good = append(good, run(t, goodEvery, func(context.Context, int) (*device, error) {
			return &device{sample: steady}, nil
		}))
	}
	for _, r := range good {
		r.await(punctualSamples + 1)
	}
	(&quarter{good: good}).moveOut(t, func() {})
	return good
}

// punctualSamples is how many intervals punctual looks at.
const punctualSamples = 40

// punctual reports whether devices kept their interval within 5 %, and left no gap.
func punctual(t *testing.T, where string, good []*rig) bool {
	t.Helper()
	worst, gap := 0.0, time.Duration(0)
	for _, r := range good {
		mean := float64(r.times[punctualSamples]-r.times[0]) / punctualSamples
		worst = max(worst, math.Abs(mean/float64(goodEvery)-1))
		for i := range punctualSamples {
			gap = max(gap, r.times[i+1]-r.times[i])
		}
	}
	t.Logf("%s the mean interval of a device is off by %.2f %% at most, the longest gap is %v", where, 100*worst, gap)
	return worst <= 0.05 && gap <= 5*goodEvery
}
