package i2c

import (
	"context"
	_ "embed"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/scd4x.toml
var scd4xExample string

// SCD4xOptions are the keys of the kind scd4x.
type SCD4xOptions struct {
	Place
	Altitude int `toml:"altitude"` // metres above the sea: the air pressure changes what the chip sees
}

// Validate checks what can be checked without the chip.
func (o SCD4xOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.oneOf("SCD4x", 0x62, 0x62))
	m.If(o.Altitude < 0 || o.Altitude > 3000, "altitude must be between 0 and 3000 metres, not %d", o.Altitude)
	return m.Err()
}

// SCD4xKind returns the kind scd4x.
func SCD4xKind() drivers.Kind {
	k := drivers.KindOf("scd4x", "Carbon dioxide, temperature and humidity by an SCD40 or SCD41 on an I2C bus.", scd4xExample,
		func() SCD4xOptions { return SCD4xOptions{at(0x62), 0} }, openSCD4x)
	k.Timeout = 2 * scdFirst // of the first sample
	return k
}

// Commands: datasheet SCD4x, version 1.3, table 9.
const (
	scdStart       = 0x21b1
	scdStop        = 0x3f86
	scdRead        = 0xec05
	scdReady       = 0xe4b8
	scdSerial      = 0x3682
	scdSetAltitude = 0x2427
	scdWakeUp      = 0x36f6

	scdStopTime    = 500 * time.Millisecond
	scdWakeTime    = 30 * time.Millisecond // the datasheet says 20 ms
	scdCommandTime = time.Millisecond

	// The chip measures every 5 s. One that has had nothing for so long has lost its
	// supply meanwhile, and with it the order to measure.
	scdSilence = 20 * time.Second
	scdFirst   = 8 * time.Second        // the same since the start
	scdLook    = 500 * time.Millisecond // how often it is asked for the first one
)

type scd4x struct {
	*link
	last     time.Time // of a measurement, or the start
	measured bool      // since then
}

// openSCD4x starts the measurement that the chip repeats by itself.
func openSCD4x(ctx context.Context, o SCD4xOptions, ports drivers.Ports) (drivers.Device, error) {
	return attach(ctx, "SCD4x", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		d := &scd4x{link: c}
		// Never acknowledged (section 3.10.4), and nothing to an SCD40.
		_ = c.chip.Tx(ctx, []byte{scdWakeUp >> 8, scdWakeUp & 0xff}, nil)
		if err := c.pause(ctx, scdWakeTime); err != nil {
			return nil, err
		}
		if err := d.do(ctx, scdStop, scdStopTime); err != nil {
			return nil, err
		}
		if _, err := d.ask(ctx, scdSerial, 3); err != nil {
			return nil, err
		}
		altitude := []byte{byte(o.Altitude >> 8), byte(o.Altitude)}
		if err := c.write(ctx, scdSetAltitude>>8, scdSetAltitude&0xff, altitude[0], altitude[1], crc8(altitude)); err != nil {
			return nil, err
		}
		if err := c.pause(ctx, scdCommandTime); err != nil {
			return nil, err
		}
		if err := c.command(ctx, scdStart); err != nil {
			return nil, err
		}
		d.last = time.Now()
		return &sensor{
			channels: []drivers.Channel{
				{Name: "co2", Quantity: drivers.CO2, Unit: "ppm", Type: drivers.Int},
				temperature(), humidity(),
			},
			measure: d.measure,
			rest:    func(ctx context.Context) error { return c.command(ctx, scdStop) },
		}, nil
	})
}

// do sends a command and waits until the chip listens again.
func (d *scd4x) do(ctx context.Context, code uint16, duration time.Duration) error {
	if err := d.command(ctx, code); err != nil {
		return err
	}
	return d.pause(ctx, duration)
}

func (d *scd4x) ask(ctx context.Context, code uint16, n int) ([]uint16, error) {
	if err := d.do(ctx, code, scdCommandTime); err != nil {
		return nil, err
	}
	return d.words(ctx, n)
}

// measure returns nothing while the chip has nothing new. For the first one it waits:
// the next sample may be an hour away.
func (d *scd4x) measure(ctx context.Context) ([]any, error) {
	for {
		status, err := d.ask(ctx, scdReady, 1)
		if err != nil {
			return nil, err
		}
		since := time.Since(d.last)
		switch {
		case status[0]&0x07ff != 0: // section 3.8.2
			return d.values(ctx)
		case since > scdSilence, since > scdFirst && !d.measured:
			return nil, d.faulty("it has stopped measuring; it is started again: %w", drivers.ErrGone)
		case d.measured:
			return nil, nil
		}
		if err := d.pause(ctx, scdLook); err != nil {
			return nil, err
		}
	}
}

func (d *scd4x) values(ctx context.Context) ([]any, error) {
	w, err := d.ask(ctx, scdRead, 3)
	if err != nil {
		return nil, err
	}
	d.last, d.measured = time.Now(), true
	co2, t, h := w[0], -45+175*fraction(w[1]), 100*fraction(w[2]) // section 3.5.2
	if co2 == 0 {
		return nil, d.faulty("it tells 0 ppm of carbon dioxide, which is no measurement; power-cycle it if it goes on")
	}
	return []any{int64(co2), drivers.Round(t, 2), drivers.Round(h, 2)}, nil
}
