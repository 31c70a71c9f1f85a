package i2c_test

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

// healthy is a chip of a kind as it should be, with its address and the options that
// it needs.
func healthy(kind string) (address uint16, options string, chip i2ctest.Chip) {
	switch kind {
	case "bme280", "bmp280":
		m := new(i2ctest.Memory)
		copy(m[0x88:], "\x10\x6e\x6c\x66\x32\x00\x5d\x95\xb8\xd5\xd0\x0b\x77\x1e\x9d\xff\xf9\xff\xac\x26\x0a\xd8\xbd\x10\x00\x4b")
		copy(m[0xe1:], "\x6e\x01\x00\x13\x05\x00\x1e")
		copy(m[0xf7:], "\x4a\x52\xc0\x80\x96\xc0\x7a\x76")
		if m[0xd0] = 0x60; kind == "bmp280" {
			m[0xd0] = 0x58
		}
		return 0x76, "", m
	case "sht3x", "sht4x", "scd4x":
		address = 0x44
		if kind == "scd4x" {
			address = 0x62
		}
		return address, "", i2ctest.Func(func(_, r []byte) error {
			for i := range r {
				r[i] = []byte{0xbe, 0xef, 0x92}[i%3]
			}
			return nil
		})
	case "ads1115", "ads1015":
		return 0x48, "", i2ctest.Words{0: 0x2000}
	case "tmp102":
		return 0x48, "", i2ctest.Words{0: 0x1900, 1: 0x60a0}
	case "mcp9808":
		return 0x18, "", i2ctest.Words{5: 0x0190, 6: 0x0054, 7: 0x0400}
	case "ina219":
		return 0x40, "", i2ctest.Words{1: 0x07d0, 2: 0x5d9a}
	case "bh1750":
		return 0x23, "", i2ctest.Func(func(_, r []byte) error { copy(r, []byte{0x83, 0x90}); return nil })
	case "i2c-register":
		return 0x20, "address = 0x20\nchannels = [{ name = \"a\", register = 0, width = 16, min = 1, max = 100 }]",
			i2ctest.Words{0: 42}
	}
	panic("a kind without a healthy chip: " + kind)
}

// fills makes a chip that acknowledges everything and gives the same byte for ever.
func fills(b byte) func(w, r []byte) error {
	return func(_, r []byte) error {
		for i := range r {
			r[i] = b
		}
		return nil
	}
}

// What a chip or a bus gives that is broken: no value comes of it, but a sentence that
// names the chip and its place, and says what to do.
func TestNothingButMeasurementsIsTold(t *testing.T) {
	advice := regexp.MustCompile(`check|power-cycle|kind|shade|another chip|look at`)
	for _, bad := range []struct {
		name   string
		tx     func(w, r []byte) error
		except string // a kind that cannot know better, and why
	}{
		{"ones", fills(0xff), ""},
		{"zeros", fills(0), "bh1750"}, // it is dark
		{"broken off", func(_, _ []byte) error { return syscall.EIO }, ""},
		{"cut short", func(_, _ []byte) error { return fmt.Errorf("only 1 of 2 messages were sent: %w", syscall.EIO) }, ""},
		{"silent", func(_, _ []byte) error { return syscall.ENXIO }, ""},
		{"stuck", func(_, _ []byte) error { return syscall.ETIMEDOUT }, ""},
		{"nonsense of the controller", func(_, _ []byte) error { return syscall.EPROTO }, ""},
	} {
		for _, kind := range all.Kinds() {
			if !strings.Contains(kind.Summary, "I2C") || kind.Name == bad.except {
				continue
			}
			check := func(t *testing.T) {
				address, options, chip := healthy(kind.Name)
				broken := false
				bus := new(i2ctest.Bus).Attach(address, i2ctest.Func(func(w, r []byte) error {
					if broken {
						return bad.tx(w, r)
					}
					return chip.Tx(w, r)
				}))
				ports := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
				complain := func(when string, err error) {
					text := fmt.Sprint(err)
					if err == nil || !strings.Contains(text, fmt.Sprintf("address %#02x on I2C bus 1", address)) || !advice.MatchString(text) {
						t.Errorf("%s, %s, %s: %v", kind.Name, bad.name, when, err)
					}
				}
				dev, err := kind.Open(t.Context(), with(options), ports)
				if err != nil {
					t.Fatalf("%s: %v", kind.Name, err)
				}
				if r, err := dev.(drivers.Sampler).Sample(t.Context()); err != nil || len(r.Values) == 0 || r.Fault != nil {
					t.Fatalf("%s: the healthy chip gave %s, %v, %v", kind.Name, say(r), err, r.Fault)
				}
				broken = true
				r, err := dev.(drivers.Sampler).Sample(t.Context())
				if len(r.Values) > 0 {
					t.Errorf("%s, %s: %s", kind.Name, bad.name, say(r))
				}
				complain("sampled", err)
				if err := dev.Close(); err != nil {
					t.Error(err)
				}
				// The same from the beginning: kinds that look at the chip then refuse it.
				dev, err = kind.Open(t.Context(), with(options), ports)
				if err == nil {
					r, err = dev.(drivers.Sampler).Sample(t.Context())
					if len(r.Values) > 0 {
						t.Errorf("%s, %s, opened: %s", kind.Name, bad.name, say(r))
					}
					dev.Close()
				}
				complain("opened", err)
				if bus.Open() != 0 {
					t.Errorf("%s, %s: the bus is still open", kind.Name, bad.name)
				}
			}
			t.Run(kind.Name+", "+bad.name, func(t *testing.T) { synctest.Test(t, check) })
		}
	}
}

func TestAChannelWithoutAValueIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := i2ctest.Words{0: 0x7fff}
		bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Func(func(w, r []byte) error {
			err := chip.Tx(w, r)
			if len(w) == 1 && w[0] == 0 && chip[1]&0x7000 == 0x5000 {
				copy(r, []byte{0x20, 0x00})
			}
			return err
		}))
		dev, err := i2c.ADS1115Kind().Open(t.Context(), with(`channels = [{ name = "a", input = 0 }, { name = "b", input = 1 }]`), i2ctest.Ports(map[int]*i2ctest.Bus{1: bus}))
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		r, err := dev.(drivers.Sampler).Sample(context.Background())
		if err != nil || say(r) != "b=1.024" || fmt.Sprint(r.Bad) != "[a]" || r.Fault == nil {
			t.Errorf("%s, bad %v, %v, %v", say(r), r.Bad, r.Fault, err)
		}
	})
}

// A calibration whose divisor is zero: dig_P1 is 1, and the rest takes it away.
func TestBMP280WithAnImpossibleCalibrationTellsNothing(t *testing.T) {
	for _, p2 := range []int16{math.MinInt16, math.MaxInt16} {
		_, _, chip := healthy("bmp280")
		m := chip.(*i2ctest.Memory)
		m[0x8e], m[0x8f] = 1, 0
		m[0x90], m[0x91] = byte(uint16(p2)), byte(uint16(p2)>>8)
		got := measured(t, i2c.BMP280Kind(), 0x76, m, "", 1)
		want(t, got, "the BMP280 at address 0x76 on I2C bus 1: a pressure of ...")
	}
}
