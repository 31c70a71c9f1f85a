package drivers

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"
)

// What we chose to take of one reading, and of a Watcher at once. No device comes near.
const (
	mostValues  = 1024     // and as many names in Bad
	longestText = 64 << 10 // bytes
)

// clean copies a reading, sets its time if the driver did not, brings numbers to
// float64 and int64, and takes off values that nobody can use. What it took off is
// in Fault, unless the driver had something to say there.
func clean(r Reading) Reading {
	out := Reading{At: r.At, Fault: r.Fault, Note: r.Note, Bad: r.Bad}
	if n := max(len(r.Values), len(r.Bad)); n > mostValues {
		if out.Fault == nil {
			out.Fault = fmt.Errorf("a reading of %d values is too large; %d are taken", n, mostValues)
		}
		r.Values, out.Bad = r.Values[:min(len(r.Values), mostValues)], r.Bad[:min(len(r.Bad), mostValues)]
	}
	out.Values = make([]Value, 0, len(r.Values))
	if out.At.IsZero() {
		out.At = time.Now()
	}
	for _, v := range r.Values {
		value, err := normal(v.V)
		if err == nil {
			out.Values = append(out.Values, Value{v.Channel, value})
			continue
		}
		out.Bad = append(slices.Clip(out.Bad), v.Channel)
		if out.Fault == nil {
			out.Fault = fmt.Errorf("channel %q: %w", v.Channel, err)
		}
	}
	return out
}

// normal brings a value into one of the four types.
func normal(v any) (any, error) {
	switch x := v.(type) {
	case bool, int64:
		return x, nil
	case string:
		if len(x) > longestText {
			return nil, fmt.Errorf("a text of %d bytes is longer than %d", len(x), longestText)
		}
		if !utf8.ValidString(x) {
			return nil, fmt.Errorf("%s is not UTF-8", quote(x))
		}
		return x, nil
	case float64:
		// JSON has neither, and whoever computes with one gets more of it.
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("%v is not a measured value", x)
		}
		return x, nil
	case float32:
		return normal(float64(x))
	case int:
		return int64(x), nil
	case int8:
		return int64(x), nil
	case int16:
		return int64(x), nil
	case int32:
		return int64(x), nil
	case uint8:
		return int64(x), nil
	case uint16:
		return int64(x), nil
	case uint32:
		return int64(x), nil
	case uint64:
		if x > math.MaxInt64 {
			return float64(x), nil
		}
		return int64(x), nil
	}
	return nil, fmt.Errorf("a value of type %T cannot be used", v)
}
