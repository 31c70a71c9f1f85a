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

	"github.com/pelletier/go-toml/v2"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

// script sends text and lets time pass, and returns what the device tells.
func script(t *testing.T, options string, send ...string) (got []drivers.Reading) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.LineKind().Open(t.Context(), with(options), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { got = append(got, r) })
		}()
		time.Sleep(time.Second) // the line was silent: what comes begins with a whole line
		for _, text := range send {
			port.Feed(text)
			synctest.Wait()
		}
		cancel()
		<-ended
		if dev.Close(); !port.Closed() {
			t.Error("the port is still open")
		}
	})
	return got
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
		synctest.Test(t, func(t *testing.T) {
			port := serialtest.New()
			port.Feed(c.sent)
			dev, err := serial.LineKind().Open(t.Context(), with("path = \"/dev/x\"\n"+c.format), port.Ports())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var got []string
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) {
					for _, v := range r.Values {
						got = append(got, fmt.Sprintf("%s=%v", v.Channel, v.V))
					}
					if r.Fault != nil {
						got = append(got, r.Fault.Error())
					}
				})
			}()
			synctest.Wait()
			if fmt.Sprint(got) != c.want {
				t.Errorf("%s %q: %v, want %s", c.format, c.sent, got, c.want)
			}
			cancel()
			<-ended
		})
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

func TestWrongOptions(t *testing.T) {
	for options, want := range map[string]string{
		``:                                          `path must be`,
		`path = "ttyUSB0"`:                          `path must be`,
		`path = "/d"` + "\nbaud = 9601":             `baud must be`,
		`path = "/d"` + "\nparity = \"mark\"":       `parity must be`,
		`path = "/d"` + "\nformat = \"xml\"":        `format must be`,
		`path = "/d"` + "\nformat = \"csv\"":        `columns must`,
		`path = "/d"` + "\ncolumns = [\"a\"]":       `columns is for`,
		`path = "/d"` + "\nmax_line = 3":            `max_line must be`,
		`path = "/d"` + "\nfields = [{name=\"a\"}]": `fields.from must`,
		`path = "/d"` + "\nformat = \"csv\"\ncolumns = [\"a\"]\nfields = [{from=\"b\"}]":        `fields.from is "b"`,
		`path = "/d"` + "\nformat = \"regex\"":                                                  `pattern must have a named group`,
		`path = "/d"` + "\nformat = \"regex\"\npattern = \"(?P<a>\"":                            `pattern is not a regular expression`,
		`path = "/d"` + "\npattern = \"(?P<a>.)\"":                                              `pattern is for`,
		`path = "/d"` + "\nformat = \"regex\"\npattern = \"(?P<a>.)\"\nfields = [{from=\"b\"}]": `fields.from is "b", which is none of the named groups`,
		`path = "/d"` + "\nfields = [{from=\"b\"}, {from=\"c\", name=\"b\"}]":                   `fields gives`,
	} {
		if err := serial.LineKind().Check(with(options)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}

// diary is the Events of a device under test.
type diary struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{}
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
	select {
	case d.news <- struct{}{}:
	default:
	}
}
func (d *diary) Online([]drivers.Channel, func(drivers.Command) (drivers.Command, error)) {
	d.add("online")
}
func (d *diary) Offline(reason error)                       { d.add("offline: %v", reason) }
func (d *diary) Result(drivers.Job, drivers.Reading, error) {}
func (d *diary) Reading(r drivers.Reading)                  { d.add("%s=%v", r.Values[0].Channel, r.Values[0].V) }

// wait waits until the diary has a line with text.
func (d *diary) wait(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		d.mu.Lock()
		found := strings.Contains(strings.Join(d.lines, "\n"), text)
		d.mu.Unlock()
		if found {
			return
		}
		select {
		case <-d.news:
		case <-late:
			d.mu.Lock()
			defer d.mu.Unlock()
			t.Fatalf("no %q in:\n%s", text, strings.Join(d.lines, "\n"))
		}
	}
}

func TestUnpluggedAndPluggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		d := &diary{news: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		var stats drivers.Stats
		go func() {
			ended <- drivers.Run(ctx, drivers.Spec{Kind: serial.LineKind(), Decode: with(`path = "/dev/x"`), Ports: port.Ports(), Stats: &stats}, d)
		}()
		synctest.Wait()
		port.Feed("{\"t\":1}\nrubbish\n{\"t\":2}\n")
		synctest.Wait()
		port.Unplug()
		time.Sleep(10 * time.Second)
		port.Plug()
		time.Sleep(60 * time.Second)
		port.Feed("{\"t\":3}\n")
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil || !port.Closed() {
			t.Errorf("Run ended with %v, port closed: %v", err, port.Closed())
		}
		want := "online|t=1|t=2|offline: unplugged: the device is gone|offline: /dev/x is not there; check the cable|online|t=3|offline: the gateway is stopping"
		if got := strings.Join(d.lines, "|"); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if c := stats.Snapshot(); c.Readings != 3 || c.Opens != 2 {
			t.Errorf("counts %+v", c)
		}
	})
}
