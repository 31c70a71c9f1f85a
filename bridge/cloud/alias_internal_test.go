package cloud

import (
	"fmt"
	"testing"
)

// receiver is the other side: what it makes of numbers is what was meant, always.
type receiver map[uint16]string

func (r receiver) take(t *testing.T, topic string, n uint16, known bool, max int) (bytes int) {
	t.Helper()
	switch {
	case n == 0:
		return len(topic)
	case int(n) > max: // [MQTT-3.2.2-17]
		t.Fatalf("alias %d of at most %d", n, max)
	case known && r[n] != topic:
		t.Fatalf("alias %d is %q there, and %q was meant", n, r[n], topic)
	case known:
		return aliasCost
	}
	r[n] = topic
	return len(topic) + aliasCost
}

func TestFrequentTopicsBecomeNumbers(t *testing.T) {
	for _, c := range []struct {
		name   string
		max    int
		topic  func(i int) string
		saving int // percent at least
	}{
		{"few topics", 10, func(i int) string { return fmt.Sprintf("acme/greenhouse/sensor-%02d/state", i%8) }, 85},
		{"more topics than numbers", 10, func(i int) string { return fmt.Sprintf("acme/greenhouse/sensor-%02d/state", i%30) }, 20},
		{"a few of many", 10, func(i int) string {
			if i%4 > 0 {
				return fmt.Sprintf("acme/greenhouse/sensor-%02d/state", i%4)
			}
			return fmt.Sprintf("acme/greenhouse/event-%06d", i)
		}, 60},
		{"others become frequent", 2, func(i int) string { return fmt.Sprintf("acme/greenhouse/sensor-%02d/state", i/20000) }, 60},
		{"one takes the number of the other, and back", 1, func(i int) string {
			if i < 1000 || i >= 4000 && i < 13_000 {
				return "acme/greenhouse/boiler/state"
			}
			return "acme/greenhouse/window/state"
		}, 60},
		{"none comes twice", 10, func(i int) string { return fmt.Sprintf("acme/greenhouse/event-%06d", i) }, 0},
		{"no numbers", 0, func(i int) string { return "acme/greenhouse/sensor/state" }, 0},
		{"too short", 10, func(i int) string { return "a/b" }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, r := newAliases(c.max), receiver{}
			sent, plain := 0, 0
			for i := range 100_000 {
				topic := c.topic(i)
				n, known := a.number(topic)
				sent += r.take(t, topic, n, known, c.max)
				plain += len(topic)
			}
			if got := 100 * (plain - sent) / plain; got < c.saving || sent > plain {
				t.Errorf("%d%% of the bytes of topics saved, want %d%%", got, c.saving)
			}
			if len(a.topics) > candidates*c.max {
				t.Errorf("%d topics are remembered", len(a.topics))
			}
		})
	}
}
