// Package gpiotest is a board of GPIO lines in memory.
package gpiotest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"edgegateway/drivers"
)

// A Board has lines of any name. The zero value is ready; it is safe for concurrent
// use.
type Board struct {
	mu    sync.Mutex
	pins  map[string]*Pin
	locks drivers.Interlocks
}

// Pin returns the line of a name, always the same. A test that uses testing/synctest
// calls it first inside its bubble.
func (b *Board) Pin(name string) *Pin {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pins == nil {
		b.pins = make(map[string]*Pin)
	}
	if b.pins[name] == nil {
		b.pins[name] = &Pin{name: name, edges: make(chan struct{}, 16)}
	}
	return b.pins[name]
}

// Ports returns a way to the lines of this board, each for one user at a time.
func (b *Board) Ports() drivers.Ports {
	return drivers.Ports{Interlocks: &b.locks, Pin: func(name string) (gpio.PinIO, error) {
		p := b.Pin(name)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.used {
			return nil, fmt.Errorf("the GPIO line %s is used by another device", name)
		}
		p.used = true
		return p, nil
	}}
}

// A Pin is a line of a Board. What the hardware would do are methods for the test:
// Set, Edge, Fail.
type Pin struct {
	name  string
	edges chan struct{} // as the kernel, it keeps 16 and drops what comes then

	mu      sync.Mutex // guards what follows
	level   gpio.Level
	used    bool
	input   bool
	pull    gpio.Pull
	outs    []gpio.Level
	changed chan struct{} // closed and made anew at every Out; nil if nobody waits
	err     error
	waits   int
}

// Set drives an input from outside.
func (p *Pin) Set(l gpio.Level) {
	p.mu.Lock()
	edge := p.level != l
	p.level = l
	p.mu.Unlock()
	if edge {
		p.Edge()
	}
}

// SetSilently drives an input from outside, and the edge gets lost.
func (p *Pin) SetSilently(l gpio.Level) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = l
}

// Edge reports an edge, with or without a change of the level.
func (p *Pin) Edge() {
	select {
	case p.edges <- struct{}{}:
	default:
	}
}

// Fail makes all that can fail do so; nil ends that. Waits for edges then end at
// once, as they do when an expander was unplugged.
func (p *Pin) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// Level returns the level of the line.
func (p *Pin) Level() gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.level
}

// Outs returns all levels that the line was driven to, in order.
func (p *Pin) Outs() []gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.outs)
}

// Driven returns a channel that is closed by the next Out.
func (p *Pin) Driven() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// Waits returns how many times the device has waited for an edge.
func (p *Pin) Waits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waits
}

// Used tells whether a device has the line.
func (p *Pin) Used() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// In makes the line an input.
func (p *Pin) In(pull gpio.Pull, _ gpio.Edge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.input, p.pull = true, pull
	return p.err
}

// Read returns the level. Like the kernel driver of periph, it makes an output an
// input.
func (p *Pin) Read() gpio.Level {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.input = true
	return p.level
}

// WaitForEdge waits as the kernel driver of periph does: 0 is for ever, a negative
// time is over at once.
func (p *Pin) WaitForEdge(timeout time.Duration) bool {
	p.mu.Lock()
	p.waits++
	failed := p.err != nil
	p.mu.Unlock()
	if failed {
		return false
	}
	if timeout == 0 {
		<-p.edges
		return true
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.edges:
		return true
	case <-timer.C:
		return false
	}
}

// Out makes the line an output.
func (p *Pin) Out(l gpio.Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.input, p.level = false, l
	p.outs = append(p.outs, l)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	return nil
}

// Output tells whether the line is driven by the device.
func (p *Pin) Output() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.outs) > 0 && !p.input
}

// Close gives the line back.
func (p *Pin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = false
	return nil
}

// Pull returns what In was asked for.
func (p *Pin) Pull() gpio.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pull
}

func (p *Pin) String() string                        { return p.name }
func (p *Pin) Name() string                          { return p.name }
func (p *Pin) Number() int                           { return -1 }
func (p *Pin) Function() string                      { return "" }
func (p *Pin) Halt() error                           { return nil }
func (p *Pin) DefaultPull() gpio.Pull                { return gpio.PullNoChange }
func (p *Pin) PWM(gpio.Duty, physic.Frequency) error { return errors.New("gpiotest: no PWM") }

var _ gpio.PinIO = (*Pin)(nil)
