package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
)

func steady(_ context.Context, n int) (drivers.Reading, error) { return reading(n), nil }

func TestSamplesKeepTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(ctx context.Context, n int) (drivers.Reading, error) {
				time.Sleep(time.Duration(n%7) * 30 * time.Millisecond)
				return reading(n), nil
			}}, nil
		})
		r.pass(100*time.Second + 500*time.Millisecond)
		r.end()
		if len(r.times) != 101 {
			t.Fatalf("%d readings in 100.5 s, want 101", len(r.times))
		}
		for i, call := range r.calls[1:102] { // the first one is open
			if want := fmt.Sprintf("sample@%v", time.Duration(i)*time.Second); call != want {
				t.Fatalf("call %d: %s, want %s", i, call, want)
			}
		}
	})
}

// The first sample comes at once, the others are later by the phase, and drift no more
// than they would without it; so does a device that is opened again.
func TestAPhaseMovesAllSamplesButTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened []time.Duration
		r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				if attempt == 1 && n == 102 {
					return drivers.Reading{}, drivers.ErrGone
				}
				time.Sleep(time.Duration(n%7) * 30 * time.Millisecond)
				return reading(n), nil
			}}, nil
		}, func(s *drivers.Spec) { s.Phase = 300 * time.Millisecond })
		r.pass(110 * time.Second)
		r.end()
		n := 0
		for _, call := range r.calls {
			op, at, _ := strings.Cut(call, "@")
			when, _ := time.ParseDuration(at)
			switch op {
			case "open":
				opened, n = append(opened, when), 0
				continue
			case "sample":
			default:
				continue
			}
			want := opened[len(opened)-1]
			if n > 0 {
				want += time.Duration(n)*time.Second + 300*time.Millisecond
			}
			if n++; when != want {
				t.Fatalf("sample %d after opening %d: at %v, want %v", n, len(opened), when, want)
			}
		}
		if len(opened) != 2 || r.stats.Snapshot().Skipped != 0 {
			t.Errorf("opened at %v, %d ticks skipped", opened, r.stats.Snapshot().Skipped)
		}
	})
}

func TestSlowSampleSkipsTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, 100*time.Millisecond, func(context.Context, int) (*device, error) {
			return &device{sample: func(ctx context.Context, n int) (drivers.Reading, error) {
				if n == 3 {
					time.Sleep(250 * time.Millisecond)
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(650 * time.Millisecond)
		r.end()
		r.wantEvents("0s online", "0s x=1", "100ms x=2", "450ms x=3", "500ms x=4", "600ms x=5", "650ms offline: the gateway is stopping")
		if got := r.stats.Snapshot().Skipped; got != 2 {
			t.Errorf("%d ticks skipped, want 2", got)
		}
	})
}

func TestFailedOpenIsToldOnceAndTriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
			if attempt <= 9 {
				return nil, errors.New("no such bus")
			}
			return &device{sample: steady}, nil
		})
		r.pass(5 * time.Minute)
		r.end()
		if got := r.count(r.events, "offline: no such bus"); got != 1 {
			t.Errorf("told %d times, want 1", got)
		}
		if got := strings.Count(r.log(), "no such bus"); got != 1 {
			t.Errorf("logged %d times, want 1:\n%s", got, r.log())
		}
		var last time.Duration
		for i := range 10 {
			at, _ := time.ParseDuration(strings.TrimPrefix(r.calls[i], "open@"))
			if i > 0 {
				want := min(time.Second<<(i-1), time.Minute)
				if gap := at - last; gap < want*4/5-time.Millisecond || gap > want*6/5+time.Millisecond {
					t.Errorf("pause %d is %v, want about %v", i, gap, want)
				}
			}
			last = at
		}
		if got := r.stats.Snapshot(); got.Opens != 1 || got.Errors != 9 || got.LastError != "no such bus" {
			t.Errorf("counts %+v", got)
		}
	})
}

func TestOnlyADeviceThatWorkedForAWhileIsOpenedAgainSoon(t *testing.T) {
	for works, want := range map[time.Duration]time.Duration{
		10 * time.Second: 8 * time.Second, // the fourth pause
		2 * time.Minute:  time.Second,     // always the first
	} {
		synctest.Test(t, func(t *testing.T) {
			var failed, opened []time.Time
			r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
				opened = append(opened, time.Now())
				return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
					if time.Since(opened[len(opened)-1]) >= works {
						failed = append(failed, time.Now())
						return drivers.Reading{}, drivers.ErrGone
					}
					return reading(n), nil
				}}, nil
			})
			r.pass(30 * time.Minute)
			r.end()
			if pause := opened[4].Sub(failed[3]); pause < want*4/5 || pause > want*6/5 {
				t.Errorf("a device that works for %v is opened again after %v, want about %v", works, pause, want)
			}
		})
	}
}

func TestThreeFailedSamplesInARowEndTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				if attempt == 1 && n > 2 {
					return drivers.Reading{}, errors.New("bad sum")
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(4*time.Second + 500*time.Millisecond)
		r.pass(1500 * time.Millisecond)
		r.end()
		r.mu.Lock()
		got := strings.Join(r.events[:6], "|")
		r.mu.Unlock()
		if want := "0s online|0s x=1|1s x=2|2s missed|3s missed|4s offline: 3 times in a row: bad sum"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if r.count(r.calls, "close@4s") != 1 || r.count(r.events, "online") < 2 || r.count(r.calls, "open") != 2 {
			t.Errorf("not closed at once or not opened again: %v", r.calls)
		}
	})
}

func TestGoneDeviceIsOfflineAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				if n == 2 {
					return drivers.Reading{}, fmt.Errorf("unplugged: %w", drivers.ErrGone)
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(1100 * time.Millisecond)
		r.end()
		r.wantEvents("0s online", "0s x=1", "1s offline: unplugged: the device is gone")
	})
}

func TestEverySecondSampleFailingKeepsTheDeviceAndLogsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				if n%2 == 0 {
					return drivers.Reading{}, errors.New("NAK")
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(1000 * time.Second)
		r.end()
		if got := len(r.times); got != 501 {
			t.Errorf("%d readings, want 501", got)
		}
		if got := r.count(r.events, "offline: NAK"); got != 0 {
			t.Errorf("offline %d times", got)
		}
		if got := strings.Count(r.log(), "NAK"); got != 1 {
			t.Errorf("logged %d times, want 1:\n%s", got, r.log())
		}
		if got := r.stats.Snapshot().Errors; got != 500 {
			t.Errorf("%d errors counted, want 500", got)
		}
	})
}

func TestTheSameTroubleIsLoggedOnceUntilTheDeviceWorksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
			if down.Load() && attempt%2 == 0 {
				return nil, errors.New("no answer")
			}
			return &device{
				sample: func(_ context.Context, n int) (drivers.Reading, error) {
					if down.Load() {
						return drivers.Reading{}, errors.New("no answer")
					}
					return reading(n), nil
				},
				close: func() error {
					if down.Load() {
						panic("boom")
					}
					return nil
				},
			}, nil
		})
		for range 2 {
			r.pass(time.Hour)
			down.Store(true)
			r.pass(time.Hour)
			down.Store(false)
			r.pass(2 * time.Minute)
		}
		r.end()
		for part, want := range map[string]int{
			"no answer": 4, "3 times in a row: no answer": 4, "then: the driver panicked in close: boom": 2,
			"device online": 3, "faulty": 0, "level=": 7,
		} {
			if got := strings.Count(r.log(), part); got != want {
				t.Errorf("%q is logged %d times, want %d", part, got, want)
			}
		}
		if got := r.count(r.events, "offline: 3 times in a row: no answer"); got != 4 {
			t.Errorf("told %d times", got)
		}
	})
}

func TestAMissedSampleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				if n > 1 && n < 4 || n > 4 {
					return drivers.Reading{}, errors.New("NAK")
				}
				return reading(n), nil
			}}, nil
		})
		r.pass(6*time.Second + 500*time.Millisecond)
		r.end()
		r.wantEvents("0s online", "0s x=1", "1s missed", "2s missed", "3s x=4", "4s missed", "5s missed", "6s offline: 3 times in a row: NAK")
		if got := r.stats.Snapshot(); got.Errors != 5 || got.Readings != 2 {
			t.Errorf("counts %+v", got)
		}
		if got := strings.Count(r.log(), "NAK"); got != 2 { // when it was over, and at the end
			t.Errorf("logged %d times:\n%s", got, r.log())
		}
	})
}

func TestStuckDeviceIsMarkedAndNotCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		r := run(t, 10*time.Second, func(_ context.Context, attempt int) (*device, error) {
			return &device{
				sample: func(_ context.Context, n int) (drivers.Reading, error) {
					if attempt == 1 && n == 2 {
						<-back // ignores its context
					}
					return reading(attempt*100 + n), nil
				},
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { return drivers.Reading{}, nil },
			}, nil
		})
		r.pass(time.Minute)
		r.jobs <- drivers.Job{Context: "A"}
		r.pass(time.Minute)
		if got := len(r.calls); got != 3 { // open and two samples
			t.Errorf("calls while stuck: %v", r.calls)
		}
		close(back)
		r.pass(5 * time.Second)
		r.end()
		stuck := "stuck: sample has not returned after 1.5s; check the wiring, power-cycle the device"
		r.mu.Lock()
		defer r.mu.Unlock()
		got := strings.Join(r.events[:4], "|")
		if want := "0s online|0s x=101|11.5s offline: " + stuck + "|1m0s result A: 0 the device is offline: " + stuck; got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
		if r.calls[3] != "close@2m0s" || !strings.HasPrefix(r.calls[4], "open@2m") {
			t.Errorf("after the return: %v", r.calls[3:])
		}
		if strings.Contains(strings.Join(r.events, "|"), "x=102") {
			t.Error("the reading of the stuck call was used")
		}
	})
}

func TestStopLeavesAStuckCallBehindAndItStillCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) {
				<-back
				return reading(n), nil
			}}, nil
		})
		r.pass(100 * time.Millisecond)
		before := time.Now()
		err := r.end()
		var stuck *drivers.StuckError
		if took := time.Since(before); !errors.As(err, &stuck) || took > 2*time.Second {
			t.Errorf("Run returned %v after %v", err, took)
		}
		close(back)
		synctest.Wait()
		if r.count(r.calls, "close") != 1 {
			t.Errorf("not closed after the call returned: %v", r.calls)
		}
	})
}

func TestStopClosesTheDeviceBeforeRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := false
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: steady, close: func() error {
				time.Sleep(300 * time.Millisecond)
				closed = true
				return nil
			}}, nil
		})
		r.pass(1500 * time.Millisecond)
		if err := r.end(); err != nil || !closed {
			t.Errorf("Run returned %v, device closed: %v", err, closed)
		}
	})
}

func TestPanicsBecomeReasons(t *testing.T) {
	boom := func() { panic("boom") }
	for op, d := range map[string]func() *device{
		"open": func() *device { boom(); return nil },
		"sample": func() *device {
			return &device{sample: func(context.Context, int) (drivers.Reading, error) { boom(); return drivers.Reading{}, nil }}
		},
		"watch": func() *device {
			return &device{watch: func(context.Context, func(drivers.Reading)) error { boom(); return nil }}
		},
		"actuate": func() *device {
			return &device{actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { boom(); return drivers.Reading{}, nil }}
		},
		"close": func() *device {
			return &device{close: func() error { boom(); return nil }, sample: func(_ context.Context, n int) (drivers.Reading, error) {
				return drivers.Reading{}, errors.New("broken")
			}}
		},
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := run(t, time.Second, func(_ context.Context, attempt int) (*device, error) {
					if attempt > 1 {
						return &device{sample: steady}, nil
					}
					return d(), nil
				})
				r.jobs <- drivers.Job{Context: "A"}
				r.pass(3 * time.Second)
				if err := r.end(); err != nil {
					t.Errorf("Run returned %v", err)
				}
				if r.count(r.events, "the driver panicked in "+op+": boom") == 0 {
					t.Errorf("events: %v", r.events)
				}
				if got := strings.Count(r.log(), "stack="); got != 1 {
					t.Errorf("the stack was logged %d times", got)
				}
				if r.count(r.events, "x=1") != 1 {
					t.Errorf("the device did not come back: %v", r.events)
				}
				if r.count(r.events, "result A") != 1 {
					t.Errorf("the job has no single result: %v", r.events)
				}
			})
		})
	}
}

func TestPanicInCloseAtTheEndIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: steady, close: func() error { panic("boom") }}, nil
		})
		r.pass(100 * time.Millisecond)
		if err := r.end(); err == nil || err.Error() != "the driver panicked in close: boom" {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestPanicInCheckIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				actuate: func(context.Context, drivers.Command) (drivers.Reading, error) { return reading(1), nil },
				check:   func(drivers.Command) (drivers.Command, error) { panic("boom") },
			}, nil
		})
		r.pass(time.Second)
		_, err := r.check(drivers.Command{})
		var panicked *drivers.PanicError
		if !errors.As(err, &panicked) {
			t.Errorf("check returned %v", err)
		}
		r.end()
	})
}

func TestNaNIsRefusedAndItsNeighboursPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(context.Context, int) (drivers.Reading, error) {
				return drivers.Reading{Values: []drivers.Value{
					{Channel: "a", V: math.NaN()}, {Channel: "b", V: math.Inf(-1)}, {Channel: "c", V: float32(1.5)},
					{Channel: "d", V: "\xff"}, {Channel: "e", V: []int{1}}, {Channel: "f", V: uint16(7)},
				}}, nil
			}}, nil
		})
		r.pass(500 * time.Millisecond)
		r.end()
		r.wantEvents("0s online", "0s c=1.5", "0s f=7", "0s bad a b d e", "500ms offline: the gateway is stopping")
		if got := r.stats.Snapshot(); got.Errors != 1 || got.LastError != `channel "a": NaN is not a measured value` {
			t.Errorf("counts: %+v", got)
		}
	})
}

func TestOnlyNaNIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(_ context.Context, n int) (drivers.Reading, error) { return reading(math.NaN()), nil }}, nil
		})
		r.pass(500 * time.Millisecond)
		r.end()
		r.wantEvents(`0s offline: channel "x": NaN is not a measured value`)
	})
}

func TestJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{
				sample: steady,
				check: func(c drivers.Command) (drivers.Command, error) {
					if c.Value == "bad" {
						return c, errors.New("that is bad")
					}
					return c, nil
				},
				actuate: func(ctx context.Context, c drivers.Command) (drivers.Reading, error) {
					if c.Value == "slow" {
						<-ctx.Done()
						return drivers.Reading{}, ctx.Err()
					}
					return reading(c.Value), nil
				},
			}, nil
		})
		r.pass(1200 * time.Millisecond)
		soon := time.Now().Add(500 * time.Millisecond)
		r.jobs <- drivers.Job{Context: "A", Command: drivers.Command{Channel: "x", Value: "set"}}
		r.jobs <- drivers.Job{Context: "B", Command: drivers.Command{Channel: "x", Value: "bad"}}
		r.jobs <- drivers.Job{Context: "C", Command: drivers.Command{Channel: "x", Value: "slow"}}
		r.jobs <- drivers.Job{Context: "D", Command: drivers.Command{Channel: "x", Value: "late"}, Deadline: soon}
		r.pass(1900 * time.Millisecond)
		r.end()
		got := strings.Join(r.events, "\n")
		// The sample that became due during the slow command may come before or after D.
		got = strings.Replace(got, "2.2s x=3\n2.2s result D: 0 the command expired before its turn came", "2.2s result D: 0 the command expired before its turn came\n2.2s x=3", 1)
		want := strings.Join([]string{
			"0s online", "0s x=1", "1s x=2",
			"1.2s x=set", "1.2s result A: 1 <nil>",
			"1.2s result B: 0 that is bad",
			"2.2s result C: 0 context deadline exceeded",
			"2.2s result D: 0 the command expired before its turn came",
			"2.2s x=3", "3s x=4",
			"3.1s offline: the gateway is stopping"}, "\n")
		if got != want {
			t.Errorf("events:\n%s\nwant:\n%s", got, want)
		}
	})
}

func TestJobsLeftAtTheEndAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, time.Second, func(context.Context, int) (*device, error) {
			return &device{sample: func(ctx context.Context, n int) (drivers.Reading, error) {
				<-ctx.Done()
				return drivers.Reading{}, ctx.Err()
			}}, nil
		})
		r.pass(100 * time.Millisecond)
		r.jobs <- drivers.Job{Context: "A"}
		r.jobs <- drivers.Job{Context: "B"}
		r.end()
		r.wantEvents("100ms result A: 0 the gateway is stopping", "100ms result B: 0 the gateway is stopping")
	})
}

func TestCommandToADeviceWithoutActuator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []*device{
			{sample: steady},
			{watch: func(ctx context.Context, emit func(drivers.Reading)) error {
				emit(reading(1))
				<-ctx.Done()
				return nil
			}},
			{},
		} {
			r := run(t, time.Hour, func(context.Context, int) (*device, error) { return d, nil })
			r.jobs <- drivers.Job{Context: "A"}
			r.pass(time.Second)
			if r.check != nil || r.count(r.events, "result A: 0 this device takes no commands") != 1 {
				t.Errorf("events: %v", r.events)
			}
			if n := r.count(r.calls, "watch"); n > 1 {
				t.Errorf("the watch was interrupted for nothing, %d times", n-1)
			}
			r.end()
		}
	})
}
