package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"edgegateway/drivers"
)

// How numbers look in a terminal.

func showCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func showBytes(n int64) string { return showSize(float64(n)) }

func showSize(v float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if math.Abs(v) < 1000 {
			if unit == "B" || v >= 100 {
				return fmt.Sprintf("%.0f %s", v, unit)
			}
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1f GiB", v)
}

func showDuration(d time.Duration) string {
	switch s := int64(d / time.Second); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case s < 90:
		return fmt.Sprintf("%d s", s)
	case s < 5400:
		return fmt.Sprintf("%d min", s/60)
	case s < 172800:
		return fmt.Sprintf("%d h %d min", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d days %d h", s/86400, s%86400/3600)
	}
}

const longest = 9e9 // seconds of a Duration

func showSeconds(s float64) string {
	return showDuration(time.Duration(min(s, longest) * float64(time.Second)))
}

// showValue writes a channel's value with its unit.
func showValue(v any, unit string) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "on"
		}
		return "off"
	case int64:
		return showNumber(float64(v), unit)
	case float64:
		return showNumber(v, unit)
	}
	return fmt.Sprint(v)
}

func showNumber(v float64, unit string) string {
	format := byte('f')
	switch {
	case math.Abs(v) >= 1e21: // as in the state
		format = 'g'
	case unit == "B":
		return showSize(v)
	case unit == "s" && v >= 90 && v <= longest:
		return showSeconds(v)
	}
	places := 2
	if unit == "°" {
		places = 6 // 0.01° of latitude is a kilometre
	}
	text := strconv.FormatFloat(drivers.Round(v, places), format, -1, 64)
	if unit != "" {
		text += " " + unit
	}
	return text
}

// plural writes "1 message", "2 messages".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return showCount(n) + " " + one + "s"
}
