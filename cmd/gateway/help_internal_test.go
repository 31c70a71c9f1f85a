package main

import (
	"strings"
	"testing"
)

func TestUnknownVerbNamesTheNearest(t *testing.T) {
	for word, want := range map[string]string{
		"rnu": `"gateway run"`, "statsu": `"gateway status"`, "device": `"gateway devices"`, "verison": `"gateway version"`, "chek": `"gateway check"`, "Demo": `"gateway demo"`,
		"frobnicate": `Type "gateway help"`, "x": `Type "gateway help"`,
		"check-stor": `Type "gateway help"`, // hidden
	} {
		got := suggest(word, verbs())
		if !strings.Contains(got, want) || strings.HasPrefix(want, "Type") && strings.Contains(got, "mean") {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"run", "run", 0}, {"", "run", 3}, {"run", "", 3}, {"rn", "run", 1}, {"ruun", "run", 1}, {"rum", "run", 1}, {"kitten", "sitting", 3},
	} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
