package i2c

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/drivers"
)

//go:embed examples/ads1115.toml
var ads1115Example string

//go:embed examples/ads1015.toml
var ads1015Example string

// ADSOptions are the keys of the kinds ads1115 and ads1015.
type ADSOptions struct {
	Place
	Rate     int        `toml:"rate"`     // conversions per second; a slow one averages noise away
	Channels []ADSInput `toml:"channels"` // empty: in0 to in3 against ground, in volts, gain 1
}

// An ADSInput is one input, or the difference between two, as a channel.
type ADSInput struct {
	Name     string  `toml:"name"`
	Input    Word    `toml:"input"`    // "0" to "3" against ground, or a pair: "0-1", "0-3", "1-3", "2-3"
	Gain     Word    `toml:"gain"`     // "2/3", 1, 2, 4, 8, 16: ±6.144, 4.096, 2.048, 1.024, 0.512, 0.256 V; "" = 1
	Scale    float64 `toml:"scale"`    // the value is volts * scale + offset; 0 = 1
	Offset   float64 `toml:"offset"`   // in the unit of the channel
	Unit     string  `toml:"unit"`     // "" = V without scale and offset
	Quantity string  `toml:"quantity"` // "" = voltage without scale and offset
}

// A Word is a text that may look like a number in the file: 1, "1", "2/3".
type Word string

// UnmarshalText takes what is written.
func (w *Word) UnmarshalText(text []byte) error {
	*w = Word(text)
	return nil
}

// ADS1115Options are the keys of the kind ads1115.
type ADS1115Options struct{ ADSOptions }

// ADS1015Options are the keys of the kind ads1015.
type ADS1015Options struct{ ADSOptions }

// Validate checks what can be checked without the chip.
func (o ADS1115Options) Validate() error { return o.validate("ADS1115", ads1115Rates()) }

// Validate checks what can be checked without the chip.
func (o ADS1015Options) Validate() error { return o.validate("ADS1015", ads1015Rates()) }

// The rates in the order of their codes: ADS1115 datasheet SBAS444 and ADS1015
// datasheet SBAS473, field DR of the config register.
func ads1115Rates() []int { return []int{8, 16, 32, 64, 128, 250, 475, 860} }
func ads1015Rates() []int { return []int{128, 250, 490, 920, 1600, 2400, 3300} }

// The inputs in the order of their codes: field MUX of the same register.
func adsInputs() []Word { return []Word{"0-1", "0-3", "1-3", "2-3", "0", "1", "2", "3"} }

// The gains in the order of their codes, field PGA, and the volts of the full scale.
func adsGains() ([]Word, []float64) {
	return []Word{"2/3", "1", "2", "4", "8", "16"}, []float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256}
}

// mostInputs keeps a sample of an ADS1115 at its slowest rate well below its time.
const mostInputs = 16

func (o ADSOptions) validate(chip string, rates []int) error {
	var m drivers.Mistakes
	m.Add("", o.oneOf(chip, 0x48, 0x4b))
	m.If(!slices.Contains(rates, o.Rate), "rate of an %s must be one of %s, not %d", chip, strings.ReplaceAll(strings.Trim(fmt.Sprint(rates), "[]"), " ", ", "), o.Rate)
	m.If(len(o.Channels) > mostInputs, "channels must be at most %d, not %d", mostInputs, len(o.Channels))
	gains, _ := adsGains()
	seen := make(map[string]bool)
	for i, c := range o.Channels {
		m.If(c.Name == "", "channels[%d].name must not be empty", i)
		m.If(c.Name != "" && seen[c.Name], "channels[%d].name is %q twice", i, c.Name)
		m.If(!slices.Contains(adsInputs(), c.Input), "channels[%d].input of %q must be 0, 1, 2, 3, or a pair 0-1, 0-3, 1-3, 2-3, not %q", i, c.Name, c.Input)
		m.Add(fmt.Sprintf("channels[%d].", i), drivers.Linear{Scale: c.Scale, Offset: c.Offset}.Validate())
		m.If(c.Gain != "" && !slices.Contains(gains, c.Gain), "channels[%d].gain of %q must be 2/3, 1, 2, 4, 8 or 16, not %q", i, c.Name, c.Gain)
		seen[c.Name] = true
	}
	return m.Err()
}

// ADS1115Kind returns the kind ads1115.
func ADS1115Kind() drivers.Kind {
	return drivers.KindOf("ads1115", "Four analog inputs of 16 bits by an ADS1115 on an I2C bus, scaled to any unit.", ads1115Example,
		func() ADS1115Options { return ADS1115Options{ADSOptions{Place: at(0x48), Rate: 128}} },
		func(ctx context.Context, o ADS1115Options, p drivers.Ports) (drivers.Device, error) {
			return openADS(ctx, "ADS1115", o.ADSOptions, p, ads1115Rates(), 0x7fff)
		})
}

// ADS1015Kind returns the kind ads1015.
func ADS1015Kind() drivers.Kind {
	return drivers.KindOf("ads1015", "Four analog inputs of 12 bits by an ADS1015 on an I2C bus, scaled to any unit.", ads1015Example,
		func() ADS1015Options { return ADS1015Options{ADSOptions{Place: at(0x48), Rate: 1600}} },
		func(ctx context.Context, o ADS1015Options, p drivers.Ports) (drivers.Device, error) {
			return openADS(ctx, "ADS1015", o.ADSOptions, p, ads1015Rates(), 0x7ff0) // its 12 bits stand on the left
		})
}

// An adsInput is an input as it is measured.
type adsInput struct {
	name          string
	config        uint16
	volts         float64 // of the full scale
	scale, offset float64
}

type ads struct {
	*link
	inputs   []adsInput
	duration time.Duration
	full     int16 // the highest value: the input may be anything above
}

func openADS(ctx context.Context, chip string, o ADSOptions, ports drivers.Ports, rates []int, full int16) (drivers.Device, error) {
	const single, comparatorOff = 0x8100, 0x0003 // OS and MODE; COMP_QUE
	if len(o.Channels) == 0 {
		for i := range 4 {
			o.Channels = append(o.Channels, ADSInput{Name: fmt.Sprintf("in%d", i), Input: Word(fmt.Sprint(i))})
		}
	}
	return attach(ctx, chip, o.Place, ports, func(_ context.Context, c *link) (*sensor, error) {
		// The clock is good to a tenth, and waking up takes 25 µs.
		d := &ads{link: c, full: full, duration: time.Second*11/10/time.Duration(o.Rate) + 100*time.Microsecond}
		var channels []drivers.Channel
		for _, in := range o.Channels {
			gains, volts := adsGains()
			if in.Gain == "" {
				in.Gain = "1"
			}
			gain := slices.Index(gains, in.Gain)
			channel := drivers.Channel{Name: in.Name, Unit: in.Unit, Quantity: drivers.Quantity(in.Quantity), Type: drivers.Float}
			if (in.Scale == 0 || in.Scale == 1) && in.Offset == 0 && in.Unit == "" && in.Quantity == "" {
				channel.Unit, channel.Quantity = "V", drivers.Voltage
			}
			if in.Scale == 0 {
				in.Scale = 1
			}
			channels = append(channels, channel)
			d.inputs = append(d.inputs, adsInput{
				name:   in.Name,
				config: single | comparatorOff | uint16(slices.Index(adsInputs(), in.Input))<<12 | uint16(gain)<<9 | uint16(slices.Index(rates, o.Rate))<<5,
				volts:  volts[gain], scale: in.Scale, offset: in.Offset,
			})
		}
		return &sensor{channels: channels, measure: d.measure}, nil
	})
}

// measure converts one input after the other. One that is beyond its range does not
// keep the others from being told.
func (d *ads) measure(ctx context.Context) ([]any, error) {
	values := make([]any, len(d.inputs))
	var faults error
	for i, in := range d.inputs {
		raw, err := d.convert(ctx, in.config)
		if err != nil {
			return nil, err
		}
		if raw >= d.full || raw == -0x8000 {
			faults = errors.Join(faults, d.faulty("channel %q is beyond ±%v V; choose a lower gain, or look at the wiring", in.name, in.volts))
			continue
		}
		values[i] = drivers.Round(float64(raw)/0x8000*in.volts*in.scale+in.offset, 6)
	}
	return values, faults
}

// convert makes one conversion: while it runs, bit 15 of the config register is 0.
func (d *ads) convert(ctx context.Context, config uint16) (int16, error) {
	const conversionRegister, configRegister, ready = 0, 1, 0x8000
	if err := d.setWord(ctx, configRegister, config); err != nil {
		return 0, err
	}
	err := d.until(ctx, d.duration, func() (bool, error) {
		status, err := d.word(ctx, configRegister)
		if err == nil && status|ready != config {
			err = d.faulty("the config register holds %#04x instead of %#04x; is it another chip, or is somebody else using it?", status, config)
		}
		return status&ready != 0, err
	})
	if err != nil {
		return 0, err
	}
	raw, err := d.word(ctx, conversionRegister)
	return int16(raw), err
}
