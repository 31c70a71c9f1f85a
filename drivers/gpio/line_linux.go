package gpio

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// A line is in use by one device.
type line struct {
	system *System
	name   string // as asked for
	place  place

	req    *request // nil before the first In, Listen or Out
	out    bool     // req is an output
	pull   gpio.Pull
	halted atomic.Bool
}

var _ Listener = (*line)(nil)

// ask requests the line from the kernel, by an open chip.
func (l *line) ask(do func(chipFile) (*request, error)) error {
	if l.req != nil {
		l.req.close() // nothing was written that could be lost
		l.req = nil
	}
	c, err := openChip(l.place.path)
	if err != nil {
		return err
	}
	defer c.Close()
	l.req, err = do(c)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("it is used by %s: %w", l.place.user(c), err)
	}
	return err
}

// Out drives the line. A line that was no output becomes one with that very level,
// so nothing behind it sees another one first; a line that is one is only set.
func (l *line) Out(level gpio.Level) error {
	if l.out && l.req != nil {
		return l.req.setLevel(bool(level))
	}
	err := l.ask(func(c chipFile) (*request, error) {
		return c.request(l.place.offset, flagOutput, outputLevel(bool(level)))
	})
	l.out = err == nil
	return err
}

// Listen makes the line an input. What the chip can not do is found out by asking
// for less: what a refusal is called differs from driver to driver.
func (l *line) Listen(how Listening) (debounced bool, err error) {
	l.out, l.pull = false, how.Pull
	l.halted.Store(false)
	err = l.ask(func(c chipFile) (*request, error) {
		if how.Debounce > 0 {
			req, err := c.request(l.place.offset, how.flags(), debouncePeriod(how.Debounce))
			if err == nil {
				debounced, req.settles = true, how.Debounce
				return req, nil
			}
		}
		req, err := c.request(l.place.offset, how.flags())
		if err == nil || how.Edge == gpio.NoEdge || errors.Is(err, unix.EBUSY) && l.place.used(c) {
			return req, err
		}
		how.Edge = gpio.NoEdge
		if req, err2 := c.request(l.place.offset, how.flags()); err2 == nil {
			req.close()
			return nil, fmt.Errorf("%w (the kernel says: %v)", ErrNoEdges, err)
		}
		return nil, err
	})
	return debounced, err
}

func (l *line) Edges(into []Edge, patience time.Duration) (int, error) {
	if l.req == nil {
		return 0, unix.EBADF
	}
	return l.req.edges(into, patience)
}

func (l *line) Sense() (gpio.Level, error) {
	if l.req == nil {
		return gpio.Low, unix.EBADF
	}
	high, err := l.req.level()
	return gpio.Level(high), err
}

// Close gives the line back. An output is kept as it is: if the kernel let go of it,
// its level would be up to the board.
func (l *line) Close() (err error) {
	s := l.system
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, l.place.key())
	if l.req == nil {
		return nil
	}
	if l.out {
		if _, err := l.req.level(); err != unix.ENODEV { // the bus of an expander may fail for a moment
			s.kept[l.place.key()] = l.req
			return nil
		}
		// The chip has left, and nothing keeps the level of that.
	}
	return l.req.close()
}

// What follows is the rest of gpio.PinIO.

func (l *line) In(pull gpio.Pull, edge gpio.Edge) error {
	_, err := l.Listen(Listening{Pull: pull, Edge: edge})
	return err
}

// Read returns the level of an input or output; low if there is none to be had.
func (l *line) Read() gpio.Level {
	level, _ := l.Sense() // the interface has no word for an error
	return level
}

// WaitForEdge waits for one edge, or without an end if timeout is negative.
func (l *line) WaitForEdge(timeout time.Duration) bool {
	const step = 250 * time.Millisecond // how late Halt is noticed
	end := time.Now().Add(timeout)
	for !l.halted.Load() {
		patience := step
		if timeout >= 0 {
			patience = min(step, time.Until(end))
		}
		var one [1]Edge
		switch n, err := l.Edges(one[:], max(patience, 0)); {
		case err != nil:
			return false
		case n == 1:
			return true
		case timeout >= 0 && patience <= 0:
			return false
		}
	}
	return false
}

// Halt ends WaitForEdge, also one that comes after it, until the next In.
func (l *line) Halt() error {
	l.halted.Store(true)
	return nil
}

func (l *line) String() string                        { return l.name + " (" + l.place.key() + ")" }
func (l *line) Name() string                          { return l.name }
func (l *line) Number() int                           { return int(l.place.offset) }
func (l *line) Function() string                      { return "" }
func (l *line) Pull() gpio.Pull                       { return l.pull }
func (l *line) DefaultPull() gpio.Pull                { return gpio.PullNoChange }
func (l *line) PWM(gpio.Duty, physic.Frequency) error { return errors.New("a GPIO line has no PWM") }
