package i2c

import (
	"context"
	_ "embed"

	"edgegateway/drivers"
)

//go:embed examples/tmp102.toml
var tmp102Example string

// TMP102Options are the keys of the kind tmp102.
type TMP102Options struct{ Place }

// Validate checks what can be checked without the chip.
func (o TMP102Options) Validate() error { return o.oneOf("TMP102", 0x48, 0x4f) }

// TMP102Kind returns the kind tmp102. The registers that it uses are the same in its
// relatives.
func TMP102Kind() drivers.Kind {
	return drivers.KindOf("tmp102", "Temperature by a TMP102, or by its relatives TMP112, TMP75, TMP105, TMP175, TMP275, on an I2C bus.", tmp102Example,
		func() TMP102Options { return TMP102Options{at(0x48)} }, openTMP102)
}

// openTMP102 lets the chip measure by itself, as it does after power-on: four times
// per second (datasheet SBOS397, section Configuration Register).
func openTMP102(ctx context.Context, o TMP102Options, ports drivers.Ports) (drivers.Device, error) {
	const configRegister, temperatureRegister = 1, 0
	const resolution, shutdown = 0x60, 0x01 // R1 R0: 12 bits, as a TMP102 always has; SD
	return attach(ctx, o.Place, ports, func(ctx context.Context, c link) (*sensor, error) {
		awake := func(ctx context.Context) error {
			b, err := c.read(ctx, configRegister, 1)
			if err != nil || b[0]&(resolution|shutdown) == resolution {
				return err
			}
			return c.write(ctx, configRegister, b[0]&^shutdown|resolution)
		}
		return &sensor{
			channels: []drivers.Channel{temperature()},
			measure: func(ctx context.Context) ([]any, error) {
				// With every sample: a chip that lost its supply has forgotten it.
				if err := awake(ctx); err != nil {
					return nil, err
				}
				w, err := c.word(ctx, temperatureRegister)
				if err != nil {
					return nil, err
				}
				return tmp102Value(w)
			},
		}, nil
	})
}

// tmp102Value: 12 bits on the left, 1/16 °C each; 13 bits if bit 0 says so (tables
// 5 and 6).
func tmp102Value(w uint16) ([]any, error) {
	t := float64(int16(w)>>4) / 16
	if w&1 != 0 {
		t = float64(int16(w)>>3) / 16
	}
	// Registers end at -55 and 150 °C. All ones, what an open bus reads, is -0.0625 °C
	// and cannot be told from a frost.
	return celsius(t, -55, 150)
}
