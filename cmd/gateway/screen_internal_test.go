package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"edgegateway/status"
)

var update = flag.Bool("update", false, "write testdata anew")

// aScene is 20 s into the demo; queued messages wait, and the link is up or not.
func aScene(up bool, queued int64) scene {
	rate, oldest, age := 5.0, 6.5, 0.4
	sent := 3.0
	s := scene{
		elapsed: 20 * time.Second,
		report: status.Report{
			Gateway: status.Gateway{ReadingRate: &rate, Listens: []status.Listening{{What: "mqtt", Address: "tcp://127.0.0.1:1883"}, {What: "page", Address: "http://127.0.0.1:8080/"}}},
			Devices: []status.Device{
				{Name: "host", Topic: "demo/host", Online: true, Age: &age, Values: []status.Value{
					{Channel: "cpu_temperature", Unit: "°C", Value: 48.3}, {Channel: "load_1m", Value: 0.31}, {Channel: "memory_used", Unit: "%", Value: 41.2}, {Channel: "disk_used", Unit: "%", Value: 63.0}}},
				{Name: "climate", Topic: "demo/climate", Online: true, Age: &age, Values: []status.Value{{Channel: "temperature", Unit: "°C", Value: 21.43}, {Channel: "humidity", Unit: "%", Value: 61.2}}},
				{Name: "pump", Topic: "demo/pump", Online: true},
				{Name: "meter", Topic: "demo/meter", Reason: "open /dev/ttyUSB0: no such file or directory, is the cable plugged in?"},
			},
			Clouds: []status.Cloud{{Name: "stand-in", Connected: up, Queued: queued, QueuedBytes: queued * 250, Oldest: &oldest, SentRate: &sent}},
			Store:  status.Store{Written: 24 << 10, Commits: 3, Cancelled: 61},
		},
		counted: counted{Published: 1234, Arrived: 1234 - queued, Missing: queued},
		up:      up, changed: 6 * time.Second, waited: queued, frame: 3,
		events: []event{{0, "devices publish, the link to the cloud is up"}, {8 * time.Second, "link cut for 8 s: what is published now waits in the gateway"}},
	}
	return s
}

func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		l.write(&b, 80, false)
		b.WriteByte('\n')
	}
	return b.String()
}

func TestSceneIsAsInTheGoldenFile(t *testing.T) {
	cut := aScene(false, 31)
	cut.next = "   restored by itself in 2 s"
	draining := aScene(true, 12)
	draining.backlog, draining.waited = 12, 42
	flowing := aScene(true, 0)
	lossy := aScene(true, 0)
	lossy.counted = counted{Published: 100, Arrived: 97, Missing: 3, Duplicates: 2, Disordered: 1}
	lossy.skipped = 3
	got := ""
	for _, s := range []scene{flowing, cut, draining, lossy} {
		got += text(s.lines(24)) + strings.Repeat("=", 80) + "\n" + s.plainLine() + "\n" + strings.Repeat("=", 80) + "\n"
	}
	const golden = "testdata/scenes.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("scenes differ from %s (write it anew with -update):\n%s", golden, got)
	}
}

// The foot with the keys is always on the screen, and no line breaks into two.
func TestSceneFitsTheTerminal(t *testing.T) {
	s := aScene(false, 31)
	for i := range 40 {
		s.events = append(s.events, event{time.Duration(i) * time.Second, "something happened"})
	}
	for height := 8; height <= 60; height++ {
		lines := s.lines(height)
		if len(lines) != height {
			t.Errorf("height %d: %d lines", height, len(lines))
		}
		if foot := text(lines[len(lines)-1:]); !strings.Contains(foot, "q quits") {
			t.Errorf("height %d: the last line is %q", height, foot)
		}
	}
	for _, width := range []int{1, 10, 40, 80} {
		for _, l := range s.lines(24) {
			var b strings.Builder
			l.write(&b, width, false)
			if n := len([]rune(b.String())); n > width {
				t.Errorf("width %d: a line of %d", width, n)
			}
		}
	}
}

func TestNothingIsCalledLostWhileSomethingWaits(t *testing.T) {
	s := aScene(false, 10)
	s.skipped = 2
	if got := s.skippedForGood(); got != 0 {
		t.Errorf("while 10 wait: %d lost", got)
	}
	s = aScene(true, 0)
	s.skipped = 2
	if got := s.skippedForGood(); got != 2 {
		t.Errorf("when nothing waits: %d lost, want 2", got)
	}
}

func TestStylesAreOffWithoutColor(t *testing.T) {
	l := line{{green, "up"}, {plain, " now"}}
	for color, want := range map[bool]string{true: "\x1b[32mup\x1b[0m now", false: "up now"} {
		var b strings.Builder
		l.write(&b, 80, color)
		if got := b.String(); got != want {
			t.Errorf("color %t: %q", color, got)
		}
	}
}
