package i2c_test

import (
	"strings"
	"testing"

	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

// Traffic of a real BME280, with what the maker's integer formulas make of it:
// 23.72 °C, 1009.427 hPa, 65.306 %.
const (
	bmeOpened = `
		d0 > 60
		f3 > 00
	` + bmeTrim + `
		e1 > 6e 01 00 13 05 00 1e
	`
	bmeTrim  = "88 > 10 6e 6c 66 32 00 5d 95 b8 d5 d0 0b 77 1e 9d ff f9 ff ac 26 0a d8 bd 10 00 4b\n"
	bmeStart = `
		f2 01
		f5 00
		f4 25
	`
)

func TestBME280(t *testing.T) {
	got := measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded(bmeOpened+bmeStart+`
		f3 > 08   # measuring
		f3 > 00
		f7 > 4a 52 c0 80 96 c0 7a 76
	`+bmeTrim), "", 1)
	want(t, got, "temperature=23.72 humidity=65.31 pressure=1009.43")
}

// The example of the datasheet: BST-BMP280-DS001-26, section 3.12.
func TestBMP280(t *testing.T) {
	got := measured(t, i2c.BMP280Kind(), 0x77, i2ctest.Recorded(`
		d0 > 58
		f3 > 01   # still copying its trimming values
		f3 > 00
		88 > 70 6b 43 67 18 fc 7d 8e 43 d6 d0 0b 27 0b 8c 00 f9 ff 8c 3c f8 c6 70 17 00 00
		f5 00
		f4 b5     # 16 times
		f3 > 00
		f7 > 65 5a c0 7e ed 00
		88 > 70 6b 43 67 18 fc 7d 8e 43 d6 d0 0b 27 0b 8c 00 f9 ff 8c 3c f8 c6 70 17 00 00
	`), "address = 0x77\noversampling = 16", 1)
	want(t, got, "temperature=25.08 pressure=1006.53")
}

func TestBME280ThatIsSomethingElse(t *testing.T) {
	want(t, measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded("d0 > 58"), "", 1),
		`the BME280 at address 0x76 on I2C bus 1: another chip is there: it is a BMP280, which cannot measure humidity; write kind = "bmp280"`)
	want(t, measured(t, i2c.BMP280Kind(), 0x76, i2ctest.Recorded("d0 > 60"), "", 1),
		`the BMP280 at address 0x76 on I2C bus 1: another chip is there: it is a BME280; write kind = "bme280"`)
	want(t, measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded("d0 > ff"), "", 1),
		`the BME280 at address 0x76 on I2C bus 1: another chip is there: it gives 0xff as its identification`)
	want(t, measured(t, i2c.BME280Kind(), 0x76, nil, "", 1),
		"no answer from the BME280 at address 0x76 on I2C bus 1; check its address, wiring and power; `gateway devices -scan` shows who is on bus 1")
	want(t, measured(t, i2c.BMP280Kind(), 0x76, i2ctest.Recorded("d0 > 58\nf3 > 00\n88 > "+ones(26)), "", 1),
		"the BMP280 at address 0x76 on I2C bus 1: its calibration cannot be read; check its wiring and power")
}

func ones(n int) (s string) {
	for range n {
		s += "ff "
	}
	return s
}

func TestBME280TellsNoNonsense(t *testing.T) {
	for read, line := range map[string]string{
		"ff ff ff ff ff ff ff ff": "the BME280 at address 0x76 on I2C bus 1: a temperature of ...",
		"00 00 00 00 00 00 00 00": "the BME280 at address 0x76 on I2C bus 1: a temperature of ...",
		"00 00 00 80 96 c0 7a 76": "the BME280 at address 0x76 on I2C bus 1: a pressure of ...",
	} {
		want(t, measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded(bmeOpened+bmeStart+"f3 > 00\nf7 > "+read), "", 1), line)
	}
	memory := new(i2ctest.Memory)
	copy(memory[0xd0:], []byte{0x60})
	memory[0xf3] = 0x08
	copy(memory[0x88:], []byte{0x10, 0x6e, 0x6c, 0x66, 0x32, 0x00, 0x5d, 0x95})
	memory[0xe1] = 1
	want(t, measured(t, i2c.BME280Kind(), 0x76, memory, "", 1), "the BME280 at address 0x76 on I2C bus 1: it says without an end that it is busy; is it another kind of chip? power-cycle it")
}

// Another chip was plugged in between two samples. One wrong bit is none.
func TestABME280ThatWasReplacedIsOpenedAnew(t *testing.T) {
	const look = bmeStart + "f3 > 00\nf7 > 4a 52 c0 80 96 c0 7a 76\n"
	other := strings.Replace(bmeTrim, "6c 66", "6c 67", 1)
	got := measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded(bmeOpened+look+other+bmeTrim+look+other+other), "", 2)
	want(t, got, "temperature=23.72 humidity=65.31 pressure=1009.43",
		"the BME280 at address 0x76 on I2C bus 1: its calibration is another one than before; was the chip replaced? It is opened anew: the device is gone")
}

// What a skipped measurement gives is also the value of a true one, that of 22.97 °C or of
// 73.22 % in this chip: the next look shows which.
func TestBME280HasNoHoleAtTheValuesOfASkippedMeasurement(t *testing.T) {
	const look, good = bmeStart + "f3 > 00\nf7 > ", "4a 52 c0 80 96 c0 7a 76"
	for _, hole := range []string{"80 00 00 80 96 c0 7a 76", "4a 52 c0 80 00 00 7a 76", "4a 52 c0 80 96 c0 80 00", "80 00 00 80 00 00 80 00"} {
		got := measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded(bmeOpened+look+hole+look+good+"\n"+bmeTrim), "", 1)
		want(t, got, "temperature=23.72 humidity=65.31 pressure=1009.43")
		got = measured(t, i2c.BME280Kind(), 0x76, i2ctest.Recorded(bmeOpened+strings.Repeat(look+hole, 5)), "", 1)
		want(t, got, "the BME280 at address 0x76 on I2C bus 1: it does not measure all that it is told to; power-cycle it")
	}
}

// Values from the formula of the datasheet SHT3x-DIS, section 4.13.
func TestSHT3x(t *testing.T) {
	const opened = `
		30 93
		f3 2d
		> 80 10 e1
	`
	got := measured(t, i2c.SHT3xKind(), 0x44, i2ctest.Recorded(opened+`
		24 00
		> 66 66 93 80 00 a2
		24 00
		> 66 66 93 80 00 a3   # a bit has fallen over
		24 00
		> nack
		> nack
	`), "", 3)
	want(t, got, "temperature=25 humidity=50",
		"the SHT3x at address 0x44 on I2C bus 1: the checksum is wrong; the wires may be too long, the pull-up resistors too weak, or another chip is there",
		"no answer from the SHT3x at address 0x44 on I2C bus 1...")
	got = measured(t, i2c.SHT3xKind(), 0x45, i2ctest.Recorded(opened+"24 16\n> 00 00 81 ff ff ac"), "address = \"0x45\"\nrepeatability = \"low\"", 1)
	want(t, got, "temperature=-45 humidity=100")
}

// Values from the formula of the datasheet SHT4x, Conversion of Signal Output.
func TestSHT4x(t *testing.T) {
	got := measured(t, i2c.SHT4xKind(), 0x44, i2ctest.Recorded(`
		89
		> be ef 92 be ef 92   # the example of the checksum, as a serial number
		fd
		> 66 66 93 80 00 a2
		fd
		> 66 66 93 00 00 81   # drier than dry
		fd
		> 66 66 00 80 00 a2
	`), "", 3)
	want(t, got, "temperature=25 humidity=56.5", "temperature=25 humidity=0", "the SHT4x at address 0x44 on I2C bus 1: the checksum is wrong...")
}

// The example of the datasheet SCD4x, version 1.3, section 3.5.2: 500 ppm, 25 °C, 37 %.
func TestSCD4x(t *testing.T) {
	const opened = `
		36 f6 > nack      # an SCD40 does not know it, an SCD41 does not acknowledge it
		3f 86
		36 82
		> f8 96 31 9f 07 c2 3b be 89
		24 27 07 9e 09    # 1950 m, the example of section 3.6.3
		21 b1
	`
	got := measured(t, i2c.SCD4xKind(), 0x62, i2ctest.Recorded(opened+`
		e4 b8
		> 80 00 a2        # nothing yet
		e4 b8
		> 80 06 04
		ec 05
		> 01 f4 33 66 67 a2 5e b9 3c
		e4 b8
		> 80 00 a2        # nothing new
		3f 86
	`), "altitude = 1950", 2)
	want(t, got, "co2=500 temperature=25 humidity=37", "")
}

func TestSCD4xThatNeverMeasuresGivesNoReadingAndNoSilence(t *testing.T) {
	got := measured(t, i2c.SCD4xKind(), 0x62, i2ctest.Recorded(`
		36 f6
		3f 86
		36 82
		> f8 96 31 9f 07 c2 3b be 89
		24 27 00 00 81
		21 b1
	`+strings.Repeat("e4 b8\n> 80 00 a2\n", 17)+"3f 86"), "", 1)
	want(t, got, "the SCD4x at address 0x62 on I2C bus 1: it has stopped measuring; it is started again: the device is gone")
}

func TestSCD4xThatStoppedMeasuringIsStartedAgain(t *testing.T) {
	nothing := "e4 b8\n> 80 00 a2\n"
	got := measured(t, i2c.SCD4xKind(), 0x62, i2ctest.Recorded(`
		36 f6
		3f 86
		36 82
		> f8 96 31 9f 07 c2 3b be 89
		24 27 00 00 81
		21 b1
		e4 b8
		> 80 06 04
		ec 05
		> 00 00 81 66 67 a2 5e b9 3c
	`+strings.Repeat(nothing, 21)+"3f 86"), "", 22)
	if len(got) != 22 || got[0] != "the SCD4x at address 0x62 on I2C bus 1: it tells 0 ppm of carbon dioxide, which is no measurement; power-cycle it if it goes on" || got[19] != "" ||
		got[21] != "the SCD4x at address 0x62 on I2C bus 1: it has stopped measuring; it is started again: the device is gone" {
		t.Errorf("got %q", got)
	}
}
