package i2c

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"edgegateway/drivers"
)

// Numbers returns the buses that a machine has device files for, in order. root stands
// before /dev; "" is the machine itself.
func Numbers(root string) (numbers []int) {
	paths, _ := filepath.Glob(filepath.Join(root, "/", "dev/i2c-*")) // the pattern is ours and well formed
	for _, path := range paths {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "i2c-")); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// Found is an address at which something is.
type Found struct {
	Address uint16
	Taken   *TakenError // the driver of the kernel that has it, and was not disturbed; or nil
	Err     error       // what went wrong with it, other than that nobody answered; or nil
	Likely  []string    // chips that use this address, first those with a kind of their own
}

// failuresInRow end a scan: on a bus that is stuck, each address takes a second.
const failuresInRow = 3

// Scan asks who is on a bus, as i2cdetect(8) does: it addresses each chip for a write
// and writes nothing, where EEPROMs are it reads a byte. That is harmless to almost
// all chips; the addresses that have a meaning of their own are left out. A bus that
// does not work ends it with an error. Whose transfer was the first that found a line
// held low is told only if the bus had worked before.
func Scan(ctx context.Context, wire Wire, number int) ([]Found, error) {
	var all []Found
	var first, culprit uint16
	works, failures := false, 0
	for address := uint16(0x08); address <= 0x77; address++ {
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		found := Found{Address: address, Likely: likely(address)}
		err := wire.Claim(address)
		if err == nil {
			err = wire.Probe(address)
		}
		taken := errors.As(err, &found.Taken)
		works = works || unanswered(err) || err == nil
		if unanswered(err) {
			failures = 0
			continue
		}
		if err == nil || taken {
			failures = 0
			all = append(all, found)
			continue
		}
		if failures++; failures == 1 {
			first = address
			if works {
				culprit = address
			}
		}
		found.Err = explain(err, drivers.I2CConfig{Bus: number, Address: address}, culprit)
		if failures == failuresInRow || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
			// What went wrong there is said by the error, and says nothing of the addresses.
			return slices.DeleteFunc(all, func(f Found) bool { return f.Err != nil && f.Address >= first }), found.Err
		}
		all = append(all, found)
	}
	return all, nil
}

// byRead tells whether an address is asked by reading: a write, even of nothing, is
// a danger to some EEPROMs and clock chips (i2cdetect(8), option -q).
func byRead(address uint16) bool {
	return address >= 0x30 && address <= 0x37 || address >= 0x50 && address <= 0x5f
}

// likely names the chips that use an address: first those with a kind of their own.
func likely(address uint16) (names []string) {
	for _, c := range []struct {
		first, last uint16
		name        string
	}{
		{0x76, 0x77, "bme280"}, {0x76, 0x77, "bmp280"}, {0x44, 0x45, "sht3x"}, {0x44, 0x46, "sht4x"}, {0x62, 0x62, "scd4x"},
		{0x48, 0x4f, "tmp102 (also TMP105, TMP75)"}, {0x48, 0x4b, "ads1115"}, {0x48, 0x4b, "ads1015"}, {0x18, 0x1f, "mcp9808"},
		{0x40, 0x4f, "ina219"}, {0x23, 0x23, "bh1750"}, {0x5c, 0x5c, "bh1750"},
		{0x48, 0x4f, "LM75 by i2c-register"},
		{0x20, 0x27, "port expander (PCF8574, MCP23017)"}, {0x3c, 0x3d, "display (SSD1306)"}, {0x38, 0x38, "AHT20"},
		{0x50, 0x57, "EEPROM (24Cxx)"}, {0x68, 0x68, "clock (DS3231)"}, {0x70, 0x77, "multiplexer (TCA9548A)"},
	} {
		if address >= c.first && address <= c.last {
			names = append(names, c.name)
		}
	}
	return names
}

// String is a line for a person.
func (f Found) String() string {
	who := "unknown; the kind i2c-register can read it"
	switch {
	case f.Err != nil:
		return f.Err.Error()
	case f.Taken != nil && f.Taken.Class == "iio":
		who = fmt.Sprintf("in use by %s: kind iio", f.Taken.holder())
	case f.Taken != nil && f.Taken.Class == "hwmon":
		who = fmt.Sprintf("in use by %s: kind host, sensor = %q", f.Taken.holder(), f.Taken.Chip)
	case f.Taken != nil:
		who = fmt.Sprintf("in use by %s", f.Taken.holder())
	case len(f.Likely) > 0:
		who = strings.Join(f.Likely, ", ")
	}
	return fmt.Sprintf("%#02x  %s", f.Address, who)
}
