package drivers

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Resolve finds the writable channel that a command means: the named one, whose value
// may be in an object under its name; for a command to the whole device the only key of
// its object, or the device's only writable channel. Its errors are sentences for the
// sender. Devices use it in Check.
func Resolve(c Command, channels []Channel) (Command, Channel, error) {
	if object, ok := c.Value.(map[string]any); ok && c.Channel != "" {
		if value, ok := object[c.Channel]; ok && len(object) == 1 {
			c.Value = value
		}
	} else if ok {
		if len(object) != 1 {
			return c, Channel{}, fmt.Errorf("a command sets one channel at a time, this object has %d keys", len(object))
		}
		for name, value := range object {
			c = Command{Channel: name, Value: value}
		}
	}
	var writable []string
	for _, ch := range channels {
		switch {
		case ch.Name == c.Channel && ch.Writable:
			return c, ch, nil
		case ch.Name == c.Channel:
			return c, ch, fmt.Errorf("channel %q is read-only", c.Channel)
		case ch.Writable:
			writable = append(writable, ch.Name)
		}
	}
	if c.Channel == "" && len(writable) == 1 {
		c.Channel = writable[0]
		return Resolve(c, channels)
	}
	switch {
	case len(writable) == 0:
		return c, Channel{}, fmt.Errorf("this device takes no commands")
	case c.Channel == "":
		return c, Channel{}, fmt.Errorf("name the channel to set: %s", strings.Join(writable, ", "))
	}
	return c, Channel{}, fmt.Errorf("there is no channel %q to set; there is %s", c.Channel, strings.Join(writable, ", "))
}

// ParseBool reads the value of a command for a switch: true or false, 1 or 0, or
// one of the words on, off, true, false, 1, 0 in any case.
func ParseBool(v any) (bool, error) {
	switch x := v.(type) {
	case bool:
		return x, nil
	case float64:
		if x == 0 || x == 1 {
			return x == 1, nil
		}
	case int64:
		if x == 0 || x == 1 {
			return x == 1, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(x)) {
		case "on", "true", "1":
			return true, nil
		case "off", "false", "0":
			return false, nil
		}
	}
	return false, fmt.Errorf("%s is neither on nor off; send true or false, \"on\" or \"off\", 1 or 0", quote(v))
}

// ParseNumber reads the value of a command for a number within r.
func ParseNumber(v any, r Range) (float64, error) {
	var f float64
	switch x := v.(type) {
	case float64:
		f = x
	case int64:
		f = float64(x)
	case string:
		parsed, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		if err != nil {
			return 0, fmt.Errorf("%s is not a number", quote(v))
		}
		f = parsed
	default:
		return 0, fmt.Errorf("%s is not a number", quote(v))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%s is not a number that can be set", quote(v))
	}
	if r.Limited() && f < 0 && r.Min == 0 && r.Max >= 1e9 {
		return 0, fmt.Errorf("%v must not be negative", f) // where it ends tells nobody anything
	}
	if r.Limited() && (f < r.Min || f > r.Max) {
		return 0, fmt.Errorf("%v is outside %v to %v", f, r.Min, r.Max)
	}
	return f, nil
}

// quote shows a value that somebody sent, as JSON, cut to a length that a log can bear.
func quote(v any) string {
	const most = 60
	if s, ok := v.(string); ok {
		if len(s) > most {
			s = s[:most] + "..."
		}
		return strconv.Quote(s)
	}
	s := fmt.Sprint(v)
	if text, err := json.Marshal(v); err == nil { // NaN cannot be written
		s = string(text)
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
