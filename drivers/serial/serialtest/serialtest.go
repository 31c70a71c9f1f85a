// Package serialtest is a serial port in memory.
package serialtest

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"edgegateway/drivers"
)

// A Port is a drivers.SerialPort whose other end is the test. Its methods are safe
// for concurrent use.
type Port struct {
	changed chan struct{} // holds a token when Read should look again

	mu      sync.Mutex // guards what follows
	in, out bytes.Buffer
	respond func(sent []byte) string
	gone    bool
	closed  bool
}

// New returns an open port.
func New() *Port { return &Port{changed: make(chan struct{}, 1)} }

// Ports returns a way to this port for every path. A port that has been closed or
// unplugged can be opened again after Plug.
func (p *Port) Ports() drivers.Ports {
	return drivers.Ports{Serial: func(c drivers.SerialConfig) (drivers.SerialPort, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.gone {
			return nil, &drivers.MissingError{What: c.Path, Check: "check the cable"}
		}
		p.closed = false
		return p, nil
	}}
}

// Feed is what the device at the other end sends.
func (p *Port) Feed(text string) {
	p.mu.Lock()
	p.in.WriteString(text)
	p.mu.Unlock()
	p.wake()
}

// Respond makes the device at the other end send what f returns after each Write.
func (p *Port) Respond(f func(sent []byte) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.respond = f
}

// DiscardInput forgets what was fed and not read.
func (p *Port) DiscardInput() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return fmt.Errorf("unplugged: %w", drivers.ErrGone)
	}
	p.in.Reset()
	return nil
}

// Unplug makes the port fail as an adapter does that is pulled out.
func (p *Port) Unplug() {
	p.mu.Lock()
	p.gone = true
	p.in.Reset()
	p.mu.Unlock()
	p.wake()
}

// Plug ends what Unplug began.
func (p *Port) Plug() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = false
}

// Sent returns all that was written to the port.
func (p *Port) Sent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Closed tells whether the last user has closed the port.
func (p *Port) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *Port) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Read waits as a real port does.
func (p *Port) Read(b []byte) (int, error) {
	patience := time.NewTimer(drivers.SerialPatience)
	defer patience.Stop()
	for {
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return 0, os.ErrClosed
		case p.gone:
			p.mu.Unlock()
			return 0, fmt.Errorf("unplugged: %w", drivers.ErrGone)
		case p.in.Len() > 0:
			defer p.mu.Unlock()
			return p.in.Read(b)
		}
		p.mu.Unlock()
		select {
		case <-p.changed:
		case <-patience.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// Write keeps what is written for Sent.
func (p *Port) Write(b []byte) (int, error) {
	p.mu.Lock()
	respond := p.respond
	if p.gone || p.closed {
		p.mu.Unlock()
		return 0, fmt.Errorf("unplugged: %w", drivers.ErrGone)
	}
	p.out.Write(b)
	p.mu.Unlock()
	if respond != nil {
		p.Feed(respond(b))
	}
	return len(b), nil
}

// Close closes the port for its user.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
