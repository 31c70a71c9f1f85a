package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pin "periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/drivers/gpio/gpiotest"
)

func set(v any) drivers.Job { return drivers.Job{Command: drivers.Command{Value: v}} }

func TestMaxOn(t *testing.T) {
	for _, c := range []struct {
		name, options string
		script        func(jobs chan<- drivers.Job)
		want          []string
	}{
		{"an output that was forgotten is switched off", "", func(jobs chan<- drivers.Job) {
			time.Sleep(time.Second)
			jobs <- set("on")
			time.Sleep(time.Hour)
		}, []string{"0s false@0s", "1s true@1s", "1s result 1 <nil>", "31s false@31s"}},
		{"a repeated on begins the time anew", "", func(jobs chan<- drivers.Job) {
			for range 3 {
				jobs <- set("on")
				time.Sleep(20 * time.Second)
			}
			time.Sleep(time.Hour)
		}, []string{"0s false@0s", "0s true@0s", "0s result 1 <nil>", "20s true@20s", "20s result 1 <nil>", "40s true@40s", "40s result 1 <nil>", "1m10s false@1m10s"}},
		{"a repeated off, and a command that is refused, do not", "", func(jobs chan<- drivers.Job) {
			jobs <- set("on")
			time.Sleep(20 * time.Second)
			jobs <- set("perhaps")
			time.Sleep(20 * time.Second)
			jobs <- set("off")
			time.Sleep(time.Hour)
		}, []string{"0s false@0s", "0s true@0s", "0s result 1 <nil>",
			`20s result 0 "perhaps" is neither on nor off; send true or false, "on" or "off", 1 or 0`,
			"30s false@30s", "40s false@40s", "40s result 1 <nil>"}},
		{"the initial state counts", "initial = true", func(chan<- drivers.Job) { time.Sleep(time.Hour) },
			[]string{"0s true@0s", "30s false@30s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var board gpiotest.Board
			got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\nmax_on = 30000000000\n"+c.options, &board, func(_ *diary, jobs chan<- drivers.Job) {
				p := board.Pin("GPIO27")
				c.script(jobs)
				synctest.Wait()
				if p.Level() != pin.Low {
					t.Error("the line is high")
				}
			})
			if want := append([]string{"0s online"}, c.want...); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestMaxOnIsLoggedEachTimeAndIsNoErrorOfTheDevice(t *testing.T) {
	var board gpiotest.Board
	play(t, gpio.OutKind(), "pin = \"GPIO27\"\nmax_on = 2000000000", &board, func(d *diary, jobs chan<- drivers.Job) {
		for range 3 {
			jobs <- set("on")
			time.Sleep(10 * time.Second)
		}
		jobs <- set("perhaps") // neither is a command that is refused
		synctest.Wait()
		if got := d.stats.Snapshot(); got.Errors != 0 || got.LastError != "" {
			t.Errorf("%d errors: %s", got.Errors, got.LastError)
		}
		const want = `level=INFO msg="device did something by itself" device="" what="the GPIO line GPIO27 was switched off: it had been on for 2s (max_on) without another command to be on"`
		if log := d.log.String(); strings.Count(log, want) != 3 || strings.Contains(log, "WARN") {
			t.Errorf("the log says\n%s", log)
		}
	})
}

func TestMaxOnSaysWhyAndWhatItCouldNotDo(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\nmax_on = 30000000000\ninitial = true", &board, func(*diary, chan<- drivers.Job) {
		p := board.Pin("GPIO27")
		time.Sleep(20 * time.Second)
		p.Fail(errors.New("no power"))
		time.Sleep(20 * time.Second)
		p.Fail(nil)
		time.Sleep(time.Minute)
	})
	// It is opened again once the line can be driven, and that is its initial state.
	if len(got) < 3 || got[2] != "30s offline: it has been on for max_on and cannot be switched off: the GPIO line GPIO27: no power" {
		t.Errorf("got %q", got)
	}
}

func TestAnOutputNoticesThatItsChipHasLeft(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.OutKind(), "pin = \"GPIO27\"", &board, func(_ *diary, jobs chan<- drivers.Job) {
		p := board.Pin("GPIO27")
		jobs <- set("on")
		time.Sleep(10 * time.Second)
		p.Fail(syscall.EIO) // the bus of an expander is disturbed
		time.Sleep(10500 * time.Millisecond)
		p.Fail(syscall.ENODEV)
		time.Sleep(5 * time.Second)
		p.Fail(nil)
		time.Sleep(time.Minute)
	})
	// Back is the initial state, not what it was.
	want := []string{"0s online", "0s false@0s", "0s true@0s", "0s result 1 <nil>", "21s offline: the GPIO line GPIO27: the device is gone: no such device"}
	if len(got) != len(want)+2 || !slices.Equal(got[:len(want)], want) || !strings.HasSuffix(got[len(got)-2], " online") || !strings.Contains(got[len(got)-1], " false@") {
		t.Errorf("got  %q\nwant %q, online and off again", got, want)
	}
}

// EIO is what controllers say of a bus of an expander that is disturbed for a moment; a
// chip that has left is ENODEV.
func TestACommandThatFailsForTheBusLeavesTheOutputAsItIs(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.OutKind(), "pin = \"GPIO27\"", &board, func(_ *diary, jobs chan<- drivers.Job) {
		p := board.Pin("GPIO27")
		jobs <- set("on")
		synctest.Wait()
		p.Fail(syscall.EIO)
		jobs <- set("on")
		time.Sleep(time.Second)
		jobs <- set("off")
		time.Sleep(time.Second)
		p.Fail(nil)
		time.Sleep(time.Minute)
		if p.Level() != pin.High {
			t.Error("the output went off by itself")
		}
	})
	const failed = " result 0 the GPIO line GPIO27: input/output error: the bus of its chip is disturbed; check the wiring of the expander"
	want := []string{"0s online", "0s false@0s", "0s true@0s", "0s result 1 <nil>", "0s" + failed, "1s" + failed}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The write has reached the expander, and its answer has not. What was to go off does not
// go on again, whoever wanted it off.
func TestAnOutputThatWasToGoOffIsNotDrivenOnAgain(t *testing.T) {
	for name, off := range map[string]drivers.Job{"a command": set("off"), "safe_without": {Safe: true}} {
		var board gpiotest.Board
		got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\nactive_low = true\ninterlock = \"x\"\nmax_on = 5000000000", &board, func(_ *diary, jobs chan<- drivers.Job) {
			p := board.Pin("GPIO27")
			jobs <- set("on")
			synctest.Wait()
			p.Fail(syscall.EIO)
			jobs <- off
			synctest.Wait()
			p.SetSilently(pin.High)
			p.Fail(nil)
			driven := len(p.Outs())
			time.Sleep(10*time.Second + 500*ms)
			if got := p.Outs()[driven:]; !slices.Equal(got, []pin.Level{pin.High}) {
				t.Errorf("%s: the line was driven %v", name, got)
			}
			if err := board.Ports().Interlocks.Claim("x", "another", 0); err != nil {
				t.Errorf("%s: it is off, and another one can not go on: %v", name, err)
			}
		})
		if len(got) != 6 || !strings.HasPrefix(got[4], "0s result ") || !strings.Contains(got[4], "input/output error") || got[5] != "1s false@1s" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// An expander that was without its supply for a moment has forgotten the levels.
func TestAnOutputThatHasAnotherLevelIsDrivenAgain(t *testing.T) {
	for _, options := range []string{"", "active_low = true"} {
		var board gpiotest.Board
		got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\n"+options, &board, func(d *diary, jobs chan<- drivers.Job) {
			p := board.Pin("GPIO27")
			jobs <- set("on")
			time.Sleep(10*time.Second + 500*ms)
			on := p.Level()
			for range 2 {
				p.SetSilently(!on)
				time.Sleep(time.Second)
				if p.Level() != on {
					t.Error("the line stays as it is")
				}
				time.Sleep(2 * time.Minute)
			}
			says := fmt.Sprintf("the GPIO line GPIO27 reads %v although it was driven %v, which is done again; has its chip lost its supply, or is the load too heavy?", !on, on)
			if got := d.stats.Snapshot(); got.Errors != 2 || got.LastError != says {
				t.Errorf("%d errors, %s", got.Errors, got.LastError)
			}
		})
		if want := []string{"0s online", "0s false@0s", "0s true@0s", "0s result 1 <nil>"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// stubborn is a line that its load holds low.
type stubborn struct{ *gpiotest.Pin }

func (s stubborn) Sense() (pin.Level, error) { return pin.Low, nil }

func TestAnOutputThatNeverReadsWhatItIsDrivenToIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		ports := board.Ports()
		ports.Pin = func(name string) (pin.PinIO, error) { return stubborn{board.Pin(name)}, nil }
		couple(t, ports, map[string]string{"UP": "initial = true"}, func(diaries map[string]*diary, jobs map[string]chan drivers.Job) {
			time.Sleep(time.Hour)
			d := diaries["UP"]
			if got := d.stats.Snapshot(); got.Errors != 1 || !got.Online || board.Pin("UP").Level() != pin.High {
				t.Errorf("%+v", got)
			}
		})
	})
}

// couple runs outputs on one board, by their pins.
func couple(t *testing.T, ports drivers.Ports, options map[string]string, script func(diaries map[string]*diary, jobs map[string]chan drivers.Job)) {
	diaries, jobs := make(map[string]*diary), make(map[string]chan drivers.Job)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for name, o := range options {
		d, j := &diary{start: time.Now()}, make(chan drivers.Job, 8)
		diaries[name], jobs[name] = d, j
		running.Go(func() {
			_ = drivers.Run(ctx, drivers.Spec{Kind: gpio.OutKind(), Decode: with("pin = \"" + name + "\"\n" + o), Ports: ports, Jobs: j, Stats: &d.stats}, d)
		})
		synctest.Wait() // one after the other
	}
	script(diaries, jobs)
	cancel()
	running.Wait()
}

const shutter = "interlock = \"shutter\"\ninterlock_pause = 500000000\n"

func TestOneOfAnInterlockIsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		up, down := board.Pin("UP"), board.Pin("DOWN")
		couple(t, board.Ports(), map[string]string{"UP": shutter, "DOWN": shutter}, func(diaries map[string]*diary, jobs map[string]chan drivers.Job) {
			act := func(name string, v any, want string) {
				t.Helper()
				jobs[name] <- set(v)
				synctest.Wait()
				d := diaries[name]
				if got := d.lines[len(d.lines)-1]; !strings.HasSuffix(got, want) {
					t.Errorf("%s %v: %s, want %s", name, v, got, want)
				}
			}
			act("UP", "on", `result 0 the GPIO line DOWN went off less than 500ms ago, and the interlock "shutter" wants that pause; send the command again in 500ms`)
			time.Sleep(500 * ms) // since the start: what was before is not known
			act("UP", "on", "result 1 <nil>")
			act("DOWN", "on", `result 0 the GPIO line UP has the interlock "shutter", which lets one output be on at a time; switch that one off first`)
			act("DOWN", "off", "result 1 <nil>")
			act("UP", "off", "result 1 <nil>")
			time.Sleep(400 * ms)
			act("UP", "off", "result 1 <nil>") // it was off: no new pause
			act("DOWN", "on", `send the command again in 100ms`)
			time.Sleep(100 * ms)
			act("DOWN", "on", "result 1 <nil>")
			for name, d := range diaries { // what is refused is no error of a device
				if got := d.stats.Snapshot(); got.Errors != 0 {
					t.Errorf("%s: %d errors: %s", name, got.Errors, got.LastError)
				}
			}
			if got := up.Outs(); !reflect.DeepEqual(got, []pin.Level{pin.Low, pin.High, pin.Low, pin.Low}) {
				t.Errorf("UP was driven %v", got)
			}
			if got := down.Outs(); !reflect.DeepEqual(got, []pin.Level{pin.Low, pin.Low, pin.High}) {
				t.Errorf("DOWN was driven %v", got)
			}
		})
		if down.Level() != pin.Low {
			t.Error("the stop left DOWN on")
		}
	})
}

func TestWhatCannotBeSwitchedOffKeepsItsInterlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		up, down := board.Pin("UP"), board.Pin("DOWN")
		couple(t, board.Ports(), map[string]string{"UP": shutter, "DOWN": shutter}, func(diaries map[string]*diary, jobs map[string]chan drivers.Job) {
			time.Sleep(time.Second)
			jobs["UP"] <- set("on")
			synctest.Wait()
			up.Fail(fmt.Errorf("unplugged: %w", drivers.ErrGone))
			jobs["UP"] <- set("off") // its error closes the device, which fails as well
			time.Sleep(time.Minute)
			jobs["DOWN"] <- set("on")
			synctest.Wait()
			d := diaries["DOWN"]
			if got := d.lines[len(d.lines)-1]; !strings.Contains(got, "result 0 the GPIO line UP has the interlock") || len(down.Outs()) != 1 {
				t.Errorf("DOWN goes on while nobody knows what UP is: %s", got)
			}
			up.Fail(nil)
			time.Sleep(3 * time.Minute) // it is opened again, and so driven off
			jobs["DOWN"] <- set("on")
			synctest.Wait()
			if got := d.lines[len(d.lines)-1]; !strings.Contains(got, "result 1 <nil>") {
				t.Error(got)
			}
		})
	})
}

func TestAnInitialStateThatBreaksAnInterlockIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		ports, o := board.Ports(), shutter+"initial = true\n"
		down := board.Pin("DOWN")
		if err := down.Out(pin.High); err != nil { // an earlier run was killed
			t.Fatal(err)
		}
		up, err := gpio.OutKind().Open(t.Context(), with("pin = \"UP\"\n"+o), ports)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gpio.OutKind().Open(t.Context(), with("pin = \"DOWN\"\n"+o), ports)
		if want := `the GPIO line UP has the interlock "shutter", which lets one output be on at a time; switch that one off first`; fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if down.Level() != pin.Low || down.Used() {
			t.Error("DOWN stays as the earlier run left it, or in use")
		}
		if err := up.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		again, err := gpio.OutKind().Open(t.Context(), with("pin = \"DOWN\"\n"+o), ports)
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	})
}

// A watched line counts how many lines are on, from before the first moment at which
// it may be until it is off for sure.
type watched struct {
	*gpiotest.Pin
	on       *atomic.Int64 // at this moment
	most     *atomic.Int64
	counted  bool
	failHigh error
}

func (w *watched) Out(l pin.Level) error {
	if l == pin.High && !w.counted {
		w.counted = true
		if n := w.on.Add(1); n > w.most.Load() {
			w.most.Store(n)
		}
	}
	runtime.Gosched()
	err := w.Pin.Out(l)
	if l == pin.High && w.failHigh != nil {
		err = w.failHigh // and yet it is on
	}
	if l == pin.Low && w.counted {
		w.counted = false
		w.on.Add(-1)
	}
	return err
}

func TestTwoAreNeverOnWhateverComesAtOnce(t *testing.T) {
	var board gpiotest.Board
	var on, most, acted atomic.Int64
	ports := board.Ports()
	ports.Pin = func(name string) (pin.PinIO, error) {
		return &watched{Pin: board.Pin(name), on: &on, most: &most}, nil
	}
	var running sync.WaitGroup
	for i := range 4 {
		dev, err := gpio.OutKind().Open(t.Context(), with(fmt.Sprintf("pin = \"P%d\"\ninterlock = \"a\"\ninterlock_pause = 0", i)), ports)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			for n := range 500 {
				if _, err := dev.(drivers.Actuator).Actuate(t.Context(), drivers.Command{Channel: "state", Value: n%2 == 0}); err == nil {
					acted.Add(1)
				}
			}
			dev.Close()
		})
	}
	running.Wait()
	if most.Load() != 1 || on.Load() != 0 || acted.Load() < 1000 {
		t.Errorf("%d lines were on at once, %d are at the end; %d commands were carried out", most.Load(), on.Load(), acted.Load())
	}
}

func TestAnOutputThatFailedToGoOnIsDrivenOffAndGivesItsInterlockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		var on, most atomic.Int64
		ports := board.Ports()
		ports.Pin = func(name string) (pin.PinIO, error) {
			w := &watched{Pin: board.Pin(name), on: &on, most: &most}
			if name == "UP" {
				w.failHigh = errors.New("no answer")
			}
			return w, nil
		}
		couple(t, ports, map[string]string{"UP": shutter, "DOWN": shutter}, func(diaries map[string]*diary, jobs map[string]chan drivers.Job) {
			time.Sleep(time.Second)
			jobs["UP"] <- set("on")
			synctest.Wait()
			if board.Pin("UP").Level() != pin.Low {
				t.Error("the line that failed to go on is on")
			}
			time.Sleep(500 * ms)
			jobs["DOWN"] <- set("on")
			synctest.Wait()
			for name, want := range map[string]string{"UP": "result 0 the GPIO line UP: no answer", "DOWN": "result 1 <nil>"} {
				d := diaries[name]
				if got := d.lines[len(d.lines)-1]; !strings.HasSuffix(got, want) {
					t.Errorf("%s: got %s, want %s", name, got, want)
				}
			}
		})
	})
}

func TestAnOutputIsMadeSafe(t *testing.T) {
	for _, c := range []struct {
		options string
		want    pin.Level
		told    string
	}{{"", pin.Low, "false"}, {"safe = true", pin.High, "true"}, {"safe = true\nactive_low = true", pin.Low, "true"}} {
		var board gpiotest.Board
		got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\n"+c.options, &board, func(_ *diary, jobs chan<- drivers.Job) {
			jobs <- set(c.told != "true")
			jobs <- drivers.Job{Safe: true}
			synctest.Wait()
			if board.Pin("GPIO27").Level() != c.want {
				t.Errorf("%s: the line is not in its safe state", c.options)
			}
		})
		if want := []string{"0s " + c.told + "@0s", "0s result 1 <nil>"}; !reflect.DeepEqual(got[4:], want) {
			t.Errorf("%s: got %q, want %q", c.options, got, want)
		}
	}
}

func TestWhatContradictsItselfIsSaid(t *testing.T) {
	for options, want := range map[string]string{
		"max_on = -1":                                     "max_on must be 0s (no limit) or at least 10ms, not -1ns",
		"max_on = 1000000":                                "max_on must be 0s (no limit) or at least 10ms, not 1ms",
		"max_on = 10000000":                               "<nil>",
		"max_on = 10000000000\nsafe = true":               "max_on cannot be kept together with safe = true, which leaves the output on for good when the gateway stops",
		"interlock = \"a\"\nsafe = true":                  "interlock cannot be kept together with safe = true: another output of the group may be on when this one goes to its safe state",
		"interlock_pause = -1":                            "interlock_pause must be between 0s and 1m0s, not -1ns",
		"interlock_pause = 60000000001":                   "interlock_pause must be between 0s and 1m0s, not 1m0.000000001s",
		"interlock = \"" + strings.Repeat("x", 65) + "\"": "interlock must have at most 64 bytes, it has 65",
	} {
		if err := gpio.OutKind().Check(with("pin = \"GPIO27\"\n" + options)); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

func TestWhatAnOutputTakes(t *testing.T) {
	for options, want := range map[string]string{
		"":                                  "[{the GPIO line GPIO27  pin}]",
		"interlock = \"a\"\ninitial = true": `[{the GPIO line GPIO27  pin} {the interlock "a" interlock_pause 500ms interlock_pause} {the only place to be on at the start (initial = true) in the interlock "a"  initial}]`,
		"initial = true":                    "[{the GPIO line GPIO27  pin}]",
	} {
		uses, err := gpio.OutKind().Uses(with("pin = \"GPIO27\"\n" + options))
		if got := fmt.Sprint(uses); got != want || err != nil {
			t.Errorf("%s: got %s, %v; want %s", options, got, err, want)
		}
	}
}

func TestWithoutInterlocksAnOutputThatNeedsOneIsRefused(t *testing.T) {
	var board gpiotest.Board
	ports := board.Ports()
	ports.Interlocks = nil
	if _, err := gpio.OutKind().Open(t.Context(), with("pin = \"GPIO27\"\ninterlock = \"a\""), ports); err == nil || board.Pin("GPIO27").Used() {
		t.Errorf("got %v", err)
	}
}

// A bus that is disturbed may have carried out what it calls failed: nobody knows.
func TestAnOutputThatMayBeOnIsSwitchedOffAsSoonAsThatCanBeDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		var disturbed atomic.Bool
		ports := board.Ports()
		ports.Pin = func(name string) (pin.PinIO, error) { return noisy{board.Pin(name), &disturbed}, nil }
		couple(t, ports, map[string]string{"UP": ""}, func(diaries map[string]*diary, jobs map[string]chan drivers.Job) {
			disturbed.Store(true)
			jobs["UP"] <- set("on")
			time.Sleep(10 * time.Second)
			if board.Pin("UP").Level() != pin.High {
				t.Fatal("the line is off before it can be switched off")
			}
			told := diaries["UP"].lines
			const may, none = "the GPIO line UP may be on: it failed to go on, and could not be switched off after that", "no answer from the GPIO line UP; check its address, wiring and power"
			want := []string{"0s result 0 " + none, "0s offline: " + may, "400ms offline: " + may + "; then: " + none}
			if got := told[2:5]; !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
			disturbed.Store(false)
			time.Sleep(2 * time.Minute)
			if board.Pin("UP").Level() != pin.Low {
				t.Error("the line stays on")
			}
		})
	})
}

// noisy carries out that it is to go on, and says that it has not, while disturbed.
type noisy struct {
	*gpiotest.Pin
	disturbed *atomic.Bool
}

func (n noisy) Out(l pin.Level) error {
	if !n.disturbed.Load() {
		return n.Pin.Out(l)
	}
	if l == pin.High {
		_ = n.Pin.Out(l)
	}
	return syscall.EREMOTEIO
}

func TestAStopTriesToDriveALineMoreThanOnce(t *testing.T) {
	for failures, want := range map[time.Duration]pin.Level{0: pin.Low, 250 * ms: pin.Low, time.Hour: pin.High} {
		synctest.Test(t, func(t *testing.T) {
			var board gpiotest.Board
			dev, err := gpio.OutKind().Open(t.Context(), with("pin = \"UP\"\ninitial = true"), board.Ports())
			if err != nil {
				t.Fatal(err)
			}
			p := board.Pin("UP")
			if failures > 0 {
				p.Fail(syscall.EIO)
				time.AfterFunc(failures, func() { p.Fail(nil) })
			}
			began := time.Now()
			err = dev.Close()
			if took := time.Since(began); (err == nil) != (want == pin.Low) || p.Level() != want || p.Used() || took > 500*ms {
				t.Errorf("a bus that is disturbed for %v: %v after %v, the line is %v", failures, err, took, p.Level())
			}
			time.Sleep(time.Hour)
		})
	}
}
