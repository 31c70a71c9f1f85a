package topic_test

import (
	"strings"
	"testing"

	"edgegateway/broker/topic"
)

func TestWhatIsAValidNameAndFilter(t *testing.T) {
	for _, c := range []struct {
		s            string
		name, filter bool
	}{
		{"a", true, true},
		{"/", true, true},
		{"//", true, true},
		{"a/b c/€", true, true},
		{"$SYS/broker", true, true},
		{"\uFEFF", true, true}, // a byte order mark is text [MQTT-1.5.4-3]
		{strings.Repeat("x", 65535), true, true},
		{"#", false, true},
		{"+", false, true},
		{"a/#", false, true},
		{"/#", false, true},
		{"+/+/#", false, true},
		{"a/+/b", false, true},
		{"+/a", false, true},
		{"", false, false},
		{"a#", false, false},
		{"#/", false, false},
		{"#/x", false, false},
		{"a/#/b", false, false},
		{"##", false, false},
		{"+#", false, false},
		{"a+", false, false},
		{"+a/b", false, false},
		{"a/b+/c", false, false},
		{"++", false, false},
		{"a\x00b", false, false},
		{"\x00", false, false},
		{"a\xffb", false, false},
		{"\xed\xa0\x80", false, false}, // a surrogate
		{"\xc0\x80", false, false},     // an overlong NUL
		{strings.Repeat("x", 65536), false, false},
	} {
		for _, is := range []struct {
			what string
			err  error
			want bool
		}{{"name", topic.ValidName(c.s), c.name}, {"filter", topic.ValidFilter(c.s), c.filter}} {
			if (is.err == nil) != is.want {
				t.Errorf("%.20q as %s: %v", c.s, is.what, is.err)
			}
			if is.err != nil && (!strings.HasPrefix(is.err.Error(), "topic "+is.what+" ") || len(is.err.Error()) > 500) {
				t.Errorf("%.20q as %s: the error reads %.600q", c.s, is.what, is.err)
			}
		}
	}
}

func TestLevelsAreOneMoreThanSlashes(t *testing.T) {
	for s, want := range map[string]int{"a": 1, "/": 2, "a/b/#": 3, "//": 3} {
		if got := topic.Levels(s); got != want {
			t.Errorf("Levels(%q) = %d, want %d", s, got, want)
		}
	}
}
