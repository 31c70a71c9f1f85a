package field

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"edgegateway/drivers"
)

// A command that is taken is a number inside of the range, or on or off; what is made of
// one, taken or refused, is told as JSON, with a sentence where there is none to be had.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{"21.5", "ON", `"on"`, "1e309", "NaN", `{"pump":false}`, `{"level":{"level":1}}`, "[1]", "null", `{"a":1,"b":2}`, "0x1p-2", "-0", "\xff", `"\ud800"`} {
		f.Add([]byte(s), "", "pump", -40.0, 85.0)
		f.Add([]byte(s), "pump", "pump", -40.0, 85.0)
	}
	f.Add([]byte("5"), "level", "level", 0.0, 0.0)
	f.Fuzz(func(t *testing.T, payload []byte, named, name string, low, high float64) {
		if !finite(low) || !finite(high) || low > high || !utf8.ValidString(name) || !utf8.ValidString(named) {
			return // no kind describes such a channel
		}
		channels := []drivers.Channel{{Name: "switch", Type: drivers.Bool, Writable: true}, {Name: name, Type: drivers.Float, Writable: true, Range: drivers.Range{Min: low, Max: high}}}
		check := func(c drivers.Command) (drivers.Command, error) {
			c, channel, err := drivers.Resolve(c, channels)
			if err != nil {
				return c, err
			}
			if channel.Type == drivers.Bool {
				c.Value, err = drivers.ParseBool(c.Value)
			} else {
				c.Value, err = drivers.ParseNumber(c.Value, channel.Range)
			}
			return c, err
		}
		value, err := ParseCommand(payload)
		o := outcome{command: drivers.Command{Channel: named, Value: value}, at: time.Unix(0, 0)}
		if err == nil {
			o.command, err = check(o.command)
		}
		if o.err = err; err == nil {
			again, err := check(o.command)
			if err != nil || again != o.command {
				t.Errorf("%q is %v, and that is %v, %v", payload, o.command, again, err)
			}
			switch x := o.command.Value.(type) {
			case bool:
			case float64:
				if !finite(x) || low != high && (x < low || x > high) {
					t.Errorf("%q is %v, of %v to %v", payload, x, low, high)
				}
			default:
				t.Errorf("%q is %v (%T)", payload, x, x)
			}
		}
		text := appendResult(nil, o)
		var told struct {
			OK    bool
			Error string
			Value any
		}
		if err := json.Unmarshal(text, &told); err != nil || !utf8.Valid(text) {
			t.Fatalf("%q is told as %s: %v", payload, text, err)
		}
		if told.OK != (o.err == nil) || told.OK == (told.Error != "") || told.OK && told.Value == nil {
			t.Errorf("%q is told as %s", payload, text)
		}
	})
}

// What a meter goes on from is what it said, in any state that this gateway has written;
// in any other one there are no other types.
func FuzzResume(f *testing.F) {
	f.Add([]byte(`{"pulses":9007199254740993,"total":1e400,"on":true,"ts":"2026-01-01T00:00:00.000Z"}`), "pulses", int64(math.MaxInt64), 0.1)
	f.Add([]byte(`{"quality":{"a":"bad"},"a":null,"b":[1],"c":-0,"d":1E5}`), "\x00\"", int64(-1), 1e300)
	f.Add([]byte(`[1]`), "ts", int64(0), math.Copysign(0, -1))
	f.Fuzz(func(t *testing.T, payload []byte, name string, whole int64, number float64) {
		state, err := parseState(payload)
		for channel, v := range state {
			switch x := v.(type) {
			case nil, bool, string, int64, map[string]any, []any:
			case float64:
				if !finite(x) {
					t.Errorf("%q is %v", channel, x)
				}
			default:
				t.Errorf("%q is %v (%T)", channel, v, v)
			}
		}
		if err != nil && len(state) > 0 {
			t.Errorf("%v, and %v", err, state)
		}
		if !finite(number) || !utf8.ValidString(name) || name == tsKey || name == "n" || name == "w" {
			return
		}
		values := []drivers.Value{{Channel: name, V: name}, {Channel: "n", V: number}, {Channel: "w", V: whole}}
		state, err = parseState(appendState(nil, values, time.Unix(1, 0), nil, false))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			got := state[v.Channel]
			if n, ok := got.(int64); ok && v.Channel == "n" {
				got = float64(n) // as Resumer has it: whole ones are int64, whatever they were
			}
			if !reflect.DeepEqual(got, v.V) {
				t.Errorf("%v (%T) became %v (%T)", v.V, v.V, got, got)
			}
		}
	})
}
