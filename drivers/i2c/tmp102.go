package i2c

import (
	"context"
	_ "embed"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/tmp102.toml
var tmp102Example string

// TMP102Options are the keys of the kind tmp102.
type TMP102Options struct{ Place }

// Validate checks what can be checked without the chip.
func (o TMP102Options) Validate() error { return o.oneOf("TMP102", 0x48, 0x4f) }

// TMP102Kind returns the kind tmp102. What it uses is the same in the relatives of
// the chip: "the first byte corresponds to the Configuration Register in the TMP75",
// and registers are written byte by byte (datasheet SBOS397B, page 7).
func TMP102Kind() drivers.Kind {
	return drivers.KindOf("tmp102", "Temperature by a TMP102, or by its relatives TMP105, TMP112, TMP75, TMP175, TMP275, on an I2C bus.", tmp102Example,
		func() TMP102Options { return TMP102Options{at(0x48)} }, openTMP102)
}

// The first byte of the configuration register. R1 and R0 always read 1 in a TMP102;
// a TMP105 comes up with 0, 9 bits (datasheet SLLS648D).
const (
	tmpTemperature = 0
	tmpConfig      = 1
	tmpOneShot     = 0x80 // OS
	tmpResolution  = 0x60 // R1 R0: 12 bits
	tmpShutdown    = 0x01 // SD

	// A conversion of 12 bits takes 220 ms, typically, in a TMP105 and its kind (26 ms
	// in a TMP102).
	tmpConversion = 320 * time.Millisecond

	// tmpTrust is how long the settings are believed to be there: a chip that lost its
	// supply for a moment has forgotten them, and goes on with half degrees. It is long,
	// because a second transfer moves the turns of all on a bus with a slow chip. A transfer
	// that failed ends it.
	tmpTrust = 10 * time.Minute
)

type tmp102 struct {
	*link
	checked time.Time
}

// openTMP102 lets the chip measure by itself, as it does after power-on.
func openTMP102(ctx context.Context, o TMP102Options, ports drivers.Ports) (drivers.Device, error) {
	return attach(ctx, "TMP102", o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		d := &tmp102{link: c}
		if err := d.awake(ctx); err != nil {
			return nil, err
		}
		return &sensor{channels: []drivers.Channel{temperature()}, measure: d.measure}, nil
	})
}

// awake makes sure that the chip measures, with all its bits, and keeps what it is
// told: that is all by which it can be recognized.
func (d *tmp102) awake(ctx context.Context) error {
	config, err := d.read(ctx, tmpConfig, 1)
	if err != nil {
		return err
	}
	if set := config[0] & (tmpResolution | tmpShutdown); set != tmpResolution {
		// One byte: the register of a TMP105 has no second one.
		if err := d.write(ctx, tmpConfig, config[0]&^(tmpShutdown|tmpOneShot)|tmpResolution); err != nil {
			return err
		}
		if err := d.pause(ctx, tmpConversion); err != nil {
			return err
		}
		if config, err = d.read(ctx, tmpConfig, 1); err != nil {
			return err
		}
	}
	if config[0]&(tmpResolution|tmpShutdown) != tmpResolution {
		return d.stranger("its configuration stays %#02x; the kind i2c-register can read an LM75, `gateway devices i2c-register` shows how", config[0])
	}
	d.checked = time.Now()
	return nil
}

func (d *tmp102) measure(ctx context.Context) ([]any, error) {
	if time.Since(d.checked) > tmpTrust {
		if err := d.awake(ctx); err != nil {
			return nil, err
		}
	}
	w, err := d.word(ctx, tmpTemperature)
	if err == nil && w == 0 {
		// Zero is also what the register holds before the first conversion, and what is
		// read from a line that is held low.
		if err = d.awake(ctx); err == nil {
			err = d.pause(ctx, tmpConversion)
		}
		if err == nil {
			w, err = d.word(ctx, tmpTemperature)
		}
	}
	if err != nil {
		d.checked = time.Time{}
		return nil, err
	}
	return d.value(w)
}

// value: 12 bits on the left, 1/16 °C each, and 0 behind them; or 13 bits and 001, in
// the extended mode of the TMP102 (SBOS397C, tables 3 to 6).
func (d *tmp102) value(w uint16) ([]any, error) {
	t := float64(int16(w)>>4) / 16
	if w&7 == 1 {
		t = float64(int16(w)>>3) / 16
	} else if w&0xf != 0 {
		return nil, d.stranger("a temperature of %#04x has bits where it has none; check its wiring and power", w)
	}
	return d.celsius(t, -55, 150) // where the tables end
}
