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

// OutOptions are the keys of the kind gpio-out.
type OutOptions struct {
	Pin       string `toml:"pin"`        // "GPIO27" or "gpiochip0:27"
	ActiveLow bool   `toml:"active_low"` // on is a low line, as with most relay boards
	Initial   bool   `toml:"initial"`    // the state after the device was opened
	Safe      bool   `toml:"safe"`       // the state when the gateway stops, the device is closed or it is to be safe

	MaxOn          time.Duration `toml:"max_on"`          // after so long without another "on" it is switched off; 0 = no limit
	Interlock      string        `toml:"interlock"`       // names a group of outputs of which one at a time may be on
	InterlockPause time.Duration `toml:"interlock_pause"` // between one of them going off and another one going on
}

// What we chose.
const (
	shortestMaxOn  = 10 * time.Millisecond // an impulse for a door opener takes longer
	longestPause   = time.Minute
	defaultPause   = 500 * time.Millisecond // a motor has come to rest, and the relay of the other direction has opened
	longestLockKey = 64                     // bytes of the name of a group
	closeTries     = 400 * time.Millisecond // for so long Close tries to drive a line
	closePause     = 100 * time.Millisecond // between two of its tries
	lookForChip    = time.Second            // how late an output notices that its chip has left
)

// Validate checks what can be checked without the line.
func (o OutOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", checkPin(o.Pin))
	m.If(o.MaxOn != 0 && o.MaxOn < shortestMaxOn, "max_on must be 0s (no limit) or at least %v, not %v", shortestMaxOn, o.MaxOn)
	m.If(o.MaxOn >= shortestMaxOn && o.Safe, "max_on cannot be kept together with safe = true, which leaves the output on for good when the gateway stops")
	m.If(len(o.Interlock) > longestLockKey, "interlock must have at most %d bytes, it has %d", longestLockKey, len(o.Interlock))
	m.If(o.Interlock != "" && o.Safe, "interlock cannot be kept together with safe = true: another output of the group may be on when this one goes to its safe state")
	m.If(o.InterlockPause < 0 || o.InterlockPause > longestPause, "interlock_pause must be between 0s and %v, not %v", longestPause, o.InterlockPause)
	return m.Err()
}

// Uses lists what the device takes: its line, and with an interlock a place in its
// group. Only one of a group can be on at the start.
func (o OutOptions) Uses() []drivers.Use {
	uses := []drivers.Use{{What: lineName(o.Pin), Key: "pin"}}
	if o.Interlock == "" {
		return uses
	}
	group := fmt.Sprintf("the interlock %q", o.Interlock)
	uses = append(uses, drivers.Use{What: group, Shared: fmt.Sprintf("interlock_pause %v", o.InterlockPause), Key: "interlock_pause"})
	if o.Initial {
		uses = append(uses, drivers.Use{What: "the only place to be on at the start (initial = true) in " + group, Key: "initial"})
	}
	return uses
}

// Moves: opening and closing drive the line.
func (OutOptions) Moves() bool { return true }

// Failsafe: every output has a safe state.
func (OutOptions) Failsafe() bool { return true }

// Settable names the only channel.
func (OutOptions) Settable() []string { return []string{channel} }

// Watches: the device tells of commands, and of max_on.
func (OutOptions) Watches() bool { return true }

// OutKind returns the kind gpio-out: a relay, a valve, a lamp.
func OutKind() drivers.Kind {
	return drivers.KindOf("gpio-out", "A relay, valve or lamp on a GPIO line, set by commands.", outExample,
		func() OutOptions { return OutOptions{InterlockPause: defaultPause} }, openOut)
}

type output struct {
	options OutOptions
	pin     gpio.PinIO
	locks   *drivers.Interlocks // of the gateway; nil without an interlock
	on      bool
	since   time.Time // of the last command to be on
	unsure  bool      // it is on, or may be
	told    bool      // on has been told
	failed  bool      // it was to go off last, and could not be driven
	differs bool      // the line has another level than it was driven to, as was told
}

var (
	_ drivers.Watcher  = (*output)(nil)
	_ drivers.Actuator = (*output)(nil)
	_ drivers.Failsafe = (*output)(nil)
)

// openOut sets the initial state. Before that the output may be on, since an earlier
// run or because an attempt to switch it off has failed.
func openOut(_ context.Context, o OutOptions, p drivers.Ports) (drivers.Device, error) {
	d := &output{options: o, unsure: true}
	if o.Interlock != "" {
		if d.locks = p.Interlocks; d.locks == nil {
			return nil, errors.New("this gateway has no interlocks")
		}
	}
	var err error
	if d.pin, err = find(p, o.Pin); err != nil {
		return nil, err
	}
	if err := d.set(o.Initial); err != nil {
		release(d.pin)
		return nil, err
	}
	return d, nil
}

func (d *output) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: channel, Quantity: drivers.State, Type: drivers.Bool, Writable: true}}
}

// Close sets the safe state. When the process ends, the kernel lets go of the line,
// which "may revert to its default state" then
// (Documentation/userspace-api/gpio/gpio-v2-get-line-ioctl.rst).
//
// At a stop this is the last chance, and a bus that is disturbed comes to itself.
func (d *output) Close() error {
	began := time.Now()
	err := d.set(d.options.Safe)
	for err != nil && !errors.Is(err, syscall.ENODEV) && time.Since(began) < closeTries {
		time.Sleep(closePause)
		err = d.set(d.options.Safe)
	}
	if err2 := release(d.pin); err == nil {
		err = err2
	}
	return err
}

// Safe sets the safe state.
func (d *output) Safe(context.Context) (drivers.Reading, error) { return d.obey(d.options.Safe) }

// obey sets the state and tells it.
func (d *output) obey(on bool) (drivers.Reading, error) {
	if err := d.set(on); err != nil {
		return drivers.Reading{}, err
	}
	return state(d.on, time.Now()), nil
}

// set brings the line into a state. It is on only while it has its interlock, which
// goes back when the line has been driven off, and not before.
func (d *output) set(on bool) error {
	if on {
		if err := d.claim(); err != nil {
			d.calm()
			return err
		}
		d.unsure = true
	}
	if err := d.drive(on); err != nil {
		if d.failed = !on; on {
			d.calm()
		}
		return err
	}
	d.on, d.failed = on, false
	if on {
		d.since = time.Now()
	} else {
		d.release()
	}
	return nil
}

// calm switches an output off that may be on and should not be.
func (d *output) calm() {
	if d.unsure && !d.on && d.drive(false) == nil {
		d.release()
	}
}

// drive drives the line. What the state is we know by what we did.
func (d *output) drive(on bool) error {
	if err := d.pin.Out(d.level(on)); err != nil {
		return fails(d.options.Pin, err)
	}
	return nil
}

func (d *output) level(on bool) gpio.Level { return gpio.Level(on != d.options.ActiveLow) }

// claim takes the interlock, if there is one.
func (d *output) claim() error {
	if d.locks == nil {
		return nil
	}
	return d.locks.Claim(d.options.Interlock, lineName(d.options.Pin), d.options.InterlockPause)
}

// release gives the interlock back once the line is off. A second "off" begins no pause.
func (d *output) release() {
	if d.locks != nil && d.unsure {
		d.locks.Release(d.options.Interlock, lineName(d.options.Pin))
	}
	d.unsure = false
}

// Watch tells the state once; after that it changes by commands, and when max_on is
// over.
func (d *output) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	if d.unsure && !d.on {
		// What is told is off. Close tries it again, and so does each opening.
		return fmt.Errorf("%s may be on: it failed to go on, and could not be switched off after that", lineName(d.options.Pin))
	}
	if !d.told {
		d.told = true
		emit(state(d.on, time.Now()))
	}
	var over <-chan time.Time
	if d.on && d.options.MaxOn > 0 {
		timer := time.NewTimer(time.Until(d.since.Add(d.options.MaxOn)))
		defer timer.Stop()
		over = timer.C
	}
	look := time.NewTicker(lookForChip)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			news, err := d.look()
			if err != nil {
				return err
			}
			emit(news)
			if !d.on {
				over = nil
			}
		case <-over:
			// A line that cannot be switched off ends the use of the device, so that
			// Close tries it again and the reason is seen.
			off, err := d.obey(false)
			if err != nil {
				return fmt.Errorf("it has been on for max_on and cannot be switched off: %w", err)
			}
			off.Note = fmt.Sprintf("%s was switched off: it had been on for %v (max_on) without another command to be on", lineName(d.options.Pin), d.options.MaxOn)
			emit(off)
		}
	}
}

// look returns an error when the chip of the line has left: an expander that was
// unplugged. Nothing else tells so, and when it is back its lines are not what they were.
// Another error is no reason to give up an output that may be on.
//
// An expander that lost its supply for a moment is still there, and has forgotten its
// levels. The line is driven again then, as long as it differs. What it reads is told, and
// not believed: a load that is too heavy for a line may leave it between high and low. But
// one that was to go off, and reads so although that failed, is off.
func (d *output) look() (news drivers.Reading, err error) {
	line, ok := d.pin.(Listener)
	if !ok {
		return news, nil
	}
	level, err := line.Sense()
	switch {
	case errors.Is(err, syscall.ENODEV):
		return news, fails(d.options.Pin, err)
	case err != nil:
		return news, nil
	}
	known := d.differs
	d.differs = level != d.level(d.on)
	switch {
	case !d.differs:
	case d.failed:
		if news, err = d.obey(false); err == nil {
			news.Note = lineName(d.options.Pin) + " is off, as it was to be: to drive it seemed to fail"
		}
	default:
		_ = d.drive(d.on) // the next look shows what came of it
		if !known {
			news.Fault = fmt.Errorf("%s reads %v although it was driven %v, which is done again; has its chip lost its supply, or is the load too heavy?", lineName(d.options.Pin), level, !level)
		}
	}
	return news, nil
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

// Actuate switches. A repeated "on" begins max_on anew.
func (d *output) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	return d.obey(c.Value.(bool))
}
