package topic_test

import (
	"slices"
	"strings"
	"testing"

	"edgegateway/broker/topic"
)

// matches are the examples of sections 4.7.1 to 4.7.3 of both standards, and what
// follows from their words. captured is what the wildcards stand for, separated
// by "|".
var matches = []struct {
	filter, name string
	want         bool
	captured     string
}{
	// 4.7.1.2: the multi-level wildcard.
	{"sport/tennis/player1/#", "sport/tennis/player1", true, ""},
	{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true, "ranking"},
	{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true, "score/wimbledon"},
	{"sport/#", "sport", true, ""},
	{"sport/#", "sports", false, ""},
	{"#", "sport", true, "sport"},
	{"#", "/", true, "/"},
	{"#", "a/b/c", true, "a/b/c"},
	{"sport/tennis/#", "sport/tennis/", true, "|"},
	{"sport/tennis/#", "sport", false, ""},
	// 4.7.1.3: the single-level wildcard.
	{"sport/tennis/+", "sport/tennis/player1", true, "player1"},
	{"sport/tennis/+", "sport/tennis/player1/ranking", false, ""},
	{"sport/+", "sport", false, ""},
	{"sport/+", "sport/", true, "|"},
	{"+", "sport", true, "sport"},
	{"+", "sport/", false, ""},
	{"+/tennis/#", "sport/tennis", true, "sport"},
	{"+/tennis/#", "sport/tennis/a/b", true, "sport|a/b"},
	{"sport/+/player1", "sport/tennis/player1", true, "tennis"},
	{"sport/+/player1", "sport/tennis/player2", false, ""},
	{"+/+", "/finance", true, "|finance"},
	{"/+", "/finance", true, "finance"},
	{"+", "/finance", false, ""},
	{"+/+/+", "//", true, "||"},
	// 4.7.2: names that begin with $.
	{"#", "$SYS/monitor/Clients", false, ""},
	{"+/monitor/Clients", "$SYS/monitor/Clients", false, ""},
	{"+", "$SYS", false, ""},
	{"$SYS/#", "$SYS/monitor/Clients", true, "monitor/Clients"},
	{"$SYS/#", "$SYS", true, ""},
	{"$SYS/monitor/+", "$SYS/monitor/Clients", true, "Clients"},
	{"+/#", "$SYS/monitor", false, ""},
	{"#", "a/$SYS", true, "a/$SYS"},
	{"a/+", "a/$SYS", true, "$SYS"},
	// 4.7.3: case, spaces and slashes count.
	{"ACCOUNTS", "Accounts", false, ""},
	{"Accounts payable", "Accounts payable", true, ""},
	{"/finance", "finance", false, ""},
	{"finance", "finance", true, ""},
	{"finance", "finance/", false, ""},
	{"a//b", "a/b", false, ""},
	{"a//b", "a//b", true, ""},
	{"a/+/b", "a//b", true, "|"},
	{"/", "/", true, ""},
	{"Ä/+", "Ä/€", true, "€"},
}

func TestTheExamplesOfTheStandardsMatch(t *testing.T) {
	for _, c := range matches {
		if got := topic.Match(c.filter, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.filter, c.name, got)
		}
		var tree topic.Tree[int]
		tree.Add(c.filter, 1)
		found := 0
		tree.Match(c.name, func(v int) { found += v })
		if (found == 1) != c.want || found > 1 {
			t.Errorf("a tree with %q finds %d values for %q", c.filter, found, c.name)
		}
		var names topic.Names[int]
		names.Set(c.name, 1)
		found = 0
		names.Match(c.filter, func(_ string, v int) bool { found += v; return true })
		if (found == 1) != c.want || found > 1 {
			t.Errorf("names with %q give %d values for %q", c.name, found, c.filter)
		}
	}
}

func TestCapturesAreWhatTheWildcardsStandFor(t *testing.T) {
	for _, c := range matches {
		got, ok := topic.Captures(c.filter, c.name, []string{"before"})
		if ok != c.want || len(got) == 0 || got[0] != "before" {
			t.Errorf("Captures(%q, %q) = %q, %v", c.filter, c.name, got, ok)
			continue
		}
		want := []string{}
		switch {
		case c.captured == "|": // one empty level
			want = []string{""}
		case c.captured != "":
			want = strings.Split(c.captured, "|")
		}
		if c.captured == "|finance" {
			want = []string{"", "finance"}
		}
		if !slices.Equal(got[1:], want) {
			t.Errorf("Captures(%q, %q) = %q, want %q", c.filter, c.name, got[1:], want)
		}
	}
}

// What the wildcards stood for, put in their places, is the name again.
func TestCapturesRebuildTheName(t *testing.T) {
	for _, c := range matches {
		got, ok := topic.Captures(c.filter, c.name, nil)
		if !ok {
			continue
		}
		levels := strings.Split(c.filter, "/")
		for i, level := range levels {
			if level != "+" && level != "#" {
				continue
			}
			if len(got) == 0 { // a # that stands for nothing
				levels = levels[:i]
				break
			}
			levels[i], got = got[0], got[1:]
		}
		if name := strings.Join(levels, "/"); name != c.name || len(got) > 0 {
			t.Errorf("%q of %q gives %q, left %q", c.filter, c.name, name, got)
		}
	}
}
