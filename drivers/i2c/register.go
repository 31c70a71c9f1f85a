package i2c

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/i2c-register.toml
var registerExample string

// RegisterOptions are the keys of the kind i2c-register.
type RegisterOptions struct {
	Place
	// Writes when the chip is opened, and after a transfer that failed, each a list of
	// bytes: the register, then its new content. One that the chip does not acknowledge is
	// repeated once.
	Init     [][]Number        `toml:"init"`
	Start    [][]Number        `toml:"start"`    // writes before every sample, for a chip that measures on demand
	Wait     time.Duration     `toml:"wait"`     // between Start and reading
	Channels []RegisterChannel `toml:"channels"` // what to read
}

// A RegisterChannel is a number in a register.
type RegisterChannel struct {
	Name     string  `toml:"name"`
	Register *Number `toml:"register"` // 0 to 255, or with two bytes from 256 on; left out: the chip has none and is just read
	Wide     bool    `toml:"wide"`     // the register's number takes two bytes also below 256
	Width    int     `toml:"width"`    // bits to read: 8, 16, 24 or 32; 0 = 8
	Endian   string  `toml:"endian"`   // big or little: which byte comes first; "" = big
	Signed   bool    `toml:"signed"`   // two's complement, of the bits that mask and shift leave
	Mask     uint32  `toml:"mask"`     // bits that count, as read; 0 = all
	Shift    int     `toml:"shift"`    // bits to the right, behind the mask
	Scale    float64 `toml:"scale"`    // the value is number * scale + offset; 0 = 1
	Offset   float64 `toml:"offset"`   // in the unit of the channel
	Min      float64 `toml:"min"`      // of values that can be; both 0 = any
	Max      float64 `toml:"max"`      // of values that can be
	Unit     string  `toml:"unit"`     // as people write it: "°C"
	Quantity string  `toml:"quantity"` // temperature, humidity, ...
}

const (
	mostRegisters = 64
	mostWrites    = 64
	mostBytes     = 33 // of one write: a register and an SMBus block
	longestWait   = 4 * time.Second
)

// Validate checks what can be checked without the chip.
func (o RegisterOptions) Validate() error {
	var m drivers.Mistakes
	if o.Address == 0 {
		m = o.validateBus()
		m.If(true, "address is missing: `gateway devices -scan` shows the chips on bus 1")
	} else {
		m.Add("", o.validate())
	}
	for key, writes := range map[string][][]Number{"init": o.Init, "start": o.Start} {
		m.If(len(writes) > mostWrites, "%s must have at most %d writes, not %d", key, mostWrites, len(writes))
		m.If(slices.ContainsFunc(writes, notAWrite), "%s must be a list of writes of 1 to %d bytes (0 to 0xff) each, like [[0x01, 0x60]]", key, mostBytes)
	}
	m.If(o.Wait < 0 || o.Wait > longestWait, "wait must be between 0s and %v, not %v", longestWait, o.Wait)
	m.If(len(o.Channels) == 0 || len(o.Channels) > mostRegisters, "channels must be 1 to %d registers to read, not %d", mostRegisters, len(o.Channels))
	seen := make(map[string]bool)
	for i, c := range o.Channels {
		m.If(c.Name != "" && seen[c.Name], "channels[%d].name is %q twice", i, c.Name)
		seen[c.Name] = true
		m.Add(fmt.Sprintf("channels[%d].", i), c.validate())
	}
	return m.Err()
}

// notAWrite tells whether bytes are no register and its content.
func notAWrite(w []Number) bool {
	return len(w) == 0 || len(w) > mostBytes || slices.ContainsFunc(w, func(b Number) bool { return b < 0 || b > 0xff })
}

func (c RegisterChannel) validate() error {
	var m drivers.Mistakes
	m.If(c.Name == "", "name must not be empty")
	if r := c.Register; r != nil {
		m.If(*r < 0 || *r > 0xffff, "register of %q must be between 0 and 0xffff, not %#x", c.Name, int(*r))
	}
	m.If(c.Endian != "" && c.Endian != "big" && c.Endian != "little", "endian of %q must be big or little, not %q", c.Name, c.Endian)
	m.Add("", c.linear().Validate())
	m.If(c.Min > c.Max || c.Min == c.Max && c.Min != 0, "min of %q must be less than max", c.Name)
	switch width := c.width(); {
	case !slices.Contains([]int{8, 16, 24, 32}, width):
		m.If(true, "width of %q must be 8, 16, 24 or 32 bits, not %d", c.Name, width)
	case uint64(c.Mask) > 1<<width-1:
		m.If(true, "mask of %q must fit into its %d bits", c.Name, width)
	case c.Shift < 0 || c.Shift >= width:
		m.If(true, "shift of %q must be between 0 and %d, not %d", c.Name, width-1, c.Shift)
	case c.bits() == 0:
		m.If(true, "shift of %q leaves nothing of its mask %#x", c.Name, c.Mask)
	}
	return m.Err()
}

func (c RegisterChannel) width() int {
	if c.Width == 0 {
		return 8
	}
	return c.Width
}

// bits are those that mask and shift leave.
func (c RegisterChannel) bits() uint64 {
	mask := uint64(c.Mask)
	if mask == 0 {
		mask = 1<<c.width() - 1
	}
	return mask >> c.Shift
}

func (c RegisterChannel) linear() drivers.Linear {
	return drivers.Linear{Scale: c.Scale, Offset: c.Offset}
}

// RegisterKind returns the kind i2c-register.
func RegisterKind() drivers.Kind {
	return drivers.KindOf("i2c-register", "Numbers in the registers of any chip on an I2C bus, described by the configuration.", registerExample,
		func() RegisterOptions { return RegisterOptions{Place: Place{Bus: Bus{number: 1}}} }, openRegister)
}

type registers struct {
	*link
	o     RegisterOptions
	ready bool // init was written, and no transfer has failed since
}

func openRegister(ctx context.Context, o RegisterOptions, ports drivers.Ports) (drivers.Device, error) {
	return attach(ctx, "", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		d := &registers{link: c, o: o}
		if err := d.prepare(ctx); err != nil {
			return nil, err
		}
		var channels []drivers.Channel
		for _, ch := range o.Channels {
			channel := drivers.Channel{Name: ch.Name, Unit: ch.Unit, Quantity: drivers.Quantity(ch.Quantity), Type: drivers.Float}
			if ch.linear().Whole() {
				channel.Type = drivers.Int
			}
			channels = append(channels, channel)
		}
		return &sensor{channels: channels, measure: d.measure}, nil
	})
}

// prepare writes init. A chip that did not answer for a moment may have been without its
// supply, or be another one now.
func (d *registers) prepare(ctx context.Context) error {
	if d.ready {
		return nil
	}
	err := d.writes(ctx, "init", d.o.Init)
	d.ready = err == nil
	return err
}

func (d *registers) writes(ctx context.Context, key string, list [][]Number) error {
	for i, w := range list {
		b := make([]byte, len(w))
		for j, x := range w {
			b[j] = byte(x)
		}
		if err := d.write(ctx, b...); err != nil {
			d.ready = false
			return fmt.Errorf("write %d of %s: %w", i+1, key, err)
		}
	}
	return nil
}

// measure reads one register after the other. One whose value cannot be does not keep
// the others from being told; a transfer that fails ends the sample.
func (d *registers) measure(ctx context.Context) ([]any, error) {
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	if err := d.writes(ctx, "start", d.o.Start); err != nil {
		return nil, err
	}
	if d.o.Wait > 0 {
		if err := d.pause(ctx, d.o.Wait); err != nil {
			return nil, err
		}
	}
	values := make([]any, len(d.o.Channels))
	var faults error
	for i, c := range d.o.Channels {
		b := make([]byte, c.width()/8)
		if err := d.Tx(ctx, c.pointer(), b); err != nil {
			d.ready = false
			return values, errors.Join(faults, fmt.Errorf("channel %q: %w", c.Name, err))
		}
		v, err := c.value(b)
		if err != nil {
			faults = errors.Join(faults, d.faulty("channel %q: %w; check the description of the register, and the wiring", c.Name, err))
			continue
		}
		values[i] = v
	}
	return values, faults
}

// pointer is what is written to choose the register.
func (c RegisterChannel) pointer() []byte {
	switch {
	case c.Register == nil:
		return nil
	case c.Wide || *c.Register > 0xff:
		return []byte{byte(*c.Register >> 8), byte(*c.Register)}
	}
	return []byte{byte(*c.Register)}
}

// value makes the value of the bytes that were read.
func (c RegisterChannel) value(b []byte) (any, error) {
	if c.Endian == "little" {
		slices.Reverse(b)
	}
	var raw uint64
	for _, x := range b {
		raw = raw<<8 | uint64(x)
	}
	number := int64(raw >> c.Shift & c.bits())
	if sign := int64(1) << (bits.Len64(c.bits()) - 1); c.Signed && number >= sign {
		number -= 2 * sign
	}
	v := c.linear().Float(float64(number))
	if (c.Min != 0 || c.Max != 0) && (v < c.Min || v > c.Max) {
		return nil, fmt.Errorf("%v is outside of %v to %v", v, c.Min, c.Max)
	}
	return c.linear().Int(number), nil
}
