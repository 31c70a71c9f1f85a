package field_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
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

// moments notes when it is sampled.
type moments struct {
	*fake
	at []time.Time
}

func (m *moments) Sample(context.Context) (drivers.Reading, error) {
	m.at = append(m.at, time.Now())
	return drivers.Reading{At: noon, Values: values("n", int64(len(m.at)))}, nil
}

func TestDevicesOfOneIntervalAreSampledApartBehindTheFirstSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kinds []drivers.Kind
		var configs []field.DeviceConfig
		var all []*moments
		for i := range 20 {
			f := newFake()
			all = append(all, &moments{fake: f})
			name := fmt.Sprint("d", i)
			kinds = append(kinds, kind(name, f, all[i]))
			c := device(name, name)
			c.Every = time.Second
			configs = append(configs, c)
		}
		began := time.Now()
		store, br := open(t, t.TempDir())
		bridge, err := field.New(field.Config{Prefix: "p", Devices: configs}, br, kinds, drivers.Ports{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10500*time.Millisecond)
		defer cancel()
		if err := bridge.Run(ctx); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		together := make(map[time.Duration]int)
		for i, m := range all {
			if len(m.at) < 10 || !m.at[0].Equal(began) {
				t.Fatalf("d%d was sampled %d times, first after %v", i, len(m.at), m.at[0].Sub(began))
			}
			for n, at := range m.at[1:] {
				if gap := at.Sub(m.at[n]); n > 0 && gap != time.Second {
					t.Errorf("d%d: %v between two samples", i, gap)
				}
			}
			together[(m.at[1].Sub(began)%time.Second).Truncate(10*time.Millisecond)]++
		}
		for slot, n := range together {
			if len(together) != 4 || n != 5 {
				t.Errorf("%d of 20 devices are sampled %v after the second", n, slot)
			}
		}
	})
}
