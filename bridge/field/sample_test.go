package field_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/config/strict"
	"edgegateway/drivers"
)

// sampled is a device that is asked: by a tick of an hour, or by a test.
type sampled struct {
	*fake
	err error // of the samples behind the first
	n   int
}

func (s *sampled) Sample(context.Context) (drivers.Reading, error) {
	if s.n++; s.n > 1 && s.err != nil {
		return drivers.Reading{}, s.err
	}
	return drivers.Reading{At: noon, Values: values("n", int64(s.n))}, nil
}

func TestADeviceIsMeasuredWhenSomebodyAsks(t *testing.T) {
	good, broken, tells := newFake(), newFake(), newFake()
	hourly := func(name, kind string) field.DeviceConfig {
		c := device(name, kind)
		c.Every = time.Hour
		return c
	}
	r := start(t, []drivers.Kind{
		kind("good", good, &sampled{fake: good}),
		kind("broken", broken, &sampled{fake: broken, err: errors.New("no answer")}),
		kind("tells", tells, watcher{tells}),
	}, hourly("g", "good"), hourly("b", "broken"), hourly("t", "tells"))
	tells.readings <- drivers.Reading{At: noon, Values: values("n", int64(7))}
	for seen := map[string]bool{}; len(seen) < 3; {
		select {
		case m := <-r.got:
			if strings.HasSuffix(m.Topic, "/state") {
				seen[m.Topic] = true
			}
		case <-time.After(patience):
			t.Fatalf("only %v have said something", seen)
		}
	}
	for name, want := range map[string]string{"g": "", "t": "", "b": "no answer", "x": `there is no device "x"`} {
		if err := r.bridge.Sample(t.Context(), name); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	r.expect("p/g/state", `{"n":2,"ts":"2026-01-02T11:00:00.345Z"}`)
	for _, d := range r.bridge.Devices() {
		if d.Waiting != 0 || d.Accepted != 0 {
			t.Errorf("%s: %d wait, %d commands were accepted", d.Name, d.Waiting, d.Accepted)
		}
	}
	r.stop()
	if err := r.bridge.Sample(t.Context(), "g"); !errors.Is(err, drivers.ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

func TestOneReadingLooksAsInTheState(t *testing.T) {
	var file struct {
		Devices []field.DeviceConfig `toml:"devices"`
	}
	text := `[[devices]]
name = "x"
stale_after = "10s"
[devices.channels.level]
scale = 0.5
round = 1
unit = "m"
deadband = "3"
aggregate = "mean"
window = "1m"
[devices.channels.ph]
valid = [0, 14]
`
	if err := strict.Parse("x.toml", []byte(text)).Decode(&file); err != nil {
		t.Fatal(err)
	}
	s := file.Devices[0].Single([]drivers.Channel{{Name: "level", Unit: "V"}, {Name: "ph"}, {Name: "t", Unit: "°C"}},
		drivers.Reading{At: noon, Values: values("t", 3.25, "ph", 15.0, "level", 3.3), Bad: []string{"rh"}})
	got := fmt.Sprintln(s.Values, s.Quality, s.Channels[0].Unit, s.Channels[2].Unit, s.LastReading.Equal(noon))
	if want := "[{level 1.6} {ph <nil>} {t 3.25} {rh <nil>}] map[ph:bad rh:bad] m °C true\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
