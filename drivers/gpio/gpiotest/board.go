package gpiotest

import (
	"slices"
	"time"

	"periph.io/x/conn/v3/gpio"

	line "edgegateway/drivers/gpio"
)

// Set drives an input from outside.
func (p *Pin) Set(l gpio.Level) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(l)
}

func (p *Pin) set(l gpio.Level) {
	if p.level == l {
		return
	}
	p.level = l
	p.edge()
}

// Pulse makes n short pulses, away from the level and back.
func (p *Pin) Pulse(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		p.set(!p.level)
		p.set(!p.level)
	}
}

// Flood makes n edges at one moment; after an odd number the level is the other one.
func (p *Pin) Flood(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range n {
		p.set(!p.level)
	}
}

// SetSilently drives an input from outside, and the edge gets lost.
func (p *Pin) SetSilently(l gpio.Level) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level, p.settled = l, l
}

// Edge reports an edge, with or without a change of the level.
func (p *Pin) Edge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edge()
}

// edge is what the interrupt does.
func (p *Pin) edge() {
	if !p.input || p.noInterrupts {
		return
	}
	if p.how.Debounce == 0 {
		p.push(p.level)
		return
	}
	p.stop()
	var settler *time.Timer
	settler = time.AfterFunc(p.how.Debounce, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.settler == settler && p.settled != p.level {
			p.settled = p.level
			p.push(p.level)
		}
	})
	p.settler = settler
}

// push queues an edge, if the device wants such. As the kernel does, it counts the
// edge and drops the oldest one that waits for it.
func (p *Pin) push(level gpio.Level) {
	if wanted := p.how.Edge; wanted == gpio.NoEdge || wanted == gpio.RisingEdge && !bool(level) || wanted == gpio.FallingEdge && bool(level) {
		return
	}
	p.seq++
	if len(p.edges) == line.Kept {
		p.edges = append(p.edges[:0], p.edges[1:]...)
	}
	at := time.Now().Add(-p.how.Debounce)
	p.edges = append(p.edges, line.Edge{At: at, Clock: at.Sub(p.began), Seq: p.seq, Level: level})
	p.wake()
}

func (p *Pin) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// Fail makes all that can fail do so; nil ends that. A device that waits for edges
// is told at once, as when an expander is unplugged.
func (p *Pin) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.wake()
}

// RefuseDebounce makes a line that the kernel does not debounce.
func (p *Pin) RefuseDebounce() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noDebouncer = true
}

// RefuseEdges makes a line of a chip without interrupts.
func (p *Pin) RefuseEdges() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noInterrupts = true
}

// Count moves the number of edges that have come, which ends at 2³².
func (p *Pin) Count(n uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq = n
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

// Waits returns how many times the device has asked or waited for edges.
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

// Output tells whether the line is driven by the device.
func (p *Pin) Output() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.outs) > 0 && !p.input
}
