package gpio

import (
	"context"
	"errors"
	"fmt"
	"syscall"
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
func (o InOptions) Validate() error { return checkInput(o.Pin, o.Pull, o.Debounce) }

// Uses names the line.
func (o InOptions) Uses() []drivers.Use { return uses(o.Pin) }

// Watches: the device tells by itself, of edges.
func (InOptions) Watches() bool { return true }

// InKind returns the kind gpio-in: a switch, a contact, a motion sensor.
func InKind() drivers.Kind {
	return drivers.KindOf("gpio-in", "A switch or contact on a GPIO line, told when it changes.", inExample,
		func() InOptions { return InOptions{Pull: "none", Debounce: 10 * time.Millisecond} }, openIn)
}

const (
	// lookAgain is how often the level is looked at although no edge has come: how
	// late an edge that the hardware lost is noticed, and that ctx has ended.
	lookAgain = 250 * time.Millisecond

	// polling is the same for a line that tells no edges.
	polling = 50 * time.Millisecond

	// restPerEdge bounds what edges cost: so many per second are looked at one by one,
	// of what comes faster the kernel keeps the newest. Then it is a flood, and only
	// what the line has become counts.
	restPerEdge = 2 * time.Millisecond
	restInFlood = 100 * time.Millisecond
)

type input struct {
	options  InOptions
	line     Listener
	patience time.Duration // how long to wait for an edge
	quiet    time.Duration // how long the line must be quiet, 0 if it is debounced for us
	seq      uint32        // of the newest edge
	told     bool          // what follows was told last
	on       bool
	at       time.Time
}

var _ drivers.Watcher = (*input)(nil)

func openIn(_ context.Context, o InOptions, p drivers.Ports) (drivers.Device, error) {
	d := &input{options: o, patience: lookAgain}
	how := Listening{Pull: pulls[o.Pull], Edge: gpio.BothEdges, Debounce: o.Debounce}
	l, debounced, err := listen(p, o.Pin, how)
	if errors.Is(err, ErrNoEdges) {
		d.patience, how.Edge = polling, gpio.NoEdge
		l, debounced, err = listen(p, o.Pin, how)
	}
	if err != nil {
		return nil, err
	}
	if d.line = l; !debounced {
		d.quiet = o.Debounce
	}
	return d, nil
}

func (d *input) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: channel, Quantity: drivers.State, Type: drivers.Bool}}
}

func (d *input) Close() error { return release(d.line) }

// Watch tells the level and each change of it, at the time of its edge.
func (d *input) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	var edges []Edge
	for ctx.Err() == nil {
		missed := d.missed(edges)
		if err := d.follow(ctx, edges, missed, emit); err != nil {
			return fails(d.options.Pin, err)
		}
		if missed > 0 {
			rest(ctx, restInFlood)
		} else {
			rest(ctx, time.Duration(len(edges))*restPerEdge)
		}
		var some [Kept]Edge
		n, err := d.line.Edges(some[:], d.patience)
		if err != nil {
			return fails(d.options.Pin, err)
		}
		edges = some[:n]
	}
	return ctx.Err()
}

// follow tells what has become of the line. Edges say what it was in between and
// when; what it is, the line itself says: two edges in short order may both carry
// the level after the second one, and one may have got lost.
func (d *input) follow(ctx context.Context, edges []Edge, missed uint32, emit func(drivers.Reading)) error {
	if missed == 0 && d.quiet == 0 && d.told {
		for _, e := range edges {
			d.tell(e.Level, e.At, nil, emit)
		}
	}
	level, err := d.sense(ctx)
	if err != nil {
		return err
	}
	at := time.Now()
	switch {
	case missed > 0:
		at = edges[len(edges)-1].At
	case d.quiet > 0 && len(edges) > 0:
		at = edges[0].At
	}
	if d.quiet > 0 && d.told && d.state(level) != d.on {
		if level, err = d.settle(ctx); err != nil {
			return err
		}
	}
	var fault error
	if missed > 0 {
		fault = fmt.Errorf("the line %s changes faster than it can be told, %d edges were passed over; give it a debounce, or check its wiring and pull resistor", d.options.Pin, missed)
	}
	d.tell(level, at, fault, emit)
	return nil
}

// missed counts the edges that the kernel dropped before these.
func (d *input) missed(edges []Edge) (n uint32) {
	for _, e := range edges {
		n += e.Seq - d.seq - 1
		d.seq = e.Seq
	}
	return n
}

// settle waits until the contact has stopped bouncing, and returns its level. One that
// does not stop for a while is still what it was, as behind the kernel's debouncer.
func (d *input) settle(ctx context.Context) (gpio.Level, error) {
	for range 10 {
		rest(ctx, d.quiet)
		if ctx.Err() != nil {
			break
		}
		var some [Kept]Edge
		n, err := d.line.Edges(some[:], 0)
		if err != nil {
			return gpio.Low, err
		}
		if n == 0 {
			return d.sense(ctx)
		}
		d.missed(some[:n]) // nobody wants to know each bounce
	}
	return gpio.Level(d.on != d.options.ActiveLow), nil
}

// sense asks for the level, and up to twice again: that of an expander comes over a bus,
// where one transfer of a thousand may fail. One that is looked at 20 times a second
// would be offline every minute.
func (d *input) sense(ctx context.Context) (level gpio.Level, err error) {
	for range 3 {
		if level, err = d.line.Sense(); err == nil || errors.Is(err, syscall.ENODEV) || ctx.Err() != nil {
			break
		}
		rest(ctx, polling)
	}
	return level, err
}

// tell emits the state if it is another one than was told last, and a fault if there
// is one. Times do not go back: a level that was seen may be told before its edge.
func (d *input) tell(level gpio.Level, at time.Time, fault error, emit func(drivers.Reading)) {
	var r drivers.Reading
	if on := d.state(level); !d.told || on != d.on {
		if at.Before(d.at) {
			at = d.at
		}
		d.told, d.on, d.at = true, on, at
		r = state(on, at)
	}
	if r.Fault = fault; len(r.Values) > 0 || fault != nil {
		emit(r)
	}
}

func (d *input) state(level gpio.Level) bool { return bool(level) != d.options.ActiveLow }

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
