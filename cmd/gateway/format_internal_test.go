package main

import (
	"testing"
	"time"

	"edgegateway/status"
)

func TestNumbersAsPeopleReadThem(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{showCount(0), "0"}, {showCount(999), "999"}, {showCount(1000), "1,000"}, {showCount(1234567), "1,234,567"}, {showCount(-1234), "-1,234"}, {showCount(-123), "-123"},
		{showBytes(0), "0 B"}, {showBytes(999), "999 B"}, {showBytes(1024), "1.0 KiB"}, {showBytes(310000), "303 KiB"}, {showBytes(1310720), "1.2 MiB"}, {showBytes(5 << 40), "5120.0 GiB"},
		{showDuration(250 * time.Millisecond), "250 ms"}, {showDuration(89 * time.Second), "89 s"}, {showDuration(90 * time.Second), "1 min"}, {showDuration(2 * time.Hour), "2 h 0 min"}, {showDuration(49 * time.Hour), "2 days 1 h"},
		{showValue(21.456, "°C"), "21.46 °C"}, {showValue(21.0, ""), "21"}, {showValue(-0.001, "V"), "0 V"}, {showValue(48.1173, "°"), "48.1173 °"}, {showValue(-11.51666667, "°"), "-11.516667 °"}, {showValue(true, ""), "on"}, {showValue(false, ""), "off"}, {showValue("open", ""), "open"},
		{showValue(int64(1536), "B"), "1.5 KiB"}, {showValue(3600.0, "s"), "60 min"}, {showValue(12.5, "s"), "12.5 s"}, {showValue(nil, ""), "<nil>"},
		{showValue(1e300, "B"), "1e+300 B"}, {showValue(-1e300, "s"), "-1e+300 s"}, {showValue(1e300, "s"), "1e+300 s"}, {showValue(1.5e308, "V"), "1.5e+308 V"},
		{showValue(int64(1<<53), ""), "9007199254740992"}, {showValue(1e14, "s"), "100000000000000 s"}, {showSeconds(1e300), "104166 days 16 h"}, {showValue(float64(1<<49), "B"), "524288.0 GiB"},
		{plural(1, "message"), "1 message"}, {plural(2000, "message"), "2,000 messages"}, {plural(0, "message"), "0 messages"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestVerdictNamesWhatIsDown(t *testing.T) {
	sensor, pump, cloud := status.Device{Online: true}, status.Device{}, status.Cloud{}
	for _, c := range []struct {
		report status.Report
		want   string
	}{
		{status.Report{Devices: []status.Device{sensor}, Clouds: []status.Cloud{{Connected: true}}}, "healthy"},
		{status.Report{Devices: []status.Device{sensor, pump}}, "1 device offline"},
		{status.Report{Devices: []status.Device{pump, pump}, Clouds: []status.Cloud{cloud}}, "2 devices offline, 1 link down"},
		{status.Report{Devices: []status.Device{pump}, Alarms: []status.Alarm{{Name: "clock"}}}, "1 alarm, 1 device offline"},
		{status.Report{Devices: []status.Device{pump}, Problems: []string{"the disk is full"}}, "1 problem"},
	} {
		if got := verdictOf(c.report); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
