// Package i2c reads chips on I2C buses, and shares each bus among them.
package i2c

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"edgegateway/drivers"
)

// A Wire is an open bus as the system gives it. Tx is called by one goroutine at a
// time; its errors are, or wrap, those of the kernel (syscall.Errno), and ENODEV for
// a bus that has left.
type Wire interface {
	// Claim returns EBUSY for an address that a driver of the kernel has.
	Claim(address uint16) error

	// Probe addresses a chip without telling it anything.
	Probe(address uint16) error

	// Tx makes one transfer: w is written, then r is read behind a repeated start.
	Tx(address uint16, w, r []byte) error

	Close() error
}

// Buses are the I2C buses of a machine. A bus is open while one of its chips is. It
// is safe for concurrent use.
//
// On each bus one transfer is under way at a time, made by the goroutine of the
// device whose turn it is. While one does not return, those that wait for the same
// bus give up when their time is over, and no other bus is concerned.
type Buses struct {
	open func(number int) (Wire, error)

	mu   sync.Mutex // guards what follows, and users of each bus
	used map[int]*bus
}

// NewBuses returns the buses that open opens; System is this machine's.
func NewBuses(open func(number int) (Wire, error)) *Buses {
	return &Buses{open: open, used: make(map[int]*bus)}
}

type bus struct {
	number int
	wire   Wire
	turn   chan struct{} // holds a token while a transfer is under way
	users  map[uint16]bool

	mu     sync.Mutex // guards what follows
	holder uint16     // whose transfer is under way
	closed bool
}

// Chip gives one address on a bus to the caller, who closes it. It is the I2C of
// drivers.Ports.
func (s *Buses) Chip(c drivers.I2CConfig) (drivers.I2CChip, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.used[c.Bus]
	if b == nil {
		wire, err := s.open(c.Bus)
		if err != nil {
			return nil, err
		}
		b = &bus{number: c.Bus, wire: wire, turn: make(chan struct{}, 1), users: make(map[uint16]bool)}
		s.used[c.Bus] = b
	}
	if b.users[c.Address] {
		return nil, fmt.Errorf("address %#02x on I2C bus %d is used by another device of this gateway", c.Address, c.Bus)
	}
	b.users[c.Address] = true
	chip := &chip{buses: s, bus: b, address: c.Address}
	if err := b.wire.Claim(c.Address); err != nil {
		chip.leave()
		return nil, explain(err, c)
	}
	return chip, nil
}

// A chip is an address in use.
type chip struct {
	buses   *Buses
	bus     *bus
	address uint16
}

func (c *chip) Tx(ctx context.Context, w, r []byte) error {
	if err := c.bus.take(ctx, c.address); err != nil {
		return err
	}
	err := c.transfer(w, r)
	if errors.Is(err, syscall.ENODEV) {
		c.buses.drop(c.bus)
	}
	return explain(err, drivers.I2CConfig{Bus: c.bus.number, Address: c.address})
}

// transfer is called with the turn, and gives it back.
func (c *chip) transfer(w, r []byte) error {
	b := c.bus
	defer func() { <-b.turn }()
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return syscall.ENODEV // another chip has found it out
	}
	err := b.wire.Tx(c.address, w, r)
	if errors.Is(err, syscall.ENODEV) {
		// At once, and not when the last chip has been sampled: the kernel's work on
		// the whole USB port waits for the file of an adapter that was pulled out.
		b.close()
	}
	return err
}

// close closes the file of the bus, once.
func (b *bus) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	return b.wire.Close()
}

// take waits for the turn.
func (b *bus) take(ctx context.Context, address uint16) error {
	if ctx.Err() != nil {
		return ctx.Err() // with a free bus the select below would have the choice
	}
	select {
	case b.turn <- struct{}{}:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.holder = address
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		return fmt.Errorf("I2C bus %d is held up by the transfer with address %#02x, which does not return; "+
			"check the wiring of that chip, power-cycle it", b.number, b.holder)
	}
}

// drop forgets a bus that has left, so that the next user looks for it anew.
func (s *Buses) drop(b *bus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[b.number] == b {
		delete(s.used, b.number)
	}
}

// Close gives the address back. It must not be called during Tx.
func (c *chip) Close() error {
	c.buses.mu.Lock()
	defer c.buses.mu.Unlock()
	return c.leave()
}

// leave is called with the lock of the buses held.
func (c *chip) leave() error {
	b := c.bus
	if delete(b.users, c.address); len(b.users) > 0 {
		return nil
	}
	if c.buses.used[b.number] == b {
		delete(c.buses.used, b.number)
	}
	if err := b.close(); err != nil {
		return fmt.Errorf("close I2C bus %d: %w", b.number, err)
	}
	return nil
}

// explain says what to do about an error of the kernel. What its numbers mean on a
// bus: Documentation/i2c/fault-codes.rst; controllers do not all keep to it.
func explain(err error, c drivers.I2CConfig) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("address %#02x on I2C bus %d", c.Address, c.Bus)
	switch {
	case errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EREMOTEIO):
		return &drivers.NoAnswerError{What: what, Hint: fmt.Sprintf("`i2cdetect -y %d` shows who answers", c.Bus), Err: err}
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%s belongs to a driver of the kernel: use the kind iio for it, or take its overlay out of config.txt: %w", what, err)
	case errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("I2C bus %d: %w: %w", c.Bus, drivers.ErrGone, err)
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%s: the bus did not come free: %w; a chip may hold SDA or SCL low: check wiring and pull-up resistors, power-cycle the chips", what, err)
	case errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("I2C bus %d is an SMBus controller that cannot make plain transfers; use another bus: %w", c.Bus, err)
	}
	return fmt.Errorf("%s: the transfer failed: %w", what, err)
}
