package modbus_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
)

// A board with two relays, a current that a charger may take, and a mode that only
// commands set.
const board = `
points = [
  { name = "pump", table = "coil", address = 0, writable = true, safe = false },
  { name = "vent", table = "coil", address = 1, writable = true, write_only = true, safe = "on", write_function = 15 },
  { name = "limit", address = 100, type = "int16", scale = 0.1, writable = true, min = 0, max = 32, safe = 6 },
  { name = "level", address = 102, type = "float32", order = "CDAB", writable = true, safe = 21.3 },
  { name = "mode", address = 101, writable = true },
]`

func relays() *modbustest.Unit {
	return &modbustest.Unit{
		Coils:   map[int]bool{0: true, 1: false},
		Holding: map[int]uint16{100: 160, 101: 3, 102: 0, 103: 0},
	}
}

// wantSafe says whether the unit has its safe values, or commanded is not safe at all.
func wantSafe(t *testing.T, when string, u *modbustest.Unit, want bool) {
	t.Helper()
	u.Change(func(u *modbustest.Unit) {
		// 21.3 is 0x41AA6666 (IEEE 754), here with the low word first.
		got := !u.Coils[0] && u.Coils[1] && u.Holding[100] == 60 && u.Holding[102] == 0x6666 && u.Holding[103] == 0x41AA
		if got != want || u.Holding[101] != 3 {
			t.Errorf("%s: coils %v, registers %v; safe: want %v", when, u.Coils, u.Holding, want)
		}
	})
}

func disturb(t *testing.T, u *modbustest.Unit) {
	t.Helper()
	u.Change(func(u *modbustest.Unit) { u.Coils[0], u.Coils[1], u.Holding[100], u.Holding[103] = true, false, 320, 0 })
}

func TestSafeValuesAreSetWhenAUnitIsOpenedMadeSafeAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := relays()
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		dev := open(t, modbus.RTUKind(), onPort+board, l.Ports())
		wantSafe(t, "opened", unit, true)

		if got := actuate(t, dev, "pump", true); got != "pump=true" {
			t.Error(got)
		}
		wantSafe(t, "commanded", unit, false)
		r, err := dev.(drivers.Failsafe).Safe(t.Context())
		if got := serialtest.Show(r); err != nil || got != "pump=false limit=6 level=21.3" {
			t.Errorf("made safe: %s, %v", got, err)
		}
		wantSafe(t, "made safe", unit, true)

		disturb(t, unit)
		if err := dev.Close(); err != nil || !l.Closed() {
			t.Errorf("%v, port closed: %v", err, l.Closed())
		}
		wantSafe(t, "closed", unit, true)
	})
}

// At the end there is less than a second for all of it.
func TestSafeValuesAreSetAtTheEndWhateverTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := relays()
		dev := open(t, modbus.RTUKind(), onPort+"delay = \"1s\"\n"+board, newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		if got := actuate(t, dev, "pump", true); got != "pump=true" {
			t.Error(got)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		wantSafe(t, "closed", unit, true)
	})
}

// Over TCP, too; a silent unit does not hold up the end.
func TestSafeValuesOverTCP(t *testing.T) {
	unit := relays()
	l := listen(t, map[byte]*modbustest.Unit{1: unit})
	k, options := modbus.TCPKind(), fmt.Sprintf("address = %q\n", l.Addr())+board
	dev := open(t, k, options, drivers.Ports{})
	wantSafe(t, "opened", unit, true)
	disturb(t, unit)
	if r, err := dev.(drivers.Failsafe).Safe(t.Context()); err != nil || serialtest.Show(r) != "pump=false limit=6 level=21.3" {
		t.Errorf("%s, %v", serialtest.Show(r), err)
	}
	disturb(t, unit)
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	wantSafe(t, "closed", unit, true)

	dev = open(t, k, options, drivers.Ports{})
	unit.Mute(true)
	if err := dev.Close(); err == nil || !strings.Contains(err.Error(), `"pump", "vent", "limit", "level" may not have the safe value: `) {
		t.Errorf("closed: %v", err)
	}
}

func TestAUnitWithoutSafeValuesIsLeftAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := relays()
		dev := open(t, modbus.RTUKind(), onPort+`points = [{ name = "pump", table = "coil", address = 0, writable = true }]`, newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		if _, ok := dev.(drivers.Failsafe); ok {
			t.Error("it has a safe state")
		}
		if dev.Close(); unit.Asked() != 0 {
			t.Errorf("%d requests", unit.Asked())
		}
	})
	for options, want := range map[string]bool{onPort + board: true, onPort + `points = [{ name = "pump", table = "coil", writable = true }]`: false} {
		for _, k := range []drivers.Kind{modbus.RTUKind(), modbus.TCPKind()} {
			if k.Name == "modbus-tcp" {
				options = strings.Replace(options, onPort, "address = \"h\"\n", 1)
			}
			if k.Failsafe(with(options)) != want || k.Moves(with(options)) != want {
				t.Errorf("%s: safe %v, moves %v, want %v", options, k.Failsafe(with(options)), k.Moves(with(options)), want)
			}
		}
	}
}

// What cannot be set is named, keeps no other point from being set, and does not take
// longer than a stop has.
func TestASafeStateThatIsNotReachedIsAnError(t *testing.T) {
	const noAnswer = "no answer from unit 1 on /dev/ttyUSB0"
	for _, c := range []struct {
		name  string
		spoil func(u *modbustest.Unit, n int, sent, answer string) string
		want  string // of Safe; "" = it is safe
		close string // and of Close
	}{
		{"a good line", nil, "", ""},
		{"an answer is lost each time", func(_ *modbustest.Unit, n int, _, answer string) string {
			if n%8 == 0 { // making it safe is eight requests, with this one
				return ""
			}
			return answer
		}, "", ""},
		{"a unit that is off", func(*modbustest.Unit, int, string, string) string { return "" },
			`"pump", "vent", "limit", "level" may not have the safe value: ` + noAnswer, `"pump", "vent", "limit", "level" may not have the safe value: ` + noAnswer},
		{"one coil is refused", func(u *modbustest.Unit, _ int, sent, answer string) string {
			if sent[1] == 5 {
				return string(modbustest.Frame(1, []byte{0x85, 4}))
			}
			return answer
		}, `"pump" may not have the safe value: the unit refuses to write coil 0 (function 5): exception 4`, `"pump" may not have the safe value: the unit refuses`},
		{"a unit that obeys and does not", func(u *modbustest.Unit, _ int, sent, answer string) string {
			if sent[1] == 5 {
				u.Change(func(u *modbustest.Unit) { u.Coils[0] = true })
			}
			return answer
		}, `the unit took the safe value of "pump" and holds another one`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				unit := relays()
				l := newLine(map[byte]*modbustest.Unit{1: unit})
				dev := open(t, modbus.RTUKind(), onPort+board, l.Ports())
				disturb(t, unit)
				n := 0
				l.spoil = func(sent, answer string) string {
					if n++; c.spoil == nil {
						return answer
					}
					return c.spoil(unit, n-1, sent, answer)
				}
				check := func(what, want string, err error) {
					t.Helper()
					if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
						t.Errorf("%s: %v, want %q", what, err, want)
					}
				}
				_, err := dev.(drivers.Failsafe).Safe(t.Context())
				check("Safe", c.want, err)
				if c.want == "" {
					wantSafe(t, "made safe", unit, true)
				}
				if strings.HasPrefix(c.name, "one coil") {
					unit.Change(func(u *modbustest.Unit) {
						if !u.Coils[1] || u.Holding[100] != 60 {
							t.Errorf("the others are not safe: %v, %v", u.Coils, u.Holding)
						}
					})
				}
				disturb(t, unit)
				began := time.Now()
				check("Close", c.close, dev.Close())
				if took := time.Since(began); took > time.Second || !l.Closed() {
					t.Errorf("closing took %v, port closed: %v", took, l.Closed())
				}
				if c.close == "" && c.want == "" {
					wantSafe(t, "closed", unit, true)
				}
			})
		})
	}
}

// Nor does one that is off take more of the time of its neighbours than another one.
func TestAUnitThatIsOffIsAskedOnceForItsSafeValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := relays()
		unit.Mute(true)
		_, err := modbus.RTUKind().Open(t.Context(), with(onPort+board), newLine(map[byte]*modbustest.Unit{1: unit}).Ports())
		if err == nil || !strings.HasPrefix(err.Error(), `"pump", "vent", "limit", "level" may not have the safe value: no answer`) || unit.Asked() != 1 {
			t.Errorf("%d requests: %v", unit.Asked(), err)
		}
	})
}

// A unit that was away comes back with its relays as they were: nobody is told that it
// works before they are safe.
func TestAUnitThatComesBackIsMadeSafeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := relays()
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		jobs := make(chan drivers.Job, 1)
		d := serialtest.Run(t, drivers.Spec{Kind: modbus.RTUKind(), Every: time.Second, Ports: l.Ports(), Jobs: jobs,
			Decode: with(onPort + `points = [{ name = "pump", table = "coil", address = 0, writable = true, safe = false }]`)})
		time.Sleep(1500 * time.Millisecond)
		jobs <- drivers.Job{Command: drivers.Command{Channel: "pump", Value: true}}
		time.Sleep(100 * time.Millisecond)
		unit.Mute(true)
		time.Sleep(time.Minute)
		unit.Change(func(u *modbustest.Unit) {
			if !u.Coils[0] {
				t.Error("the command did nothing")
			}
		})
		unit.Mute(false)
		time.Sleep(2 * time.Minute)
		d.End(t)
		const off = "no answer from unit 1 on /dev/ttyUSB0; check its address, wiring and power; are baud rate and parity right (9600 baud, 8N1)?"
		want := "online|pump=false|pump=true|result: pump=true, <nil>|offline: 3 times in a row: " + off +
			"|offline: 3 times in a row: " + off + `; then: "pump" may not have the safe value: ` + off +
			`|offline: "pump" may not have the safe value: ` + off + "|online|pump=false"
		if got := d.Text(); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestWrongSafeValues(t *testing.T) {
	for point, want := range map[string]string{
		`table = "coil", safe = false`:                         `writable of "a" must be true for min, max, write_only and safe`,
		`table = "coil", writable = true, safe = "maybe"`:      `safe of "a" cannot be set: "maybe" is neither on nor off`,
		`writable = true, min = 5, max = 30, safe = 0`:         `safe of "a" cannot be set: 0 is outside 5 to 30`,
		`writable = true, max = 5.5, safe = 5.5`:               `safe of "a" cannot be set: the register cannot hold 5.5`,
		`writable = true, safe = 65536`:                        `safe of "a" cannot be set: 65536 is outside`,
		`type = "float32", writable = true, safe = 1e39`:       `safe of "a" cannot be set: 1e+39 is too large`,
		`writable = true, safe = [1]`:                          `safe of "a" cannot be set: [1] is not a number`,
		`type = "float32", writable = true, safe = "low"`:      `safe of "a" cannot be set: "low" is not a number`,
		`table = "input", writable = true, safe = 1`:           `writable of "a" cannot be`,
		`table = "discrete", writable = true, safe = true`:     `writable of "a" cannot be`,
		`bit = 3, writable = true, safe = true`:                `writable of "a" cannot be for one bit`,
		`type = "unit16", writable = true, min = 1, safe = -1`: `type of "a" must be one of`,
	} {
		err := modbus.RTUKind().Check(with(onPort + `points = [{ name = "a", ` + point + " }]"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", point, err, want)
		}
	}
}
