package i2c

import (
	"context"
	_ "embed"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/sht3x.toml
var sht3xExample string

//go:embed examples/sht4x.toml
var sht4xExample string

// SHTOptions are the keys of the kinds sht3x and sht4x.
type SHTOptions struct {
	Place
	Repeatability string `toml:"repeatability"` // high, medium, low: less noise takes longer
}

func (o SHTOptions) validate(chip string, first, last Number) error {
	var m drivers.Mistakes
	m.Add("", o.oneOf(chip, first, last))
	m.If(o.Repeatability != "high" && o.Repeatability != "medium" && o.Repeatability != "low", "repeatability must be high, medium or low, not %q", o.Repeatability)
	return m.Err()
}

// SHT3xOptions are the keys of the kind sht3x.
type SHT3xOptions struct{ SHTOptions }

// Validate checks what can be checked without the chip.
func (o SHT3xOptions) Validate() error { return o.validate("SHT3x", 0x44, 0x45) }

// SHT3xKind returns the kind sht3x.
func SHT3xKind() drivers.Kind {
	return drivers.KindOf("sht3x", "Temperature and humidity by an SHT30, SHT31 or SHT35 on an I2C bus.", sht3xExample,
		func() SHT3xOptions { return SHT3xOptions{SHTOptions{at(0x44), "high"}} }, openSHT3x)
}

// openSHT3x uses single shots without clock stretching, so that the bus is free
// during a measurement (datasheet SHT3x-DIS, version 5: commands table 9, durations
// table 4, conversion section 4.13).
func openSHT3x(ctx context.Context, o SHT3xOptions, ports drivers.Ports) (drivers.Device, error) {
	const stopPeriodic, readStatus = 0x3093, 0xf32d
	code, duration := uint16(0x2400), 15500*time.Microsecond
	switch o.Repeatability {
	case "medium":
		code, duration = 0x240b, 6500*time.Microsecond
	case "low":
		code, duration = 0x2416, 4500*time.Microsecond
	}
	return attach(ctx, "SHT3x", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		// Whoever used the chip before may have left it measuring by itself; then it
		// takes no single shots (section 4.8: 1 ms until it listens again).
		if err := c.command(ctx, stopPeriodic); err != nil {
			return nil, err
		}
		if err := c.pause(ctx, 2*time.Millisecond); err != nil {
			return nil, err
		}
		// The answer has a checksum: another chip at this address fails here.
		if err := c.command(ctx, readStatus); err != nil {
			return nil, err
		}
		if _, err := c.words(ctx, 1); err != nil {
			return nil, err
		}
		return &sensor{
			channels: []drivers.Channel{temperature(), humidity()},
			measure: func(ctx context.Context) ([]any, error) {
				if err := c.command(ctx, code); err != nil {
					return nil, err
				}
				if err := c.pause(ctx, duration); err != nil {
					return nil, err
				}
				w, err := c.words(ctx, 2)
				if err != nil {
					return nil, err
				}
				return climate(-45+175*fraction(w[0]), 100*fraction(w[1]))
			},
		}, nil
	})
}

// SHT4xOptions are the keys of the kind sht4x.
type SHT4xOptions struct{ SHTOptions }

// Validate checks what can be checked without the chip.
func (o SHT4xOptions) Validate() error { return o.validate("SHT4x", 0x44, 0x46) }

// SHT4xKind returns the kind sht4x.
func SHT4xKind() drivers.Kind {
	return drivers.KindOf("sht4x", "Temperature and humidity by an SHT40, SHT41 or SHT45 on an I2C bus.", sht4xExample,
		func() SHT4xOptions { return SHT4xOptions{SHTOptions{at(0x44), "high"}} }, openSHT4x)
}

// openSHT4x: datasheet SHT4x, version 6, sections Command Overview, Timings and
// Conversion of Signal Output.
func openSHT4x(ctx context.Context, o SHT4xOptions, ports drivers.Ports) (drivers.Device, error) {
	const readSerial = 0x89
	code, duration := byte(0xfd), 8300*time.Microsecond
	switch o.Repeatability {
	case "medium":
		code, duration = 0xf6, 4500*time.Microsecond
	case "low":
		code, duration = 0xe0, 1600*time.Microsecond
	}
	ask := func(ctx context.Context, c *link, code byte, duration time.Duration) ([]uint16, error) {
		if err := c.write(ctx, code); err != nil {
			return nil, err
		}
		if err := c.pause(ctx, duration); err != nil {
			return nil, err
		}
		return c.words(ctx, 2)
	}
	return attach(ctx, "SHT4x", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		if _, err := ask(ctx, c, readSerial, time.Millisecond); err != nil {
			return nil, err
		}
		return &sensor{
			channels: []drivers.Channel{temperature(), humidity()},
			measure: func(ctx context.Context) ([]any, error) {
				w, err := ask(ctx, c, code, duration)
				if err != nil {
					return nil, err
				}
				return climate(-45+175*fraction(w[0]), -6+125*fraction(w[1]))
			},
		}, nil
	})
}

// climate makes the values of temperature and humidity. The formula of the SHT4x
// goes beyond 0 and 100 % at the ends; its datasheet says to cut there.
func climate(celsius, percent float64) ([]any, error) {
	return []any{drivers.Round(celsius, 2), drivers.Round(min(max(percent, 0), 100), 2)}, nil
}
