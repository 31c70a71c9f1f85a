package drivers_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

func TestASampleOutOfTurnFailsAsAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, 10*time.Second, func(_ context.Context, attempt int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				switch {
				case attempt > 1:
				case n == 3:
					return drivers.Reading{Fault: errors.New("noise")}, nil
				case n == 4:
					time.Sleep(time.Minute)
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(3 * time.Second)
		r.jobs <- drivers.Job{Context: "A", Sample: true}
		r.jobs <- drivers.Job{Context: "B", Sample: true}
		r.pass(3 * time.Second)
		r.jobs <- drivers.Job{Context: "C", Sample: true}
		r.pass(2 * time.Second)
		stuck := "stuck: sample has not returned after 1.5s; check the wiring, power-cycle the device"
		r.wantEvents("0s online", "0s x=1",
			"3s x=2", "3s result A: 1 <nil>", "3s result B: 0 noise",
			"7.5s result C: 0 "+stuck, "7.5s offline: "+stuck)
		r.pass(time.Minute)
		r.end()
		if n := r.count(r.events, "online"); n != 2 {
			t.Errorf("online %d times, once more after the call had returned is right", n)
		}
	})
}

func TestASampleOutOfTurnMovesNoTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, 10*time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) { return reading(n), nil }}, nil
		})
		r.pass(3 * time.Second)
		r.jobs <- drivers.Job{Context: "A", Sample: true}
		r.pass(8 * time.Second)
		r.wantEvents("0s online", "0s x=1", "3s x=2", "3s result A: 1 <nil>", "10s x=3")
		r.end()
	})
}

// The next tick may be an hour away, and the third one three.
func TestASampleThatFailedIsRepeatedBeforeALaterTick(t *testing.T) {
	for every, want := range map[time.Duration][]string{
		time.Hour: {"0s online", "0s x=1", "1h0m0s missed", "1h0m10s x=3", "2h0m0s x=4",
			"3h0m0s missed", "3h0m10s missed", "3h0m20s offline: 3 times in a row: silence"},
		15 * time.Second: {"0s online", "0s x=1", "15s missed", "25s x=3", "30s x=4",
			"45s missed", "55s missed", "1m0s offline: 3 times in a row: silence"},
		10 * time.Second: {"0s online", "0s x=1", "10s missed", "20s x=3", "30s x=4",
			"40s missed", "50s missed", "1m0s offline: 3 times in a row: silence"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, every, func(_ context.Context, attempt int) (*device, error) {
				if attempt > 1 {
					return nil, errors.New("silence")
				}
				return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
					if n == 2 || n > 4 {
						return drivers.Reading{}, errors.New("silence")
					}
					return reading(n), nil
				}}, nil
			})
			r.pass(4 * every)
			for r.count(r.events, "offline") == 0 {
				r.pass(time.Second)
			}
			r.wantEvents(want...)
			if got := r.stats.Snapshot(); got.Skipped != 0 || got.Samples != 7 {
				t.Errorf("every %v: %+v", every, got)
			}
			r.end()
		})
	}
}

func TestAWatcherIsNotSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Hour, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				emit(reading(7))
				<-ctx.Done()
				return nil
			}}, nil
		})
		r.pass(time.Second)
		r.jobs <- drivers.Job{Context: "A", Sample: true}
		r.pass(time.Second)
		r.wantEvents("0s online", "0s x=7", "1s result A: 0 <nil>")
		if n := r.count(r.calls, "watch"); n != 1 {
			t.Errorf("watched %d times", n)
		}
		r.end()
	})
}

// both can be asked, and tells by itself.
type both struct{ *meter }

func (both) Sample(context.Context) (drivers.Reading, error) { panic("it is watched") }

func TestASamplerThatIsWatchedIsNotSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now(), jobs: make(chan drivers.Job, 8), done: make(chan error, 1)}
		r.spec = drivers.Spec{
			Jobs: r.jobs,
			Kind: drivers.Kind{Name: "both", Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) {
				return both{new(meter)}, nil
			}},
			Last: func() []drivers.Value { return []drivers.Value{{Channel: "x", V: int64(41)}} },
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
		r.pass(100 * time.Millisecond)
		r.jobs <- drivers.Job{Context: "A", Sample: true}
		r.pass(100 * time.Millisecond)
		if n := r.count(r.events, "result A: 0 <nil>"); n != 1 {
			t.Errorf("%d results in %q", n, r.events)
		}
		r.end()
	})
}
