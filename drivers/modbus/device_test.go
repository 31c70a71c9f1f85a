package modbus_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
)

func TestUnitIsReadAndSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{17: one()})
		dev := open(t, modbus.RTUKind(), onPort+"unit_id = 17"+someOfEverything, l.Ports())
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
			{"pump", 3.0, `3 is neither on nor off; send true or false, "on" or "off", 1 or 0`},
			{"fan", true, `channel "fan" is read-only`},
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

// What is written is what the result of a command says, and what the limits are for.
func TestACommandBecomesWhatTheRegisterCanHold(t *testing.T) {
	for _, c := range []struct {
		point string
		value any
		want  string
	}{
		{`max = 20.0`, 5.5, "6"},
		{`max = 20.0, write_only = true`, 5.4, "5"},
		{`max = 5.5`, 5.5, "the register cannot hold 5.5, and 6 is outside 0 to 5.5"},
		{`scale = 0.5`, 21.3, "21.5"},
		{`type = "int16", scale = 0.1, offset = -40.0`, "-39.66", "-39.7"},
		{`scale = 0.1, decimals = 0`, 21.56, "21.6"},
		{`scale = 1e-13`, 2.5e-13, "2.5e-13"}, // finer than what is rounded
		{`type = "uint64"`, 9007199254740993.0, "9.007199254740992e+15"},
		{`type = "float32"`, 21.3, "21.3"},
		{`type = "float64"`, 21.3, "21.3"},
	} {
		dev := open(t, modbus.RTUKind(), onPort+`points = [{ name = "a", writable = true, `+c.point+" }]", newLine(nil).Ports()).(drivers.Actuator)
		got, err := dev.Check(drivers.Command{Value: c.value})
		if again, err2 := dev.Check(got); err == nil && (err2 != nil || again != got) {
			t.Errorf("%s: %v becomes %v, then %v, %v", c.point, c.value, got.Value, again.Value, err2)
		}
		if err != nil {
			got.Value = err
		}
		if fmt.Sprint(got.Value) != c.want {
			t.Errorf("%s: %v becomes %v, want %s", c.point, c.value, got.Value, c.want)
		}
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
		const want = `a=11 b=12 c=15 bad: d fault: channel "d": the unit refuses to read holding register 7 (function 3): exception 2: it has nothing at this address; compare with its manual, which may count from 1 or from 40001`
		if got := sample(t, dev); got != want {
			t.Errorf("got %s", got)
		}
		before := unit.Asked()
		if got := sample(t, dev); got != want || unit.Asked()-before != 3 { // 1 to 2, 5, 7
			t.Errorf("then %d requests: %s", unit.Asked()-before, got)
		}
	})
}

// One point of many that is not there costs a few requests more, and what a unit refused
// while it was starting none for long.
func TestManyPointsOfWhichSomeAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := &modbustest.Unit{Holding: make(map[int]uint16)}
		var points, values []string
		for i := range 40 {
			unit.Holding[i] = uint16(i)
			points = append(points, fmt.Sprintf("{ name = \"p%d\", address = %d }", i, i))
			values = append(values, fmt.Sprintf("p%d=%d", i, i))
		}
		good := strings.Join(values, " ")
		dev := open(t, modbus.RTUKind(), onPort+"points = ["+strings.Join(points, ", ")+"]", newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		requests := func(want string) int {
			t.Helper()
			before := unit.Asked()
			if got := sample(t, dev); !strings.HasPrefix(got, want) {
				t.Error(got)
			}
			return unit.Asked() - before
		}
		if n := requests(good); n != 1 {
			t.Errorf("%d requests", n)
		}
		unit.Change(func(u *modbustest.Unit) { delete(u.Holding, 17) })
		without := strings.Replace(good, " p17=17 ", " ", 1) + " bad: p17 fault: "
		requests(without)
		if n := requests(without); n != 6 {
			t.Errorf("%d requests around one that is not there", n)
		}
		unit.Change(func(u *modbustest.Unit) { clear(u.Holding) })
		requests("bad: p0 p1 ")
		unit.Change(func(u *modbustest.Unit) {
			for i := range 40 {
				u.Holding[i] = uint16(i)
			}
		})
		if n := requests(good); n != 40 {
			t.Errorf("%d requests after all were refused", n)
		}
		time.Sleep(11 * time.Minute)
		if n := requests(good); n != 1 {
			t.Errorf("%d requests later", n)
		}
	})
}

// Reads over gaps end at what one request may bring: 125 registers, 2000 bits
// (Application Protocol V1.1b3, 6.1 to 6.4). The unit refuses more.
func TestGroupedReadsKeepTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := &modbustest.Unit{Holding: make(map[int]uint16), Coils: make(map[int]bool)}
		var points, want []string
		add := func(table string, addresses ...int) {
			for _, a := range addresses {
				name := fmt.Sprintf("%s_%d", table, a)
				points = append(points, fmt.Sprintf("{ name = %q, table = %q, address = %d }", name, table, a))
				if table == "coil" {
					want = append(want, fmt.Sprintf("%s=%v", name, a%100 == 0))
				} else {
					want = append(want, fmt.Sprintf("%s=%d", name, a+1))
				}
			}
		}
		for a := range 3000 {
			unit.Holding[a], unit.Coils[a] = uint16(a+1), a%100 == 0
		}
		add("holding", 0, 100, 124, 125, 249, 250)
		for a := 0; a < 2000; a += 100 {
			add("coil", a)
		}
		add("coil", 1999, 2000)
		dev := open(t, modbus.RTUKind(), onPort+"max_gap = 125\npoints = ["+strings.Join(points, ", ")+"]", newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		if got := sample(t, dev); got != strings.Join(want, " ") {
			t.Errorf("got  %s\nwant %s", got, strings.Join(want, " "))
		}
		if n := unit.Asked(); n != 5 { // 0 to 124, 125 to 249, 250; 0 to 1999, 2000
			t.Errorf("%d requests", n)
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
		if !errors.As(err, &silent) || err.Error() != "no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power; are baud rate and parity right (9600 baud, 8N1)?" {
			t.Error(err)
		}
		// A first silence before the first request, as long as an answer may take, one wait,
		// and no repetition: its neighbours wait meanwhile.
		if took := time.Since(began); took > 2500*time.Millisecond || unit.Asked() != 1 {
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

// Some inverters bring 64 registers at once, and say nothing to who wants 65.
func TestUnitThatIsSilentWhenAskedForMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := &modbustest.Unit{Holding: make(map[int]uint16)}
		var points []string
		for a := range 80 {
			unit.Holding[a] = 7
			points = append(points, fmt.Sprintf("{ name = \"p%d\", address = %d }", a, a))
		}
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		l.spoil = func(sent, answer string) string {
			if sent[5] > 64 {
				return ""
			}
			return answer
		}
		options := onPort + "points = [" + strings.Join(points, ", ") + "]\n"
		dev := open(t, modbus.RTUKind(), options, l.Ports())
		want := "no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power; are baud rate and parity right (9600 baud, 8N1)?; some units do not answer when as many as 80 registers are asked for: then set max_count"
		if got := sample(t, dev); got != want {
			t.Error(got)
		}
		dev.Close()
		dev = open(t, modbus.RTUKind(), options+"max_count = 64", l.Ports())
		if got := sample(t, dev); !strings.HasSuffix(got, " p79=7") {
			t.Error(got)
		}
	})
}

func TestWriteIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := one()
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		dev := open(t, modbus.RTUKind(), onPort+someOfEverything, l.Ports())
		sample(t, dev)
		l.spoil = nothing
		asked := unit.Asked()
		got := actuate(t, dev, "mode", 7.0)
		if want := "nobody knows whether the unit did it: no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power; are baud rate and parity right (9600 baud, 8N1)?"; got != want || unit.Asked()-asked != 1 {
			t.Errorf("%d requests: %s", unit.Asked()-asked, got)
		}
		l.spoil = nil
		unit.Change(func(u *modbustest.Unit) { delete(u.Holding, 101) })
		if got := actuate(t, dev, "mode", 7.0); !strings.HasPrefix(got, "the unit refuses to write holding register 101") {
			t.Error(got)
		}
	})
}

// A Modbus gateway that heard nothing of the unit, and a unit that needs long, have not
// refused a command.
func TestWriteThatMayBeCarriedOut(t *testing.T) {
	for code, want := range map[byte]string{
		4:  "the unit refuses to write holding register 101 (function 6): exception 4: ",
		5:  "nobody knows whether the unit did it: no result of the request to write holding register 101 (function 6): exception 5: it has accepted",
		11: "nobody knows whether the unit did it: no result of the request to write holding register 101 (function 6): exception 11: the unit does not answer the Modbus gateway",
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(map[byte]*modbustest.Unit{1: one()})
			l.spoil = func(sent, _ string) string { return string(modbustest.Frame(1, []byte{sent[1] | 0x80, code})) }
			dev := open(t, modbus.RTUKind(), onPort+someOfEverything, l.Ports())
			if got := actuate(t, dev, "mode", 7.0); !strings.HasPrefix(got, want) {
				t.Errorf("exception %d: %s", code, got)
			}
		})
	}
}

// An inverter at night: it answers, and has nothing to say.
func TestUnitWithoutAnyValueNowIsOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{1: {Holding: map[int]uint16{0: 0x7FC0, 1: 0, 2: 0x8000}}})
		d := serialtest.Run(t, drivers.Spec{Kind: modbus.RTUKind(), Every: time.Second, Ports: l.Ports(), Decode: with(onPort +
			"points = [{ name = \"power\", type = \"float32\" }, { name = \"t\", address = 2, no_value = [0x8000] }]")})
		time.Sleep(time.Minute)
		d.End(t)
		if got, want := d.Text(), "online|bad: power t|offline: the gateway is stopping"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
