package i2c

import (
	"context"
	_ "embed"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/bh1750.toml
var bh1750Example string

// BH1750Options are the keys of the kind bh1750.
type BH1750Options struct {
	Place
	Resolution Word `toml:"resolution"` // 1, 0.5 or 4 lx
}

// Validate checks what can be checked without the chip.
func (o BH1750Options) Validate() error {
	m := o.validateBus()
	m.If(o.Address != 0x23 && o.Address != 0x5c, "address of the BH1750 must be 0x23 or 0x5c, not %#02x", int(o.Address))
	m.If(o.Resolution != "1" && o.Resolution != "0.5" && o.Resolution != "4", "resolution must be 1, 0.5 or 4 (lx), not %q", o.Resolution)
	return m.Err()
}

// BH1750Kind returns the kind bh1750.
func BH1750Kind() drivers.Kind {
	return drivers.KindOf("bh1750", "Illuminance by a BH1750 on an I2C bus.", bh1750Example,
		func() BH1750Options { return BH1750Options{at(0x23), "1"} }, openBH1750)
}

// Times of the window in which the chip collects light, in its own steps; the
// sensitivity goes with them (datasheet BH1750FVI, 2009.04 revision B, page 11).
const (
	bhWindow = 69
	bhLeast  = 31
)

type bh1750 struct {
	*link
	usual bhMode
}

// A bhMode is a way to measure, once.
type bhMode struct {
	opcode   byte
	counts   float64 // per lx
	duration time.Duration
}

func bhOneLux() bhMode { return bhMode{0x20, 1.2, 180 * time.Millisecond} }

// openBH1750: instructions on page 5, longest times on page 2.
func openBH1750(ctx context.Context, o BH1750Options, ports drivers.Ports) (drivers.Device, error) {
	return attach(ctx, "BH1750", o.Place, ports, func(_ context.Context, c *link) (*sensor, error) {
		d := &bh1750{c, bhOneLux()}
		switch o.Resolution {
		case "0.5":
			d.usual.opcode, d.usual.counts = 0x21, 2.4
		case "4":
			d.usual.opcode, d.usual.duration = 0x23, 24*time.Millisecond
		}
		return &sensor{
			channels: []drivers.Channel{{Name: "illuminance", Quantity: drivers.Illuminance, Unit: "lx", Type: drivers.Float}},
			measure:  d.measure,
		}, nil
	})
}

// measure takes a second, shorter look when the first one is dazzled: the sun gives
// 100,000 lx, and the chip can tell 54,612 in its usual window, with 0.5 lx a half of it.
func (d *bh1750) measure(ctx context.Context) ([]any, error) {
	mode, window := d.usual, bhWindow
	raw, err := d.look(ctx, mode, bhWindow)
	if err == nil && raw == 0xffff {
		mode, window = bhOneLux(), bhLeast
		if raw, err = d.look(ctx, mode, bhLeast); err == nil && raw == 0xffff {
			err = d.faulty("it is brighter than the chip can tell, or the chip gives nothing but ones; shade it, or check its wiring")
		}
	}
	if err != nil {
		return nil, err
	}
	return []any{drivers.Round(float64(raw)/mode.counts*bhWindow/float64(window), 1)}, nil
}

// look measures once. The chip goes to sleep by itself behind it.
func (d *bh1750) look(ctx context.Context, mode bhMode, window byte) (uint16, error) {
	// One instruction per transfer: page 10.
	for _, code := range []byte{0x40 | window>>5, 0x60 | window&0x1f, mode.opcode} {
		if err := d.write(ctx, code); err != nil {
			return 0, err
		}
	}
	if err := d.pause(ctx, mode.duration); err != nil {
		return 0, err
	}
	b := make([]byte, 2)
	err := d.Tx(ctx, nil, b)
	return uint16(b[0])<<8 | uint16(b[1]), err
}
