package main

import (
	"strings"
	"testing"

	"edgegateway/drivers/all"
)

func TestCheckDoubtsTimesThatDoNotGoTogether(t *testing.T) {
	const sim, line = "kind = \"sim\"\n", "kind = \"serial-line\"\n"
	options := map[string]string{sim: "", line: "[devices.options]\npath = \"/dev/ttyUSB9\"\n"}
	for _, c := range []struct{ name, kind, text, channels, want string }{
		{"none", sim, "", "", ""},
		{"stale before the next sample", sim, "stale_after = \"5s\"\n", "",
			":4:15: stale_after (5s) should be longer than every (10s) by 1s or more, else values are stale before the next sample comes"},
		{"stale just then", sim, "stale_after = \"10s\"\n", "", ":4:15: stale_after (10s)"},
		{"stale behind it", sim, "stale_after = \"11s\"\n", "", ""},
		{"fast", sim, "every = \"100ms\"\nstale_after = \"1s\"\n", "", ""},
		{"the same state again", sim, "max_interval = \"10s\"\n", "",
			":4:16: max_interval (10s) is not longer than every (10s): between two samples the same state is published once more"},
		{"a state in a minute", sim, "max_interval = \"1m\"\n", "", ""},
		{"a window of one value", sim, "", "[devices.channels.temperature]\naggregate = \"mean\"\nwindow = \"10s\"\n",
			`:6:10: window (10s) is not longer than every (10s): there is one value in it, so that aggregate = "mean" makes nothing of many`},
		{"a window of several", sim, "", "[devices.channels.temperature]\naggregate = \"mean\"\nwindow = \"20s\"\n", ""},
		{"what tells by itself", line, "stale_after = \"5s\"\nmax_interval = \"5s\"\n", "[devices.channels.temperature]\naggregate = \"mean\"\nwindow = \"1s\"\n", ""},
	} {
		cfg, err := checkedConfig(configOf(t, "[[devices]]\nname = \"x\"\n"+c.kind+c.text+c.channels+options[c.kind]), func(string) string { return "" })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got strings.Builder
		for _, doubt := range intervalDoubts(cfg.Devices[0]) {
			got.WriteString(doubt.Error())
		}
		if (c.want == "") != (got.Len() == 0) || !strings.Contains(got.String(), c.want) {
			t.Errorf("%s: got %q, want %q", c.name, &got, c.want)
		}
	}
}

func TestTimesOfNoExampleAreDoubted(t *testing.T) {
	for _, k := range all.Kinds() {
		cfg, err := checkedConfig(configOf(t, k.Example), func(string) string { return "" })
		if err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
		for _, d := range cfg.Devices {
			if doubts := intervalDoubts(d); len(doubts) > 0 {
				t.Errorf("%s: %v", k.Name, doubts)
			}
		}
	}
}
