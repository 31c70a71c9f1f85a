package main

import (
	"strings"
	"testing"
)

// A command is handed to the device as it comes: a state in another unit would be told of it.
func TestWhatCommandsSetIsNotCalibrated(t *testing.T) {
	const (
		sim     = "kind = \"sim\"\n%s[devices.options]\nchannels = [{ name = \"level\", wave = \"setpoint\" }, { name = \"noise\", wave = \"walk\" }]\n"
		counter = "kind = \"gpio-counter\"\n%s[devices.options]\npin = \"GPIO17\"\n"
		out     = "kind = \"gpio-out\"\n%s[devices.options]\npin = \"GPIO17\"\n"
		unit    = "kind = \"modbus-tcp\"\n%s[devices.options]\naddress = \"inverter\"\npoints = [{ name = \"limit\", address = 1, writable = true }, { name = \"power\", address = 2 }]\n"
	)
	for _, c := range []struct {
		device, channel, keys string
		refused               bool
	}{
		{sim, "level", "scale = 1.8\noffset = 32.0", true},
		{sim, "level", "offset = 1.0", true},
		{sim, "level", "points = [[0.0, 1.0], [10.0, 20.0]]", true},
		{sim, "level", "unit = \"m\"\nround = 1\nvalid = [0.0, 50.0]\ndeadband = \"1\"", false},
		{sim, "noise", "scale = 1.8", false},
		{counter, "total", "scale = 0.001", true},
		{counter, "rate", "scale = 0.001", false},
		{out, "state", "offset = 1.0", true},
		{unit, "limit", "scale = 0.1", true},
		{unit, "power", "scale = 0.1", false},
	} {
		table := "[devices.channels." + c.channel + "]\n" + c.keys + "\n"
		_, err := checkedConfig(configOf(t, "[[devices]]\nname = \"x\"\n"+strings.Replace(c.device, "%s", table, 1)), func(string) string { return "" })
		want := ":4:19: channels." + c.channel + " is set by commands, which points, scale and offset do not convert"
		if (err != nil) != c.refused || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %v, want %s", c.channel, c.keys, err, want)
		}
	}
}
