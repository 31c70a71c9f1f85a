package main

import (
	"strings"
	"testing"
	"time"

	"edgegateway/status"
)

func TestStatusTellsHowFarABacklogIs(t *testing.T) {
	minute := 60.0
	for _, c := range []struct {
		draining *status.Draining
		want     string
	}{
		{&status.Draining{Left: 4200, Rate: 70, Remaining: &minute}, "backlog: 4,200 left at 70 per second, for 60 s more"},
		{&status.Draining{Left: 4200, Rate: 70}, "backlog: 4,200 left at 70 per second, and nobody knows for how long"},
		{nil, ""},
	} {
		var out strings.Builder
		printClouds(&out, []status.Cloud{{Name: "acme", Connected: true, Draining: c.draining}})
		if got := out.String(); !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "backlog") {
			t.Errorf("%+v: got\n%s", c.draining, got)
		}
	}
}

func TestStatusTellsWhenACloudHadItsLastError(t *testing.T) {
	seconds := 60.0
	for want, c := range map[string]status.Cloud{
		"    last error, 60 s ago: no route\n": {LastError: "no route", ErrAge: &seconds},
		"    last error: no route\n":           {LastError: "no route"},
	} {
		var out strings.Builder
		printClouds(&out, []status.Cloud{c})
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwithout\n%s", out.String(), want)
		}
	}
}

func TestStatusTellsTheAlarms(t *testing.T) {
	since := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	var out strings.Builder
	printReport(&out, status.Report{Alarms: []status.Alarm{{Name: "clock", Text: "The clock is not set.", Since: &since}, {Name: "mine/b", Text: "look\x1b[2J"}}})
	if got, want := out.String(), "2 alarms\n  ! alarm clock (since 2026-05-04T03:02:01Z): The clock is not set.\n  ! alarm mine/b: look\\x1b[2J\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwithout\n%s", got, want)
	}
}

func TestStatusTellsWhatADeviceIsWithout(t *testing.T) {
	var out strings.Builder
	printDevices(&out, []status.Device{{Name: "pump", Online: true, Lost: []string{"no heartbeat on alive for 2m0s; made safe 1m0s ago"}}, {Name: "fan", Online: true}})
	if got := out.String(); strings.Count(got, "    ! no heartbeat on alive for 2m0s; made safe 1m0s ago\n") != 1 {
		t.Errorf("got\n%s", got)
	}
}

func TestStatusTellsTheLastErrorOfADevice(t *testing.T) {
	seconds := 60.0
	var out strings.Builder
	printDevices(&out, []status.Device{
		{Name: "fan", Online: true, Errors: 2, LastErr: "no answer\x1b", ErrAge: &seconds},
		{Name: "pump", Reason: "no answer", Errors: 2, LastErr: "no answer", ErrAge: &seconds}, {Name: "lamp", Online: true},
	})
	if got := out.String(); !strings.Contains(got, "    2 errors, the last 60 s ago: no answer\\x1b\n") || strings.Count(got, "no answer") != 2 {
		t.Errorf("got\n%s", got)
	}
}

func TestAReadingSaysWhatIsToBeSaidOfIt(t *testing.T) {
	for want, v := range map[string]status.Value{
		"21.5 °C":         {Value: 21.5, Unit: "°C"},
		"21.5 °C (stale)": {Value: 21.5, Unit: "°C", Quality: "stale"},
		"bad":             {Quality: "bad", Unit: "°C"},
		"no value":        {},
		"on":              {Value: true},
		`a\x1b[2Jb`:       {Value: "a\x1b[2Jb"}, // a device must not move the cursor
	} {
		if got := showReading(v); got != want {
			t.Errorf("%+v: %q, want %q", v, got, want)
		}
	}
}
