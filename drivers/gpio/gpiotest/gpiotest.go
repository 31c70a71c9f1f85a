// Package gpiotest is a board of GPIO lines in memory.
package gpiotest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"edgegateway/drivers"
	line "edgegateway/drivers/gpio"
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
		b.pins[name] = &Pin{name: name, woken: make(chan struct{}, 1), began: time.Now()}
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

// A Pin is a line of a Board. What the hardware would do are methods for the test,
// in board.go of this package; what a device does with it is here.
type Pin struct {
	name  string
	began time.Time     // where Edge.Clock begins
	woken chan struct{} // holds a token when a waiting device should look

	mu      sync.Mutex // guards what follows
	level   gpio.Level
	used    bool
	input   bool
	how     line.Listening
	settled gpio.Level // the level behind the debouncer
	settler *time.Timer
	edges   []line.Edge // that wait, as many as the kernel keeps
	seq     uint32
	outs    []gpio.Level
	changed chan struct{} // closed and made anew at every Out; nil if nobody waits
	err     error
	waits   int

	noDebouncer, noInterrupts bool
}

var _ line.Listener = (*Pin)(nil)

// In makes the line an input.
func (p *Pin) In(pull gpio.Pull, edge gpio.Edge) error {
	_, err := p.Listen(line.Listening{Pull: pull, Edge: edge})
	return err
}

// Listen makes the line an input that counts its edges from 1.
func (p *Pin) Listen(how line.Listening) (debounced bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return false, p.err
	}
	if p.noInterrupts && how.Edge != gpio.NoEdge {
		return false, line.ErrNoEdges
	}
	if p.noDebouncer || p.noInterrupts {
		how.Debounce = 0
	}
	p.stop()
	p.input, p.how, p.settled, p.seq, p.edges = true, how, p.level, 0, nil
	return how.Debounce > 0, nil
}

// Edges gives what waits, or waits for it.
func (p *Pin) Edges(into []line.Edge, patience time.Duration) (int, error) {
	p.mu.Lock()
	p.waits++
	p.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		p.mu.Lock()
		n, err := copy(into, p.edges), p.err
		p.edges = p.edges[n:]
		p.mu.Unlock()
		if n > 0 || err != nil || patience <= 0 {
			return n, err
		}
		select {
		case <-p.woken:
		case <-timer.C:
			return 0, nil
		}
	}
}

// Sense returns the level behind the debouncer.
func (p *Pin) Sense() (gpio.Level, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.how.Debounce > 0 && p.input {
		return p.settled, p.err
	}
	return p.level, p.err
}

// Read returns the level, and low if there is none to be had.
func (p *Pin) Read() gpio.Level {
	level, _ := p.Sense() // the interface has no word for an error
	return level
}

// WaitForEdge waits for one edge, or without an end if timeout is negative.
func (p *Pin) WaitForEdge(timeout time.Duration) bool {
	var one [1]line.Edge
	n, err := p.Edges(one[:], max(timeout, 0))
	for timeout < 0 && n == 0 && err == nil {
		n, err = p.Edges(one[:], time.Hour)
	}
	return n == 1
}

// Out makes the line an output.
func (p *Pin) Out(l gpio.Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.stop()
	p.input, p.level = false, l
	p.outs = append(p.outs, l)
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	return nil
}

// Close gives the line back.
func (p *Pin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = false
	p.stop()
	return nil
}

// stop ends the debouncer.
func (p *Pin) stop() {
	if p.settler != nil {
		p.settler.Stop()
		p.settler = nil
	}
}

// Pull returns what the device asked for.
func (p *Pin) Pull() gpio.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.how.Pull
}

func (p *Pin) String() string                        { return p.name }
func (p *Pin) Name() string                          { return p.name }
func (p *Pin) Number() int                           { return -1 }
func (p *Pin) Function() string                      { return "" }
func (p *Pin) Halt() error                           { return nil }
func (p *Pin) DefaultPull() gpio.Pull                { return gpio.PullNoChange }
func (p *Pin) PWM(gpio.Duty, physic.Frequency) error { return errors.New("gpiotest: no PWM") }
