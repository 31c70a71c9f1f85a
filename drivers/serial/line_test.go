package serial_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

// script sends text, after a silence, and returns what the device tells.
func script(t *testing.T, options string, send ...string) []drivers.Reading {
	t.Helper()
	return watch(t, serial.LineKind(), with(options), func(port *serialtest.Port) {
		time.Sleep(time.Second) // the line was silent: what comes begins with a whole line
		for _, text := range send {
			port.Feed(text)
			synctest.Wait()
		}
	})
}

func TestLines(t *testing.T) {
	const at = "path = \"/dev/ttyUSB0\"\n"
	csv := at + "format = \"csv\"\ncolumns = [\"t\", \"rh\", \"\"]\n"
	const pattern = at + "format = \"regex\"\npattern = '^(?P<obis>[0-9:.-]+)\\((?P<v>[0-9.]+)?'"
	for _, c := range []struct {
		name, options, line string
		want                map[string]any
		fault               string
	}{
		{"json", at, `{"t": 21.5, "n": 3, "big": 9007199254740993, "on": true, "s": "x", "a": [1], "z": null, "env": {"rh": 40}}`,
			map[string]any{"t": 21.5, "n": int64(3), "big": int64(9007199254740993), "on": true, "s": "x", "env_rh": int64(40)}, ""},
		{"json, names of nothing", at, `{"": 1, "a": {" ": 2}}`, map[string]any{"_": int64(1), "a_": int64(2)}, ""},
		{"json, picked and renamed", at + "fields = [{ from = \"env.rh\", name = \"humidity\" }, { from = \"t\" }]",
			`{"t": 21.5, "x": 1, "env": {"rh": 40}}`, map[string]any{"humidity": int64(40), "t": 21.5}, ""},
		{"json, cut", at, `{"t": 21.`, nil, "not json"},
		{"json, two", at, `{"t":1}{"t":2}`, nil, "something follows"},
		{"json, nothing wanted", at + `fields = [{ from = "q" }]`, `{"t":1}`, nil, "none of the values"},
		{"kv", at + `format = "kv"`, "t=21.5 rh:40, on=true;name=\"x\"", map[string]any{"t": 21.5, "rh": int64(40), "on": true, "name": "x"}, ""},
		{"kv, names for topics", at + `format = "kv"`, "a/b+#=1", map[string]any{"a_b__": int64(1)}, ""},
		{"kv, garbage", at + `format = "kv"`, "t=21.5 rubbish", nil, `"rubbish" is not a pair`},
		{"csv", csv, " 21.5 ,40,99", map[string]any{"t": 21.5, "rh": int64(40)}, ""},
		{"csv, empty cell", csv, "21.5,,99", map[string]any{"t": 21.5}, ""},
		{"csv, decimal commas", at + "format = \"csv\"\nseparator = \";\"\ndecimal = \",\"\ncolumns = [\"t\", \"rh\", \"s\"]", "-22,5;51;a,b",
			map[string]any{"t": -22.5, "rh": int64(51), "s": "a,b"}, ""},
		{"csv, points among decimal commas", at + "format = \"csv\"\nseparator = \";\"\ndecimal = \",\"\ncolumns = [\"t\", \"rh\", \"u\"]", "1.234;0,5;1.234,5",
			map[string]any{"t": "1.234", "rh": 0.5, "u": "1.234,5"}, ""},
		{"kv, decimal commas", at + "format = \"kv\"\ndecimal = \",\"", "t=22,5 rh:51;p=1013,25", map[string]any{"t": 22.5, "rh": int64(51), "p": 1013.25}, ""},
		{"kv, decimal commas and commas between", at + "format = \"kv\"\ndecimal = \",\"", "t=22,5, rh=51,\tp=1013,25 , s=a,", map[string]any{"t": 22.5, "rh": int64(51), "p": 1013.25, "s": "a"}, ""},
		{"regex, decimal commas", at + "format = \"regex\"\ndecimal = \",\"\npattern = '(?P<t>[0-9,]+) C'", "22,5 C", map[string]any{"t": 22.5}, ""},
		{"csv, text with semicolons", csv, "21.5,40;a,99", map[string]any{"t": 21.5, "rh": "40;a"}, ""},
		{"csv, a list behind a number with a point", csv, "21.5,1;2,x", map[string]any{"t": 21.5, "rh": "1;2"}, ""},
		{"csv, cut", csv, "21.5,40", nil, "2 columns instead of 3"},
		{"regex", pattern, "1-0:1.8.1(002331.5*kWh)", map[string]any{"obis": "1-0:1.8.1", "v": 2331.5}, ""},
		{"regex, a group that took no part", pattern, "1-0:2.7.0()", map[string]any{"obis": "1-0:2.7.0"}, ""},
		{"regex, picked and renamed", pattern + "\nfields = [{from = \"v\", name = \"energy\"}]", "1-0:1.8.1(002331.5*kWh)", map[string]any{"energy": 2331.5}, ""},
		{"regex, no match", pattern, "/ISK5", nil, `does not fit the pattern: "/ISK5"`},
		{"wrong baud rate", at, "\xf8\x80\x00\xfe", nil, "is the baud rate right?"},
		{"not UTF-8", at, "{\"t\":\"\xff\"}", nil, "is the baud rate right?"},
		{"control characters", at, "{\"t\":\x011}", nil, "is the baud rate right?"},
		{"too long", at + `max_line = 16`, `{"t": 1234567890123}`, nil, "longer than 16 bytes"},
		{"too many values", at + `format = "kv"`, strings.Repeat("a=1 ", 65), nil, "more than 64 values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := script(t, c.options, c.line[:len(c.line)/2], c.line[len(c.line)/2:]+"\r\n")
			if len(got) != 1 {
				t.Fatalf("%d readings: %v", len(got), got)
			}
			if c.fault != "" {
				if got[0].Fault == nil || !strings.Contains(got[0].Fault.Error(), c.fault) || len(got[0].Fault.Error()) > 200 {
					t.Errorf("fault %v, want %q", got[0].Fault, c.fault)
				}
				return
			}
			values := make(map[string]any)
			for _, v := range got[0].Values {
				values[v.Channel] = v.V
			}
			if !reflect.DeepEqual(values, c.want) || got[0].Fault != nil {
				t.Errorf("got %v, %v; want %v", values, got[0].Fault, c.want)
			}
		})
	}
}

// A value that the device has not now must not stay what it was, as a good one.
func TestWhatALineSaysNothingOfIsBad(t *testing.T) {
	const csv = onPort + "format = \"csv\"\ncolumns = [\"t\", \"rh\"]\n"
	for _, c := range []struct{ name, options, line, want string }{
		{"json, null", onPort, `{"t":null,"rh":41}`, "rh=41 bad: t"},
		{"json, null and not there", onPort, `{"rh":41,"error":null}`, "rh=41"},
		{"json, null inside", onPort + `fields = [{ from = "env.rh", name = "rh" }]`, `{"env":{"rh":null}}`, "bad: rh"},
		{"json, arrays and what they hold", onPort, `{"rh":41,"t":[null]}`, "rh=41"},
		{"kv, nothing", onPort + `format = "kv"`, "t=,rh=41", "rh=41 bad: t"},
		{"csv, empty cell", csv, ",41", "rh=41 bad: t"},
		{"regex, nothing", onPort + "format = \"regex\"\npattern = '^(?P<t>[^,]*),(?P<rh>[0-9]+)'", ",41", "rh=41 bad: t"},
		{"regex, one of two", onPort + "format = \"regex\"\npattern = '^(t(?P<t>[0-9]+)|rh(?P<rh>[0-9]+))'", "rh41", "rh=41"},
		{"a word where a number should be", csv + `fields = [{ from = "t", unit = "°C" }, { from = "rh" }]`, "ERR,41",
			`rh=41 bad: t fault: channel "t": "ERR" is not a number`},
		{"a decimal comma in a column of a quantity", onPort + "format = \"csv\"\nseparator = \";\"\ncolumns = [\"t\", \"rh\"]\n" + `fields = [{ from = "t", quantity = "temperature" }, { from = "rh" }]`, "22,5;41",
			`rh=41 bad: t fault: channel "t": "22,5" is not a number`},
		{"a decimal comma that is taken for a separator", csv, "22,5;51",
			`fault: a line is not csv: "22,5" looks like a number with a comma; are separator = ";" and decimal = "," meant?: "22,5;51"`},
		{"one at the end", csv, "51; -22,5",
			`fault: a line is not csv: "-22,5" looks like a number with a comma; are separator = ";" and decimal = "," meant?: "51; -22,5"`},
		{"one between tabs", csv, "x\t22,5\ty",
			`fault: a line is not csv: "22,5" looks like a number with a comma; are separator = ";" and decimal = "," meant?: "x\t22,5\ty"`},
		{"a truth where a number should be", csv + `fields = [{ from = "t", quantity = "temperature" }, { from = "rh" }]`, "true,41",
			`rh=41 bad: t fault: channel "t": "true" is not a number`},
		{"text of a quantity of one's own", csv + `fields = [{ from = "t", quantity = "mode" }]`, "heat,41", "t=heat"},
		{"too many columns", csv, "22,5,51", "fault: a line is not csv: 3 columns instead of 2: \"22,5,51\""},
		{"the names of the columns", csv + `fields = [{ from = "t", unit = "°C" }, { from = "rh", unit = "%" }]`, "t,rh",
			`bad: t rh fault: channel "rh": "rh" is not a number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := map[bool]string{true: "t=21.5,rh=40\n", false: "{\"t\":21.5,\"rh\":40}\n"}[strings.HasPrefix(c.name, "kv")]
			got := script(t, c.options, before+c.line+"\n")
			if last := serialtest.Show(got[len(got)-1]); last != c.want {
				t.Errorf("got %s, want %s", last, c.want)
			}
		})
	}
}

func TestLineEndingThatIsHalfOfWhatTheDeviceSends(t *testing.T) {
	for _, ending := range []string{"\\n", "\\r"} {
		got := script(t, onPort+"line_ending = \""+ending+"\"", "{\"t\":21.5}\r\n\r\n{\"t\":21.6}\r\n\r")
		if len(got) != 2 || serialtest.Show(got[0]) != "t=21.5" || serialtest.Show(got[1]) != "t=21.6" {
			t.Errorf("%s: %v", ending, got)
		}
	}
}

// The port is opened in the middle of "21.5,40".
func TestLineThatBeganBeforeThePortWasOpenIsNotUsed(t *testing.T) {
	for _, c := range []struct {
		format, sent, want string
	}{
		{"format = \"csv\"\ncolumns = [\"t\", \"rh\"]", "1.5,40\n21.6,41\n", "[t=21.6 rh=41]"},
		{"format = \"kv\"", "5=3\nt=21.6\n", "[t=21.6]"},
		{"format = \"json\"", "5}\n{\"t\":21.6}\n", "[t=21.6]"},
		{"format = \"json\"", "{\"t\":21.5}\n", "[t=21.5]"}, // JSON that is whole is whole
	} {
		for _, busy := range []time.Duration{0, time.Minute} { // before the machine comes to the first read
			synctest.Test(t, func(t *testing.T) {
				port := serialtest.New()
				dev, err := serial.LineKind().Open(t.Context(), with(onPort+c.format), port.Ports())
				if err != nil {
					t.Fatal(err)
				}
				port.Feed(c.sent)
				time.Sleep(busy)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var got []string
				dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { got = append(got, serialtest.Show(r)) })
				if fmt.Sprint(got) != c.want {
					t.Errorf("%s %q: %v, want %s", c.format, c.sent, got, c.want)
				}
			})
		}
	}
}

func TestAPauseInALineThatIsTooLongSpoilsNoOther(t *testing.T) {
	got := watch(t, serial.LineKind(), with(onPort+"format = \"csv\"\ncolumns = [\"t\", \"rh\"]\nmax_line = 16"), func(port *serialtest.Port) {
		time.Sleep(time.Second)
		port.Feed(strings.Repeat("x", 40))
		time.Sleep(6 * time.Second)
		port.Feed("x\r\n21.6,41\r\n")
	})
	if len(got) != 2 || !strings.Contains(serialtest.Show(got[0]), "longer than 16 bytes") || serialtest.Show(got[1]) != "t=21.6 rh=41" {
		t.Errorf("got %v", got)
	}
}

// A device is switched off while it sends "21.5,40", and on again. One that measures in the
// middle of its line has time for that.
func TestBeginningOfALineIsNotGluedToTheNext(t *testing.T) {
	for _, c := range []struct {
		pause            time.Duration
		begin, end, want string
	}{
		{4 * time.Second, "21", ".5,40", "[t=21.5 rh=40 t=21.6 rh=41]"},
		{6 * time.Second, "2", "21.5,40", "[fault: a line paused for more than 5s in the middle, and may be two: \"221.5,40\" t=21.6 rh=41]"},
	} {
		for _, ending := range []string{"", "\\n", "\\r"} {
			var told []string
			options := onPort + "format = \"csv\"\ncolumns = [\"t\", \"rh\"]\nline_ending = \"" + ending + "\""
			for _, r := range watch(t, serial.LineKind(), with(options), func(port *serialtest.Port) {
				time.Sleep(time.Second)
				port.Feed(c.begin)
				time.Sleep(c.pause)
				port.Feed(c.end + "\r\n")
				time.Sleep(time.Minute)
				port.Feed("21.6,41\r\n")
			}) {
				told = append(told, serialtest.Show(r))
			}
			if fmt.Sprint(told) != c.want {
				t.Errorf("%q, a pause of %v, %q, ending %q: %v, want %s", c.begin, c.pause, c.end, ending, told, c.want)
			}
		}
	}
}

func TestSilenceEndsTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.LineKind().Open(t.Context(), func(dst any) error {
			o := dst.(*serial.LineOptions)
			o.Path, o.Silence = "/dev/x", 10*time.Second
			return nil
		}, port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		began := time.Now()
		go func() { failed <- dev.(drivers.Watcher).Watch(t.Context(), func(drivers.Reading) {}) }()
		time.Sleep(8 * time.Second)
		port.Feed("{\"t\":1}\n")
		time.Sleep(8 * time.Second)
		port.Feed("rubbish\n")
		err = <-failed
		if took := time.Since(began).Round(time.Second); took != 18*time.Second || !strings.Contains(err.Error(), "no line that can be read came for 10s") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A device that talks all the time, at another baud rate.
func TestRubbishWithoutAPauseEndsTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.LineKind().Open(t.Context(), with(onPort+"silence = \"10s\""), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		var talking sync.WaitGroup
		talking.Go(func() {
			for ctx.Err() == nil {
				port.Feed("\xf8\x80\n")
				time.Sleep(100 * time.Millisecond)
			}
		})
		began := time.Now()
		err = dev.(drivers.Watcher).Watch(ctx, func(drivers.Reading) {})
		if took := time.Since(began); took > 11*time.Second || !strings.Contains(err.Error(), "no line that can be read came for 10s") {
			t.Errorf("after %v: %v", took, err)
		}
		cancel()
		talking.Wait()
	})
}

func TestWrongOptions(t *testing.T) {
	for options, want := range map[string]string{
		``:                              "path is missing: it is a device like",
		`path = "ttyUSB0"`:              `path must be`,
		`path = "/d"` + "\nbaud = 9601": `baud must be`,
		`path = "/d"` + "\nrs485 = true\nrs485_delay_before = \"101ms\"":                        `rs485_delay_before must be between 0ms and 100ms`,
		`path = "/d"` + "\nrs485 = true\nrs485_delay_after = \"1500us\"":                        `rs485_delay_after must be between`,
		`path = "/d"` + "\nrs485_delay_after = \"1ms\"":                                         `rs485_delay_after is for rs485 = true`,
		`path = "/d"` + "\nrs485_rts_active_low = true":                                         `rs485_rts_active_low is for rs485 = true`,
		`path = "/d"` + "\nparity = \"mark\"":                                                   `parity must be`,
		`path = "/d"` + "\nformat = \"xml\"":                                                    `format must be`,
		`path = "/d"` + "\nformat = \"csv\"":                                                    `columns must`,
		`path = "/d"` + "\ncolumns = [\"a\"]":                                                   `columns is for`,
		`path = "/d"` + "\ndecimal = \";\"":                                                     `decimal must be "." or ",", not ";"`,
		`path = "/d"` + "\ndecimal = \",\"":                                                     `decimal is for csv, kv and regex`,
		`path = "/d"` + "\nformat = \"csv\"\ncolumns = [\"a\"]\ndecimal = \",\"":                `separator must not hold the comma`,
		`path = "/d"` + "\nmax_line = 3":                                                        `max_line must be`,
		`path = "/d"` + "\nfields = [{name=\"a\"}]":                                             `fields.from must`,
		`path = "/d"` + "\nformat = \"csv\"\ncolumns = [\"a\"]\nfields = [{from=\"b\"}]":        `fields.from is "b"`,
		`path = "/d"` + "\nformat = \"regex\"":                                                  `pattern must have a named group`,
		`path = "/d"` + "\nformat = \"regex\"\npattern = \"(?P<a>\"":                            `pattern is not a regular expression`,
		`path = "/d"` + "\npattern = \"(?P<a>.)\"":                                              `pattern is for`,
		`path = "/d"` + "\nformat = \"regex\"\npattern = \"(?P<a>.)\"\nfields = [{from=\"b\"}]": `fields.from is "b", which is none of the named groups`,
		`path = "/d"` + "\nfields = [{from=\"b\"}, {from=\"c\", name=\"b\"}]":                   `fields gives`,
	} {
		if err := serial.LineKind().Check(with(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

func TestUnpluggedAndPluggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		d := serialtest.Run(t, drivers.Spec{Kind: serial.LineKind(), Decode: with(onPort), Ports: port.Ports()})
		synctest.Wait()
		port.Feed("{\"t\":1}\nrubbish\n{\"t\":2}\n")
		synctest.Wait()
		port.Unplug()
		time.Sleep(10 * time.Second)
		port.Plug()
		time.Sleep(60 * time.Second)
		port.Feed("{\"t\":3}\n")
		synctest.Wait()
		if d.End(t); !port.Closed() {
			t.Error("the port is still open")
		}
		want := "online|t=1|t=2|offline: unplugged: the device is gone|offline: /dev/x is not there; check the cable|online|t=3|offline: the gateway is stopping"
		if got := d.Text(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if c := d.Stats.Snapshot(); c.Readings != 3 || c.Opens != 2 {
			t.Errorf("counts %+v", c)
		}
	})
}
