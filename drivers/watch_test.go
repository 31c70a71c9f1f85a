package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

func TestFloodIsBoundedAndEndsInTheNewestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := 0
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				for began := time.Now(); time.Since(began) < 10*time.Second; {
					last++
					emit(drivers.Reading{Values: []drivers.Value{{Channel: "x", V: last}}})
				}
				<-ctx.Done()
				return nil
			}}, nil
		})
		r.pass(12 * time.Second)
		r.end()
		if got := len(r.times); got < 500 || got > 700 {
			t.Errorf("%d readings of %d passed in 10 s, want 50 per second and a burst", got, last)
		}
		if got := r.values[len(r.values)-1]; got != int64(last) {
			t.Errorf("the last reading is %v, the last state %d", got, last)
		}
		for i := 1; i < len(r.values); i++ {
			if r.values[i].(int64) <= r.values[i-1].(int64) {
				t.Fatalf("reading %d: %v after %v", i, r.values[i], r.values[i-1])
			}
		}
		if c := r.stats.Snapshot(); c.Coalesced+c.Readings != int64(last) {
			t.Errorf("%d coalesced + %d delivered of %d", c.Coalesced, c.Readings, last)
		}
		if last > 50_000 {
			t.Errorf("the driver ran %d times in 10 s: it was not slowed down", last)
		}
	})
}

func TestShortBurstPassesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				for i := range 30 {
					emit(reading(i))
				}
				<-ctx.Done()
				return nil
			}}, nil
		})
		r.pass(time.Millisecond)
		r.end()
		if len(r.values) != 30 {
			t.Errorf("%d of 30 readings passed at once", len(r.values))
		}
	})
}

func TestMergedReadingsKeepAllChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				for i := range 200 {
					emit(drivers.Reading{Values: []drivers.Value{{Channel: fmt.Sprint("c", i%4), V: i}}})
				}
				<-ctx.Done()
				return nil
			}}, nil
		})
		r.pass(10 * time.Second)
		r.end()
		for i := 196; i < 200; i++ {
			if r.count(r.events, fmt.Sprintf("c%d=%d", i%4, i)) != 1 {
				t.Errorf("the newest value of c%d is missing", i%4)
			}
		}
	})
}

func TestCommandInterruptsAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := -1
		state := 0
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				watch: func(ctx context.Context, emit func(drivers.Reading)) error {
					if told != state {
						emit(reading(state))
						told = state
					}
					<-ctx.Done()
					return ctx.Err()
				},
				actuate: func(_ context.Context, c drivers.Command) (drivers.Reading, error) {
					state = c.Value.(int)
					told = state
					return reading(state), nil
				},
			}, nil
		})
		r.pass(2 * time.Second)
		r.jobs <- drivers.Job{Context: "A", Command: drivers.Command{Value: 7}}
		r.pass(time.Second)
		r.end()
		r.wantEvents("0s online", "0s x=0", "2s x=7", "2s result A: 1 <nil>", "3s offline: the gateway is stopping")
		if r.count(r.calls, "watch") != 2 {
			t.Errorf("calls: %v", r.calls)
		}
	})
}

func TestCommandRightAfterOpeningFindsTheDeviceOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				watch:   func(ctx context.Context, _ func(drivers.Reading)) error { <-ctx.Done(); return nil },
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { return reading(1), nil },
			}, nil
		})
		r.pass(100 * time.Millisecond)
		r.jobs <- drivers.Job{Context: "A"}
		r.pass(time.Second)
		r.end()
		r.wantEvents("100ms online", "100ms x=1", "100ms result A: 1 <nil>", "1.1s offline: the gateway is stopping")
	})
}

func TestStateBeforeACommandNeverFollowsItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acted, last := false, 0
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				watch: func(ctx context.Context, emit func(drivers.Reading)) error {
					for i := 0; i < 5000 && !acted && ctx.Err() == nil; i++ {
						emit(drivers.Reading{Values: []drivers.Value{{Channel: "x", V: i}, {Channel: "other", V: i}}})
						last = i
					}
					if acted {
						emit(reading("acted"))
					}
					<-ctx.Done()
					return nil
				},
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) {
					acted = true
					return reading("acted"), nil
				},
			}, nil
		})
		r.pass(time.Second)
		r.jobs <- drivers.Job{Context: "A"}
		r.pass(5 * time.Second)
		r.end()
		at := slices.Index(r.values, any("acted"))
		if at < 0 || slices.ContainsFunc(r.values[at:], func(v any) bool { return v != "acted" }) {
			t.Errorf("of %v, %d is the state after the command", r.values, at)
		}
		if r.count(r.events, fmt.Sprint("other=", last)) != 1 {
			t.Errorf("the newest value of the other channel, %d, was lost: %v", last, r.values)
		}
	})
}

func TestWatchThatDoesNotEndIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				watch:   func(context.Context, func(drivers.Reading)) error { <-back; return nil },
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { return drivers.Reading{}, nil },
			}, nil
		})
		r.pass(2 * time.Second)
		r.jobs <- drivers.Job{Context: "A"}
		r.pass(5 * time.Second)
		if r.count(r.events, "3.5s offline: stuck: watch has not returned after 1.5s") != 1 || r.count(r.events, "result A: 0 the device is offline: stuck: watch") != 1 {
			t.Errorf("events: %v", r.events)
		}
		close(back)
		r.end()
	})
}

func TestSilentWatcherIsOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, _ func(drivers.Reading)) error { <-ctx.Done(); return nil }}, nil
		})
		r.pass(2 * time.Second)
		r.end()
		r.wantEvents("1s online", "2s offline: the gateway is stopping")
	})
}

func TestWatcherThatFailsAtOnceIsNeverOnline(t *testing.T) {
	for _, err := range []error{errors.New("gone"), nil} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t, time.Second, func(context.Context, int) (*device, error) {
				return &device{watch: func(context.Context, func(drivers.Reading)) error { return err }}, nil
			})
			r.pass(10 * time.Minute)
			r.end()
			if err == nil {
				err = errors.New("the driver stopped watching without a reason")
			}
			r.wantEvents("0s offline: " + err.Error())
		})
	}
}

func TestFaultsAreCountedAndLoggedOncePerSpell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				for i := 0; ctx.Err() == nil; i++ {
					if i < 100 {
						emit(drivers.Reading{Fault: errors.New("garbage")})
					} else {
						emit(reading(i))
					}
					time.Sleep(time.Second)
				}
				return nil
			}}, nil
		})
		r.pass(300 * time.Second)
		r.end()
		if got := r.stats.Snapshot().Errors; got != 100 {
			t.Errorf("%d errors, want 100", got)
		}
		if got := len(r.log()); r.count([]string{r.log()}, "garbage") != 1 || r.count([]string{r.log()}, "without faults again") != 1 || got > 1000 {
			t.Errorf("log:\n%s", r.log())
		}
	})
}

// lingering takes its time to end a watch, and commands.
type lingering struct{ *meter }

func (l lingering) Check(c drivers.Command) (drivers.Command, error) { return c, nil }
func (l lingering) Actuate(context.Context, drivers.Command) (drivers.Reading, error) {
	return l.state(), nil
}
func (l lingering) Watch(ctx context.Context, _ func(drivers.Reading)) error {
	<-ctx.Done()
	time.Sleep(400 * time.Millisecond)
	return nil
}

func TestACommandForWhichAWatchWasEndedIsNotCarriedOutInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now(), jobs: make(chan drivers.Job, 8), done: make(chan error, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		r.spec = drivers.Spec{Jobs: r.jobs, Kind: drivers.Kind{Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) {
			return lingering{new(meter)}, nil
		}}}
		go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
		r.pass(2 * time.Second)
		r.jobs <- drivers.Job{Context: "a"}
		r.pass(100 * time.Millisecond)
		r.end()
		r.wantEvents("1s online", "2.4s result a: 0 the gateway is stopping", "2.4s offline: the gateway is stopping")
	})
}

// mute is a device on whose wire nothing comes, and which is given up after a while.
type mute struct {
	patience time.Duration
	speaks   *atomic.Bool
	end      error
}

func (mute) Channels() []drivers.Channel { return nil }
func (mute) Close() error                { return nil }
func (m mute) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(m.patience):
			if !m.speaks.Load() {
				return m.end
			}
			emit(reading(1))
		}
	}
}

func TestADeviceThatDoesNotSpeakIsOfflineUntilItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now(), done: make(chan error, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		dev := mute{30 * time.Second, new(atomic.Bool), errors.New("nothing came")}
		r.spec = drivers.Spec{Log: slog.New(slog.NewTextHandler(r, nil)), Kind: drivers.Kind{Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) {
			return dev, nil
		}}}
		go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
		r.pass(time.Hour)
		r.wantEvents("1s online", "30s offline: nothing came")
		if n := strings.Count(r.log(), "nothing came"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		dev.speaks.Store(true)
		r.pass(10 * time.Minute)
		if n := r.count(r.events, "online"); n != 2 {
			t.Errorf("online %d times", n)
		}
		r.end()
	})
	// One that is pulled out after a day without an event is online when it is back.
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, start: time.Now(), done: make(chan error, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		dev := mute{24 * time.Hour, new(atomic.Bool), drivers.ErrGone}
		r.spec = drivers.Spec{Kind: drivers.Kind{Open: func(context.Context, func(any) error, drivers.Ports) (drivers.Device, error) {
			return dev, nil
		}}}
		go func() { r.done <- drivers.Run(ctx, r.spec, r) }()
		r.pass(24*time.Hour + 10*time.Second)
		if n := r.count(r.events, "online"); n != 2 {
			t.Errorf("online %d times", n)
		}
		r.end()
	})
}
