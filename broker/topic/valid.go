package topic

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the longest name or filter, in bytes [MQTT-4.7.3-3].
const MaxLength = 65_535

// ValidName says what is wrong with a topic name, in a sentence, or nil.
func ValidName(name string) error {
	if err := validText(name); err != nil {
		return fmt.Errorf("topic name %s: %w", shown(name), err)
	}
	if strings.ContainsAny(name, "+#") { // [MQTT-4.7.0-1] [v3 MQTT-4.7.1-1]
		return fmt.Errorf("topic name %s: '+' and '#' are for filters only", shown(name))
	}
	return nil
}

// ValidFilter says what is wrong with a topic filter, in a sentence, or nil.
func ValidFilter(filter string) error {
	if err := validText(filter); err != nil {
		return fmt.Errorf("topic filter %s: %w", shown(filter), err)
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && more, level != "#" && strings.Contains(level, "#"): // [MQTT-4.7.1-1] [v3 MQTT-4.7.1-2]
			return fmt.Errorf("topic filter %s: '#' must be the last level and stand alone in it", shown(filter))
		case level != "+" && strings.Contains(level, "+"): // [MQTT-4.7.1-2] [v3 MQTT-4.7.1-3]
			return fmt.Errorf("topic filter %s: '+' must stand alone in its level", shown(filter))
		}
	}
	return nil
}

// Levels is the number of levels of a name or filter: one more than it has
// slashes. A Tree takes memory for every level, so limit it before Add.
func Levels(s string) int { return strings.Count(s, "/") + 1 }

func validText(s string) error {
	switch {
	case s == "": // [MQTT-4.7.3-1]
		return errors.New("it must have at least one character")
	case len(s) > MaxLength: // [MQTT-4.7.3-3]
		return fmt.Errorf("it has %d bytes, the limit is %d", len(s), MaxLength)
	case strings.IndexByte(s, 0) >= 0: // [MQTT-4.7.3-2]
		return errors.New("it must not hold the null character")
	case !utf8.ValidString(s): // [MQTT-1.5.4-1] [v3 MQTT-1.5.3-1]
		return errors.New("it must be well-formed UTF-8")
	}
	return nil
}

// shown is s quoted for an error message, cut where it would fill the log.
func shown(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q...", s[:80])
	}
	return fmt.Sprintf("%q", s)
}
