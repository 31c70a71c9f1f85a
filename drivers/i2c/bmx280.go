package i2c

import (
	"context"
	_ "embed"
	"slices"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/bme280.toml
var bme280Example string

//go:embed examples/bmp280.toml
var bmp280Example string

// BMx280Options are the keys of the kinds bme280 and bmp280.
type BMx280Options struct {
	Place
	Oversampling int `toml:"oversampling"` // 1, 2, 4, 8 or 16 measurements for one value: less noise takes longer
}

// Validate checks what can be checked without the chip.
func (o BMx280Options) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.oneOf("BME280 or BMP280", 0x76, 0x77))
	m.If(!slices.Contains([]int{1, 2, 4, 8, 16}, o.Oversampling), "oversampling must be 1, 2, 4, 8 or 16, not %d", o.Oversampling)
	return m.Err()
}

// BME280Kind returns the kind bme280.
func BME280Kind() drivers.Kind {
	return drivers.KindOf("bme280", "Temperature, humidity and air pressure by a BME280 on an I2C bus.", bme280Example,
		func() BMx280Options { return BMx280Options{at(0x76), 1} },
		func(ctx context.Context, o BMx280Options, p drivers.Ports) (drivers.Device, error) {
			return openBMx280(ctx, o, p, true)
		})
}

// BMP280Kind returns the kind bmp280.
func BMP280Kind() drivers.Kind {
	return drivers.KindOf("bmp280", "Temperature and air pressure by a BMP280 on an I2C bus.", bmp280Example,
		func() BMx280Options { return BMx280Options{at(0x76), 1} },
		func(ctx context.Context, o BMx280Options, p drivers.Ports) (drivers.Device, error) {
			return openBMx280(ctx, o, p, false)
		})
}

// Registers: BME280 datasheet BST-BME280-DS002, revision 1.6, table 18; those of the
// BMP280 are a part of them (BST-BMP280-DS001, table 18).
const (
	bmxID       = 0xd0
	bmxCalib    = 0x88
	bmxCalibH   = 0xe1
	bmxCtrlHum  = 0xf2
	bmxStatus   = 0xf3
	bmxCtrlMeas = 0xf4
	bmxConfig   = 0xf5
	bmxData     = 0xf7

	bmxMeasuring = 0x08 // in status
	bmxCopying   = 0x01 // in status: the trimming values are not there yet
	bmxForced    = 0x01 // in ctrl_meas: measure once, then sleep
)

// A bmx280 measures on demand: mode, oversampling and filter are written with every
// sample, so that a chip that lost its supply for a moment needs no care.
//
// periph's driver of these chips was not taken: its errors do not tell the cause, it
// waits without an end for a chip that says that it is measuring, and it gives a
// measurement that was skipped as a value.
type bmx280 struct {
	*link
	humid    bool
	exponent byte // of oversampling, plus 1
	duration time.Duration

	calibration []byte // the registers from 0x88 on
	trim        trimming
}

func openBMx280(ctx context.Context, o BMx280Options, ports drivers.Ports, humid bool) (drivers.Device, error) {
	chip := "BMP280"
	if humid {
		chip = "BME280"
	}
	return attach(ctx, chip, o.Place, ports, func(ctx context.Context, c *link) (*sensor, error) {
		d := &bmx280{link: c, humid: humid, exponent: byte(1 + slices.Index([]int{1, 2, 4, 8, 16}, o.Oversampling))}
		if err := d.identify(ctx); err != nil {
			return nil, err
		}
		if err := d.settle(ctx, 0, bmxCopying); err != nil {
			return nil, err
		}
		if err := d.readTrimming(ctx); err != nil {
			return nil, err
		}
		// The longest time of a measurement: section 9.1. A BMP280 takes the same
		// without humidity (its section 3.8.1).
		us := 1250 + 2300*o.Oversampling + (2300*o.Oversampling + 575)
		channels := []drivers.Channel{temperature(), pressure()}
		if humid {
			us += 2300*o.Oversampling + 575
			channels = []drivers.Channel{temperature(), humidity(), pressure()}
		}
		d.duration = time.Duration(us) * time.Microsecond
		return &sensor{channels: channels, measure: d.measure}, nil
	})
}

// identify makes sure that the chip is what it is configured as: boards sold as
// BME280 often carry a BMP280.
func (d *bmx280) identify(ctx context.Context) error {
	id, err := d.read(ctx, bmxID, 1)
	if err != nil {
		return err
	}
	switch {
	case id[0] == 0x60 && d.humid, isBMP280(id[0]) && !d.humid:
		return nil
	case isBMP280(id[0]):
		return d.stranger("it is a BMP280, which cannot measure humidity; write kind = \"bmp280\"")
	case id[0] == 0x60:
		return d.stranger("it is a BME280; write kind = \"bme280\"")
	case id[0] == 0x55:
		return d.stranger("it is a BMP180, which another driver would have to know")
	case id[0] == 0x61:
		return d.stranger("it is a BME680, which another driver would have to know")
	}
	return d.stranger("it gives %#02x as its identification", id[0])
}

// isBMP280: table 17 of its datasheet; the first two are samples.
func isBMP280(id byte) bool { return id == 0x56 || id == 0x57 || id == 0x58 }

// settle waits until a bit of the status is clear.
func (d *bmx280) settle(ctx context.Context, takes time.Duration, bit byte) error {
	return d.until(ctx, takes, func() (bool, error) {
		status, err := d.read(ctx, bmxStatus, 1)
		return status[0]&bit == 0, err
	})
}

// What a measurement that was skipped gives: sections 5.4.7 to 5.4.9. Each is also the
// value of a true one: in some chips that of 22.97 °C, in others that of 26.46 °C.
const bmxSkipped, bmxSkippedHumidity = 0x80000, 0x8000

// bmxTries is how often that is looked at. Without oversampling the steps are the largest,
// those of 16 bits, and the noise is about one of them (sections 3.4.3 and 3.6): what was
// measured moves on.
const bmxTries = 5

func (d *bmx280) measure(ctx context.Context) ([]any, error) {
	for range bmxTries {
		raw, err := d.look(ctx)
		if err != nil {
			return nil, err
		}
		if raw.p == bmxSkipped || raw.t == bmxSkipped || d.humid && raw.h == bmxSkippedHumidity {
			continue
		}
		values, err := d.values(raw)
		if err != nil {
			return nil, err
		}
		if err := d.same(ctx); err != nil {
			return nil, err
		}
		return values, nil
	}
	return nil, d.faulty("it does not measure all that it is told to; power-cycle it")
}

// A bmxRaw is what the registers from 0xF7 on hold.
type bmxRaw struct{ p, t, h uint32 }

// look measures once.
func (d *bmx280) look(ctx context.Context) (raw bmxRaw, err error) {
	if d.humid { // takes effect with the write of ctrl_meas behind it: section 5.4.3
		if err := d.write(ctx, bmxCtrlHum, d.exponent); err != nil {
			return raw, err
		}
	}
	if err := d.write(ctx, bmxConfig, 0); err != nil { // no filter
		return raw, err
	}
	if err := d.write(ctx, bmxCtrlMeas, d.exponent<<5|d.exponent<<2|bmxForced); err != nil {
		return raw, err
	}
	if err := d.settle(ctx, d.duration, bmxMeasuring); err != nil {
		return raw, err
	}
	n := 6
	if d.humid {
		n = 8
	}
	b, err := d.read(ctx, bmxData, n) // in one go, so that all are of one measurement: section 4.1
	if err != nil {
		return raw, err
	}
	raw.p = uint32(b[0])<<12 | uint32(b[1])<<4 | uint32(b[2])>>4
	raw.t = uint32(b[3])<<12 | uint32(b[4])<<4 | uint32(b[5])>>4
	if d.humid {
		raw.h = uint32(b[6])<<8 | uint32(b[7])
	}
	return raw, nil
}

// values computes what was measured.
func (d *bmx280) values(raw bmxRaw) ([]any, error) {
	t, fine := d.trim.temperature(raw.t)
	p := d.trim.pressure(raw.p, fine)
	// Sections 1.1 to 1.4 of the datasheet: what the chip can measure.
	if err := d.within("a temperature", t, -40, 85); err != nil {
		return nil, err
	}
	if err := d.within("a pressure", p/100, 300, 1100); err != nil {
		return nil, err
	}
	if !d.humid {
		return []any{drivers.Round(t, 2), drivers.Round(p/100, 2)}, nil
	}
	return []any{drivers.Round(t, 2), drivers.Round(d.trim.humidity(raw.h, fine), 2), drivers.Round(p/100, 2)}, nil
}
