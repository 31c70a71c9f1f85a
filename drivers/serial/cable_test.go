package serial_test

import (
	"io"
	"strings"
	"testing"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
)

// Each kind on a real terminal: values, garbage, the plug pulled in the middle of
// something, and another adapter behind the same name, which is heard from the middle
// on. The two halves must not become one.
func TestDevicesSurviveAPulledPlug(t *testing.T) {
	for _, c := range []struct {
		kind                     drivers.Kind
		options                  func(any) error
		first, half, rest, again string
		want, then               string
	}{
		{serial.LineKind(), with(onPort), "{\"t\":21.5}\n\xff\xfe\n{\"t\":22.5}\n", "{\"t\":9", "9}\n", "{\"t\":23.5}\n", "t=22.5", "t=23.5"},
		{serial.FrameKind(), ready(t, "sds011"), unhex(t, "AA C0 8C 00 94 00 BC F9 D5 AB"), unhex(t, "AA C0 8C 00"), unhex(t, "94 00 BC F9 D5 AB"),
			unhex(t, "AA C0 8D 00 94 00 BC F9 D6 AB"), "pm2_5=14 pm10=14.8", "pm2_5=14.1 pm10=14.8"},
		{serial.NMEAKind(), with(onPort), nmea("GPVTG,1,T,,M,1,N,2,K"), "$GPVTG,9,T,,M,1,N,2,K", "*28\r\n", nmea("GPVTG,2,T,,M,1,N,2,K"), "course=1 speed=0.514", "course=2 speed=0.514"},
	} {
		t.Run(c.kind.Name, func(t *testing.T) {
			t.Parallel()
			cable, d := onCable(t, c.kind, c.options)
			cable.WriteString(c.first)
			d.Wait(t, c.want)
			cable.WriteString(c.half)
			cable.Pull()
			d.Wait(t, "offline: ")
			d.Wait(t, cable.Path+" is not there; check the cable; ")
			cable.PlugAgain()
			cable.WriteString(c.rest + c.again)
			d.Wait(t, c.then)
			d.End(t)
			got := d.Text()
			if strings.Count(got, "online|") != 2 || !strings.Contains(got, "|offline: "+cable.Path+" was unplugged: the device is gone") {
				t.Error(got)
			}
			if strings.Contains(got, "=9") {
				t.Errorf("two halves have become one: %s", got)
			}
		})
	}
}

// The sensors that need no more than their ready configuration, on a real terminal.
func TestReadySensorsOnATerminal(t *testing.T) {
	for name, c := range map[string]struct{ request, frame, want string }{
		"sds011":  {"", "AA C0 D4 04 3A 0A A1 60 1D AB", "pm2_5=123.6 pm10=261.8"},
		"pms5003": {"", "42 4D 00 1C 00 17 00 20 00 20 00 16 00 1F 00 20 11 7C 04 D3 00 AB 00 08 00 00 00 00 97 00 04 05", "pm1=22 pm2_5=31 pm10=32"},
		"mhz19":   {"FF 01 86 00 00 00 00 00 79", "FF 86 02 20 00 00 00 00 58", "co2=544"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cable, d := onCable(t, serial.FrameKind(), ready(t, name))
			request := make([]byte, len(unhex(t, c.request)))
			if _, err := io.ReadFull(cable, request); err != nil || string(request) != unhex(t, c.request) {
				t.Errorf("asked % X, %v", request, err)
			}
			for _, b := range []byte(unhex(t, c.frame)) {
				cable.Write([]byte{b}) // as they come from a line
			}
			d.Wait(t, c.want)
		})
	}
}

// A port that brings garbage as fast as it can, in which good messages stand now and
// then: they are found, and the use ends at once when it is to end.
func TestDevicesInAFlood(t *testing.T) {
	for _, c := range []struct {
		kind       drivers.Kind
		options    func(any) error
		good, want string
	}{
		{serial.LineKind(), with(onPort), "\n{\"t\":22.5}\n", "t=22.5"},
		{serial.FrameKind(), ready(t, "sds011"), unhex(t, "AA C0 8C 00 94 00 BC F9 D5 AB"), "pm2_5=14 pm10=14.8"},
		{serial.NMEAKind(), with(onPort), "\n" + nmea("GPVTG,1,T,,M,1,N,2,K", "GPRMC,083559.00,V,,,,,,,091202"), "valid=false"},
	} {
		t.Run(c.kind.Name, func(t *testing.T) {
			t.Parallel()
			cable, d := onCable(t, c.kind, c.options)
			stop := ptytest.Flood(t, cable.File, c.good)
			d.Wait(t, c.want)
			d.End(t) // says if Run left a call behind that did not end
			stop()
			if n := d.Stats.Snapshot().Opens; n != 1 {
				t.Errorf("opened %d times: %s", n, d.Text())
			}
		})
	}
}

// A device that is asked, in a flood without an answer: it is offline with a reason,
// and asked again when the line is better.
func TestAskedDeviceInAFlood(t *testing.T) {
	// With more to tell a frame by than a ready sensor has: so much garbage would hold one
	// of those.
	cable, d := onCable(t, serial.FrameKind(), with(onPort+`request = "FF 01 86 00 00 00 00 00 79"
header   = "FF 86 02 20"
length   = 9
checksum = { type = "neg8", from = 1 }
fields   = [{ name = "co2", at = 2, type = "uint16" }]`))
	stop := ptytest.Flood(t, cable.File)
	d.Wait(t, "offline: ")
	stop()
	go func() {
		request := make([]byte, 9)
		for {
			if _, err := io.ReadFull(cable, request); err != nil {
				return // the test is over
			}
			cable.WriteString(unhex(t, "FF 86 02 20 00 00 00 00 58"))
		}
	}()
	d.Wait(t, "co2=544")
}
