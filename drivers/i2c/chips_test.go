package i2c_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/config/strict"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

// Words of the datasheet SBOS397, tables 5 and 6: 12 bits, and 13 in extended mode.
func TestTMP102(t *testing.T) {
	for word, line := range map[uint16]string{
		0x7ff0: "temperature=127.9375",
		0x6400: "temperature=100",
		0x0040: "temperature=0.25",
		0x0000: "temperature=0",
		0xffc0: "temperature=-0.25",
		0xe700: "temperature=-25",
		0xc900: "temperature=-55",
		0x4b01: "temperature=150",
		0xfff1: "temperature=-0.125",
		0x8000: "the TMP102 at address 0x48 on I2C bus 1: a temperature of -128 is outside of what it measures, -55 to 150; check its wiring and power",
	} {
		got := measured(t, i2c.TMP102Kind(), 0x48, i2ctest.Words{0: word, 1: 0x60a0}, "", 1)
		want(t, got, line)
	}
}

// A TMP105 comes up with 9 bits, and somebody may have put it to sleep; what it held
// then is not told.
func TestTMP105GivesAllItsBits(t *testing.T) {
	got := measured(t, i2c.TMP102Kind(), 0x49, i2ctest.Recorded("01 > 81\n01 60\n01 > 60\n00 > 19 10\n00 > 19 20"), "address = 0x49", 2)
	want(t, got, "temperature=25.0625", "temperature=25.125")
}

// The TMP105 of QEMU (hw/sensor/tmp105.c), with what SLLS648D says of a conversion.
type tmp105 struct {
	pointer, config byte
	measured        uint16 // the temperature in 1/256 °C
	register        uint16 // what can be read
	due             time.Time
}

func (c *tmp105) Tx(w, r []byte) error {
	if c.config&1 == 0 && !time.Now().Before(c.due) {
		c.register = c.measured
	}
	if len(w) > 0 {
		c.pointer = w[0] & 3
	}
	if len(w) > 1 && c.pointer == 1 {
		c.config = w[1]
		c.due = time.Now().Add(220 * time.Millisecond)
	}
	for i := range r {
		bits := c.register & (0xfff0 << (^c.config >> 5 & 3))
		switch {
		case c.pointer == 0 && i < 2:
			r[i] = byte(bits >> (8 - 8*i))
		case c.pointer == 1 && i < 1:
			r[i] = c.config
		default:
			r[i] = 0xff
		}
	}
	return nil
}

func TestATMP105ThatLosesItsSupplyIsSetUpAgain(t *testing.T) {
	chip := &tmp105{measured: 0x1910}
	n := 0
	cut := i2ctest.Func(func(w, r []byte) error {
		if n++; n == 10 { // for a moment: the settings are those of power-on, nothing is measured yet
			*chip = tmp105{measured: 0x1930, due: time.Now().Add(220 * time.Millisecond)}
		}
		return chip.Tx(w, r)
	})
	got := measured(t, i2c.TMP102Kind(), 0x48, cut, "", 10)
	for i, line := range got {
		if line != "temperature=25.0625" && line != "temperature=25.1875" {
			t.Errorf("sample %d: %s", i, line)
		}
	}
	if len(got) != 10 || got[9] != "temperature=25.1875" || chip.config != 0x60 {
		t.Errorf("%q, config %#02x", got, chip.config)
	}
}

// Both have 0 in the register before their first conversion (SBOS397C, Temperature
// Register; DS25095A, register 5-4), and nothing else that would tell.
func TestNothingIsToldFromBeforeTheFirstConversion(t *testing.T) {
	for _, c := range []struct {
		kind    drivers.Kind
		address uint16
		word    uint16 // -18 °C
		chip    i2ctest.Words
	}{
		{i2c.TMP102Kind(), 0x48, 0xee00, i2ctest.Words{1: 0x60a0}},
		{i2c.MCP9808Kind(), 0x18, 0x1ee0, i2ctest.Words{6: 0x0054, 7: 0x0400}},
		{i2c.MCP9808Kind(), 0x18, 0x3ee0, i2ctest.Words{6: 0x0054, 7: 0x0400}}, // with an alarm
	} {
		register, alarm := byte(5), uint16(0x2000)
		if c.kind.Name == "tmp102" {
			register, alarm = 0, 0
		}
		asked := 0
		var powered time.Time
		got := measured(t, c.kind, c.address, i2ctest.Func(func(w, r []byte) error {
			if len(w) == 1 && w[0] == register {
				if asked++; asked == 2 { // its supply was away for a moment
					powered = time.Now()
				}
			}
			if c.chip[register] = c.word; time.Since(powered) < 250*time.Millisecond {
				c.chip[register] = c.word & alarm
			}
			return c.chip.Tx(w, r)
		}), "", 3)
		want(t, got, "temperature=-18", "temperature=-18", "temperature=-18")
	}
}

// Bits of the datasheet DS25095A, register 5-4; the three highest are alarms.
func TestMCP9808(t *testing.T) {
	for word, line := range map[uint16]string{
		0xc194: "temperature=25.25",
		0x0001: "temperature=0.0625",
		0x3fff: "temperature=-0.0625",
		0x1e70: "temperature=-25",
		0x07ff: "the MCP9808 at address 0x18 on I2C bus 1: a temperature of 127.9 is outside...",
	} {
		chip := i2ctest.Words{1: 0x0118, 5: word, 6: 0x0054, 7: 0x0400}
		want(t, measured(t, i2c.MCP9808Kind(), 0x18, chip, "", 1), line)
		if chip[1] != 0x0018 {
			t.Errorf("the chip sleeps on: %#04x", chip[1])
		}
	}
	want(t, measured(t, i2c.MCP9808Kind(), 0x18, i2ctest.Words{6: 0x0054, 7: 0x0201}, "", 1),
		"the MCP9808 at address 0x18 on I2C bus 1: another chip is there: it gives maker 0x0054 and identification 0x0201")
}

// The example of the datasheet BH1750FVI, page 10; and the sun, page 11.
func TestBH1750(t *testing.T) {
	got := measured(t, i2c.BH1750Kind(), 0x23, i2ctest.Recorded("42\n65\n20\n> 83 90"), "", 1)
	want(t, got, "illuminance=28066.7")
	got = measured(t, i2c.BH1750Kind(), 0x5c, i2ctest.Recorded("42\n65\n21\n> 00 06"), "address = 0x5c\nresolution = 0.5", 1)
	want(t, got, "illuminance=2.5")
	got = measured(t, i2c.BH1750Kind(), 0x23, i2ctest.Recorded("42\n65\n20\n> ff ff\n40\n7f\n20\n> d2 f0"), "", 1)
	want(t, got, "illuminance=100161.3")
	got = measured(t, i2c.BH1750Kind(), 0x23, i2ctest.Recorded("42\n65\n21\n> ff ff\n40\n7f\n20\n> d2 f0"), "resolution = 0.5", 1)
	want(t, got, "illuminance=100161.3")
	got = measured(t, i2c.BH1750Kind(), 0x23, i2ctest.Recorded("42\n65\n23\n> ff ff\n40\n7f\n20\n> d2 f0"), "resolution = 4", 1)
	want(t, got, "illuminance=100161.3")
}

// The example of the datasheet SBOS448G, section 8.5.2 with table 8: 11.98 V, 20 mV over 2 mΩ.
func TestINA219(t *testing.T) {
	const options = "shunt = 0.002\naverage = 1"
	got := measured(t, i2c.INA219Kind(), 0x40, i2ctest.Recorded(`
		00 3c 43
		02 > 5d 98    # not ready
		02 > 5d 9a
		01 > 07 d0
		00 3c 43
		02 > 5d 9a
		01 > f8 30    # the other way
		00 3c 43
		02 > 00 02    # nothing on the bus
		01 > f8 30
		00 3c 43
		02 > 5d 9a
		01 > 7d 00
	`), options, 4)
	want(t, got, "voltage=11.98 current=10 power=119.8", "voltage=11.98 current=-10 power=-119.8", "voltage=0 current=-10 power=0",
		"voltage=11.98 the INA219 at address 0x40 on I2C bus 1: the current is beyond what the resistor of 0.002 Ω allows, ±160 A")
	got = measured(t, i2c.INA219Kind(), 0x40, i2ctest.Words{}, "", 1)
	want(t, got, "the INA219 at address 0x40 on I2C bus 1: it says without an end that it is busy; is it another kind of chip? power-cycle it")
}

// Codes of the datasheet SBAS444, config register; output codes of table 3.
func TestADS1115(t *testing.T) {
	got := measured(t, i2c.ADS1115Kind(), 0x48, i2ctest.Recorded(`
		01 c3 83
		01 > 43 83    # converting
		01 > c3 83
		00 > 40 00
		01 b5 83      # the pair 2-3 with gain 2
		01 > b5 83
		00 > e0 00
	`), `channels = [{ name = "a", input = 0 }, { name = "b", input = "2-3", gain = 2, scale = 10, offset = 1.5, unit = "bar" }]`, 1)
	want(t, got, "a=2.048 b=-3.62")
}

func TestADS1115TellsWhichInputIsBeyondItsRange(t *testing.T) {
	got := measured(t, i2c.ADS1115Kind(), 0x48, i2ctest.Recorded(`
		01 c3 83
		01 > c3 83
		00 > 7f ff
		01 d1 83
		01 > d1 83
		00 > 00 01
	`), `channels = [{ name = "a", input = 0 }, { name = "b", input = 1, gain = "2/3" }]`, 1)
	want(t, got, `b=0.000188 the ADS1115 at address 0x48 on I2C bus 1: channel "a" is beyond ±4.096 V; choose a lower gain, or look at the wiring`)
}

func TestADS1015(t *testing.T) {
	got := measured(t, i2c.ADS1015Kind(), 0x48, i2ctest.Recorded(`
		01 c3 83
		01 > c3 83
		00 > 7f e0
		01 c3 83
		01 > c3 83
		00 > 7f f0    # full scale: 12 bits on the left
		01 c3 83
		01 > 85 83    # somebody else has begun a conversion
	`), `channels = [{ name = "a", input = 0 }]`, 3)
	want(t, got, "a=4.092", `the ADS1015 at address 0x48 on I2C bus 1: channel "a" is beyond ±4.096 V...`, "the ADS1015 at address 0x48 on I2C bus 1: the config register holds 0x8583 instead of 0xc383...")
}

func TestADSWithoutChannelsHasAllInputs(t *testing.T) {
	chip := i2ctest.Words{0: 0x2000}
	want(t, measured(t, i2c.ADS1115Kind(), 0x48, chip, "", 1), "in0=1.024 in1=1.024 in2=1.024 in3=1.024")
}

func TestRegister(t *testing.T) {
	for channel, c := range map[string]struct{ traffic, line string }{
		`register = 0, width = 16, signed = true, mask = 0xffe0, shift = 5, scale = 0.125`: {"00 > e7 3f", "x=-24.875"},
		`register = 5`:                  {"05 > ff", "x=255"},
		`register = 5, signed = true`:   {"05 > ff", "x=-1"},
		`width = 16, endian = "little"`: {"> 34 12", "x=4660"},
		`register = 0x10, width = 24, endian = "little", signed = true`: {"10 > fe ff ff", "x=-2"},
		`register = 0x100, width = 32`:                                  {"01 00 > ff ff ff ff", "x=4294967295"},
		`register = 7, wide = true, mask = 0x30, shift = 4`:             {"00 07 > ef", "x=2"},
		`register = 7, mask = 0xf0, signed = true`:                      {"07 > f5", "x=-16"},
		`register = 7, mask = 0x80, shift = 7`:                          {"07 > 80", "x=1"},
		`register = 7, scale = 0.1, offset = -40`:                       {"07 > fd", "x=-14.7"},
		// A TMP105 (SLLS648D, table 5), the pressure in a BMP280 (BST-BMP280-DS001, section
		// 3.12: 415148), a byte of an EEPROM with 256, and of one with more.
		`register = 0, width = 16, signed = true, mask = 0xfff0, shift = 4, scale = 0.0625`: {"00 > e7 00", "x=-25"},
		`register = 0xf7, width = 24, mask = 0xfffff0, shift = 4`:                           {"f7 > 65 5a c0", "x=415148"},
		`register = 0xf7, width = 24, signed = true`:                                        {"f7 > ff ff fe", "x=-2"},
		`register = 0xff`:              {"ff > 5a", "x=90"},
		`register = 0x10, wide = true`: {"00 10 > 5a", "x=90"},
		`register = 7, width = 32, endian = "little", signed = true`: {"07 > fe ff ff ff", "x=-2"},
		`register = 7, scale = 0.00390625`:                           {"07 > 01", "x=0.00390625"},
		`register = 7, width = 16, scale = 0.1`:                      {"07 > 00 d5", "x=21.3"},
		`register = 7, scale = 0.1, max = 20, min = 1`:               {"07 > fd", `address 0x20 on I2C bus 1: channel "x": 25.3 is outside of 1 to 20; check the description of the register, and the wiring`},
	} {
		got := measured(t, i2c.RegisterKind(), 0x20, i2ctest.Recorded(c.traffic), `address = 0x20
			channels = [{ name = "x", `+channel+` }]`, 1)
		if len(got) != 1 || got[0] != c.line {
			t.Errorf("%s: %q, want %q", channel, got, c.line)
		}
	}
}

func TestRegisterWritesWhatItIsTold(t *testing.T) {
	got := measured(t, i2c.RegisterKind(), 0x20, i2ctest.Recorded(`
		01 60 a0
		02
		03 01
		00 > 07
		0c > 08
		03 01
		00 > 09
		0c > nack
		0c > nack
	`), `address = 0x20
		init = [[1, 0x60, "0xa0"], [2]]
		start = [[3, 1]]
		wait = "30ms"
		channels = [{ name = "a", register = 0 }, { name = "b", register = 12 }]`, 2)
	want(t, got, "a=7 b=8", `a=9 channel "b": no answer from address 0x20 on I2C bus 1...`)
}

// It may have been without its supply, or be another one now.
func TestAChipThatDidNotAnswerIsSetUpAgain(t *testing.T) {
	got := measured(t, i2c.RegisterKind(), 0x20, i2ctest.Recorded(`
		01 60
		00 > 07
		00 > nack
		00 > nack
		01 60
		00 > 08
		00 > 09
	`), "address = 0x20\ninit = [[1, 0x60]]\nchannels = [{ name = \"a\", register = 0 }]", 4)
	want(t, got, "a=7", `channel "a": no answer...`, "a=8 address 0x20 on I2C bus 1: 1 of 3 transfers had no answer at the first try...", "a=9")
	got = measured(t, i2c.TMP102Kind(), 0x48, i2ctest.Recorded(`
		01 > 60
		00 > 19 10
		00 > nack
		00 > nack
		01 > 00       # 9 bits
		01 60
		01 > 60
		00 > 19 20
		00 > 19 20
	`), "", 4)
	want(t, got, "temperature=25.0625", "no answer...", "temperature=25.125 the TMP102...", "temperature=25.125")
}

func TestWrongOptions(t *testing.T) {
	for _, c := range []struct {
		kind          drivers.Kind
		options, want string
	}{
		{i2c.BME280Kind(), "address = 0x44", "address of the BME280 or BMP280 must be 0x76 or 0x77, not 0x44"},
		{i2c.BME280Kind(), "oversampling = 3", "oversampling must be 1, 2, 4, 8 or 16, not 3"},
		{i2c.BME280Kind(), `bus = "1st"`, `bus: must be a whole number such as 1 or 0x76, not "1st"`},
		{i2c.BME280Kind(), `bus = ""`, `bus: must be a whole number such as 1 or 0x76, not ""`},
		{i2c.BME280Kind(), `bus = -1`, "bus must be the number of a bus"},
		{i2c.SHT3xKind(), `repeatability = "best"`, "repeatability must be"},
		{i2c.SHT4xKind(), `address = 0x47`, "address of the SHT4x must be"},
		{i2c.SCD4xKind(), `altitude = 4000`, "altitude must be"},
		{i2c.TMP102Kind(), `address = 0x50`, "address of the TMP102 must be"},
		{i2c.MCP9808Kind(), `address = 0x20`, "address of the MCP9808 must be"},
		{i2c.BH1750Kind(), `address = 0x24`, "address of the BH1750 must be"},
		{i2c.BH1750Kind(), `resolution = 2`, "resolution must be"},
		{i2c.INA219Kind(), `shunt = 0`, "shunt must be"},
		{i2c.INA219Kind(), `shunt = 1e-300`, "shunt must be"},
		{i2c.ADS1115Kind(), `channels = [{ name = "a", input = 1, scale = 1e308 }]`, "channels[0].scale must be"},
		{i2c.INA219Kind(), `average = 3`, "average must be"},
		{i2c.ADS1115Kind(), `rate = 1600`, "rate of an ADS1115 must be one of 8, 16, 32, 64, 128, 250, 475, 860, not 1600"},
		{i2c.ADS1015Kind(), `channels = [{ name = "a", input = "1-2" }]`, "channels[0].input of"},
		{i2c.ADS1015Kind(), `channels = [{ name = "a", input = 1, gain = 3 }]`, "channels[0].gain of"},
		{i2c.ADS1015Kind(), `channels = [{ input = 1 }]`, "channels[0].name must"},
		{i2c.ADS1015Kind(), `channels = [{ name = "a", input = 1 }, { name = "a", input = 2 }]`, "channels[1].name is"},
		{i2c.RegisterKind(), `channels = [{ name = "a" }]`, "address is missing"},
		{i2c.RegisterKind(), `address = 0x07`, "address must be between 0x08 and 0x77"},
		{i2c.RegisterKind(), `address = 0x80`, "address must be between 0x08 and 0x77"},
		{i2c.RegisterKind(), `address = 0x20`, "channels must be 1 to 64"},
		{i2c.RegisterKind(), "address = 0x20\ninit = [[256]]", "init must be a list of writes"},
		{i2c.RegisterKind(), "address = 0x20\nwait = \"1m\"", "wait must be"},
	} {
		err := c.kind.Check(with(c.options))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v, want %s", c.kind.Name, c.options, err, c.want)
		}
	}
	for channel, want := range map[string]string{
		`register = 0`:                    "channels[0].name must",
		`name = "x", register = 65536`:    "channels[0].register of",
		`name = "x", width = 12`:          "channels[0].width of",
		`name = "x", endian = "middle"`:   "channels[0].endian of",
		`name = "x", mask = 0x100`:        "channels[0].mask of",
		`name = "x", shift = 8`:           "channels[0].shift of",
		`name = "x", mask = 3, shift = 2`: "channels[0].shift of",
		`name = "x", min = 2, max = 1`:    "channels[0].min of",
		`name = "x", offset = 1e308`:      "channels[0].offset must be",
	} {
		err := i2c.RegisterKind().Check(with(fmt.Sprintf("address = 0x20\nchannels = [{ %s }]", channel)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", channel, err, want)
		}
	}
}

func TestEveryKindTakesItsAddressForItself(t *testing.T) {
	for _, k := range all.Kinds() {
		if !strings.Contains(k.Summary, "I2C") {
			continue
		}
		options := "bus = 3"
		if k.Name == "i2c-register" {
			options += "\naddress = 0x21\nchannels = [{ name = \"a\" }]"
		}
		got, err := k.Uses(with(options))
		if err != nil || len(got) != 1 || got[0].Shared != "" || got[0].Key != "address" || !strings.HasSuffix(got[0].What, " on I2C bus 3") {
			t.Errorf("%s: %+v, %v", k.Name, got, err)
		}
	}
	got, err := i2c.SHT4xKind().Uses(with(`address = "0x45"` + "\n" + `bus = "/dev/i2c-1"`))
	if err != nil || len(got) != 1 || got[0].What != "address 0x45 on I2C bus 1" {
		t.Errorf("%+v, %v", got, err)
	}
}

// The example that `gateway devices i2c-register` prints: an LM75A (NXP LM75A_4, section
// 7.4.3: the eleven highest bits, 0.125 °C each); and that of the manual, a TMP105.
func TestTheExamplesOfRegistersReadTheirChips(t *testing.T) {
	manual, err := os.ReadFile("../../docs/i2c.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(manual), "```toml\n")
	block, _, _ = strings.Cut(block, "```")
	for _, c := range []struct {
		name, example string
		address       uint16
		traffic       string
		lines         []string
	}{
		{"LM75A", i2c.RegisterKind().Example, 0x4f, `
			01 00         # awake
			00 > 19 1f    # the five lowest bits have no meaning
			00 > e7 00
			00 > 7f e0    # 127.875 °C: more than it measures
		`, []string{"temperature=25", "temperature=-25", ""}},
		{"TMP105", block, 0x49, "01 60\n00 > 7f f0\n00 > c9 00\n00 > 80 00", []string{"temperature=127.9375", "temperature=-55", ""}},
	} {
		var file struct {
			Devices []struct {
				Name    string          `toml:"name"`
				Kind    string          `toml:"kind"`
				Every   time.Duration   `toml:"every"`
				Options func(any) error `toml:"options"`
			} `toml:"devices"`
		}
		if err := strict.Parse("example.toml", []byte(c.example)).Decode(&file); err != nil || len(file.Devices) != 1 {
			t.Fatalf("%s: %v", c.name, err)
		}
		synctest.Test(t, func(t *testing.T) {
			chip := i2ctest.Recorded(c.traffic)
			bus := new(i2ctest.Bus).Attach(c.address, chip)
			dev, err := i2c.RegisterKind().Open(t.Context(), file.Devices[0].Options, i2ctest.Ports(map[int]*i2ctest.Bus{1: bus}))
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			for _, line := range c.lines {
				r, err := dev.(drivers.Sampler).Sample(t.Context())
				if say(r) != line || (err != nil) != (line == "") {
					t.Errorf("%s: %s, %v, want %s", c.name, say(r), err, line)
				}
			}
			if chip.Left() != 0 {
				t.Errorf("%s: %d transfers did not come", c.name, chip.Left())
			}
		})
	}
}
