package serial_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/serialtest"
)

// ready returns the options of a configuration that the kind serial-frame brings.
func ready(t *testing.T, name string) func(any) error {
	t.Helper()
	text, err := os.ReadFile(name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Devices []struct {
			Name    string          `toml:"name"`
			Kind    string          `toml:"kind"`
			Every   time.Duration   `toml:"every"`
			Options func(any) error `toml:"options"`
		} `toml:"devices"`
	}
	if err := strict.Parse(name+".toml", text).Decode(&file); err != nil || len(file.Devices) != 1 || file.Devices[0].Kind != "serial-frame" {
		t.Fatalf("%d devices: %v", len(file.Devices), err)
	}
	return file.Devices[0].Options
}

// What `gateway devices serial-frame` prints, and what the documentation shows.
func TestReadyConfigurationsAreShown(t *testing.T) {
	manual, err := os.ReadFile("../../docs/serial.md")
	if err != nil {
		t.Fatal(err)
	}
	printed := strings.ReplaceAll("\n"+serial.FrameKind().Example, "\n# ", "\n")
	printed = strings.ReplaceAll(printed, "\n#\n", "\n\n")
	for _, name := range []string{"sds011", "pms5003", "mhz19"} {
		text, err := os.ReadFile(name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(manual), "```toml\n"+string(text)+"```\n") {
			t.Errorf("%s.toml is not in docs/serial.md as it is", name)
		}
		_, keys, _ := strings.Cut(string(text), "\n") // the first line is a comment, of which one # is gone
		if !strings.Contains(printed, keys) {
			t.Errorf("%s.toml is not in the example of the kind", name)
		}
	}
}

func TestReadyConfigurationsReadRecordedFrames(t *testing.T) {
	for _, c := range []struct{ source, name, frame, want string }{
		{"Laser Dust Sensor Control Protocol V1.3 (Nova Fitness, 2015), 3.2: 123.6 and 261.8 µg/m³",
			"sds011", "AA C0 D4 04 3A 0A A1 60 1D AB", "pm2_5=123.6 pm10=261.8"},
		{"recorded with od(1): community.particle.io, topic 24221, page 4",
			"sds011", "AA C0 8C 00 94 00 BC F9 D5 AB", "pm2_5=14 pm10=14.8"},
		// Data 4 to 6 are those under atmospheric environment; data 1 to 3, with CF=1, are
		// for factories (PMS5003 series data manual V2.3, appendix I, page 13). Here they differ.
		{"recorded: stackoverflow.com, question 56384070",
			"pms5003", "42 4D 00 1C 00 17 00 20 00 20 00 16 00 1F 00 20 11 7C 04 D3 00 AB 00 08 00 00 00 00 97 00 04 05", "pm1=22 pm2_5=31 pm10=32"},
		{"recorded, published with programs that read such sensors; in more dust",
			"pms5003", "42 4D 00 1C 00 29 00 3E 00 46 00 1F 00 2E 00 3C 19 EC 07 BF 01 69 00 36 00 08 00 00 91 00 04 E5", "pm1=31 pm2_5=46 pm10=60"},
		{"known good data in the tests of avaldebe/PyPMS",
			"pms5003", "42 4D 00 1C 00 05 00 0D 00 16 00 05 00 0D 00 16 02 FD 00 FC 00 1D 00 0F 00 06 00 06 97 00 03 C5", "pm1=5 pm2_5=13 pm10=22"},
	} {
		frame := unhex(t, c.frame)
		got := stream(t, serial.FrameKind(), ready(t, c.name), frame)
		if fmt.Sprint(got) != fmt.Sprint([]string{c.want}) {
			t.Errorf("%s: %v, want %s (%s)", c.frame, got, c.want, c.source)
		}
		for i := range frame { // every single damage shows
			damaged := []byte(frame)
			damaged[i] ^= 0x10
			got := stream(t, serial.FrameKind(), ready(t, c.name), frame+string(damaged)+frame)
			if len(got) < 2 || got[0] != c.want || got[len(got)-1] != c.want ||
				slices.ContainsFunc(got, func(s string) bool { return s != c.want && !strings.HasPrefix(s, "fault: ") }) {
				t.Errorf("byte %d damaged: %v", i, got)
			}
		}
	}
}

// Request and answer of the example on page 7 of Winsen's MH-Z19B user's manual:
// 544 ppm.
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
		if serial.FrameKind().Watches(ready(t, "mhz19")) || !serial.FrameKind().Watches(ready(t, "sds011")) {
			t.Error("a sensor that is asked tells by itself, or one that sends is asked")
		}
		dev, err := serial.FrameKind().Open(t.Context(), ready(t, "mhz19"), port.Ports())
		if err != nil {
			t.Fatal(err)
		}
		sample := func() string {
			r, err := dev.(drivers.Sampler).Sample(t.Context())
			if err != nil {
				return err.Error()
			}
			return serialtest.Show(r)
		}
		port.Feed("\xff\x86 a late answer")
		if got := sample(); got != "co2=544" {
			t.Error(got)
		}
		whole := answer
		answer = whole[:5]
		if got := sample(); got != "/dev/serial0: a frame ends in the middle: FF 86 02 20 00" {
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
