// Package sim is a device made of waveforms, for demonstrations and tests.
package sim

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgegateway/drivers"
)

//go:embed example.toml
var example string

// Options are the keys of the kind sim.
type Options struct {
	Seed     int64     `toml:"seed"`     // of the random channels; the same seed gives the same values
	Channels []Channel `toml:"channels"` // empty: temperature, humidity, count and a switch
}

// A Channel is one made-up value.
type Channel struct {
	Name     string        `toml:"name"`
	Wave     string        `toml:"wave"`   // sine, square, sawtooth, walk, counter (goes on after a restart); switch and setpoint take commands
	Min      float64       `toml:"min"`    // of the wave, and of what a setpoint accepts
	Max      float64       `toml:"max"`    // Min and Max both 0: 0 to 100
	Period   time.Duration `toml:"period"` // sine, square, sawtooth; 0 = 1 minute
	Step     float64       `toml:"step"`   // walk: the longest; counter: each; 0 = a fiftieth of the range, and 1
	Unit     string        `toml:"unit"`
	Quantity string        `toml:"quantity"`
	Initial  any           `toml:"initial"` // switch: true or false; setpoint: a number
}

const (
	defaultPeriod = time.Minute
	most          = 1e15 // of a value: it still has a decimal
)

func waves() []string {
	return []string{"sine", "square", "sawtooth", "walk", "counter", "switch", "setpoint"}
}

// Validate checks the options.
func (o Options) Validate() error {
	var m drivers.Mistakes
	seen := make(map[string]bool)
	for i, c := range o.Channels {
		m.If(c.Name == "", "channels[%d].name must not be empty", i)
		m.If(c.Name != "" && seen[c.Name], "channels[%d].name is %q twice", i, c.Name)
		wave, limits := slices.Contains(waves(), c.Wave), c.Min < c.Max || c.Min == 0 && c.Max == 0
		m.If(!wave, "channels[%d].wave of %q must be one of %s, not %q", i, c.Name, strings.Join(waves(), ", "), c.Wave)
		m.If(!limits, "channels[%d].min of %q must be less than max", i, c.Name)
		m.If(!(math.Abs(c.Min) <= most && math.Abs(c.Max) <= most && c.Step <= most), "channels[%d].min, max and step of %q must not be beyond %v", i, c.Name, most)
		m.If(c.Period < 0, "channels[%d].period of %q must not be negative", i, c.Name)
		m.If(c.Step < 0, "channels[%d].step of %q must not be negative", i, c.Name)
		_, err := c.initial()
		m.If(wave && limits && err != nil, "channels[%d].initial of %q: %w", i, c.Name, err)
		seen[c.Name] = true
	}
	return m.Err()
}

func (c Channel) limits() drivers.Range {
	if c.Min == c.Max {
		return drivers.Range{Min: 0, Max: 100}
	}
	return drivers.Range{Min: c.Min, Max: c.Max}
}

// initial returns what a channel holds before the first command.
func (c Channel) initial() (any, error) {
	switch {
	case c.Wave == "switch" && c.Initial != nil:
		return drivers.ParseBool(c.Initial)
	case c.Wave == "switch":
		return false, nil
	case c.Wave == "setpoint" && c.Initial != nil:
		return drivers.ParseNumber(c.Initial, c.limits())
	case c.Wave == "setpoint":
		return c.limits().Min, nil
	case c.Initial != nil:
		return nil, fmt.Errorf("a %s has none", c.Wave)
	}
	return nil, nil
}

func demonstration() []Channel {
	return []Channel{
		{Name: "temperature", Wave: "sine", Min: 18, Max: 24, Quantity: string(drivers.Temperature), Unit: "°C"},
		{Name: "humidity", Wave: "walk", Min: 35, Max: 65, Quantity: string(drivers.Humidity), Unit: "%"},
		{Name: "count", Wave: "counter", Quantity: string(drivers.Count)},
		{Name: "switch", Wave: "switch", Quantity: string(drivers.State)},
	}
}

func (o Options) all() []Channel {
	if len(o.Channels) == 0 {
		return demonstration()
	}
	return o.Channels
}

// Resumes lists the counters.
func (o Options) Resumes() []string {
	var names []string
	for _, c := range o.all() {
		if c.Wave == "counter" {
			names = append(names, c.Name)
		}
	}
	return names
}

// Settable lists the switches and setpoints.
func (o Options) Settable() []string {
	var names []string
	for _, c := range o.all() {
		if c.Wave == "switch" || c.Wave == "setpoint" {
			names = append(names, c.Name)
		}
	}
	return names
}

// Failsafe: what commands set goes back to what it was at the start.
func (Options) Failsafe() bool { return true }

// Kind returns the kind sim.
func Kind() drivers.Kind {
	return drivers.KindOf("sim", "A made-up device of waveforms and switches, to try things without hardware.",
		example, func() Options { return Options{} }, open)
}

// device generates its values when it is asked.
type device struct {
	channels []drivers.Channel
	made     []Channel   // as they were configured
	waves    []generator // one per channel; nil for those that commands set
	held     []any       // what commands set, one per channel
	initial  []any       // and what that was at the start
}

var (
	_ drivers.Sampler  = (*device)(nil)
	_ drivers.Actuator = (*device)(nil)
	_ drivers.Failsafe = (*device)(nil)
	_ drivers.Resumer  = (*device)(nil)
)

func open(_ context.Context, o Options, _ drivers.Ports) (drivers.Device, error) {
	d := &device{made: o.all()}
	for i, c := range d.made {
		channel := drivers.Channel{Name: c.Name, Quantity: drivers.Quantity(c.Quantity), Unit: c.Unit, Type: drivers.Float}
		switch c.Wave {
		case "switch":
			channel.Type, channel.Writable = drivers.Bool, true
		case "setpoint":
			channel.Range, channel.Writable = c.limits(), true
		case "counter":
			channel.Cumulative = true
		}
		held, err := c.initial()
		if err != nil {
			return nil, err
		}
		d.channels = append(d.channels, channel)
		d.waves = append(d.waves, c.generator(o.Seed, i))
		d.held = append(d.held, held)
	}
	d.initial = slices.Clone(d.held)
	return d, nil
}

func (d *device) Channels() []drivers.Channel { return d.channels }
func (d *device) Close() error                { return nil }

// Sample gives the values of this moment.
func (d *device) Sample(context.Context) (drivers.Reading, error) { return d.reading(time.Now()), nil }
