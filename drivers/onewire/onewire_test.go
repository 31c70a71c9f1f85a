package onewire_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"edgegateway/drivers"
	"edgegateway/drivers/onewire"
)

// bus makes /sys/bus/w1/devices with the devices of these names below a root.
func bus(t *testing.T, ids ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, id := range append(ids, "w1_bus_master1") {
		if err := os.MkdirAll(filepath.Join(root, "sys/bus/w1/devices", id), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		answer(t, root, id, "")
	}
	return root
}

// answer lets a thermometer answer with this text from now on.
func answer(t *testing.T, root, id, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, "sys/bus/w1/devices", id, "w1_slave"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// w1Slave is the text of a scratchpad: eight bytes in hex, to which the checksum comes.
func w1Slave(pad string) string {
	var c byte
	for _, field := range strings.Fields(pad) {
		var b byte
		if _, err := fmt.Sscanf(field, "%x", &b); err != nil {
			panic(err)
		}
		// The table of application note 27, as the sum of its entries for single bits.
		index := c ^ b
		c = 0
		for bit, entry := range []byte{0x5e, 0xbc, 0x61, 0xc2, 0x9d, 0x23, 0x46, 0x8c} {
			if index>>bit&1 == 1 {
				c ^= entry
			}
		}
	}
	return fmt.Sprintf("%s %02x : crc=%02x YES\n%s %02x t=0\n", pad, c, c, pad, c)
}

func with(options string) func(any) error {
	return func(dst any) error {
		return toml.NewDecoder(strings.NewReader(options)).DisallowUnknownFields().Decode(dst)
	}
}

func open(t *testing.T, root, id string) (drivers.Sampler, error) {
	t.Helper()
	d, err := onewire.Kind().Open(t.Context(), with(`id = "`+id+`"`), drivers.Ports{Root: root})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { d.Close() })
	return d.(drivers.Sampler), nil
}

func mustOpen(t *testing.T, root, id string) drivers.Sampler {
	t.Helper()
	d, err := open(t, root, id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sample is one temperature, or why there is none.
func sample(t *testing.T, d drivers.Sampler) (float64, error) {
	t.Helper()
	r, err := d.Sample(t.Context())
	if err != nil {
		return 0, err
	}
	if len(r.Values) != 1 || r.Values[0].Channel != "temperature" || r.Fault != nil || len(r.Bad) != 0 {
		t.Fatalf("a reading of %+v", r)
	}
	return r.Values[0].V.(float64), nil
}

func TestTemperatures(t *testing.T) {
	for _, c := range []struct {
		source, id, text string
		want             float64
	}{
		// What sensors on Raspberry Pis gave, from public notes of their owners.
		{"recorded", "28-000004e1a947", "70 01 4b 46 7f ff 10 10 e1 : crc=e1 YES\n70 01 4b 46 7f ff 10 10 e1 t=23000\n", 23},
		{"recorded", "28-0000010edf01", "5c 01 4b 46 7f ff 04 10 a1 : crc=a1 YES\n5c 01 4b 46 7f ff 04 10 a1 t=21750\n", 21.75},
		{"recorded, a clone", "28-0316a2794ab5", "5e 01 ff ff 7f ff ff ff 52 : crc=52 YES\n5e 01 ff ff 7f ff ff ff 52 t=21875\n", 21.875},
		{"recorded", "28-0316a2794ab5", "73 01 4b 46 7f ff 0d 10 41 : crc=41 YES\n73 01 4b 46 7f ff 0d 10 41 t=23187\n", 23.1875},

		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("d0 07 4b 46 7f ff 10 10"), 125},
		{"DS18B20 datasheet, table 1, measured", "28-0316a2794ab5", w1Slave("50 05 4b 46 7f ff 10 10"), 85},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("91 01 4b 46 7f ff 0f 10"), 25.0625},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("a2 00 4b 46 7f ff 0e 10"), 10.125},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("00 00 4b 46 7f ff 10 10"), 0},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("f8 ff 4b 46 7f ff 08 10"), -0.5},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("5e ff 4b 46 7f ff 02 10"), -10.125},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("6f fe 4b 46 7f ff 01 10"), -25.0625},
		{"DS18B20 datasheet, table 1", "28-0316a2794ab5", w1Slave("90 fc 4b 46 7f ff 10 10"), -55},

		{"9 bits: three are undefined", "28-0316a2794ab5", w1Slave("5f 01 4b 46 1f ff 0c 10"), 21.5},
		{"10 bits: two are undefined", "28-0316a2794ab5", w1Slave("5f 01 4b 46 3f ff 0c 10"), 21.75},
		{"11 bits: one is undefined", "28-0316a2794ab5", w1Slave("5f 01 4b 46 5f ff 0c 10"), 21.875},
		{"9 bits below zero", "28-0316a2794ab5", w1Slave("ff ff 4b 46 1f ff 0c 10"), -0.5},

		{"DS1822", "22-0000001b2c3d", w1Slave("91 01 4b 46 7f ff 0f 10"), 25.0625},
		{"DS28EA00", "42-0000001b2c3d", w1Slave("91 01 4b 46 7f ff 0f 10"), 25.0625},
		{"DS1825: bit 7 of the configuration is 0", "3b-0000001b2c3d", w1Slave("91 01 4b 46 7f ff 0f 10"), 25.0625},

		{"DS18S20 datasheet, table 1: 25 °C", "10-000801ca120b", w1Slave("32 00 4b 46 ff ff 0c 10"), 25},
		{"DS18S20 datasheet, table 1: -25 °C", "10-000801ca120b", w1Slave("ce ff 4b 46 ff ff 0c 10"), -25},
		{"DS18S20 datasheet, its equation: 16 - 0.25 + 7/16", "10-000801ca120b", w1Slave("21 00 4b 46 ff ff 09 10"), 16.1875},
		{"DS18S20 datasheet, its equation: -1 - 0.25 + 12/16", "10-000801ca120b", w1Slave("ff ff 4b 46 ff ff 04 10"), -0.5},
		{"DS18S20 without a count", "10-000801ca120b", w1Slave("21 00 4b 46 ff ff 09 00"), 16.5},
		{"DS18S20 without a count", "10-000801ca120b", w1Slave("21 00 4b 46 ff ff 00 00"), 16.5},

		{"MAX31850 datasheet, table 3", "3b-0c98076e5f01", w1Slave("02 64 00 19 f0 ff ff ff"), 1600},
		{"MAX31850 datasheet, table 3", "3b-0c98076e5f01", w1Slave("4e 06 00 19 f0 ff ff ff"), 100.75},
		{"MAX31850 datasheet, table 3", "3b-0c98076e5f01", w1Slave("fe ff 00 19 f0 ff ff ff"), -0.25},
		{"MAX31850 datasheet, table 3", "3b-0c98076e5f01", w1Slave("62 f0 00 19 f0 ff ff ff"), -250},
	} {
		root := bus(t, c.id)
		answer(t, root, c.id, c.text)
		if got, err := sample(t, mustOpen(t, root, c.id)); err != nil || got != c.want {
			t.Errorf("%s, %s: %v, %v, want %v", c.source, c.text[:27], got, err, c.want)
		}
	}
}

func TestWhatIsNoTemperatureIsRefused(t *testing.T) {
	const id = "28-0316a2794ab5"
	good := w1Slave("91 01 4b 46 7f ff 0f 10")
	for _, c := range []struct{ name, id, text, want string }{
		{"an empty file, as Linux 5.8 and later give it for no presence or a wrong checksum", id, "", "no answer from thermometer " + id},
		{"the kernel found the checksum wrong", id, strings.Replace(good, "YES", "NO", 1), "the checksum is wrong; check the contacts"},
		{"one bit is wrong, and the kernel says YES", id, strings.Replace(good, "91 01", "91 03", 1), "the checksum is wrong; check the contacts"},
		{"the second line holds the last good answer", id, "91 03 4b 46 7f ff 0f 10 25 : crc=26 NO\n91 01 4b 46 7f ff 0f 10 25 t=25062\n", "the checksum is wrong"},
		{"a bus at 0 V, whose checksum is right", id, "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n", "short to ground"},
		{"a bus that nobody pulls down", id, "ff ff ff ff ff ff ff ff ff : crc=c9 NO\n91 01 4b 46 7f ff 0f 10 25 t=-62\n", "no answer from thermometer " + id},
		{"just switched on (recorded)", id, "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n", "value after power-on"},
		{"a DS18S20, just switched on (recorded)", "10-000801ca120b", w1Slave("aa 00 b4 b9 ff ff 0c 10"), "value after power-on"},
		{"not enough power to measure", id, w1Slave("ff 07 4b 46 7f ff 0c 10"), "127.9375 °C is outside -55 to 125 °C"},
		{"colder than it can measure", id, w1Slave("80 fc 4b 46 7f ff 10 10"), "-56 °C is outside"},
		{"a thermocouple that is open", "3b-0c98076e5f01", w1Slave("91 01 01 19 f0 ff ff ff"), "thermocouple is open"},
		{"a thermocouple at ground", "3b-0c98076e5f01", w1Slave("91 01 02 19 f0 ff ff ff"), "thermocouple is shorted to ground"},
		{"a thermocouple at the supply", "3b-0c98076e5f01", w1Slave("91 01 04 19 f0 ff ff ff"), "thermocouple is shorted to the supply"},
		{"eight bytes", id, "91 01 4b 46 7f ff 0f 10 : crc=26 YES\n", "not the answer of a thermometer"},
		{"rubbish", id, "rubbish\n", "not the answer of a thermometer"},
		{"no checksum", id, "91 01 4b 46 7f ff 0f 10 25\n", "not the answer of a thermometer"},
	} {
		root := bus(t, c.id)
		answer(t, root, c.id, c.text)
		got, err := sample(t, mustOpen(t, root, c.id))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.id) {
			t.Errorf("%s: %v, %v; want %q", c.name, got, err, c.want)
		}
		if errors.Is(err, drivers.ErrGone) {
			t.Errorf("%s: %v ends the use of a sensor that may be well the next time", c.name, err)
		}
	}
}

// A clone has 0x0c in byte 6 at all temperatures, and so at a true 85 °C, too.
func TestTheValueAfterPowerOnIsBelievedOfASensorThatIsAboutAsWarm(t *testing.T) {
	const id = "28-0316a2794ab5"
	root := bus(t, id)
	d := mustOpen(t, root, id)
	poweredOn := w1Slave("50 05 4b 46 7f ff 0c 10")
	for _, step := range []struct {
		text string
		want float64 // 0: refused
	}{
		{poweredOn, 0},
		{w1Slave("f0 04 4b 46 7f ff 0c 10"), 79},
		{poweredOn, 0},
		{w1Slave("00 05 4b 46 7f ff 0c 10"), 80},
		{poweredOn, 85},
		{poweredOn, 85},
		{w1Slave("91 01 4b 46 7f ff 0c 10"), 25.0625},
		{poweredOn, 0},
	} {
		answer(t, root, id, step.text)
		if got, err := sample(t, d); got != step.want || (err != nil) != (step.want == 0) {
			t.Errorf("%s: %v, %v, want %v", step.text[:27], got, err, step.want)
		}
	}
}

func TestTheOnlyThermometerNeedsNoID(t *testing.T) {
	root := bus(t, "29-00000012ab34", "28-0316a2794ab5")
	answer(t, root, "28-0316a2794ab5", w1Slave("91 01 4b 46 7f ff 0f 10"))
	if got, err := sample(t, mustOpen(t, root, "")); err != nil || got != 25.0625 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	noDriver := bus(t, "28-0316a2794ab5")
	if err := os.Remove(filepath.Join(noDriver, "sys/bus/w1/devices/28-0316a2794ab5/w1_slave")); err != nil {
		t.Fatal(err)
	}
	noMaster := t.TempDir() // the module wire is loaded, w1-gpio is not
	if err := os.MkdirAll(filepath.Join(noMaster, "sys/bus/w1/devices"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, root, id, want string }{
		{"no 1-wire at all", t.TempDir(), "28-0316a2794ab5", "put the line dtoverlay=w1-gpio into /boot/firmware/config.txt and restart"},
		{"no bus", noMaster, "", "put the line dtoverlay=w1-gpio into /boot/firmware/config.txt and restart"},
		{"an empty bus", bus(t), "", "a 1-wire thermometer is not there; check its power, ground and data wire, and the pull-up resistor of 4.7 kΩ"},
		{"an empty bus and an id", bus(t), "28-0316a2794ab5", "the 1-wire thermometer 28-0316a2794ab5 is not there; check its power"},
		{"no pull-up", bus(t, "00-400000000000"), "", "it needs a pull-up resistor"},
		{"a switch is no thermometer", bus(t, "29-00000012ab34"), "", "a 1-wire thermometer is not there"},
		{"two to choose from", bus(t, "28-0316a2794ab5", "10-000801ca120b"), "", "there are 2 thermometers; choose one by id: 10-000801ca120b, 28-0316a2794ab5"},
		{"another one", bus(t, "28-0316a2794ab5", "29-00000012ab34"), "28-0316a2794ab6", "28-0316a2794ab6 is not there; the kernel has found 28-0316a2794ab5; check the id"},
		{"no driver for thermometers", noDriver, "", "modprobe w1_therm"},
	} {
		if _, err := open(t, c.root, c.id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAThermometerMayVanishAndComeBack(t *testing.T) {
	const id = "28-0316a2794ab5"
	root := bus(t, id)
	d := mustOpen(t, root, id)
	place := filepath.Join(root, "sys/bus/w1/devices", id)
	if err := os.RemoveAll(place); err != nil {
		t.Fatal(err)
	}
	if _, err := sample(t, d); !errors.Is(err, drivers.ErrGone) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "plug it in again") {
		t.Errorf("a sensor that vanished: %v", err)
	}
	var missing *drivers.MissingError
	if _, err := open(t, root, id); !errors.As(err, &missing) {
		t.Errorf("opened while it was away: %v", err)
	}
	if err := os.Mkdir(place, 0o755); err != nil {
		t.Fatal(err)
	}
	answer(t, root, id, w1Slave("91 01 4b 46 7f ff 0f 10"))
	if got, err := sample(t, mustOpen(t, root, id)); err != nil || got != 25.0625 {
		t.Errorf("plugged in again: %v, %v", got, err)
	}
}

// Two thermometers of a bus, and one of another, as the kernel shows them.
func TestOneThermometerOfABusMeasuresAtATime(t *testing.T) {
	root := t.TempDir()
	ids := []string{"28-0316a2794ab5", "28-000004e1a947", "28-0000010edf01"}
	list := filepath.Join(root, "sys/bus/w1/devices")
	for i, master := range []string{"w1_bus_master1", "w1_bus_master1", "w1_bus_master2"} {
		place := filepath.Join(root, "sys/devices", master, ids[i])
		if err := errors.Join(os.MkdirAll(place, 0o755), os.MkdirAll(filepath.Join(list, master), 0o755), os.Symlink(place, filepath.Join(list, ids[i]))); err != nil {
			t.Fatal(err)
		}
		answer(t, root, ids[i], w1Slave("91 01 4b 46 7f ff 0f 10"))
	}
	turns := new(drivers.Turns)
	release, err := turns.Take(t.Context(), "w1_bus_master1") // as if the first one measured
	if err != nil {
		t.Fatal(err)
	}
	var devices []drivers.Sampler
	for _, id := range ids {
		d, err := onewire.Kind().Open(t.Context(), with(`id = "`+id+`"`), drivers.Ports{Root: root, Turns: turns})
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, d.(drivers.Sampler))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := devices[1].Sample(ended); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "28-000004e1a947 did not get its turn on w1_bus_master1") {
		t.Errorf("the second of the bus, when the time is up: %v, %v", r, err)
	}
	if got, err := sample(t, devices[2]); err != nil || got != 25.0625 {
		t.Errorf("on the other bus: %v, %v", got, err)
	}
	release()
	for range 2 { // each gives its turn back
		for _, d := range devices {
			if got, err := sample(t, d); err != nil || got != 25.0625 {
				t.Errorf("in turn: %v, %v", got, err)
			}
		}
	}
}

func TestScanNamesTheFamilies(t *testing.T) {
	root := bus(t, "28-0316a2794ab5", "10-000801ca120b", "29-00000012ab34", "fe-000000000001", "00-400000000000")
	for _, name := range []string{"no device", "8-0316a2794ab5"} {
		if err := os.Mkdir(filepath.Join(root, "sys/bus/w1/devices", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	found, err := onewire.Scan(root)
	var got []string
	for _, f := range found {
		got = append(got, f.String())
	}
	want := []string{
		"00-400000000000  no device: the data wire has no pull-up resistor",
		"10-000801ca120b  DS18S20",
		"28-0316a2794ab5  DS18B20",
		"29-00000012ab34  DS2408 (8 switches)",
		"fe-000000000001  unknown family",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q, want %q", err, got, want)
	}
	if _, err := onewire.Scan(t.TempDir()); err == nil || !strings.Contains(err.Error(), "w1-gpio") {
		t.Errorf("no bus: %v", err)
	}
}

func TestWrongIDsAreFoundBeforeAnythingStarts(t *testing.T) {
	for id, want := range map[string]string{
		"":                   "",
		"28-0316a2794ab5":    "",
		"3b-0c98076e5f01":    "",
		"28-0316A2794AB5":    "id must be",
		"28.0316a2794ab5":    "id must be",
		"0316a2794ab5":       "id must be",
		"28-0316a2794a":      "id must be",
		"28-0316a2794ab5.7f": "id must be",
		"../0316a2794ab5":    "id must be",
		"29-00000012ab34":    "id 29-00000012ab34 does not belong to a thermometer",
	} {
		err := onewire.Kind().Check(with(`id = "` + id + `"`))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", id, err, want)
		}
	}
}

func TestTwoDevicesDoNotTakeTheSameThermometer(t *testing.T) {
	for options, want := range map[string]string{
		`id = "28-0316a2794ab5"`: "the 1-wire device 28-0316a2794ab5",
		``:                       "the only 1-wire thermometer",
	} {
		uses, err := onewire.Kind().Uses(with(options))
		if err != nil || len(uses) != 1 || uses[0] != (drivers.Use{What: want, Key: "id"}) {
			t.Errorf("%s: %+v, %v", options, uses, err)
		}
	}
}
