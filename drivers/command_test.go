package drivers_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"edgegateway/drivers"
)

func TestResolveFindsTheChannel(t *testing.T) {
	one := []drivers.Channel{{Name: "state", Writable: true}, {Name: "uptime"}}
	two := append(one, drivers.Channel{Name: "level", Writable: true})
	for _, c := range []struct {
		command  drivers.Command
		channels []drivers.Channel
		want     drivers.Command
		err      string
	}{
		{drivers.Command{Channel: "state", Value: "ON"}, one, drivers.Command{Channel: "state", Value: "ON"}, ""},
		{drivers.Command{Value: true}, one, drivers.Command{Channel: "state", Value: true}, ""},
		{drivers.Command{Value: map[string]any{"level": 3.0}}, two, drivers.Command{Channel: "level", Value: 3.0}, ""},
		{drivers.Command{Channel: "level", Value: map[string]any{"level": 3.0}}, two, drivers.Command{Channel: "level", Value: 3.0}, ""},
		{drivers.Command{Value: true}, two, drivers.Command{}, "name the channel to set: state, level"},
		{drivers.Command{Channel: "uptime"}, two, drivers.Command{}, `channel "uptime" is read-only`},
		{drivers.Command{Channel: "lvl"}, two, drivers.Command{}, `there is no channel "lvl" to set; there is state, level`},
		{drivers.Command{Value: map[string]any{}}, one, drivers.Command{}, "a command sets one channel at a time, this object has 0 keys"},
		{drivers.Command{Value: map[string]any{"a": 1, "b": 2}}, one, drivers.Command{}, "a command sets one channel at a time, this object has 2 keys"},
		{drivers.Command{Value: true}, one[1:], drivers.Command{}, "this device takes no commands"},
	} {
		got, ch, err := drivers.Resolve(c.command, c.channels)
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("Resolve(%v) = %v, want %q", c.command, err, c.err)
			}
		case err != nil || got.Channel != c.want.Channel || got.Value != c.want.Value || ch.Name != c.want.Channel:
			t.Errorf("Resolve(%v) = %v, %v, %v; want %v", c.command, got, ch, err, c.want)
		}
	}
}

func TestParseBool(t *testing.T) {
	for _, v := range []any{true, 1.0, int64(1), "on", "ON", " True ", "1"} {
		if got, err := drivers.ParseBool(v); !got || err != nil {
			t.Errorf("ParseBool(%#v) = %v, %v", v, got, err)
		}
	}
	for _, v := range []any{false, 0.0, int64(0), "off", "Off", "false", "0"} {
		if got, err := drivers.ParseBool(v); got || err != nil {
			t.Errorf("ParseBool(%#v) = %v, %v", v, got, err)
		}
	}
	for _, v := range []any{nil, 2.0, "", "yes please", []any{true}, strings.Repeat("x", 1<<20)} {
		if _, err := drivers.ParseBool(v); err == nil || len(err.Error()) > 200 {
			t.Errorf("ParseBool of %T was taken, or its error is too long", v)
		}
	}
}

func TestANumberOutsideIsToldWhereItMayBe(t *testing.T) {
	for _, c := range []struct {
		value float64
		r     drivers.Range
		want  string
	}{
		{-5, drivers.Range{Max: 1 << 53 * 0.2794}, "-5 must not be negative"},
		{-5, drivers.Range{Max: 30}, "-5 is outside 0 to 30"},
		{31, drivers.Range{Max: 30}, "31 is outside 0 to 30"},
		{30, drivers.Range{Max: 30}, "<nil>"},
		{-5, drivers.Range{}, "<nil>"},
	} {
		if _, err := drivers.ParseNumber(c.value, c.r); fmt.Sprint(err) != c.want {
			t.Errorf("%v in %v: %v, want %s", c.value, c.r, err, c.want)
		}
	}
}

func TestWhatIsRefusedIsShownAsItWasSent(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{map[string]any{"pump": false}, `{"pump":false} is neither`},
		{[]any{true, "x"}, `[true,"x"] is neither`},
		{nil, "null is neither"},
		{2.5, "2.5 is neither"},
		{`say "on"`, `"say \"on\"" is neither`},
		{math.NaN(), `NaN is neither`},
		{[]any{strings.Repeat("ä", 100)}, `["` + strings.Repeat("ä", 29) + `... is neither`},
		{strings.Repeat("x", 100), `"` + strings.Repeat("x", 60) + `..." is neither`},
	} {
		if _, err := drivers.ParseBool(c.value); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.value, err, c.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	r := drivers.Range{Min: -1, Max: 10}
	for _, v := range []any{10.0, int64(10), " 10 ", "1e1"} {
		if got, err := drivers.ParseNumber(v, r); got != 10 || err != nil {
			t.Errorf("ParseNumber(%#v) = %v, %v", v, got, err)
		}
	}
	for _, v := range []any{10.1, -2.0, "NaN", math.NaN(), "ten", nil, true} {
		if _, err := drivers.ParseNumber(v, r); err == nil {
			t.Errorf("ParseNumber(%#v) was taken", v)
		}
	}
	if _, err := drivers.ParseNumber(math.Inf(1), drivers.Range{}); err == nil {
		t.Error("infinity was taken")
	}
}
