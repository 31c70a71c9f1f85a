package modbus_test

import (
	"io"
	"strings"
	"testing"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
)

const onPort = "path = \"/dev/ttyUSB0\"\n"

// with decodes options as the configuration does.
func with(options string) func(any) error {
	var file struct {
		Options func(any) error `toml:"o"`
	}
	if err := strict.Parse("x.toml", []byte("[o]\n"+options)).Decode(&file); err != nil {
		return func(any) error { return err }
	}
	return file.Options
}

// A line is units on a serial line in memory.
type line struct {
	*serialtest.Port
	units map[byte]*modbustest.Unit

	// spoil makes what arrives of what was sent and of what the units answer; nil is
	// a good line.
	spoil func(sent, answer string) string
}

func newLine(units map[byte]*modbustest.Unit) *line {
	l := &line{Port: serialtest.New(), units: units}
	l.Respond(func(sent []byte) string {
		var answer strings.Builder
		modbustest.ServeRTU(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(string(sent)), &answer}, units)
		if l.spoil != nil {
			return l.spoil(string(sent), answer.String())
		}
		return answer.String()
	})
	return l
}

// echo is what arrives on two wires if the receiver is on while sending.
func echo(sent, answer string) string { return sent + answer }

// nothing is what arrives from a line that is cut.
func nothing(string, string) string { return "" }

// one is a unit with some of everything.
func one() *modbustest.Unit {
	return &modbustest.Unit{
		Coils:    map[int]bool{0: true, 1: false, 9: true},
		Discrete: map[int]bool{5: true},
		Input:    map[int]uint16{0: 0x41AA, 1: 0x6666, 12: 0xFFFE},
		Holding:  map[int]uint16{100: 217, 101: 5, 102: 0x8000},
	}
}

const someOfEverything = `
points = [
  { name = "t", table = "input", address = 0, type = "float32" },
  { name = "n", table = "input", address = 12, type = "int16" },
  { name = "setpoint", address = 100, scale = 0.1, writable = true, min = 5, max = 30 },
  { name = "mode", address = 101, writable = true },
  { name = "none", address = 102, no_value = [0x8000] },
  { name = "pump", table = "coil", address = 0, writable = true },
  { name = "fan", table = "coil", address = 1 },
  { name = "door", table = "discrete", address = 5 },
]`

const all = "t=21.3 n=-2 setpoint=21.7 mode=5 pump=true fan=false door=true bad: none"

func open(t *testing.T, k drivers.Kind, options string, p drivers.Ports) drivers.Device {
	t.Helper()
	dev, err := k.Open(t.Context(), with(options), p)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func sample(t *testing.T, dev drivers.Device) string {
	t.Helper()
	r, err := dev.(drivers.Sampler).Sample(t.Context())
	if err != nil {
		return err.Error()
	}
	return serialtest.Show(r)
}

func actuate(t *testing.T, dev drivers.Device, channel string, value any) string {
	t.Helper()
	act := dev.(drivers.Actuator)
	c, err := act.Check(drivers.Command{Channel: channel, Value: value})
	if err != nil {
		return err.Error()
	}
	if again, err := act.Check(c); err != nil || again != c {
		t.Errorf("%+v became %+v, %v", c, again, err)
	}
	r, err := act.Actuate(t.Context(), c)
	if err != nil {
		return err.Error()
	}
	return serialtest.Show(r)
}
