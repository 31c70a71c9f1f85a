package serial_test

import (
	"strings"
	"testing"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
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
