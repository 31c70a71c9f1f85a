package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"edgegateway/drivers"
)

// timeFormat is RFC 3339 with milliseconds; the time must be in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// tsKey holds the time in a state; a channel of that name gives way to it.
const tsKey = "ts"

// What else a state may hold, with the names that channels give way to.
const (
	qualityKey = "quality" // object: what is stale or bad, by channel
	clockKey   = "clock"   // "unsynced" while ts is not to be trusted
)

// appendState appends the JSON object of a state: the values in their order, then what
// is to be said of them, then ts.
func appendState(dst []byte, values []drivers.Value, at time.Time, quality map[string]string, unsynced bool) []byte {
	dst = append(dst, '{')
	for _, v := range values {
		if v.Channel == tsKey || len(quality) > 0 && v.Channel == qualityKey || unsynced && v.Channel == clockKey {
			continue
		}
		dst = appendString(dst, v.Channel)
		dst = append(dst, ':')
		dst = appendValue(dst, v.V)
		dst = append(dst, ',')
	}
	if len(quality) > 0 {
		dst = append(dst, `"quality":{`...)
		for _, name := range slices.Sorted(maps.Keys(quality)) {
			dst = append(appendString(dst, name), ':')
			dst = append(appendString(dst, quality[name]), ',')
		}
		dst[len(dst)-1] = '}'
		dst = append(dst, ',')
	}
	if unsynced {
		dst = append(dst, `"clock":"unsynced",`...)
	}
	return append(appendTime(dst, at), '}')
}

func appendTime(dst []byte, at time.Time) []byte {
	dst = append(dst, `"ts":"`...)
	dst = at.UTC().AppendFormat(dst, timeFormat)
	return append(dst, '"')
}

// appendValue writes what a drivers.Value holds. Numbers keep the shortest form
// that reads back as the same number, without exponent between 1e-6 and 1e21.
func appendValue(dst []byte, v any) []byte {
	switch x := v.(type) {
	case bool:
		return strconv.AppendBool(dst, x)
	case int64:
		return strconv.AppendInt(dst, x, 10)
	case float64:
		size := math.Abs(x)
		switch {
		case math.IsNaN(x) || math.IsInf(x, 0):
			return append(dst, "null"...) // JSON has no word for it
		case size != 0 && (size < 1e-6 || size >= 1e21):
			return strconv.AppendFloat(dst, x, 'e', -1, 64)
		}
		return strconv.AppendFloat(dst, x, 'f', -1, 64)
	case string:
		return appendString(dst, x)
	}
	return append(dst, "null"...)
}

// appendString writes s with as few escapes as JSON allows.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r) // an invalid byte has become U+FFFD
		}
	}
	return append(dst, '"')
}

// appendResult appends the JSON object of an outcome.
func appendResult(dst []byte, o outcome) []byte {
	dst = append(dst, `{"ok":`...)
	dst = strconv.AppendBool(dst, o.err == nil)
	if o.command.Channel != "" {
		dst = append(dst, `,"channel":`...)
		dst = appendString(dst, o.command.Channel)
	}
	if o.err != nil {
		dst = append(dst, `,"error":`...)
		dst = appendString(dst, o.err.Error())
	} else if v, ok := o.value(); ok {
		dst = append(dst, `,"value":`...)
		dst = appendValue(dst, v)
	} else if len(o.state.Values) > 0 && o.reason != "" {
		dst = append(dst, `,"values":{`...)
		for i, v := range o.state.Values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, v.Channel)
			dst = append(dst, ':')
			dst = appendValue(dst, v.V)
		}
		dst = append(dst, '}')
	}
	if o.reason != "" {
		dst = append(dst, `,"reason":`...)
		dst = appendString(dst, o.reason)
	}
	return append(appendTime(append(dst, ','), o.at), '}')
}

// largestCommand is the largest payload of a command, in bytes. It is decoded
// under the broker's lock.
const largestCommand = 4096

// ParseCommand reads the payload of a command: JSON, or the text itself.
func ParseCommand(payload []byte) (any, error) {
	switch {
	case len(payload) == 0:
		return nil, errors.New("the command is empty")
	case len(payload) > largestCommand:
		return nil, fmt.Errorf("the command has %d bytes, more than %d", len(payload), largestCommand)
	case !utf8.Valid(payload):
		return nil, errors.New("the command is not UTF-8 text")
	}
	var v any
	err := json.Unmarshal(payload, &v)
	if err == nil {
		return v, nil
	}
	// ON is a bare value; what begins like an object was meant to be one.
	if c := payload[0]; c == '{' || c == '[' || c == '"' {
		return nil, fmt.Errorf("the command is not JSON: %w", err)
	}
	return string(payload), nil
}
