package gpio

import (
	"context"
	"fmt"
	"slices"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

// InOptions are the keys of the kind gpio-in.
type InOptions struct {
	Pin       string        `toml:"pin"`        // "GPIO17" or "gpiochip0:17"
	Pull      string        `toml:"pull"`       // up, down, none: the resistor inside the chip
	ActiveLow bool          `toml:"active_low"` // the state is on while the line is low, as with a switch to ground
	Debounce  time.Duration `toml:"debounce"`   // a change counts when the line has been quiet for so long
}

// Validate checks what can be checked without the line.
func (o InOptions) Validate() error {
	if err := checkPin(o.Pin); err != nil {
		return err
	}
	if !slices.Contains([]string{"up", "down", "none"}, o.Pull) {
		return fmt.Errorf("pull must be up, down or none, not %q", o.Pull)
	}
	if o.Debounce < 0 || o.Debounce > time.Second {
		return fmt.Errorf("debounce must be between 0s and 1s, not %v", o.Debounce)
	}
	return nil
}

// InKind returns the kind gpio-in: a switch, a contact, a motion sensor.
func InKind() drivers.Kind {
	return drivers.KindOf("gpio-in", "A switch or contact on a GPIO line, told when it changes.", inExample,
		func() InOptions { return InOptions{Pull: "none", Debounce: 10 * time.Millisecond} }, openIn)
}

type input struct {
	options InOptions
	pin     gpio.PinIO
	told    bool // on is what was told last
	on      bool
}

var _ drivers.Watcher = (*input)(nil)

func openIn(_ context.Context, o InOptions, p drivers.Ports) (drivers.Device, error) {
	pin, err := find(p, o.Pin)
	if err != nil {
		return nil, err
	}
	pull := gpio.Float
	switch o.Pull {
	case "up":
		pull = gpio.PullUp
	case "down":
		pull = gpio.PullDown
	}
	if err := pin.In(pull, gpio.BothEdges); err != nil {
		release(pin)
		return nil, fails(o.Pin, err)
	}
	return &input{options: o, pin: pin}, nil
}

func (d *input) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: channel, Quantity: drivers.State, Type: drivers.Bool}}
}

func (d *input) Close() error { return release(d.pin) }

const (
	// patience is how long one wait for an edge lasts. It must be positive: 0 waits
	// for ever and -1, which the interface promises to mean the same, returns at
	// once. It is also how late an edge that the kernel lost is noticed.
	patience = 250 * time.Millisecond
	// waits that end sooner without an edge, so many times in a row, mean that the
	// line is gone: an expander that was unplugged.
	mostEarly = 10
)

// Watch tells the level and each change of it. An edge is only a hint to look: the
// first one after In may be left over, and of two in short order both find the
// level as it was.
func (d *input) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	early := 0
	for {
		if on := d.read(); !d.told || on != d.on {
			at := time.Now()
			if on = d.settle(ctx, on); !d.told || on != d.on {
				d.told, d.on = true, on
				emit(state(on, at))
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		began := time.Now()
		if edge := d.pin.WaitForEdge(patience); edge || time.Since(began) >= patience/2 {
			early = 0
		} else if early++; early == mostEarly {
			return fmt.Errorf("the GPIO line %s gives no edges any more: %w", d.options.Pin, drivers.ErrGone)
		}
	}
}

// settle waits until the contact has stopped bouncing, and returns its level. One
// that does not stop is taken as it is after a while.
func (d *input) settle(ctx context.Context, on bool) bool {
	quiet := d.options.Debounce
	if quiet == 0 || !d.told {
		return on
	}
	for end := time.Now().Add(10 * quiet); ctx.Err() == nil && time.Now().Before(end); {
		if !d.pin.WaitForEdge(quiet) {
			break
		}
	}
	return d.read()
}

func (d *input) read() (on bool) { return bool(d.pin.Read()) != d.options.ActiveLow }
