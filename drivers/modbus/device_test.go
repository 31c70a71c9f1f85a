package modbus_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
)

func with(options string) func(any) error {
	var file struct {
		Options func(any) error `toml:"o"`
	}
	if err := strict.Parse("x.toml", []byte("[o]\n"+options)).Decode(&file); err != nil {
		return func(any) error { return err }
	}
	return file.Options
}

const onPort = "path = \"/dev/ttyUSB0\"\n"

// A line is units on a serial line in memory.
type line struct {
	*serialtest.Port
	units map[byte]*modbustest.Unit
	spoil func(answer []byte) string // may be nil
}

func newLine(units map[byte]*modbustest.Unit) *line {
	l := &line{Port: serialtest.New(), units: units}
	l.Respond(func(sent []byte) string {
		var out strings.Builder
		modbustest.ServeRTU(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(string(sent)), &out}, units)
		if l.spoil != nil {
			return l.spoil([]byte(out.String()))
		}
		return out.String()
	})
	return l
}

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

func open(t *testing.T, k drivers.Kind, options string, p drivers.Ports) drivers.Device {
	t.Helper()
	dev, err := k.Open(t.Context(), with(options), p)
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func show(r drivers.Reading) string {
	var parts []string
	for _, v := range r.Values {
		parts = append(parts, fmt.Sprintf("%s=%v", v.Channel, v.V))
	}
	if r.Fault != nil {
		parts = append(parts, "fault: "+r.Fault.Error())
	}
	return strings.Join(parts, " ")
}

func sample(t *testing.T, dev drivers.Device) string {
	t.Helper()
	r, err := dev.(drivers.Sampler).Sample(t.Context())
	if err != nil {
		return err.Error()
	}
	return show(r)
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
	return show(r)
}

func TestUnitIsReadAndSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{17: one()})
		dev := open(t, modbus.RTUKind(), onPort+"unit_id = 17"+someOfEverything, l.Ports())
		const all = "t=21.3 n=-2 setpoint=21.7 mode=5 pump=true fan=false door=true"
		if got := sample(t, dev); got != all {
			t.Errorf("got %s, want %s", got, all)
		}
		for _, c := range []struct {
			channel string
			value   any
			want    string
		}{
			{"setpoint", 22.5, "setpoint=22.5"},
			{"setpoint", "22.04", "setpoint=22"}, // what the register can hold
			{"setpoint", 30.1, "30.1 is outside 5 to 30"},
			{"mode", 65535.0, "mode=65535"},
			{"mode", 65536.0, "65536 is outside 0 to 65535"},
			{"pump", "off", "pump=false"},
			{"pump", 3.0, `"3" is neither on nor off; send true or false, "on" or "off", 1 or 0`},
			{"fan", true, `channel "fan" can be read only`},
		} {
			if got := actuate(t, dev, c.channel, c.value); got != c.want {
				t.Errorf("%s to %v: %s, want %s", c.channel, c.value, got, c.want)
			}
		}
		if got := sample(t, dev); !strings.Contains(got, "setpoint=22 mode=65535 pump=false") {
			t.Error(got)
		}
		if dev.Close(); !l.Closed() {
			t.Error("the port is still open")
		}
	})
}

func TestChannelsSayWhatTheyAre(t *testing.T) {
	dev := open(t, modbus.RTUKind(), onPort+`points = [
  { name = "a", type = "int16", scale = 0.1, writable = true, unit = "A", quantity = "current" },
  { name = "b", type = "int32", cumulative = true },
  { name = "c", bit = 3 },
  { name = "d", type = "float32", writable = true },
]`, newLine(nil).Ports())
	want := []drivers.Channel{
		{Name: "a", Quantity: drivers.Current, Unit: "A", Type: drivers.Float, Writable: true, Range: drivers.Range{Min: -3276.8, Max: 3276.7}},
		{Name: "b", Type: drivers.Int, Cumulative: true},
		{Name: "c", Type: drivers.Bool},
		{Name: "d", Type: drivers.Float, Writable: true},
	}
	if got := dev.Channels(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A gap that the unit does not have, and a point that it does not have, cost their
// own values only.
func TestWhatAUnitRefusesIsFoundOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := &modbustest.Unit{Holding: map[int]uint16{1: 11, 2: 12, 5: 15, 6: 16}}
		dev := open(t, modbus.RTUKind(), onPort+`points = [
  { name = "a", address = 1 }, { name = "b", address = 2 }, { name = "c", address = 5 }, { name = "d", address = 7 },
]`, newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		const want = `a=11 b=12 c=15 fault: channel "d": the unit refuses to read holding register 7 (function 3): exception 2: it has nothing at this address; compare with its manual, which may count from 1 or from 40001`
		if got := sample(t, dev); got != want {
			t.Errorf("got %s", got)
		}
		before := unit.Asked()
		if got := sample(t, dev); got != want || unit.Asked()-before != 3 { // 1 to 2, 5, 7
			t.Errorf("then %d requests: %s", unit.Asked()-before, got)
		}
	})
}

func TestSilentUnitIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := one()
		unit.Mute(true)
		dev := open(t, modbus.RTUKind(), onPort+someOfEverything, newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		began := time.Now()
		_, err := dev.(drivers.Sampler).Sample(t.Context())
		var silent *drivers.NoAnswerError
		if !errors.As(err, &silent) || err.Error() != "no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power" {
			t.Error(err)
		}
		// A first silence before the first request, one wait, and no repetition: its
		// neighbours wait meanwhile.
		if took := time.Since(began); took > 1600*time.Millisecond || unit.Asked() != 1 {
			t.Errorf("%d requests in %v", unit.Asked(), took)
		}
		unit.Mute(false)
		if got := sample(t, dev); !strings.HasPrefix(got, "t=21.3") {
			t.Error(got)
		}
		unit.Mute(true)
		asked := unit.Asked()
		if got := sample(t, dev); !strings.HasPrefix(got, "no answer") || unit.Asked()-asked != 2 {
			t.Errorf("%d requests: %s", unit.Asked()-asked, got)
		}
	})
}

// Every second answer is lost or damaged: the repetition brings the value.
func TestBadLineIsSurvived(t *testing.T) {
	for name, spoil := range map[string]func([]byte) string{
		"lost":      func([]byte) string { return "" },
		"bit":       func(b []byte) string { b[4] ^= 1; return string(b) },
		"cut":       func(b []byte) string { return string(b[:6]) },
		"noise":     func(b []byte) string { return "\x00\xff" + string(b) },
		"exception": func([]byte) string { return "\x01\x83" },
		"too much":  func(b []byte) string { return strings.Repeat("\x55", 2000) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{1: one()})
				n := 0
				l.spoil = func(b []byte) string {
					if n++; n%2 == 0 {
						return spoil(b)
					}
					return string(b)
				}
				dev := open(t, modbus.RTUKind(), onPort+`points = [{ name = "a", address = 100 }]`, l.Ports())
				for range 20 {
					if got := sample(t, dev); got != "a=217" {
						t.Fatal(got)
					}
				}
			})
		})
	}
}

// A unit answers after the time is up, while the next request is under way, which
// asks the same number of registers.
func TestLateAnswerIsNotTakenForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{1: one()})
		var late sync.WaitGroup
		after := 1300 * time.Millisecond // and later ones in time
		l.spoil = func(b []byte) string {
			wait := after
			after = 200 * time.Millisecond
			late.Go(func() {
				time.Sleep(wait)
				l.Feed(string(b))
			})
			return ""
		}
		dev := open(t, modbus.RTUKind(), onPort+"points = [{ name = \"a\", address = 100 }]", l.Ports())
		if got := sample(t, dev); !strings.HasPrefix(got, "no answer") {
			t.Errorf("first %s", got)
		}
		l.units[1].Change(func(u *modbustest.Unit) { u.Holding[100] = 218 })
		if got := sample(t, dev); got != "a=218" {
			t.Errorf("then %s", got)
		}
		late.Wait()
	})
}

func TestWriteIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := one()
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		dev := open(t, modbus.RTUKind(), onPort+someOfEverything, l.Ports())
		sample(t, dev)
		l.spoil = func([]byte) string { return "" }
		asked := unit.Asked()
		got := actuate(t, dev, "mode", 7.0)
		if want := "nobody knows whether the unit did it: no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power"; got != want || unit.Asked()-asked != 1 {
			t.Errorf("%d requests: %s", unit.Asked()-asked, got)
		}
		l.spoil = nil
		unit.Change(func(u *modbustest.Unit) { delete(u.Holding, 101) })
		if got := actuate(t, dev, "mode", 7.0); !strings.HasPrefix(got, "the unit refuses to write holding register 101") {
			t.Error(got)
		}
	})
}

func TestEchoIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := one()
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		answer := l.units
		l.Respond(func(sent []byte) string {
			var out strings.Builder
			modbustest.ServeRTU(struct {
				io.Reader
				io.Writer
			}{strings.NewReader(string(sent)), &out}, answer)
			return string(sent) + out.String()
		})
		dev := open(t, modbus.RTUKind(), onPort+"echo = true\n"+someOfEverything, l.Ports())
		if got := actuate(t, dev, "mode", 7.0); got != "mode=7" {
			t.Error(got)
		}
		unit.Mute(true) // its echo alone is no answer, not even to a write
		if got := actuate(t, dev, "mode", 8.0); !strings.HasPrefix(got, "nobody knows") {
			t.Error(got)
		}
	})
}

// Between two frames the line is silent for 3.5 characters, or as long as is asked.
func TestSilenceBetweenFrames(t *testing.T) {
	for options, want := range map[string]time.Duration{
		"baud = 9600":                    3645833 * time.Nanosecond, // 3.5 × 10 / 9600 s
		"baud = 9600\nparity = \"even\"": 4010416 * time.Nanosecond,
		"baud = 115200":                  1750 * time.Microsecond,
		"delay = \"50ms\"":               50 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(map[byte]*modbustest.Unit{1: one()})
			var asked []time.Time
			answer := l.units
			l.Respond(func(sent []byte) string {
				asked = append(asked, time.Now())
				var out strings.Builder
				modbustest.ServeRTU(struct {
					io.Reader
					io.Writer
				}{strings.NewReader(string(sent)), &out}, answer)
				return out.String()
			})
			dev := open(t, modbus.RTUKind(), onPort+options+someOfEverything, l.Ports())
			sample(t, dev)
			if len(asked) != 5 {
				t.Fatalf("%d requests", len(asked))
			}
			for i := range asked[1:] {
				if gap := asked[i+1].Sub(asked[i]); gap != want {
					t.Errorf("%s: %v between an answer and the next request, want %v", options, gap, want)
				}
			}
		})
	}
}

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
		if err == nil || !strings.Contains(err.Error(), "another device uses /dev/ttyUSB0 with 9600 baud, 8 data bits, parity none, 1 stop bits, this one asks for 19200 baud") {
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

func listen(t *testing.T, units map[byte]*modbustest.Unit) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		modbustest.ServeTCP(l, units)
	}()
	t.Cleanup(func() { l.Close(); <-served })
	return l
}

func TestTCP(t *testing.T) {
	unit := one()
	l := listen(t, map[byte]*modbustest.Unit{1: unit, 0: one()})
	options := fmt.Sprintf("address = %q\n", l.Addr()) + someOfEverything
	k := modbus.TCPKind()
	dev, other := open(t, k, options, drivers.Ports{}), open(t, k, "unit_id = 0\n"+options, drivers.Ports{})
	for _, dev := range []drivers.Device{dev, other} {
		if got := sample(t, dev); got != "t=21.3 n=-2 setpoint=21.7 mode=5 pump=true fan=false door=true" {
			t.Error(got)
		}
	}
	if got := actuate(t, dev, "setpoint", 7.5); got != "setpoint=7.5" {
		t.Error(got)
	}
	if got := sample(t, other); !strings.Contains(got, "setpoint=21.7") {
		t.Errorf("the other unit has %s", got)
	}
	if err := errors.Join(dev.Close(), other.Close()); err != nil {
		t.Error(err)
	}
}

// A device that closes idle connections, as most do, costs no reading.
func TestTCPConnectionIsMadeAnew(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connections := make(chan int, 10)
	go func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections <- n
			request := make([]byte, 12)
			if _, err := io.ReadFull(conn, request); err == nil {
				// A late answer to something else comes before it.
				conn.Write([]byte{9, 9, 0, 0, 0, 5, 1, 3, 2, 7, 7})
				conn.Write([]byte{request[0], request[1], 0, 0, 0, 5, 1, 3, 2, 0, byte(n)})
			}
			conn.Close()
		}
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\npoints = [{ name = \"a\" }]", l.Addr()), drivers.Ports{})
	defer dev.Close()
	for n := 1; n < 4; n++ {
		if got := sample(t, dev); got != fmt.Sprintf("a=%d", n) {
			t.Errorf("sample %d: %s", n, got)
		}
		if got := <-connections; got != n {
			t.Errorf("connection %d", got)
		}
	}
}

func TestTCPSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	options := fmt.Sprintf("address = %q\ntimeout = \"300ms\"\npoints = [{ name = \"a\" }]", address)
	dev := open(t, modbus.TCPKind(), options, drivers.Ports{})
	defer dev.Close()
	if got, want := sample(t, dev), "no answer from unit 1 at "+address; !strings.HasPrefix(got, want) {
		t.Errorf("a listener that says nothing: %s", got)
	}
	l.Close()
	_, err = dev.(drivers.Sampler).Sample(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "connect to "+address+": connection refused; is Modbus TCP switched on there") || !errors.Is(err, drivers.ErrGone) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestRTUOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		served <- modbustest.ServeRTU(conn, map[byte]*modbustest.Unit{1: one()})
	}()
	dev := open(t, modbus.TCPKind(), fmt.Sprintf("address = %q\nframing = \"rtu\"\n", l.Addr())+someOfEverything, drivers.Ports{})
	if got := sample(t, dev); !strings.HasPrefix(got, "t=21.3") {
		t.Error(got)
	}
	dev.Close()
	if err := <-served; err != io.EOF {
		t.Error(err)
	}
}

func TestWrongOptions(t *testing.T) {
	point := func(keys string) string { return onPort + "points = [{ name = \"a\", " + keys + " }]" }
	for options, want := range map[string]string{
		`points = [{ name = "a" }]`:   "path must be",
		onPort:                        "points must name",
		onPort + "data_bits = 7":      "data_bits must be 8",
		onPort + "unit_id = 0":        "unit_id must be between 1 and 247",
		onPort + "retries = 6":        "retries must be",
		onPort + "max_count = 126":    "max_count must be",
		onPort + "max_gap = -1":       "max_gap must be",
		onPort + "count_from = 40001": "count_from must be 0 or 1",
		onPort + "max_count = 1\npoints = [{name=\"a\", type=\"int32\"}]": "max_count must be at least 2",
		onPort + `points = [{ name = "a" }, { name = "a", address = 1 }]`: `points.name is "a" twice`,
		onPort + `points = [{ address = 1 }]`:                             "points.name must not be empty",
		point(`table = "registers"`):                                      "points.table of",
		point(`type = "int24"`):                                           "points.type of",
		point(`type = "bool"`):                                            `points.type of "a" is bool: say with bit`,
		point(`table = "coil", type = "int16"`):                           "points.type of",
		point(`address = 65535, type = "int32"`):                          `points.address of "a" must be between 0 and 65534`,
		point(`address = -1`):                                             "points.address of",
		point(`order = "BA"`):                                             "points.order of",
		point(`bit = 16`):                                                 "points.bit of",
		point(`bit = 1, type = "int16"`):                                  "points.bit of",
		point(`table = "coil", scale = 2`):                                "points.scale of",
		point(`type = "float32", no_value = [1]`):                         "points.no_value of",
		point(`writable = true, min = 2, max = 1`):                        "points.min of",
		point(`max = 1`):                                                  "points.writable of",
		point(`table = "input", writable = true`):                         "points.writable of",
		point(`bit = 1, writable = true`):                                 "points.writable of",
		point(`writable = true, write_function = 5`):                      "points.write_function of",
		point(`type = "int32", writable = true, write_function = 6`):      "points.write_function of",
		point(`decimals = 13`):                                            "points.decimals must be",
	} {
		if err := modbus.RTUKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
	for options, want := range map[string]string{
		``:                                 "address must be",
		`address = "a:b:c"`:                "address must be",
		`address = "host:0"`:               "address must be",
		`address = "host:http"`:            "address must be",
		"address = \"h\"\nframing = \"x\"": "framing must be",
		"address = \"h\"\nunit_id = 256":   "unit_id must be",
		`address = "h"`:                    "points must name",
	} {
		if err := modbus.TCPKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}
