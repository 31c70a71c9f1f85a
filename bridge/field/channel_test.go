package field_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/config/strict"
	"edgegateway/drivers"
)

func TestChannelsOfAFile(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"all of it", `min_interval = "10s"
max_interval = "10m"
stale_after = "5m"
[devices.channels.temperature]
deadband = "0.2"
round = 1
points = [[0.1, 0.0], [99.0, 100.0]]
aggregate = "mean"
window = "1m"
valid = [-40, 85]
unit = "K"
offset = 273.15`, ""},
		{"a number as deadband", "[devices.channels.t]\ndeadband = 0.5", ""},
		{"deadband", "[devices.channels.t]\ndeadband = \"2 kg\"", `4:12: devices.channels.t.deadband: wants a number such as "0.5", or a part such as "2%", not "2 kg"`},
		{"deadband below zero", "[devices.channels.t]\ndeadband = \"-1\"", `4:12: devices.channels.t.deadband: wants a number such as "0.5", or a part such as "2%", not "-1"`},
		{"scale", "[devices.channels.t]\nscale = 0", `4:9: devices.channels.t.scale must be a number other than 0`},
		{"one point", "[devices.channels.t]\npoints = [[1, 2]]", `4:10: devices.channels.t.points must be at least two, such as [[0.2, 0.0], [99.1, 100.0]]`},
		{"a point of one", "[devices.channels.t]\npoints = [[1, 2], [3]]", `devices.channels.t.points must be [measured, true]`},
		{"points that fall", "[devices.channels.t]\npoints = [[1, 2], [1, 3]]", `devices.channels.t.points must have a higher measured value than the one before`},
		{"valid", "[devices.channels.t]\nvalid = [2, 1]", `4:9: devices.channels.t.valid must be [lowest, highest]`},
		{"aggregate", "[devices.channels.t]\naggregate = \"median\"", `4:13: devices.channels.t.aggregate must be mean, min, max, last or count, not "median"`},
		{"no window", "[devices.channels.t]\naggregate = \"mean\"", `window must be at least 100ms with aggregate, not 0s`},
		{"window of nothing", "[devices.channels.t]\nwindow = \"1m\"", `4:10: devices.channels.t.window needs aggregate: mean, min, max, last or count`},
		{"round", "[devices.channels.t]\nround = 16", `4:9: devices.channels.t.round must be from 0 to 15, or -1 for all decimals, not 16`},
		{"unknown key", "[devices.channels.t]\ndead_band = 1", `4:1: unknown key "dead_band" in [devices.channels.t] (did you mean "deadband"?)`},
		{"max_command_rate", "max_command_rate = -1", `3:20: devices.max_command_rate must be from 0 (no limit) to 1000, not -1`},
		{"min_interval", "min_interval = \"1ms\"", `3:16: devices.min_interval must be 0s or at least 10ms, not 1ms`},
		{"max_interval", "min_interval = \"1m\"\nmax_interval = \"30s\"", `4:16: devices.max_interval must be 0s, or at least 1s and no shorter than min_interval (1m0s), not 30s`},
		{"stale_after", "stale_after = \"1ms\"", `3:15: devices.stale_after must be 0s or at least 1s, not 1ms`},
	} {
		var file struct {
			Devices []field.DeviceConfig `toml:"devices"`
		}
		doc := strict.Parse("f", []byte("[[devices]]\nname = 'a'\n"+c.text+"\n"))
		err := doc.Decode(&file, field.DefaultDeviceConfig())
		if err == nil {
			file.Devices[0].Kind = "x"
			if located := doc.Locate("devices[0]", file.Devices[0].Validate()); located != nil {
				err = located
			}
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if c.name == "all of it" && err == nil {
			d := file.Devices[0]
			ch := d.Channels["temperature"]
			if d.MinInterval != 10*time.Second || ch.Window != time.Minute || ch.Scale != 1 || ch.Deadband.String() != "0.2" || ch.Round != 1 {
				t.Errorf("got %+v", d)
			}
		}
	}
}

func TestAChannelThatTheDeviceDoesNotHaveIsLogged(t *testing.T) {
	var ch field.ChannelConfig
	ch.SetDefaults()
	for _, c := range []struct {
		listed []drivers.Channel
		want   int
	}{{[]drivers.Channel{{Name: "temperature"}, {Name: "humidity"}}, 1}, {nil, 0}} {
		f, log := newFake(c.listed...), new(strings.Builder)
		d := device("x", "w")
		d.Channels = map[string]field.ChannelConfig{"temprature": ch, "humidity": ch}
		oneRun(t, t.TempDir(), kind("w", f, watcher{f}), d, log, func(r *rig) {
			f.readings <- drivers.Reading{At: noon, Values: values("temperature", 1.0)}
			r.next("p/x/state")
		})
		if got := strings.Count(log.String(), `channels=[temprature] device_has="[temperature humidity]"`); got != c.want {
			t.Errorf("logged %d times, want %d:\n%s", got, c.want, log)
		}
	}
}

func TestAUnitThatConvertsNothingIsLogged(t *testing.T) {
	for _, c := range []struct {
		unit  string // of the driver
		edit  func(*field.ChannelConfig)
		warns bool
		set   bool // by commands, which nothing converts
	}{
		{"°C", func(c *field.ChannelConfig) { c.Unit = "°F" }, true, false},
		{"°C", func(c *field.ChannelConfig) { c.Unit, c.Scale, c.Offset = "°F", 1.8, 32 }, false, false},
		{"°C", func(c *field.ChannelConfig) { c.Unit, c.Points = "°F", [][]float64{{0, 32}, {100, 212}} }, false, false},
		{"°C", func(c *field.ChannelConfig) { c.Unit = "C" }, false, false},
		{"mbar", func(c *field.ChannelConfig) { c.Unit = "hPa" }, false, false},
		{"ug/m3", func(c *field.ChannelConfig) { c.Unit = "µg/m³" }, false, false},
		{"mW", func(c *field.ChannelConfig) { c.Unit = "MW" }, true, true},
		{"", func(c *field.ChannelConfig) { c.Unit = "m" }, false, false},
		{"V", func(c *field.ChannelConfig) { c.Round = 1 }, false, false},
		{"°C", func(c *field.ChannelConfig) { c.Unit, c.Aggregate, c.Window = "samples", "count", time.Minute }, false, false},
	} {
		var ch field.ChannelConfig
		ch.SetDefaults()
		c.edit(&ch)
		f, log := newFake(drivers.Channel{Name: "t", Unit: c.unit, Writable: c.set}), new(strings.Builder)
		d := device("x", "w")
		d.Channels = map[string]field.ChannelConfig{"t": ch}
		oneRun(t, t.TempDir(), kind("w", f, watcher{f}), d, log, func(r *rig) {
			f.readings <- drivers.Reading{At: noon, Values: values("t", 1.0)}
			r.next("p/x/availability")
		})
		want := fmt.Sprintf("channel=t unit=%s values_are_in=%s", ch.Unit, c.unit)
		if c.warns && strings.Contains(log.String(), "write scale") == c.set {
			t.Errorf("%q as %q: %s", c.unit, ch.Unit, log)
		}
		if got := strings.Contains(log.String(), want); got != c.warns || !c.warns && strings.Contains(log.String(), "values_are_in") {
			t.Errorf("%q as %q: %s", c.unit, ch.Unit, log)
		}
	}
}
