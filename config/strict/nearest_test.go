package strict_test

import (
	"testing"

	"edgegateway/config/strict"
)

func TestNearestIsNearOrNothing(t *testing.T) {
	known := []string{"max_connections", "max_inflight", "sync", "lazy", "qos", "up"}
	for name, want := range map[string]string{
		"max_conections":  "max_connections",
		"maxconnections":  "max_connections",
		"max_inflihgt":    "max_inflight", // a swap of neighbours is one edit
		"snyc":            "sync",
		"qso":             "qos",
		"u":               "",
		"lasts":           "",
		"max":             "",
		"":                "",
		"max_connections": "max_connections",
	} {
		if got := strict.Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0B": 0, "64B": 64, "256KiB": 256 << 10, "1MiB": 1 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40} {
		if got, err := strict.Size(s); got != want || err != nil {
			t.Errorf("Size(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "B", "1", "1MB", "1k", "-1B", "+1B", "1.5MiB", "1_0B", "8388608TiB", "9223372036854775808B"} {
		if got, err := strict.Size(s); err == nil {
			t.Errorf("Size(%q) = %d, want an error", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0B", 1: "1B", 1023: "1023B", 1024: "1KiB", 1536: "1536B", 1 << 20: "1MiB", 1 << 50: "1024TiB"} {
		if got := strict.FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %s, want %s", n, got, want)
		}
	}
}
