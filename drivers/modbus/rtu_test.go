package modbus_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/modbus/modbustest"
)

const point100 = "points = [{ name = \"a\", address = 100 }]"

// Every second answer is lost or damaged: the repetition brings the value.
func TestBadLineIsSurvived(t *testing.T) {
	for name, spoil := range map[string]func(answer string) string{
		"lost":       func(string) string { return "" },
		"bit":        func(s string) string { return s[:4] + string(s[4]^1) + s[5:] },
		"CRC":        func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]^1) },
		"cut":        func(s string) string { return s[:6] },
		"noise":      func(s string) string { return "\x00\xff" + s },
		"exception":  func(string) string { return "\x01\x83" },
		"too much":   func(string) string { return strings.Repeat("\x55", 2000) },
		"wrong unit": func(s string) string { return string(modbustest.Frame(2, []byte(s[1:len(s)-2]))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{1: one()})
				n := 0
				l.spoil = func(_, answer string) string {
					if n++; n%2 == 0 {
						return spoil(answer)
					}
					return answer
				}
				dev := open(t, modbus.RTUKind(), onPort+point100, l.Ports())
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
		l.spoil = func(_, answer string) string {
			wait := after
			after = 200 * time.Millisecond
			late.Go(func() {
				time.Sleep(wait)
				l.Feed(answer)
			})
			return ""
		}
		dev := open(t, modbus.RTUKind(), onPort+point100, l.Ports())
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

// A long answer that is late comes in as many pieces as the port makes of it, before the next
// request is sent.
func TestLateAnswerInManyPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unit := &modbustest.Unit{Holding: make(map[int]uint16)}
		for a := range 120 {
			unit.Holding[a] = 7
		}
		l := newLine(map[byte]*modbustest.Unit{1: unit})
		var sending sync.WaitGroup
		late := true
		l.spoil = func(_, answer string) string {
			if !late {
				return answer
			}
			late = false
			sending.Go(func() {
				time.Sleep(1300 * time.Millisecond)
				for _, b := range []byte(answer) {
					l.Feed(string([]byte{b}))
					time.Sleep(time.Millisecond) // 9600 bit/s
				}
			})
			return ""
		}
		dev := open(t, modbus.RTUKind(), onPort+"max_gap = 125\npoints = [{ name = \"a\", address = 0 }, { name = \"b\", address = 119 }]", l.Ports())
		for _, want := range []string{"no answer from unit 1", "a=7 b=7"} {
			if got := sample(t, dev); !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		sending.Wait()
	})
}

// An answer that comes byte by byte may take longer than the time for its begin.
func TestSlowAnswerIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(map[byte]*modbustest.Unit{1: one()})
		var sending sync.WaitGroup
		l.spoil = func(_, answer string) string {
			sending.Go(func() {
				for _, b := range []byte(answer) {
					time.Sleep(250 * time.Millisecond)
					l.Feed(string([]byte{b}))
				}
			})
			return ""
		}
		dev := open(t, modbus.RTUKind(), onPort+point100, l.Ports())
		if got := sample(t, dev); got != "a=217" {
			t.Error(got)
		}
		sending.Wait()
	})
}

// On two wires with the receiver on, what is sent comes back.
func TestEchoIsPassedOver(t *testing.T) {
	for name, options := range map[string]string{"configured": "echo = true\n", "recognised": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				unit := one()
				l := newLine(map[byte]*modbustest.Unit{1: unit})
				l.spoil = echo
				dev := open(t, modbus.RTUKind(), onPort+options+someOfEverything, l.Ports())
				if got := sample(t, dev); got != all {
					t.Error(got)
				}
				if asked := unit.Asked(); asked != 5 {
					t.Errorf("%d requests for 5 spans", asked)
				}
				if got := actuate(t, dev, "mode", 7.0); got != "mode=7" {
					t.Error(got)
				}
				unit.Mute(true) // its echo alone is no answer, not even to a write
				if got, want := actuate(t, dev, "mode", 8.0), "nobody knows whether the unit did it: no answer from unit 1 on /dev/ttyUSB0"; !strings.HasPrefix(got, want) {
					t.Error(got)
				}
				if got := sample(t, dev); !strings.HasPrefix(got, "no answer from unit 1") {
					t.Error(got)
				}
				l.spoil = func(sent, answer string) string { return "\x00" + sent[1:] + answer }
				if got := sample(t, dev); !strings.HasPrefix(got, "the answer is damaged; check termination") || !strings.Contains(got, "00 01 00 00 00 02 bd cb came back of 01 01 00 00 00 02 bd cb") {
					t.Error(got)
				}
			})
		})
	}
}

// A write of several registers, with which the use begins, tells its echo from its
// answer, too. A single one is answered by its repetition; the read behind it shows
// the echo.
func TestEchoOfTheFirstWrite(t *testing.T) {
	for _, point := range []string{`type = "int32"`, `write_function = 16`, `write_function = 6`} {
		synctest.Test(t, func(t *testing.T) {
			unit := one()
			l := newLine(map[byte]*modbustest.Unit{1: unit})
			l.spoil = echo
			dev := open(t, modbus.RTUKind(), onPort+`points = [{ name = "a", address = 100, writable = true, `+point+` }]`, l.Ports())
			if got := actuate(t, dev, "a", 7.0); got != "a=7" {
				t.Errorf("%s: %s", point, got)
			}
		})
	}
}

// Unit 19 is asked for register 0x201 with 13 03 02 01 00 01 D7 00. The first seven
// bytes are also the answer 0x0100 to that, with the right CRC.
func TestAnswerThatBeginsLikeItsRequest(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(sent, answer string) string
		value uint16
		want  string
	}{
		{"no echo", nil, 0x0100, "a=256"},
		{"no echo, another answer", nil, 7, "a=7"},
		{"echo", echo, 7, "a=7"},
		{"echo, the same answer", echo, 0x0100, "a=256"},
		{"echo in two parts", func(sent, answer string) string { return sent[:7] + "|" + sent[7:] + answer }, 7, "a=7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(map[byte]*modbustest.Unit{19: {Holding: map[int]uint16{0x201: c.value}}})
				var later sync.WaitGroup
				l.spoil = func(sent, answer string) string {
					if c.spoil == nil {
						return answer
					}
					now, rest, _ := strings.Cut(c.spoil(sent, answer), "|")
					later.Go(func() {
						time.Sleep(50 * time.Millisecond)
						l.Feed(rest)
					})
					return now
				}
				dev := open(t, modbus.RTUKind(), onPort+"unit_id = 19\npoints = [{ name = \"a\", address = 0x201 }]", l.Ports())
				for range 2 {
					if got := sample(t, dev); got != c.want {
						t.Error(got)
					}
				}
				later.Wait()
			})
		})
	}
}

// Between two frames the line is silent for 3.5 characters, or as long as is asked
// (Serial Line V1.02, 2.5.1.1).
func TestSilenceBetweenFrames(t *testing.T) {
	for options, want := range map[string]time.Duration{
		"baud = 9600":                    3645833 * time.Nanosecond, // 3.5 × 10 / 9600 s
		"baud = 9600\nparity = \"even\"": 4010416 * time.Nanosecond,
		"baud = 19200\nstop_bits = 2":    2005208 * time.Nanosecond,
		"baud = 115200":                  1750 * time.Microsecond,
		"delay = \"50ms\"":               50 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine(map[byte]*modbustest.Unit{1: one()})
			var asked []time.Time
			l.spoil = func(_, answer string) string {
				asked = append(asked, time.Now())
				return answer
			}
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

// The time for an answer begins when the request has left: at 300 bit/s, with a
// transceiver that turns slowly, 0.37 s after it was written.
func TestTimeForAnAnswerBeginsBehindTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(nil)
		options := "baud = 300\nrs485 = true\nrs485_delay_before = \"100ms\"\ntimeout = \"1s\"\n"
		dev := open(t, modbus.RTUKind(), onPort+options+point100, l.Ports())
		began := time.Now()
		got := sample(t, dev)
		// A first silence of 1 s, 8 characters of 10 bits and 100 ms, and 1 s.
		least := time.Second + 8*10*time.Second/300 + 100*time.Millisecond + time.Second
		if took := time.Since(began); !strings.HasPrefix(got, "no answer") || took < least || took > least+3*drivers.SerialPatience {
			t.Errorf("after %v, want %v: %s", took, least, got)
		}
	})
}
