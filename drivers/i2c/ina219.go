package i2c

import (
	"context"
	_ "embed"
	"math/bits"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/ina219.toml
var ina219Example string

// INA219Options are the keys of the kind ina219.
type INA219Options struct {
	Place
	Shunt   float64 `toml:"shunt"`   // ohms of the resistor that the current flows through
	Average int     `toml:"average"` // measurements for one value: 1, 2, 4 ... 128
}

// Validate checks what can be checked without the chip.
func (o INA219Options) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.oneOf("INA219", 0x40, 0x4f))
	m.If(!(o.Shunt >= 1e-6 && o.Shunt <= 1000), "shunt must be between 0.000001 and 1000 ohms, not %v", o.Shunt)
	m.If(o.Average < 1 || o.Average > 128 || bits.OnesCount(uint(o.Average)) != 1, "average must be 1, 2, 4, 8, 16, 32, 64 or 128, not %d", o.Average)
	return m.Err()
}

// INA219Kind returns the kind ina219.
func INA219Kind() drivers.Kind {
	return drivers.KindOf("ina219", "Voltage, current and power by an INA219 on an I2C bus.", ina219Example,
		func() INA219Options { return INA219Options{at(0x40), 0.1, 16} }, openINA219)
}

type ina219 struct {
	*link
	config   uint16
	shunt    float64
	duration time.Duration
}

// openINA219: datasheet SBOS448G, registers in section 8.6. The chip could compute
// current and power from a calibration that is written to it; computing them here
// leaves nothing in the chip that a brown-out could take, and no rounding in between.
func openINA219(ctx context.Context, o INA219Options, ports drivers.Ports) (drivers.Device, error) {
	const range32V, gain320mV, both = 0x2000, 0x1800, 0x0003 // BRNG; PG; triggered, shunt and bus
	const longest = 586 * time.Microsecond                   // of 12 bits: section 7.5
	adc := uint16(8 | bits.TrailingZeros(uint(o.Average)))   // table 5
	return attach(ctx, "INA219", o.Place, ports, func(_ context.Context, c *link) (*sensor, error) {
		d := &ina219{c, range32V | gain320mV | adc<<7 | adc<<3 | both, o.Shunt, 2 * time.Duration(o.Average) * longest}
		return &sensor{
			channels: []drivers.Channel{
				{Name: "voltage", Quantity: drivers.Voltage, Unit: "V", Type: drivers.Float},
				{Name: "current", Quantity: drivers.Current, Unit: "A", Type: drivers.Float},
				{Name: "power", Quantity: drivers.Power, Unit: "W", Type: drivers.Float},
			},
			measure: d.measure,
		}, nil
	})
}

func (d *ina219) measure(ctx context.Context) ([]any, error) {
	const configRegister, shuntRegister, busRegister, ready = 0, 1, 2, 0x0002
	if err := d.setWord(ctx, configRegister, d.config); err != nil {
		return nil, err
	}
	var bus uint16
	err := d.until(ctx, d.duration, func() (ok bool, err error) {
		bus, err = d.word(ctx, busRegister)
		return bus&ready != 0, err
	})
	if err != nil {
		return nil, err
	}
	shunt, err := d.word(ctx, shuntRegister)
	if err != nil {
		return nil, err
	}
	return d.values(bus, int16(shunt))
}

// values: 4 mV per bit of the bus voltage, 10 µV per bit of that over the resistor,
// which ends at 320 mV; the range of the bus is 32 V (sections 8.6.3.1 and 8.6.3.2).
func (d *ina219) values(bus uint16, shunt int16) ([]any, error) {
	const most = 32000
	volts := float64(bus>>3) * 0.004
	if err := d.within("a voltage", volts, 0, 32); err != nil {
		return nil, err
	}
	if shunt >= most || shunt <= -most {
		return []any{drivers.Round(volts, 3), nil, nil},
			d.faulty("the current is beyond what the resistor of %v Ω allows, ±%.3g A", d.shunt, 0.32/d.shunt)
	}
	amperes := float64(shunt) * 10e-6 / d.shunt
	return []any{drivers.Round(volts, 3), drivers.Round(amperes, 6), drivers.Round(volts*amperes, 6)}, nil
}
