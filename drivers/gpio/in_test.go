package gpio_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pin "periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/drivers/gpio/gpiotest"
)

// bounce is a contact that closes 100 ms after the start and jumps for 18 ms.
func bounce(p *gpiotest.Pin) {
	time.Sleep(100 * ms)
	for i := range 7 {
		p.Set(i%2 == 0)
		time.Sleep(3 * ms)
	}
	time.Sleep(time.Second)
}

func TestInput(t *testing.T) {
	for _, c := range []struct {
		name, options string
		prepare       func(p *gpiotest.Pin)
		script        func(p *gpiotest.Pin)
		want          []string
	}{
		{"each change once", "debounce = 0", nil, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Set(true)
			time.Sleep(100 * ms)
			p.Set(false)
		}, []string{"0s false@0s", "100ms true@100ms", "200ms false@200ms"}},
		{"active low", "debounce = 0\nactive_low = true", nil, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Set(true)
		}, []string{"0s true@0s", "100ms false@100ms"}},
		{"a pulse that is over when it is read is still told, at its times", "debounce = 0", nil, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Edge() // the device rests for a moment after an edge
			time.Sleep(ms / 2)
			p.Set(true)
			time.Sleep(ms)
			p.Set(false)
			time.Sleep(ms)
		}, []string{"0s false@0s", "102ms true@101ms", "102ms false@102ms"}},
		{"edges without a change mean nothing", "debounce = 0", nil, func(p *gpiotest.Pin) {
			for range 10 {
				p.Edge()
				time.Sleep(10 * ms)
			}
		}, []string{"0s false@0s"}},
		{"a bouncing contact is one change, at the time when it came to rest", "debounce = 20000000", nil, bounce,
			[]string{"0s false@0s", "138ms true@118ms"}},
		{"a spike is no change", "debounce = 20000000", nil, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Set(true)
			time.Sleep(5 * ms)
			p.Set(false)
			time.Sleep(time.Second)
		}, []string{"0s false@0s"}},
		{"without the kernel's debouncer: one change, at the time of the first edge", "debounce = 20000000", (*gpiotest.Pin).RefuseDebounce, bounce,
			[]string{"0s false@0s", "140ms true@100ms"}},
		{"without the kernel's debouncer: a spike is no change", "debounce = 20000000", (*gpiotest.Pin).RefuseDebounce, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Set(true)
			time.Sleep(5 * ms)
			p.Set(false)
			time.Sleep(time.Second)
		}, []string{"0s false@0s"}},
		{"without the kernel's debouncer: a contact that does not rest is what it was, until it does", "debounce = 20000000", (*gpiotest.Pin).RefuseDebounce, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			for i := range 101 {
				p.Set(i%2 == 0)
				time.Sleep(5*ms + 37*time.Microsecond) // never in the moment in which the device looks
			}
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "624ms true@503ms"}},
		{"without the kernel's debouncer: the first edge counts, not the moment when it is read", "debounce = 20000000", (*gpiotest.Pin).RefuseDebounce, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Edge() // the device rests for a moment after an edge
			time.Sleep(ms)
			p.Set(true)
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "122ms true@101ms"}},
		{"times do not go back, although an edge is told after the level", "debounce = 20000000", nil, func(p *gpiotest.Pin) {
			time.Sleep(600 * ms)
			p.SetSilently(true) // seen at 750 ms
			time.Sleep(145 * ms)
			p.Set(false)
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "750ms true@750ms", "765ms false@750ms"}},
		{"after edges that were passed over, the time of the newest counts", "debounce = 0", nil, func(p *gpiotest.Pin) {
			time.Sleep(100 * ms)
			p.Set(true)
			p.Edge()
			p.Edge() // two more in short order: the device rests until 102 ms and then until 106
			time.Sleep(3 * ms)
			p.Flood(17)
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "100ms true@100ms", "106ms false@103ms"}},
		{"a chip without interrupts is looked at 20 times a second", "debounce = 20000000", (*gpiotest.Pin).RefuseEdges, func(p *gpiotest.Pin) {
			time.Sleep(110 * ms)
			p.Set(true)
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "170ms true@150ms"}},
		{"an edge that the hardware lost is noticed later", "debounce = 0", nil, func(p *gpiotest.Pin) {
			time.Sleep(600 * ms)
			p.SetSilently(true)
			time.Sleep(time.Second)
		}, []string{"0s false@0s", "750ms true@750ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var board gpiotest.Board
			kind := gpio.InKind()
			kind.Open = func(ctx context.Context, decode func(any) error, p drivers.Ports) (drivers.Device, error) {
				if c.prepare != nil {
					c.prepare(board.Pin("GPIO17"))
				}
				return gpio.InKind().Open(ctx, decode, p)
			}
			got := play(t, kind, "pin = \"GPIO17\"\npull = \"up\"\n"+c.options, &board, func(*diary, chan<- drivers.Job) {
				p := board.Pin("GPIO17")
				if p.Pull() != pin.PullUp {
					t.Error("the resistor is not set")
				}
				c.script(p)
			})
			if want := append([]string{"0s online"}, c.want...); !reflect.DeepEqual(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if board.Pin("GPIO17").Used() {
				t.Error("the line is still in use")
			}
		})
	}
}

// A million edges per second for two seconds, as the kernel gives them: of those
// that nobody reads the newest 16.
func TestFloodOfEdgesIsBoundedAndEndsInTheTrueLevel(t *testing.T) {
	for _, more := range []int{0, 1} {
		var board gpiotest.Board
		got := play(t, gpio.InKind(), "pin = \"GPIO17\"\ndebounce = 0", &board, func(d *diary, _ chan<- drivers.Job) {
			p := board.Pin("GPIO17")
			for range 2000 {
				time.Sleep(ms)
				p.Flood(999)
			}
			if n := p.Waits(); n > 50 {
				t.Errorf("the device looked %d times in 2 s", n)
			}
			p.Flood(more)
			time.Sleep(2 * time.Second)
			if d.stats.Snapshot().Errors == 0 {
				t.Error("nobody was told that edges were passed over")
			}
		})
		if last := got[len(got)-1]; !strings.Contains(last, fmt.Sprint(more == 1, "@")) {
			t.Errorf("the last that was told is %q, after %d edges", last, 2000*999+more)
		}
	}
}

func TestOnlyDroppedEdgesAreAFault(t *testing.T) {
	var board gpiotest.Board
	play(t, gpio.InKind(), "pin = \"GPIO17\"\ndebounce = 0", &board, func(d *diary, _ chan<- drivers.Job) {
		p := board.Pin("GPIO17")
		for range 50 {
			time.Sleep(40 * ms)
			p.Flood(15) // less than the kernel keeps
		}
		if n := d.stats.Snapshot().Errors; n != 0 {
			t.Errorf("%d faults, and no edge was dropped", n)
		}
		time.Sleep(40 * ms)
		p.Flood(18) // and the level is what it was
		time.Sleep(2 * time.Second)
		if c := d.stats.Snapshot(); c.Errors != 1 || !strings.Contains(c.LastError, " 2 edges were passed over") {
			t.Errorf("%d faults, the last is %q", c.Errors, c.LastError)
		}
	})
}

func TestLineThatIsGoneDoesNotSpin(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.InKind(), `pin = "GPIO17"`, &board, func(*diary, chan<- drivers.Job) {
		p := board.Pin("GPIO17")
		time.Sleep(100 * ms)
		p.Fail(syscall.ENODEV)
		time.Sleep(20 * time.Second)
		if n := p.Waits(); n > 20 {
			t.Errorf("the device waited %d times for edges of a line that is gone", n)
		}
		p.Fail(nil)
		time.Sleep(30 * time.Second)
	})
	gone := "offline: the GPIO line GPIO17: the device is gone: no such device"
	if len(got) != 5 || got[2] != "100ms "+gone || !strings.HasSuffix(got[3], "online") {
		t.Errorf("got %q", got)
	}
}

func TestWatchingALineThatIsQuietCostsFewWakeUps(t *testing.T) {
	var board gpiotest.Board
	play(t, gpio.InKind(), `pin = "GPIO17"`, &board, func(*diary, chan<- drivers.Job) {
		time.Sleep(100 * time.Second)
		if n := board.Pin("GPIO17").Waits(); n > 401 {
			t.Errorf("%d waits in 100 s", n)
		}
	})
}

func TestTheLineIsTaken(t *testing.T) {
	for _, kind := range []drivers.Kind{gpio.InKind(), gpio.CounterKind()} {
		got, err := kind.Uses(with(`pin = "GPIO4"`))
		if want := []drivers.Use{{What: "the GPIO line GPIO4", Key: "pin"}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v", kind.Name, got, err)
		}
	}
}

func TestWatchEndsSoonAfterItsContext(t *testing.T) {
	for _, edges := range []int{0, 1, 16, 1000} {
		synctest.Test(t, func(t *testing.T) {
			var board gpiotest.Board
			p := board.Pin("GPIO17")
			dev, err := gpio.InKind().Open(t.Context(), with("pin = \"GPIO17\"\ndebounce = 0"), board.Ports())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan time.Time, 1)
			go func() {
				dev.(drivers.Watcher).Watch(ctx, func(drivers.Reading) {})
				ended <- time.Now()
			}()
			synctest.Wait()
			p.Flood(edges)
			synctest.Wait()
			cancel()
			cancelled := time.Now()
			if took := (<-ended).Sub(cancelled); took > 500*ms {
				t.Errorf("after %d edges it took %v", edges, took)
			}
			dev.Close()
		})
	}
}

// disturbed is a line of an expander whose bus fails for a while.
type disturbed struct {
	*gpiotest.Pin
	asked, fails int
	stop         func() // is called when it fails; may be nil
}

func (p *disturbed) Sense() (pin.Level, error) {
	if p.asked++; p.asked > 5 && p.asked <= 5+p.fails {
		if p.stop != nil {
			p.stop()
		}
		return pin.Low, syscall.EREMOTEIO
	}
	return p.Pin.Sense()
}

func TestADisturbanceOnTheBusOfAnExpanderIsNoEnd(t *testing.T) {
	for fails, over := range map[int]bool{2: false, 3: true} {
		synctest.Test(t, func(t *testing.T) {
			p := &disturbed{Pin: new(gpiotest.Board).Pin("GPIO17"), fails: fails}
			p.RefuseEdges()
			dev, err := gpio.InKind().Open(t.Context(), with(`pin = "GPIO17"`), drivers.Ports{Pin: func(string) (pin.PinIO, error) { return p, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			time.AfterFunc(time.Second, func() { p.Set(true) })
			var told []bool
			err = dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { told = append(told, r.Values[0].V.(bool)) })
			if over != (ctx.Err() == nil) || !over && len(told) != 2 {
				t.Errorf("%d reads failed: told %v, %v", fails, told, err)
			}
		})
	}
}

// A read of a bus that hangs takes a second, and a stop waits for no more than one.
func TestALineIsNotAskedAgainInAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &disturbed{Pin: new(gpiotest.Board).Pin("GPIO17"), fails: 100}
		dev, err := gpio.InKind().Open(t.Context(), with(`pin = "GPIO17"`), drivers.Ports{Pin: func(string) (pin.PinIO, error) { return p, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		ctx, stop := context.WithCancel(t.Context())
		p.stop = stop
		_ = dev.(drivers.Watcher).Watch(ctx, func(drivers.Reading) {})
		if p.asked != 6 {
			t.Errorf("asked %d times, want 6: the stop came in the last one", p.asked)
		}
	})
}
