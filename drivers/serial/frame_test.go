package serial_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
)

// strictly decodes options as the configuration does.
func strictly(options string) func(any) error {
	var file struct {
		Options func(any) error `toml:"o"`
	}
	if err := strict.Parse("x.toml", []byte("[o]\n"+options)).Decode(&file); err != nil {
		return func(any) error { return err }
	}
	return file.Options
}

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// example returns the options of one of the examples of the kind, in their order.
func example(t *testing.T, n int) func(any) error {
	t.Helper()
	text := strings.ReplaceAll(serial.FrameKind().Example, "\n# ", "\n")
	text = strings.ReplaceAll(text, "Two more", "# Two more")
	var file struct {
		Devices []struct {
			Name    string          `toml:"name"`
			Kind    string          `toml:"kind"`
			Every   time.Duration   `toml:"every"`
			Options func(any) error `toml:"options"`
		} `toml:"devices"`
	}
	var lines []string
	for line := range strings.Lines(text) {
		if first, _, _ := strings.Cut(line, ":"); first == "Fine dust" || first == "CO₂" {
			line = "# " + line
		}
		lines = append(lines, line)
	}
	if err := strict.Parse("example.toml", []byte(strings.Join(lines, ""))).Decode(&file); err != nil || len(file.Devices) != 3 {
		t.Fatalf("%d examples: %v", len(file.Devices), err)
	}
	return file.Devices[n].Options
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

// stream sends bytes, each part after a silence, and returns what the device tells.
func stream(t *testing.T, decode func(any) error, send ...string) (got []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.FrameKind().Open(t.Context(), decode, port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { got = append(got, show(r)) })
		}()
		for _, part := range send {
			port.Feed(part)
			time.Sleep(time.Second)
		}
		cancel()
		<-ended
		dev.Close()
	})
	return got
}

// The frames were recorded from devices. Their layout: Nova Fitness, SDS011
// specification, communication protocol; Plantower, PMS5003 series data manual V2.3
// (2016), transport protocol in active mode.
func TestReadyExamplesReadRecordedFrames(t *testing.T) {
	for _, c := range []struct {
		example     int
		frame, want string
	}{
		{0, "AA C0 8C 00 94 00 BC F9 D5 AB", "pm2_5=14 pm10=14.8"},
		{1, "42 4D 00 1C 00 29 00 3E 00 46 00 1F 00 2E 00 3C 19 EC 07 BF 01 69 00 36 00 08 00 00 91 00 04 E5", "pm1=31 pm2_5=46 pm10=60"},
		{1, "42 4D 00 1C 00 05 00 0D 00 16 00 05 00 0D 00 16 02 FD 00 FC 00 1D 00 0F 00 06 00 06 97 00 03 C5", "pm1=5 pm2_5=13 pm10=22"},
	} {
		frame := unhex(t, c.frame)
		got := stream(t, example(t, c.example), frame)
		if fmt.Sprint(got) != fmt.Sprint([]string{c.want}) {
			t.Errorf("%s: %v, want %s", c.frame, got, c.want)
		}
		for i := range frame { // every single damage shows
			damaged := []byte(frame)
			damaged[i] ^= 0x10
			got := stream(t, example(t, c.example), frame+string(damaged)+frame)
			if len(got) < 2 || got[0] != c.want || got[len(got)-1] != c.want ||
				slices.ContainsFunc(got, func(s string) bool { return s != c.want && !strings.HasPrefix(s, "fault: ") }) {
				t.Errorf("byte %d damaged: %v", i, got)
			}
		}
	}
}

// Request and answer of the example on page 7 of Winsen's MH-Z19B user's manual.
func TestMHZ19IsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		answer := unhex(t, "FF 86 02 20 00 00 00 00 58")
		port.Respond(func(sent []byte) string {
			if string(sent) != unhex(t, "FF 01 86 00 00 00 00 00 79") {
				t.Errorf("asked % X", sent)
			}
			return answer
		})
		dev, err := serial.FrameKind().Open(t.Context(), example(t, 2), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		sample := func() string {
			r, err := dev.(drivers.Sampler).Sample(t.Context())
			if err != nil {
				return err.Error()
			}
			return show(r)
		}
		port.Feed("\xff\x86 a late answer")
		if got := sample(); got != "co2=544" {
			t.Error(got)
		}
		whole := answer
		answer = whole[:5]
		if got := sample(); got != "/dev/serial0: the answer is cut: FF 86 02 20 00" {
			t.Error(got)
		}
		answer = strings.Replace(whole, "\x20", "\x21", 1)
		if got := sample(); got != "/dev/serial0: a frame has the wrong checksum, 0x58 instead of 0x57: FF 86 02 21 00 00 00 00 58" {
			t.Error(got)
		}
		answer = "\xff\x00" + whole
		if got := sample(); got != "co2=544" {
			t.Error(got)
		}
		answer = ""
		began := time.Now()
		if got := sample(); got != "no answer from the device on /dev/serial0; check its address, wiring and power" || time.Since(began) > 1300*time.Millisecond {
			t.Errorf("after %v: %s", time.Since(began), got)
		}
		port.Unplug()
		if got := sample(); !strings.Contains(got, "the device is gone") {
			t.Error(got)
		}
	})
}

const onPort = "path = \"/dev/x\"\n"

func TestFrames(t *testing.T) {
	const four = onPort + "header = \"55\"\nlength = 4\nchecksum = { type = \"xor\" }\nfields = [{ name = \"a\", at = 1, type = \"int16\" }]"
	const told = onPort + "header = \"55\"\nlength_field = { at = 1, size = 1, plus = 3 }\nchecksum = { type = \"sum8\" }\nfields = [{ name = \"a\", at = 2 }]"
	for _, c := range []struct {
		name, options string
		send          []string
		want          []string
	}{
		{"one by one", four, []string{"55 0001 54", "55 FFFE 54"}, []string{"a=1", "a=-2"}},
		{"together", four, []string{"55 0001 54 55 FFFE 54"}, []string{"a=1", "a=-2"}},
		{"entered in the middle", four, []string{"01 54 55 0001 54"}, []string{"a=1"}},
		{"entered behind a byte like a header", four, []string{"55 54 55 0001 54"}, []string{"a=1"}},
		{"noise between", four, []string{"55 0001 54 1234 55 0002 57"}, []string{"a=1", "a=2"}},
		{"damaged, told once", four, []string{"55 0001 54", "55 0001 00 55 0002 00 55 0003 00", "55 0002 57"},
			[]string{"a=1", "fault: a frame has the wrong checksum, 0x0 instead of 0x54: 55 00 01 00", "a=2"}},
		{"cut by a silence", four, []string{"55 0001 54", "55 00", "55 0002 57"},
			[]string{"a=1", "fault: a frame ends in the middle: 55 00", "a=2"}},
		{"a header inside", four, []string{"55 5555 55"}, []string{"a=21845"}},
		{"length told", told, []string{"55 01 07 5D", "55 03 07 08 09 70"}, []string{"a=7", "a=7"}},
		{"length impossible", strings.Replace(told, "at = 2", "at = 2, type = \"uint16\"", 1), []string{"55 02 0007 5E", "55 00 55 02 0007 5E"},
			[]string{"a=7", "fault: a frame says that it has 3 bytes: 55 00 55 02 00 07 5E", "a=7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var parts []string
			for _, s := range c.send {
				parts = append(parts, unhex(t, s))
			}
			if got := stream(t, strictly(c.options), parts...); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestFieldsOfAFrame(t *testing.T) {
	for field, want := range map[string]string{
		`at = 1`:                                                   "a=240",
		`at = 1, type = "int8"`:                                    "a=-16",
		`at = 1, type = "uint16"`:                                  "a=61453",
		`at = 1, type = "int16"`:                                   "a=-4083",
		`at = 1, type = "int16", order = "little"`:                 "a=3568",
		`at = 1, type = "uint24"`:                                  "a=15732190",
		`at = 1, type = "int24"`:                                   "a=-1045026",
		`at = 1, type = "int24", order = "little"`:                 "a=-2224656",
		`at = 1, type = "int32"`:                                   "a=-267526472",
		`at = 1, type = "uint32", scale = 0.01`:                    "a=4.027440824e+07",
		`at = 5, type = "float32"`:                                 "a=21.3",
		`at = 5, type = "float32", scale = 2`:                      "a=42.6",
		`at = 9, type = "float32", order = "little", decimals = 0`: "a=21",
		`at = 1, type = "bool", mask = 0x10`:                       "a=true",
		`at = 1, type = "bool", mask = 0x01`:                       "a=false",
		`at = 1, mask = 0xF0`:                                      "a=15",
		`at = 1, type = "int8", mask = 0xF0`:                       "a=-1",
		`at = 1, type = "uint16", mask = 0x0FFF`:                   "a=13",
		`at = 1, no_value = [0xF0]`:                                "",
		`at = 1, type = "int16", no_value = [0xF00D]`:              "",
		`at = 13, type = "uint64"`:                                 "a=1.8446744073709552e+19",
		`at = 13, type = "int64"`:                                  "a=-1",
	} {
		options := onPort + "header = \"55\"\nlength = 21\nfields = [{ name = \"a\", " + field + " }]"
		got := stream(t, strictly(options), unhex(t, "55 F00DDEB8 41AA6666 6666AA41 FFFFFFFFFFFFFFFF"))
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", field, got, want)
		}
	}
}

func TestSilenceOfFramesEndsTheUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := serialtest.New()
		dev, err := serial.FrameKind().Open(t.Context(), example(t, 0), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		began := time.Now()
		go func() { failed <- dev.(drivers.Watcher).Watch(t.Context(), func(drivers.Reading) {}) }()
		for range 50 { // it sends all the time, but at another baud rate
			time.Sleep(time.Second)
			port.Feed("\xf8\xaa\xc0\x00")
		}
		err = <-failed
		if took := time.Since(began); took > 62*time.Second || !strings.Contains(err.Error(), "no good frame came for 1m0s") {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A sensor on a real terminal: the adapter is pulled out, and another one appears at
// the same name, in the middle of a frame.
func TestFramesSurviveAPulledPlug(t *testing.T) {
	master, path := ptytest.Open(t)
	byID := filepath.Join(t.TempDir(), "usb-adapter")
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	d := &diary{news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		decode := example(t, 0)
		err := drivers.Run(ctx, drivers.Spec{
			Kind: serial.FrameKind(), Ports: drivers.Ports{Serial: serial.Open},
			Decode: func(dst any) error {
				err := decode(dst)
				dst.(*serial.FrameOptions).Path = byID
				return err
			},
		}, d)
		if err != nil {
			t.Error(err)
		}
	})
	master.WriteString(unhex(t, "AA C0 8C 00 94 00 BC F9 D5 AB"))
	d.wait(t, "pm2_5=14")
	master.Close()
	d.wait(t, "offline: ")
	other, path := ptytest.Open(t)
	os.Remove(byID)
	if err := os.Symlink(path, byID); err != nil {
		t.Fatal(err)
	}
	other.WriteString(unhex(t, "BC F9 D5 AB AA C0 8D 00 94 00 BC F9 D6 AB"))
	d.wait(t, "pm2_5=14.1")
	cancel()
	running.Wait()
}

func TestWrongFrameOptions(t *testing.T) {
	const good = onPort + "header = \"55\"\nlength = 4\n"
	const a = "\nfields = [{ name = \"a\", at = 1 }]"
	for options, want := range map[string]string{
		``:                             "path must be",
		good:                           "fields must name",
		onPort + "length = 4" + a:      "header must hold",
		onPort + "header = \"5\"" + a:  "header: bytes must be written like",
		onPort + "header = \"55\"" + a: "length of a frame",
		good + "length_field = { at = 1, size = 1 }" + a:                         "length of a frame",
		onPort + "header = \"55\"\nlength_field = { at = 1, size = 3 }" + a:      "length_field.size must",
		onPort + "header = \"55\"\nlength = 1" + a:                               "length must be between 2",
		onPort + "header = \"55\"\nlength = 1025" + a:                            "length must be between 2",
		good + "checksum = { type = \"md5\" }" + a:                               "checksum.type must",
		good + "checksum = { type = \"crc16\" }" + a:                             "checksum.poly must",
		good + "checksum = { type = \"sum8\", poly = 1 }" + a:                    "checksum.poly, init",
		good + "checksum = { type = \"crc8\", poly = 0x107 }" + a:                "checksum.poly, init",
		good + "checksum = { type = \"xor\", from = 3, to = 2 }" + a:             "checksum.to must",
		good + "checksum = { type = \"sum16\", at = 3 }" + a:                     "length must be between 5",
		good + "timeout = \"5s\"" + a:                                            "timeout must",
		good + "silence = \"1ms\"" + a:                                           "silence must",
		good + "fields = [{ name = \"a\", at = 3, type = \"uint16\" }]":          "length must be between 5",
		good + "fields = [{ name = \"a\", type = \"uint12\" }]":                  "fields.type of",
		good + "fields = [{ name = \"a\", mask = 0x100 }]":                       "fields.mask of",
		good + "fields = [{ name = \"a\", at = -1 }]":                            "fields.at of",
		good + "fields = [{ name = \"a\", order = \"CDAB\" }]":                   "fields.order of",
		good + "fields = [{ name = \"a\", type = \"bool\", scale = 2 }]":         "fields.scale, offset",
		good + "fields = [{ name = \"a\" }, { name = \"a\" }]":                   `fields.name is "a" twice`,
		good + "fields = [{ at = 1 }]":                                           "fields.name must",
		good + "fields = [{ name = \"a\", type = \"float32\", no_value = [1] }]": "fields.no_value of",
	} {
		if err := serial.FrameKind().Check(strictly(options)); err == nil || !strings.Contains(err.Error(), ": o."+want) {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
}
