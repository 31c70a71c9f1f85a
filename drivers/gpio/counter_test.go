package gpio_test

import (
	"context"
	"errors"
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

// A meter is an opened counter and its line, which is high at rest.
type meter struct {
	t    *testing.T
	dev  drivers.Device
	line *gpiotest.Pin
}

// measure opens a counter in a bubble of its own and closes it in the end.
func measure(t *testing.T, options string, script func(m *meter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		line := board.Pin("GPIO17")
		line.Set(pin.High)
		dev, err := gpio.CounterKind().Open(t.Context(), with("pin = \"GPIO17\"\npull = \"up\"\ndebounce = 0\n"+options), board.Ports())
		if err != nil {
			t.Fatal(err)
		}
		script(&meter{t, dev, line})
		if err := dev.Close(); err != nil || line.Used() {
			t.Errorf("closed: %v, still in use: %v", err, line.Used())
		}
	})
}

// says samples and returns what it gives, in one line.
func (m *meter) says() string {
	m.t.Helper()
	r, err := m.dev.(drivers.Sampler).Sample(context.Background())
	if err != nil {
		m.t.Error(err)
	}
	return line(r)
}

func line(r drivers.Reading) string {
	var parts []string
	for _, v := range r.Values {
		parts = append(parts, fmt.Sprint(v.Channel, "=", v.V))
	}
	return strings.Join(parts, " ")
}

func (m *meter) want(want string) {
	m.t.Helper()
	if got := m.says(); got != want {
		m.t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCounterCountsPulses(t *testing.T) {
	for edge, want := range map[string]string{"falling": "pulses=3 total=3", "rising": "pulses=2 total=2"} {
		measure(t, `edge = "`+edge+`"`, func(m *meter) {
			m.want("pulses=0 total=0")
			m.line.Pulse(2)
			m.line.Set(pin.Low) // the third one has begun
			m.want(want)
			m.want(want)
		})
	}
}

func TestCounterMissesNoPulseOfAFlood(t *testing.T) {
	measure(t, "", func(m *meter) {
		waits := m.line.Waits()
		for range 10 {
			time.Sleep(100 * ms)
			m.line.Pulse(100_000)
		}
		if got := m.says(); !strings.HasPrefix(got, "pulses=1000000 ") {
			t.Error(got)
		}
		if n := m.line.Waits() - waits; n != 1 {
			t.Errorf("the line was asked %d times for one sample", n)
		}
	})
}

func TestCounterGoesOnWhereTheKernelsNumbersEnd(t *testing.T) {
	measure(t, "", func(m *meter) {
		m.line.Pulse(1)
		m.want("pulses=1 total=1")
		m.line.Count(1<<32 - 2)
		m.line.Pulse(1)
		m.want("pulses=4294967295 total=4.294967295e+09")
		m.line.Pulse(3)
		if got := m.says(); !strings.HasPrefix(got, "pulses=4294967298 ") {
			t.Error(got)
		}
	})
}

func TestTotalIsMadeOfPulsesAndDoesNotDrift(t *testing.T) {
	measure(t, "per_pulse = 0.1", func(m *meter) {
		for _, want := range []string{"0.1", "0.2", "0.3", "0.4"} { // 3 × 0.1 is 0.30000000000000004
			m.line.Pulse(1)
			if got := m.says() + " "; !strings.Contains(got, " total="+want+" ") {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		m.line.Count(9_999_999)
		m.line.Pulse(1)
		if got := m.says(); !strings.HasPrefix(got, "pulses=10000000 total=1e+06") {
			t.Error(got)
		}
	})
}

func TestRateIsMadeOfTheTimesOfPulses(t *testing.T) {
	measure(t, "rate_unit = \"min\"\nper_pulse = 2\nzero_after = 120000000000", func(m *meter) {
		m.line.Pulse(1)
		m.want("pulses=1 total=2") // one pulse is no rate
		time.Sleep(4 * time.Second)
		m.want("pulses=1 total=2")
		m.line.Pulse(1)
		m.want("pulses=2 total=4 rate=30") // every 4 s one pulse of 2
		time.Sleep(8 * time.Second)
		m.want("pulses=2 total=4 rate=15")
		for range 4 {
			time.Sleep(500 * ms)
			m.line.Pulse(1)
		}
		m.want("pulses=6 total=12 rate=240") // after a pause, from the first to the last of these
		time.Sleep(500 * ms)
		m.line.Pulse(1)
		m.want("pulses=7 total=14 rate=240") // from the last of those to this one
		time.Sleep(2 * time.Second)
		m.want("pulses=7 total=14 rate=60") // at most one pulse in 2 s
		time.Sleep(28 * time.Second)
		m.want("pulses=7 total=14 rate=4")
		time.Sleep(90 * time.Second)
		m.want("pulses=7 total=14 rate=0") // zero_after
		m.line.Pulse(1)
		m.want("pulses=8 total=16 rate=1") // one in two minutes
	})
}

func TestRateIsKnownFromTheFirstTwoPulsesOn(t *testing.T) {
	measure(t, "", func(m *meter) {
		for range 3 {
			time.Sleep(time.Second)
			m.line.Pulse(1)
		}
		m.want("pulses=3 total=3 rate=60")
		m.line.Pulse(1)
		time.Sleep(4 * time.Second) // a pause that began before the sample
		m.want("pulses=4 total=4 rate=15")
	})
}

func TestRateOfASilentMeterIsZeroAfterAWhile(t *testing.T) {
	measure(t, "zero_after = 60000000000", func(m *meter) {
		time.Sleep(59 * time.Second)
		m.want("pulses=0 total=0")
		time.Sleep(time.Second)
		m.want("pulses=0 total=0 rate=0")
		m.line.Pulse(1)
		m.want("pulses=1 total=1 rate=0")
	})
}

func TestRateInAFloodIsThatOfAllPulses(t *testing.T) {
	measure(t, "rate_unit = \"s\"", func(m *meter) {
		m.line.Pulse(1)
		time.Sleep(500 * ms)
		m.says()
		for range 100 { // the last of them comes 1.5 s after that one
			time.Sleep(10 * ms)
			m.line.Pulse(1000)
		}
		time.Sleep(ms) // the sample comes late, and says nothing of a pause
		m.want("pulses=100001 total=100001 rate=66667")
	})
}

func TestRateOfAFloodAfterAPauseIsThatOfAllPulses(t *testing.T) {
	measure(t, "rate_unit = \"s\"", func(m *meter) {
		for range 2 { // also without a pulse before the pause
			time.Sleep(10 * time.Second)
			m.says()
			time.Sleep(time.Second)
			m.line.Pulse(5000) // at one moment, as an interrupt that is handled late gives them
			if got := m.says(); !strings.HasSuffix(got, " rate=5000") {
				t.Error(got)
			}
		}
	})
}

func TestCounterGoesOnFromWhatItSaidLast(t *testing.T) {
	for _, c := range []struct {
		last any
		want string
	}{
		{int64(5000), "pulses=5002 total=50.02"},
		{int64(-1), "pulses=2 total=0.02"},
		{int64(1<<53 + 1), "pulses=2 total=0.02"},
		{1.5, "pulses=2 total=0.02"},
		{"many", "pulses=2 total=0.02"},
	} {
		measure(t, "per_pulse = 0.01", func(m *meter) {
			m.line.Pulse(1) // between the opening and Resume
			m.dev.(drivers.Resumer).Resume([]drivers.Value{{Channel: "total", V: int64(77)}, {Channel: "pulses", V: c.last}})
			m.line.Pulse(1)
			m.want(c.want)
		})
	}
}

// The kernel counts from 1 for each opening: nothing may be lost or counted twice.
func TestCounterThatIsOpenedAgainGoesOn(t *testing.T) {
	var board gpiotest.Board
	var last []drivers.Value
	synctest.Test(t, func(t *testing.T) {
		line := board.Pin("GPIO17")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- drivers.Run(ctx, drivers.Spec{
				Kind: gpio.CounterKind(), Decode: with("pin = \"GPIO17\"\ndebounce = 0"), Ports: board.Ports(),
				Every: time.Second, Last: func() []drivers.Value { return last },
			}, keep{&last})
		}()
		synctest.Wait()
		line.Pulse(30)
		time.Sleep(1100 * ms)
		line.Fail(syscall.ENODEV)
		line.Pulse(5) // seen by nobody
		time.Sleep(10 * time.Second)
		line.Fail(nil)
		time.Sleep(10 * time.Second)
		line.Pulse(7)
		time.Sleep(time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if want := (drivers.Value{Channel: "pulses", V: int64(37)}); last[0] != want {
		t.Errorf("got %v, want %v", last, want)
	}
}

// keep is Events that keep the newest reading.
type keep struct{ last *[]drivers.Value }

func (k keep) Reading(r drivers.Reading) { *k.last = r.Values }
func (keep) Offline(error)               {}
func (keep) Online([]drivers.Channel, func(drivers.Command) (drivers.Command, error)) {
}
func (keep) Result(drivers.Job, drivers.Reading, error) {}

// What is told must be what it goes on from: a total that somebody has set to the most
// that there is would else be gone with the next restart.
func TestACounterThatIsFullBeginsAgain(t *testing.T) {
	measure(t, "", func(m *meter) {
		set := m.dev.(drivers.Actuator)
		c, err := set.Check(drivers.Command{Value: m.dev.Channels()[1].Range.Max})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := set.Actuate(t.Context(), c); err != nil || line(r) != "pulses=9007199254740992 total=9.007199254740992e+15" {
			t.Error(line(r), err)
		}
		m.line.Pulse(3)
		if got := m.says(); !strings.HasPrefix(got, "pulses=2 total=2") {
			t.Error(got)
		}
	})
}

func TestTheTotalIsSetToWhatTheMeterShows(t *testing.T) {
	measure(t, "per_pulse = 0.01\nunit = \"m³\"", func(m *meter) {
		set := m.dev.(drivers.Actuator)
		m.line.Pulse(5)
		for _, v := range []any{"1234.567", 1234.567, map[string]any{"total": 1234.567}} {
			c, err := set.Check(drivers.Command{Value: v})
			if err != nil || c.Channel != "total" || c.Value != 1234.567 {
				t.Fatal(c, err)
			}
			again, err := set.Check(c)
			if err != nil || again != c {
				t.Error(again, err)
			}
			// What waited has been counted before, and is behind the new total.
			r, err := set.Actuate(t.Context(), c)
			if got := line(r); err != nil || got != "pulses=123457 total=1234.57" {
				t.Error(got, err)
			}
		}
		m.line.Pulse(1)
		if got := m.says(); !strings.HasPrefix(got, "pulses=123458 total=1234.58") {
			t.Error(got)
		}
		for _, v := range []any{-0.01, "lots", nil, 1e14, map[string]any{"pulses": 5.0}, map[string]any{"rate": 5.0}} {
			if c, err := set.Check(drivers.Command{Value: v}); err == nil {
				t.Errorf("%v was taken: %v", v, c)
			}
		}
	})
}

func TestCounterWhoseLineIsGoneSaysSo(t *testing.T) {
	measure(t, "", func(m *meter) {
		m.line.Fail(syscall.ENODEV)
		_, err := m.dev.(drivers.Sampler).Sample(t.Context())
		if !errors.Is(err, drivers.ErrGone) {
			t.Errorf("sample: %v", err)
		}
		c, _ := m.dev.(drivers.Actuator).Check(drivers.Command{Value: 1.0})
		if _, err := m.dev.(drivers.Actuator).Actuate(t.Context(), c); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("actuate: %v", err)
		}
	})
}

func TestLineThatCannotBeCountedIsRefused(t *testing.T) {
	for want, prepare := range map[string]func(*gpiotest.Pin){
		"the GPIO line GPIO17: its chip gives no interrupts, so nobody sees its edges": (*gpiotest.Pin).RefuseEdges,
		"the GPIO line GPIO17 cannot be debounced by the kernel; set debounce":         (*gpiotest.Pin).RefuseDebounce,
	} {
		var board gpiotest.Board
		prepare(board.Pin("GPIO17"))
		_, err := gpio.CounterKind().Open(t.Context(), with("pin = \"GPIO17\""), board.Ports())
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if board.Pin("GPIO17").Used() {
			t.Error("the line is still in use")
		}
	}
}

func TestBouncingPulseIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var board gpiotest.Board
		p := board.Pin("GPIO17")
		dev, err := gpio.CounterKind().Open(t.Context(), with("pin = \"GPIO17\"\nedge = \"rising\""), board.Ports())
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		for range 3 {
			p.Flood(7)
			time.Sleep(20 * ms)
			p.Flood(5)
			time.Sleep(20 * ms)
		}
		r, err := dev.(drivers.Sampler).Sample(t.Context())
		if got := line(r); err != nil || !strings.HasPrefix(got, "pulses=3 ") {
			t.Error(got, err)
		}
	})
}

func TestRateHasTheQuantityOfItsTotal(t *testing.T) {
	for _, c := range []struct{ options, quantity, unit string }{
		{`quantity = "rain"` + "\n" + `unit = "mm"` + "\n" + `rate_unit = "h"`, "rain_rate", "mm/h"},
		{`quantity = "water"` + "\n" + `unit = "L"`, "flow", "L/min"},
		{`quantity = "gas"` + "\n" + `unit = "m³"` + "\n" + `rate_unit = "h"`, "flow", "m³/h"},
		{`quantity = "energy"` + "\n" + `unit = "kWh"` + "\n" + `rate_unit = "h"`, "power", "kW"},
		{`quantity = "energy"` + "\n" + `unit = "Wh"` + "\n" + `rate_unit = "h"`, "power", "W"},
		{`quantity = "energy"` + "\n" + `unit = "kWh"`, "", "kWh/min"},
		{`quantity = "distance"` + "\n" + `unit = "m"` + "\n" + `rate_unit = "s"`, "speed", "m/s"},
		{`rate_unit = "s"`, "frequency", "Hz"},
		{``, "", "1/min"},
		{`unit = "tips"`, "", "tips/min"},
	} {
		measure(t, c.options, func(m *meter) {
			got := m.dev.Channels()[2]
			if want := (drivers.Channel{Name: "rate", Quantity: drivers.Quantity(c.quantity), Unit: c.unit, Type: drivers.Float}); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, want %+v", c.options, got, want)
			}
		})
	}
}

func TestWrongOptionsOfACounter(t *testing.T) {
	for options, want := range map[string]string{
		`pin = "17"`:                                 "pin must be the name",
		"pin = \"GPIO1\"\nedge = \"both\"":           "edge must be falling or rising",
		"pin = \"GPIO1\"\npull = \"strong\"":         "pull must be",
		"pin = \"GPIO1\"\ndebounce = -1":             "debounce must be",
		"pin = \"GPIO1\"\nper_pulse = 0.0":           "per_pulse must be",
		"pin = \"GPIO1\"\nper_pulse = nan":           "per_pulse must be",
		"pin = \"GPIO1\"\nrate_unit = \"fortnight\"": "rate_unit must be",
		"pin = \"GPIO1\"\nzero_after = 1000":         "zero_after must be",
	} {
		if err := gpio.CounterKind().Check(with(options)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", options, err)
		}
	}
}
