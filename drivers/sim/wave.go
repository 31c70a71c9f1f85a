package sim

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"edgegateway/drivers"
)

// A generator gives the value of a channel at a moment. Periodic ones depend on the
// moment alone, so that two runs show the same; walk and counter go on by one step
// for each call.
type generator func(at time.Time) float64

func (c Channel) generator(seed int64, index int) generator {
	r := c.limits()
	span := r.Max - r.Min
	period := c.Period
	if period == 0 {
		period = defaultPeriod
	}
	phase := func(at time.Time) float64 { // 0 to 1
		return float64(at.UnixNano()%int64(period)) / float64(period)
	}
	switch c.Wave {
	case "sine":
		return func(at time.Time) float64 { return r.Min + span*(1+math.Sin(2*math.Pi*phase(at)))/2 }
	case "square":
		return func(at time.Time) float64 {
			if phase(at) < 0.5 {
				return r.Min
			}
			return r.Max
		}
	case "sawtooth":
		return func(at time.Time) float64 { return r.Min + span*phase(at) }
	case "walk":
		step := c.Step
		if step == 0 {
			step = span / 50
		}
		// Channels of one seed must not walk in step with each other.
		random := rand.New(rand.NewPCG(uint64(seed), uint64(index)))
		value := r.Min + span/2
		return func(time.Time) float64 {
			value = min(max(value+step*(2*random.Float64()-1), r.Min), r.Max)
			return value
		}
	case "counter":
		return c.counter(0)
	}
	return nil
}

// counter goes on from a value.
func (c Channel) counter(from float64) generator {
	step := c.Step
	if step == 0 {
		step = 1
	}
	count := 0.0 // of calls; adding up a fraction would drift
	return func(time.Time) float64 {
		count++
		return from + step*count
	}
}

// Resume has the counters go on from what they said last.
func (d *device) Resume(last []drivers.Value) {
	for _, v := range last {
		from, ok := v.V.(float64)
		if whole, is := v.V.(int64); is {
			from, ok = float64(whole), true
		}
		for i, c := range d.made {
			if ok && c.Name == v.Channel && c.Wave == "counter" {
				d.waves[i] = c.counter(from)
			}
		}
	}
}

// reading takes one value of each channel.
func (d *device) reading(at time.Time) drivers.Reading {
	r := drivers.Reading{At: at}
	for i, wave := range d.waves {
		v := d.held[i]
		if wave != nil {
			v = drivers.Round(wave(at), 2) // more than a cheap sensor has
		}
		r.Values = append(r.Values, drivers.Value{Channel: d.channels[i].Name, V: v})
	}
	return r
}

func (d *device) Check(c drivers.Command) (drivers.Command, error) {
	c, channel, err := drivers.Resolve(c, d.channels)
	if err != nil {
		return c, err
	}
	if channel.Type == drivers.Bool {
		c.Value, err = drivers.ParseBool(c.Value)
	} else {
		c.Value, err = drivers.ParseNumber(c.Value, channel.Range)
	}
	return c, err
}

// Actuate sets a channel and tells it alone: a command takes no step of a walk.
func (d *device) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	for i, channel := range d.channels {
		if channel.Name == c.Channel {
			d.held[i] = c.Value
		}
	}
	return drivers.Reading{At: time.Now(), Values: []drivers.Value{{Channel: c.Channel, V: c.Value}}}, nil
}

// Safe sets everything that commands set back to what it was at the start, and tells
// it alone.
func (d *device) Safe(context.Context) (drivers.Reading, error) {
	copy(d.held, d.initial)
	r := drivers.Reading{At: time.Now()}
	for i, channel := range d.channels {
		if channel.Writable {
			r.Values = append(r.Values, drivers.Value{Channel: channel.Name, V: d.held[i]})
		}
	}
	return r, nil
}
