package i2c

import (
	"fmt"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// A Place is where a chip is; every kind has its keys.
type Place struct {
	Bus     Bus    `toml:"bus"`     // 1 is /dev/i2c-1; or the name of its adapter
	Address Number `toml:"address"` // 7 bits, as `gateway devices -scan` shows it
}

// at is a Place on the bus that every Raspberry Pi has on its header.
func at(address Number) Place { return Place{Bus: Bus{number: 1}, Address: address} }

// Uses is the address, which one device alone can have.
func (p Place) Uses() []drivers.Use { return []drivers.Use{{What: p.String(), Key: "address"}} }

// String names the place in messages.
func (p Place) String() string {
	return fmt.Sprintf("address %#02x on %v", int(p.Address), p.Bus)
}

func (p Place) validate() error {
	m := p.validateBus()
	// The rest has a meaning of its own: I2C-bus specification (NXP UM10204), table 4.
	m.If(p.Address < 0x08 || p.Address > 0x77, "address must be between 0x08 and 0x77, 7 bits without the one for reading and writing, not %#02x", int(p.Address))
	return m.Err()
}

func (p Place) validateBus() (m drivers.Mistakes) {
	m.If(p.Bus.number < 0 || p.Bus.number > 1<<20, "bus must be the number of a bus, like 1 for /dev/i2c-1, not %d", p.Bus.number)
	return m
}

// oneOf checks the address of a chip that can have few.
func (p Place) oneOf(chip string, first, last Number) error {
	m := p.validateBus()
	there := fmt.Sprintf("between %#02x and %#02x", int(first), int(last))
	switch last - first {
	case 0:
		there = fmt.Sprintf("%#02x", int(first))
	case 1:
		there = fmt.Sprintf("%#02x or %#02x", int(first), int(last))
	}
	m.If(p.Address < first || p.Address > last, "address of the %s must be %s, not %#02x", chip, there, int(p.Address))
	return m.Err()
}

// A Number is a whole number that may also be written as a text, as numbers of buses
// and registers often are: 1, "1", "/dev/i2c-1", 0x76, "0x76".
type Number int

// UnmarshalText reads a Number.
func (n *Number) UnmarshalText(text []byte) error {
	s := strings.TrimPrefix(strings.TrimPrefix(string(text), "/dev/"), "i2c-")
	i, err := strconv.ParseInt(s, 0, 33)
	if err != nil {
		return fmt.Errorf("must be a whole number such as 1 or 0x76, not %q", text)
	}
	if int64(Number(i)) != i {
		return fmt.Errorf("must be smaller than 2147483648, not %q", text)
	}
	*n = Number(i)
	return nil
}
