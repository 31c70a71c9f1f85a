package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pelletier/go-toml/v2"

	"edgegateway/drivers"
	"edgegateway/drivers/sim"
)

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

func open(t *testing.T, options string) drivers.Device {
	t.Helper()
	d, err := sim.Kind().Open(t.Context(), with(options), drivers.Ports{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// series samples the only channel once per step.
func series(t *testing.T, channel string, n int, step time.Duration) (got []any) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, "seed = 7\nchannels = [{ name = \"x\", "+channel+" }]").(drivers.Sampler)
		for range n {
			r, err := d.Sample(t.Context())
			if err != nil || len(r.Values) != 1 || r.Values[0].Channel != "x" {
				t.Fatal(r, err)
			}
			got = append(got, r.Values[0].V)
			time.Sleep(step)
		}
	})
	return got
}

// The clock of a bubble starts at midnight UTC, a whole multiple of all periods here.
func TestWaves(t *testing.T) {
	for channel, want := range map[string]string{
		`wave = "sine", min = 10, max = 20, period = 4000000000`: "[15 20 15 10 15 20]",
		`wave = "square", min = 1, max = 2, period = 4000000000`: "[1 1 2 2 1 1]",
		`wave = "sawtooth", period = 4000000000`:                 "[0 25 50 75 0 25]",
		`wave = "counter", step = 0.1`:                           "[0.1 0.2 0.3 0.4 0.5 0.6]",
		`wave = "counter"`:                                       "[1 2 3 4 5 6]",
		`wave = "setpoint", min = 5, max = 30, initial = 21`:     "[21 21 21 21 21 21]",
		`wave = "switch"`:                                        "[false false false false false false]",
	} {
		if got := fmt.Sprint(series(t, channel, 6, time.Second)); got != want {
			t.Errorf("%s: %s, want %s", channel, got, want)
		}
	}
}

func TestWalkIsTheSameForTheSameSeedAndStaysInside(t *testing.T) {
	const walk = `wave = "walk", min = -1, max = 1, step = 0.5`
	a, b := series(t, walk, 1000, time.Second), series(t, walk, 1000, time.Minute)
	seen := make(map[any]bool)
	for i, v := range a {
		if v != b[i] {
			t.Fatalf("step %d: %v and %v", i, v, b[i])
		}
		if f := v.(float64); f < -1 || f > 1 {
			t.Fatalf("step %d: %v", i, v)
		}
		seen[v] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different values", len(seen))
	}
}

func TestCommands(t *testing.T) {
	d := open(t, `channels = [{ name = "pump", wave = "switch" }, { name = "target", wave = "setpoint", min = 5, max = 30 }, { name = "x", wave = "counter" }]`)
	act := d.(drivers.Actuator)
	for _, c := range []struct {
		command drivers.Command
		want    any
		err     string
	}{
		{drivers.Command{Channel: "pump", Value: "ON"}, true, ""},
		{drivers.Command{Channel: "target", Value: "21.5"}, 21.5, ""},
		{drivers.Command{Value: map[string]any{"pump": false}}, false, ""},
		{drivers.Command{Channel: "target", Value: 31.0}, nil, "31 is outside 5 to 30"},
		{drivers.Command{Channel: "x", Value: 1.0}, nil, `channel "x" is read-only`},
	} {
		checked, err := act.Check(c.command)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%v: %v, want %s", c.command, err, c.err)
			}
			continue
		}
		if again, err := act.Check(checked); err != nil || again != checked {
			t.Errorf("%v: the second check says %v, %v", c.command, again, err)
		}
		r, err := act.Actuate(t.Context(), checked)
		if err != nil || len(r.Values) != 1 || r.Values[0].V != c.want {
			t.Errorf("%v: %v, %v", c.command, r, err)
		}
	}
	r, _ := d.(drivers.Sampler).Sample(t.Context())
	if got := fmt.Sprint(r.Values); got != "[{pump false} {target 21.5} {x 1}]" {
		t.Errorf("state %s", got)
	}
}

func TestWithoutOptionsItShowsSomethingOfEach(t *testing.T) {
	r, err := open(t, "").(drivers.Sampler).Sample(t.Context())
	if err != nil || len(r.Values) != 4 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestWrongOptions(t *testing.T) {
	for channel, want := range map[string]string{
		`wave = "sine"`:                                 "channels[0].name must",
		`name = "x", wave = "triangle"`:                 "channels[0].wave of",
		`name = "x", wave = "sine", min = 3, max = 1`:   "channels[0].min of",
		`name = "x", wave = "sine", max = 1e308`:        "channels[0].min, max and step of",
		`name = "x", wave = "counter", step = 1e16`:     "channels[0].min, max and step of",
		`name = "x", wave = "sine", period = -1`:        "channels[0].period of",
		`name = "x", wave = "switch", initial = "open"`: "channels[0].initial of",
		`name = "x", wave = "sine", initial = 3`:        "channels[0].initial of",
		`name = "x", wave = "setpoint", initial = 300`:  "channels[0].initial of",
	} {
		if err := sim.Kind().Check(with("channels = [{" + channel + "}]")); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", channel, err, want)
		}
	}
}

func TestSafeIsAsAtTheStart(t *testing.T) {
	d := open(t, `channels = [{ name = "n", wave = "counter" }, { name = "a", wave = "switch", initial = true }, { name = "b", wave = "setpoint", max = 30, initial = 21 }]`)
	for channel, v := range map[string]any{"a": false, "b": 5.0} {
		if _, err := d.(drivers.Actuator).Actuate(t.Context(), drivers.Command{Channel: channel, Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.(drivers.Failsafe).Safe(t.Context())
	if got := fmt.Sprint(r.Values, err); got != "[{a true} {b 21}] <nil>" || r.At.IsZero() {
		t.Errorf("got %s at %v", got, r.At)
	}
	r, _ = d.(drivers.Sampler).Sample(t.Context())
	if got := fmt.Sprint(r.Values); got != "[{n 1} {a true} {b 21}]" {
		t.Errorf("and then %s", got)
	}
}

func TestCountersGoOn(t *testing.T) {
	const options = `channels = [{ name = "a", wave = "counter" }, { name = "b", wave = "counter", step = 0.1 }, { name = "c", wave = "walk" }]`
	resumes, err := sim.Kind().Resumes(with(options))
	if got := fmt.Sprint(resumes); got != "[a b]" || err != nil {
		t.Errorf("goes on from %s, %v", got, err)
	}
	d := open(t, options)
	d.(drivers.Resumer).Resume([]drivers.Value{{Channel: "a", V: int64(41)}, {Channel: "b", V: 2.7}, {Channel: "c", V: 5000.0}, {Channel: "d", V: 1.0}})
	for _, want := range []string{"{a 42} {b 2.8}", "{a 43} {b 2.9}"} {
		r, err := d.(drivers.Sampler).Sample(t.Context())
		if got := fmt.Sprint(r.Values[0], " ", r.Values[1]); got != want || r.Values[2].V.(float64) > 100 || err != nil {
			t.Errorf("%v, %v, want %s", r.Values, err, want)
		}
	}
}
