package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/gpio/gpiotest"
	"edgegateway/drivers/i2c/i2ctest"
	"edgegateway/drivers/serial/serialtest"
)

// entry is what the configuration reads of a device; the kind decodes the rest.
type entry struct {
	Name    string              `toml:"name"`
	Kind    string              `toml:"kind"`
	Every   time.Duration       `toml:"every"`
	Options func(dst any) error `toml:"options"`
}

func parse(t *testing.T, text string) entry {
	t.Helper()
	var file struct {
		Devices []entry `toml:"devices"`
	}
	if err := strict.Parse("example.toml", []byte(text)).Decode(&file); err != nil || len(file.Devices) != 1 {
		t.Fatalf("the example is not one device: %v", err)
	}
	return file.Devices[0]
}

// chips is an I2C bus with what each example expects at its address.
func chips(kind string) *i2ctest.Bus {
	bosch := i2ctest.Memory{0xd0: 0x60, 0x89: 1, 0x8f: 1, 0xe2: 1}
	if kind == "bmp280" {
		bosch[0xd0] = 0x58
	}
	sensirion := i2ctest.Func(func(_, r []byte) error {
		for i := range r {
			r[i] = []byte{0xbe, 0xef, 0x92}[i%3]
		}
		return nil
	})
	bus := new(i2ctest.Bus).Attach(0x76, &bosch).Attach(0x44, sensirion).Attach(0x62, sensirion)
	for _, address := range []uint16{0x23, 0x40, 0x48, 0x4f} {
		bus.Attach(address, i2ctest.Words{})
	}
	return bus.Attach(0x18, i2ctest.Words{6: 0x0054, 7: 0x0400})
}

// kernel is a machine's /proc and /sys with what the examples read there.
func kernel(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for path, text := range map[string]string{
		"proc/uptime": "35411.75 101000.12\n",
		"sys/bus/w1/devices/w1_bus_master1/w1_master_name":  "w1_bus_master1\n",
		"sys/bus/w1/devices/28-0316a2794ab5/w1_slave":       "73 01 4b 46 7f ff 0d 10 41 : crc=41 YES\n73 01 4b 46 7f ff 0d 10 41 t=23187\n",
		"sys/bus/iio/devices/iio:device0/name":              "bme280\n",
		"sys/bus/iio/devices/iio:device0/in_temp_input":     "22490\n",
		"sys/bus/iio/devices/iio:device0/in_pressure_input": "100.263671875\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEveryExampleOpens(t *testing.T) {
	var board gpiotest.Board
	fakes := drivers.Ports{Root: kernel(t), Serial: serialtest.New().Ports().Serial, Pin: board.Ports().Pin}
	for _, k := range all.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			example := parse(t, k.Example)
			if example.Kind != k.Name || example.Name == "" {
				t.Errorf("the example is for %q, not %q", example.Kind, k.Name)
			}
			if err := k.Check(example.Options); err != nil {
				t.Fatal(err)
			}
			fakes.I2C = i2ctest.Ports(map[int]*i2ctest.Bus{1: chips(k.Name)}).I2C
			dev, err := k.Open(t.Context(), example.Options, fakes)
			if err != nil {
				t.Fatal(err)
			}
			tells := k.Watches != nil && k.Watches(example.Options)
			if _, watcher := dev.(drivers.Watcher); watcher != tells {
				t.Errorf("the kind says %v of telling by itself, its device %v", tells, watcher)
			}
			said := k.Failsafe != nil && k.Failsafe(example.Options)
			if _, failsafe := dev.(drivers.Failsafe); failsafe != said {
				t.Errorf("the kind says %v of having a safe state, its device %v", said, failsafe)
			}
			if len(dev.Channels()) == 0 {
				t.Error("no channels")
			}
			for _, c := range dev.Channels() {
				if slices.Contains([]string{"ts", "quality", "clock"}, c.Name) {
					t.Errorf("the state has a meaning of its own for %s", c.Name)
				}
			}
			resumes, err := k.Resumes(example.Options)
			if _, ok := dev.(drivers.Resumer); err != nil || ok != (len(resumes) > 0) {
				t.Errorf("goes on from %q (%v), which is a Resumer: %v", resumes, err, ok)
			}
			for _, name := range resumes {
				if !slices.ContainsFunc(dev.Channels(), func(c drivers.Channel) bool { return c.Name == name }) {
					t.Errorf("goes on from %q, which is none of its channels", name)
				}
			}
			var writable []string
			for _, c := range dev.Channels() {
				if c.Writable {
					writable = append(writable, c.Name)
				}
			}
			if set, err := k.Settable(example.Options); err != nil || !slices.Equal(set, writable) {
				t.Errorf("commands set %q (%v), and the writable channels are %q", set, err, writable)
			}
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
			wrong := parse(t, strings.Replace(k.Example, "[devices.options]", "[devices.options]\nno_such_key = 1", 1))
			if err := k.Check(wrong.Options); err == nil || !strings.Contains(err.Error(), `unknown key "no_such_key"`) {
				t.Errorf("an unknown key gives %v", err)
			}
		})
	}
}

func TestMistakesInOptionsPointAtTheirPlace(t *testing.T) {
	for _, c := range []struct{ kind, options, want string }{
		{"gpio-in", `pin = "GPIO4"` + "\n" + `pull = "sideways"`, "x.toml:6:8: devices.options.pull must be"},
		{"gpio-in", `pin = 4`, "x.toml:5:7: "},
		{"serial-line", `path = "/dev/ttyUSB0"` + "\n" + `max_line = "1GiB"`, "x.toml:6:12: devices.options.max_line must be"},
		{"serial-line", `path = "/dev/ttyUSB0"` + "\n" + `boud = 9600`, `x.toml:6:1: unknown key "boud"`},
		{"sim", `channels = [{ name = "a", wave = "sinus" }]`, "x.toml:5:"},
	} {
		var file struct {
			Devices []entry `toml:"devices"`
		}
		text := "[[devices]]\nname = \"d\"\nkind = \"" + c.kind + "\"\n[devices.options]\n" + c.options + "\n"
		if err := strict.Parse("x.toml", []byte(text)).Decode(&file); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(all.Kinds(), func(k drivers.Kind) bool { return k.Name == c.kind })
		if err := all.Kinds()[at].Check(file.Devices[0].Options); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.options, err, c.want)
		}
	}
}

func TestKindsAreSortedAndSpeakForThemselves(t *testing.T) {
	kinds := all.Kinds()
	if !slices.IsSortedFunc(kinds, func(a, b drivers.Kind) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted by name")
	}
	for _, k := range kinds {
		if !strings.HasSuffix(k.Summary, ".") || strings.Contains(k.Summary, "\n") {
			t.Errorf("%s: the summary is not a sentence: %q", k.Name, k.Summary)
		}
	}
}

func TestSystemPortsSayWhatIsMissing(t *testing.T) {
	p := all.SystemPorts()
	if _, err := p.Serial(drivers.SerialConfig{Path: "/dev/no-such-port", Baud: 9600}); err == nil || !strings.Contains(err.Error(), "check the cable") {
		t.Errorf("a port that is not there: %v", err)
	}
	if _, err := p.I2C(drivers.I2CConfig{Bus: 987, Address: 0x48}); err == nil || !strings.Contains(err.Error(), "device tree") {
		t.Errorf("a bus that is not there: %v", err)
	}
	if _, err := p.Pin("no such line"); err == nil {
		t.Error("a line that is not there was found")
	}
}
