package field_test

import (
	"context"
	"fmt"
	"testing"

	"edgegateway/bridge/field"
	"edgegateway/drivers"
)

// seat is the options of a kind that takes a seat, shared with those of the same team.
type seat struct {
	Seat string `toml:"seat"`
	Team string `toml:"team"`
}

func (seat) Validate() error { return nil }
func (s seat) Uses() []drivers.Use {
	return []drivers.Use{{What: "the seat " + s.Seat, Shared: s.Team, Key: "seat"}}
}

func TestWhatTwoDevicesTakeIsSaid(t *testing.T) {
	kinds := []drivers.Kind{drivers.KindOf("seat", "a fake", "", func() seat { return seat{} },
		func(context.Context, seat, drivers.Ports) (drivers.Device, error) { panic("a check opens nothing") })}
	for _, c := range []struct {
		a, b seat
		want string
	}{
		{seat{"1", ""}, seat{"2", ""}, ""},
		{seat{"1", "red"}, seat{"1", "red"}, ""},
		{seat{"1", ""}, seat{"1", ""}, `the seat 1 is taken by the device "a"`},
		{seat{"1", "red"}, seat{"1", ""}, `the seat 1 is taken by the device "a"`},
		{seat{"1", "red"}, seat{"1", "blue"}, `the seat 1 is used with other settings (red, not blue) by the device "a"`},
	} {
		var cfg field.Config
		cfg.Prefix = "p"
		for name, s := range map[string]seat{"a": c.a, "b": c.b} {
			d := field.DefaultDeviceConfig()
			d.Name, d.Kind = name, "seat"
			d.Options = func(dst any) error { *dst.(*seat) = s; return nil }
			d.Fault = func(key, sentence string) error { return fmt.Errorf("%s.%s: %s", name, key, sentence) }
			if name == "a" {
				cfg.Devices = append([]field.DeviceConfig{d}, cfg.Devices...)
			} else {
				cfg.Devices = append(cfg.Devices, d)
			}
		}
		got, want := fmt.Sprint(field.Check(cfg, kinds)), "<nil>"
		if c.want != "" {
			want = "b.options.seat: " + c.want
		}
		if got != want {
			t.Errorf("%v and %v: got %s, want %s", c.a, c.b, got, want)
		}
	}
}
