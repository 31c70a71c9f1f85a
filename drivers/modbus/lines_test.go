package modbus_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
)

func TestUnitsShareAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := one(), one()
		b.Holding[101] = 6
		l := newLine(map[byte]*modbustest.Unit{1: a, 2: b})
		k := modbus.RTUKind()
		const mode = "points = [{ name = \"mode\", address = 101 }]"
		first := open(t, k, onPort+"unit_id = 1\n"+mode, l.Ports())
		second := open(t, k, onPort+"unit_id = 2\n"+mode, l.Ports())
		if x, y := sample(t, first), sample(t, second); x != "mode=5" || y != "mode=6" {
			t.Errorf("%s, %s", x, y)
		}
		_, err := k.Open(t.Context(), with(onPort+"baud = 19200\nunit_id = 3\n"+mode), l.Ports())
		if err == nil || !strings.Contains(err.Error(), "another device uses /dev/ttyUSB0 with 9600 baud, 8N1, this one asks for 19200 baud, 8N1; units that share it need the same") {
			t.Errorf("another rate: %v", err)
		}
		if first.Close(); l.Closed() {
			t.Error("the port is closed under the second unit")
		}
		if got := sample(t, second); got != "mode=6" {
			t.Error(got)
		}
		if second.Close(); !l.Closed() {
			t.Error("the port is still open")
		}
		third := open(t, k, onPort+"unit_id = 1\n"+mode, l.Ports())
		if got := sample(t, third); got != "mode=5" {
			t.Error(got)
		}
	})
}

func TestMissingPortIsSaidAtOnce(t *testing.T) {
	l := newLine(nil)
	l.Unplug()
	_, err := modbus.RTUKind().Open(t.Context(), with(onPort+someOfEverything), l.Ports())
	if err == nil || err.Error() != "/dev/ttyUSB0 is not there; check the cable" {
		t.Errorf("%v", err)
	}
}

func TestUsesOfALine(t *testing.T) {
	rtu, tcp := modbus.RTUKind(), modbus.TCPKind()
	for _, c := range []struct {
		kind    drivers.Kind
		options string
		want    drivers.Use
	}{
		{rtu, "path = \"/dev/x/../ttyUSB0\"\n", drivers.Use{What: "the serial port /dev/ttyUSB0", Shared: "9600 baud, 8N1", Key: "path"}},
		{rtu, onPort + "unit_id = 7\nbaud = 19200\nparity = \"even\"\nstop_bits = 2\n",
			drivers.Use{What: "the serial port /dev/ttyUSB0", Shared: "19200 baud, 8E2", Key: "path"}},
		{rtu, onPort + "rs485 = true\nrs485_delay_after = \"3ms\"\nrs485_rts_active_low = true\necho = true\n",
			drivers.Use{What: "the serial port /dev/ttyUSB0", Shared: "9600 baud, 8N1, RS-485 with 0s and 3ms, RTS active low, echo", Key: "path"}},
		{tcp, "address = \"Inverter.local\"\nunit_id = 3\n", drivers.Use{What: "the Modbus connection to inverter.local:502", Shared: "framing tcp", Key: "address"}},
		{tcp, "address = \"10.0.0.1:1502\"\nframing = \"rtu\"\n", drivers.Use{What: "the Modbus connection to 10.0.0.1:1502", Shared: "framing rtu", Key: "address"}},
	} {
		uses, err := c.kind.Uses(with(c.options + "points = [{ name = \"a\" }]"))
		if err != nil || len(uses) != 1 || uses[0] != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.options, uses, err, c.want)
		}
	}
}
