package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pelletier/go-toml/v2"
	pin "periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/drivers/gpio/gpiotest"
)

const ms = time.Millisecond

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

// diary is the Events of a device under test; it is read when Run rests or is over.
type diary struct {
	start time.Time
	lines []string
	stats drivers.Stats
	log   strings.Builder
	check func(drivers.Command) (drivers.Command, error)
}

func (d *diary) add(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf("%v ", time.Since(d.start).Round(ms))+fmt.Sprintf(format, args...))
}
func (d *diary) Online(_ []drivers.Channel, check func(drivers.Command) (drivers.Command, error)) {
	d.add("online")
	d.check = check
}
func (d *diary) Offline(reason error) { d.add("offline: %v", reason) }
func (d *diary) Reading(r drivers.Reading) {
	d.add("%v@%v", r.Values[0].V, r.At.Sub(d.start).Round(ms))
}
func (d *diary) Result(j drivers.Job, r drivers.Reading, err error) {
	d.add("result %d %v", len(r.Values), err)
}

// play runs a device while the script goes on, and returns what was told.
func play(t *testing.T, kind drivers.Kind, options string, board *gpiotest.Board, script func(d *diary, jobs chan<- drivers.Job)) []string {
	d := &diary{}
	synctest.Test(t, func(t *testing.T) {
		d.start = time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		jobs, ended := make(chan drivers.Job, 8), make(chan error, 1)
		go func() {
			ended <- drivers.Run(ctx, drivers.Spec{Kind: kind, Decode: with(options), Ports: board.Ports(), Jobs: jobs, Stats: &d.stats,
				Log: slog.New(slog.NewTextHandler(&d.log, nil))}, d)
		}()
		synctest.Wait()
		script(d, jobs)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d.lines[:len(d.lines)-1] // the last one is the end
}

func TestOutput(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.OutKind(), "pin = \"GPIO27\"\nactive_low = true\nsafe = true", &board, func(d *diary, jobs chan<- drivers.Job) {
		if board.Pin("GPIO27").Level() != pin.High {
			t.Error("the initial state off is not a high line")
		}
		for _, v := range []any{"ON", 0.0, map[string]any{"state": true}, "off", "maybe"} {
			time.Sleep(time.Second)
			jobs <- drivers.Job{Command: drivers.Command{Value: v}}
		}
		time.Sleep(time.Second)
		for v, want := range map[any]string{"on": "", "maybe": `"maybe" is neither on nor off; send true or false, "on" or "off", 1 or 0`} {
			c, err := d.check(drivers.Command{Channel: "state", Value: v})
			if want == "" && (err != nil || c.Value != true) || want != "" && (err == nil || err.Error() != want) {
				t.Errorf("check of %v: %v, %v", v, c, err)
			}
		}
	})
	want := []string{
		"0s online", "0s false@0s",
		"1s true@1s", "1s result 1 <nil>", "2s false@2s", "2s result 1 <nil>", "3s true@3s", "3s result 1 <nil>", "4s false@4s", "4s result 1 <nil>",
		`5s result 0 "maybe" is neither on nor off; send true or false, "on" or "off", 1 or 0`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p := board.Pin("GPIO27")
	if want := []pin.Level{pin.High, pin.Low, pin.High, pin.Low, pin.High, pin.Low}; !reflect.DeepEqual(p.Outs(), want) {
		t.Errorf("the line was driven %v, want %v (the last one is the safe state)", p.Outs(), want)
	}
	if !p.Output() || p.Used() {
		t.Errorf("the line is an output: %v, in use: %v", p.Output(), p.Used())
	}
}

func TestOutputThatFailsSaysSo(t *testing.T) {
	var board gpiotest.Board
	got := play(t, gpio.OutKind(), `pin = "GPIO27"`, &board, func(_ *diary, jobs chan<- drivers.Job) {
		board.Pin("GPIO27").Fail(os.ErrPermission)
		jobs <- drivers.Job{Command: drivers.Command{Value: true}}
		time.Sleep(time.Second)
		board.Pin("GPIO27").Fail(nil)
	})
	want := []string{"0s online", "0s false@0s", "0s result 0 open the GPIO line GPIO27: permission denied; add the gateway's user to the group gpio and start it again"}
	if !reflect.DeepEqual(got[:3], want) { // and then it is offline
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		options string
		kind    drivers.Kind
		want    string
	}{
		{``, gpio.InKind(), "pin is missing: it is the name of a line"},
		{`pin = ""`, gpio.OutKind(), "pin is missing: it is the name of a line"},
		{`pin = "7"`, gpio.OutKind(), "pin must be the name of a line"},
		{`pin = "17"`, gpio.InKind(), "pin must be the name of a line"},
	} {
		if err := c.kind.Check(with(c.options)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v", c.options, err)
		}
	}
	for options, want := range map[string]string{
		"pin = \"GPIO1\"\npull = \"sideways\"":   "pull must be",
		"pin = \"GPIO1\"\ndebounce = 2000000000": "debounce must be",
	} {
		if err := gpio.InKind().Check(with(options)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", options, err)
		}
	}
}

func TestSystemWithoutTheLineSaysWhatToCheck(t *testing.T) {
	s := gpio.NewSystem()
	_, err := s.Pin("no such line")
	var missing *drivers.MissingError
	if !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stdin.Stat(); err != nil {
		t.Errorf("looking for chips closed the standard input: %v", err)
	}
	t.Log(err)
}
