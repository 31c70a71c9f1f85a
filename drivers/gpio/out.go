package gpio

import (
	"context"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

// OutOptions are the keys of the kind gpio-out.
type OutOptions struct {
	Pin       string `toml:"pin"`        // "GPIO27" or "gpiochip0:27"
	ActiveLow bool   `toml:"active_low"` // on is a low line, as with most relay boards
	Initial   bool   `toml:"initial"`    // the state after the device was opened
	Safe      bool   `toml:"safe"`       // the state when the gateway stops or the device is closed
}

// Validate checks what can be checked without the line.
func (o OutOptions) Validate() error { return checkPin(o.Pin) }

// OutKind returns the kind gpio-out: a relay, a valve, a lamp.
func OutKind() drivers.Kind {
	kind := drivers.KindOf("gpio-out", "A relay, valve or lamp on a GPIO line, set by commands.", outExample,
		func() OutOptions { return OutOptions{} }, openOut)
	kind.Moves = true
	return kind
}

type output struct {
	options OutOptions
	pin     gpio.PinIO
	on      bool
	told    bool // on has been told
}

var (
	_ drivers.Watcher  = (*output)(nil)
	_ drivers.Actuator = (*output)(nil)
)

// openOut sets the initial state. The system's way to a line makes it an output
// that is low and sets the level then, some microseconds later: an active-low relay
// may see a pulse too short to move it.
func openOut(_ context.Context, o OutOptions, p drivers.Ports) (drivers.Device, error) {
	pin, err := find(p, o.Pin)
	if err != nil {
		return nil, err
	}
	d := &output{options: o, pin: pin}
	if err := d.set(o.Initial); err != nil {
		release(pin)
		return nil, err
	}
	return d, nil
}

func (d *output) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: channel, Quantity: drivers.State, Type: drivers.Bool, Writable: true}}
}

// Close sets the safe state. When the process ends, the kernel lets go of the line
// and what it does then is the board's choice: a resistor on the line makes it sure.
func (d *output) Close() error {
	err := d.set(d.options.Safe)
	if err2 := release(d.pin); err == nil {
		err = err2
	}
	return err
}

// set drives the line. What the state is we know by what we did: reading an output
// would turn it into an input.
func (d *output) set(on bool) error {
	if err := d.pin.Out(gpio.Level(on != d.options.ActiveLow)); err != nil {
		return fails(d.options.Pin, err)
	}
	d.on = on
	return nil
}

// Watch tells the state once; after that it changes by commands alone.
func (d *output) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	if !d.told {
		d.told = true
		emit(state(d.on, time.Now()))
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d *output) Check(c drivers.Command) (drivers.Command, error) {
	c, _, err := drivers.Resolve(c, d.Channels())
	if err != nil {
		return c, err
	}
	on, err := drivers.ParseBool(c.Value)
	c.Value = on
	return c, err
}

func (d *output) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	if err := d.set(c.Value.(bool)); err != nil {
		return drivers.Reading{}, err
	}
	return state(d.on, time.Now()), nil
}
