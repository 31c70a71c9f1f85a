package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// How numbers look in a terminal.

func showCount(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func showBytes(n int64) string {
	v := float64(n)
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

func showSeconds(s float64) string { return showDuration(time.Duration(s * float64(time.Second))) }

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
	switch {
	case unit == "B":
		return showBytes(int64(v))
	case unit == "s" && v >= 90:
		return showSeconds(v)
	}
	places := 100.0
	if unit == "°" {
		places = 1e6 // 0.01° of latitude is a kilometre
	}
	text := strconv.FormatFloat(math.Round(v*places)/places+0, 'f', -1, 64) // + 0: there is no -0
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
