package gpio

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

// The channels of a counter.
const (
	pulsesChannel = "pulses"
	totalChannel  = "total"
	rateChannel   = "rate"
)

// CounterOptions are the keys of the kind gpio-counter.
type CounterOptions struct {
	Pin      string        `toml:"pin"`      // "GPIO17" or "gpiochip0:17"
	Pull     string        `toml:"pull"`     // up, down, none: the resistor inside the chip
	Edge     string        `toml:"edge"`     // which edge of a pulse counts: falling, rising
	Debounce time.Duration `toml:"debounce"` // a pulse counts when the line has been quiet for so long

	PerPulse  float64       `toml:"per_pulse"`  // what one pulse is worth, in the unit
	Unit      string        `toml:"unit"`       // of the total: "mm", "kWh", "L"
	Quantity  string        `toml:"quantity"`   // what is counted: "rain", "energy", "water", "gas"
	RateUnit  string        `toml:"rate_unit"`  // the rate is per s, min or h
	ZeroAfter time.Duration `toml:"zero_after"` // without a pulse for so long the rate is 0
}

// Validate checks what can be checked without the line.
func (o CounterOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", checkInput(o.Pin, o.Pull, o.Debounce))
	m.If(o.edge() == gpio.NoEdge, "edge must be falling or rising, not %q", o.Edge)
	m.If(!(o.PerPulse >= 1e-9 && o.PerPulse <= 1e9), "per_pulse must be between 1e-9 and 1e9, not %v", o.PerPulse)
	m.If(o.seconds() == 0, "rate_unit must be s, min or h, not %q", o.RateUnit)
	m.If(o.ZeroAfter < time.Second || o.ZeroAfter > 24*time.Hour, "zero_after must be between 1s and 24h, not %v", o.ZeroAfter)
	return m.Err()
}

// Uses names the line.
func (o CounterOptions) Uses() []drivers.Use { return uses(o.Pin) }

// Resumes names the channel that a counter goes on from.
func (o CounterOptions) Resumes() []string { return []string{pulsesChannel} }

// Settable names the channel that is set to what the meter shows.
func (o CounterOptions) Settable() []string { return []string{totalChannel} }

func (o CounterOptions) edge() gpio.Edge {
	switch o.Edge {
	case "falling":
		return gpio.FallingEdge
	case "rising":
		return gpio.RisingEdge
	}
	return gpio.NoEdge
}

// seconds is how many of them the rate counts over.
func (o CounterOptions) seconds() float64 {
	switch o.RateUnit {
	case "s":
		return 1
	case "min":
		return 60
	case "h":
		return 3600
	}
	return 0
}

// rate says what the rate is and in which unit.
func (o CounterOptions) rate() (drivers.Quantity, string) {
	unit := o.Unit + "/" + o.RateUnit
	switch quantity := drivers.Quantity(o.Quantity); quantity {
	case drivers.Energy:
		if power, ok := strings.CutSuffix(o.Unit, "Wh"); ok && o.RateUnit == "h" {
			return drivers.Power, power + "W" // kWh per hour are kW
		}
	case drivers.Water, drivers.Gas, drivers.Volume:
		return drivers.Flow, unit
	case drivers.Rain:
		return drivers.RainRate, unit
	case drivers.Distance:
		return drivers.Speed, unit
	}
	switch {
	case o.Unit == "" && o.RateUnit == "s":
		return drivers.Frequency, "Hz"
	case o.Unit == "":
		return drivers.UnknownNumber, "1/" + o.RateUnit
	}
	return drivers.UnknownNumber, unit
}

// CounterKind returns the kind gpio-counter: a rain gauge, a meter of water, gas or
// energy.
func CounterKind() drivers.Kind {
	return drivers.KindOf("gpio-counter", "A rain gauge or meter that gives pulses on a GPIO line: how many, their total and their rate.", counterExample,
		func() CounterOptions {
			return CounterOptions{
				Pull: "none", Edge: "falling", Debounce: 10 * time.Millisecond,
				PerPulse: 1, RateUnit: "min", ZeroAfter: 10 * time.Minute,
			}
		}, openCounter)
}

// mostPulses is the largest number that JSON carries to everyone unchanged: it is
// exact as a float64.
const mostPulses = 1 << 53

// A counter lets the kernel count. Each pulse that it sees has a number, and it keeps
// the newest ones: a sample needs no more than those, nobody wakes up in between, and
// a flood costs no more than silence.
type counter struct {
	options  CounterOptions
	line     Listener
	channels []drivers.Channel
	scale    drivers.Linear
	pulses   int64
	seq      uint32 // of the newest pulse that is in pulses
	rate     pulseRate
}

var (
	_ drivers.Sampler  = (*counter)(nil)
	_ drivers.Actuator = (*counter)(nil)
	_ drivers.Resumer  = (*counter)(nil)
)

func openCounter(_ context.Context, o CounterOptions, p drivers.Ports) (drivers.Device, error) {
	l, debounced, err := listen(p, o.Pin, Listening{Pull: pulls[o.Pull], Edge: o.edge(), Debounce: o.Debounce})
	if err != nil {
		return nil, err
	}
	if o.Debounce > 0 && !debounced {
		release(l)
		return nil, fmt.Errorf("%s cannot be debounced by the kernel; set debounce = \"0s\" and let a capacitor or the meter keep its pulses clean", lineName(o.Pin))
	}
	rate, rateUnit := o.rate()
	return &counter{
		options: o, line: l, scale: drivers.Linear{Scale: o.PerPulse}, rate: newPulseRate(o.ZeroAfter),
		channels: []drivers.Channel{
			{Name: pulsesChannel, Quantity: drivers.Count, Type: drivers.Int, Cumulative: true},
			{
				Name: totalChannel, Quantity: drivers.Quantity(o.Quantity), Unit: o.Unit, Type: drivers.Float, Cumulative: true,
				Writable: true, Range: drivers.Range{Max: mostPulses * o.PerPulse},
			},
			{Name: rateChannel, Quantity: rate, Unit: rateUnit, Type: drivers.Float},
		},
	}, nil
}

func (d *counter) Channels() []drivers.Channel { return slices.Clone(d.channels) }

func (d *counter) Close() error { return release(d.line) }

// Resume goes on from the number of pulses that was told last. The total is made of
// it, so that no error adds up over the years.
func (d *counter) Resume(last []drivers.Value) {
	for _, v := range last {
		if n, ok := v.V.(int64); ok && v.Channel == pulsesChannel && n >= 0 && n <= mostPulses {
			d.pulses = n
		}
	}
}

// Sample counts what has come since the last one. Pulses from before the line was
// opened have been seen by nobody.
func (d *counter) Sample(context.Context) (drivers.Reading, error) {
	if err := d.count(); err != nil {
		return drivers.Reading{}, err
	}
	return d.reading(), nil
}

// count adds the pulses that the kernel has seen.
func (d *counter) count() error {
	var some [Kept]Edge
	n, err := d.line.Edges(some[:], 0)
	if err != nil {
		return fails(d.options.Pin, err)
	}
	if n > 0 {
		newest := some[n-1].Seq
		d.pulses += int64(newest - d.seq) // also over the end of its 32 bits
		if d.pulses > mostPulses {
			d.pulses -= mostPulses + 1 // begins again, as a mechanical meter that is full
		}
		d.seq = newest
	}
	d.rate.add(some[:n], time.Now())
	return nil
}

func (d *counter) reading() drivers.Reading {
	r := drivers.Reading{At: time.Now(), Values: []drivers.Value{
		{Channel: pulsesChannel, V: d.pulses},
		{Channel: totalChannel, V: d.scale.Float(float64(d.pulses))},
	}}
	if perSecond, known := d.rate.at(r.At); known {
		r.Values = append(r.Values, drivers.Value{Channel: rateChannel, V: significant(perSecond * d.options.seconds() * d.options.PerPulse)})
	}
	return r
}

// Check takes what the mechanical meter shows as the total.
func (d *counter) Check(c drivers.Command) (drivers.Command, error) {
	c, channel, err := drivers.Resolve(c, d.channels)
	if err != nil {
		return c, err
	}
	c.Value, err = drivers.ParseNumber(c.Value, channel.Range)
	return c, err
}

// Actuate sets the total, to the nearest whole pulse.
func (d *counter) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	if err := d.count(); err != nil {
		return drivers.Reading{}, err
	}
	d.pulses = int64(math.Round(c.Value.(float64) / d.options.PerPulse))
	return d.reading(), nil
}
