// Package i2c reads chips on I2C buses, and shares each bus among them.
package i2c

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"edgegateway/drivers"
)

// A Wire is an open bus as the system gives it. Tx is called by one goroutine at a
// time; its errors are, or wrap, those of the kernel (syscall.Errno), and ENODEV for
// a bus that has left.
type Wire interface {
	// Claim returns a TakenError for an address that a driver of the kernel has.
	Claim(address uint16) error

	// Probe addresses a chip without telling it anything.
	Probe(address uint16) error

	// Tx makes one transfer: w is written, then r is read behind a repeated start.
	Tx(address uint16, w, r []byte) error

	// Left tells whether the bus is not there any more, without a transfer. It is called
	// like Tx.
	Left() bool

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

	low lowLines

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

	mu     sync.Mutex           // guards what follows
	holder uint16               // whose transfer is under way
	asked  map[uint16]time.Time // when each address asked for its turn last
	closed bool
	look   *time.Timer
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
		b = &bus{number: c.Bus, wire: wire, turn: make(chan struct{}, 1), users: make(map[uint16]bool), asked: make(map[uint16]time.Time)}
		s.used[c.Bus] = b
		s.watch(b)
	}
	if b.users[c.Address] {
		return nil, fmt.Errorf("%s is used by another device of this gateway", who(drivers.I2CConfig{Bus: c.Bus, Address: c.Address}))
	}
	b.users[c.Address] = true
	chip := &chip{I2CConfig: c, buses: s, bus: b, late: courtesy}
	if err := b.wire.Claim(c.Address); err != nil {
		chip.leave()
		return nil, explain(err, c, c.Address)
	}
	return chip, nil
}

// A chip is an address in use.
type chip struct {
	drivers.I2CConfig
	buses *Buses
	bus   *bus
	slow  bool          // its last transfer was long: it lets others go first
	late  time.Duration // how much later it then asks for its turn
}

const (
	// longTransfer is more than any chip of ours needs at the slowest usual clock, 10 kHz.
	longTransfer = 50 * time.Millisecond

	// courtesy is how much later a slow chip asks for its turn. Devices that waited for
	// each other when they were opened have their ticks at almost the same moment; if
	// chance decided who is first, a chip that stretches the clock for 700 ms would move
	// its neighbours to and fro by that.
	courtesy = 50 * time.Millisecond

	// A slow chip that asks together with somebody all the same, within a time that
	// chance can turn round, asks from then on at another moment.
	together     = 20 * time.Millisecond
	mostCourtesy = 3 * courtesy
)

func (c *chip) Tx(ctx context.Context, w, r []byte) error {
	if c.slow {
		_ = pause(ctx, c.late) // that the time is over is seen by take
	}
	if err := c.bus.take(ctx, c.I2CConfig); err != nil {
		return err
	}
	culprit, err := c.transfer(w, r)
	if errors.Is(err, syscall.ENODEV) {
		c.buses.drop(c.bus)
	}
	return explain(err, c.I2CConfig, culprit)
}

// transfer is called with the turn, and gives it back.
func (c *chip) transfer(w, r []byte) (culprit uint16, err error) {
	b := c.bus
	defer func() { <-b.turn }()
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return 0, syscall.ENODEV // another chip has found it out
	}
	began := time.Now()
	err = b.wire.Tx(c.Address, w, r)
	if c.slow = time.Since(began) > longTransfer; c.slow && b.crowded(c.Address) {
		c.late = c.late%mostCourtesy + courtesy
	}
	if errors.Is(err, syscall.ENODEV) {
		b.close() // at once, and not when the last chip has been sampled: see watch
	}
	return c.buses.low.note(c.I2CConfig, err), err
}

// lowLines are the buses of which a line is held low, with the address whose transfer
// was the first to find that: most likely that chip is the one that does it. They are
// remembered while a bus has no user, as all its devices are offline then.
type lowLines struct {
	mu    sync.Mutex
	since map[int]uint16
}

// note takes how a transfer ended, and returns whose was the first that found a line
// held low since one that did not.
func (l *lowLines) note(c drivers.I2CConfig, err error) (culprit uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !heldLow(err) {
		delete(l.since, c.Bus)
		return 0
	}
	if l.since == nil {
		l.since = make(map[int]uint16)
	}
	if l.since[c.Bus] == 0 {
		l.since[c.Bus] = c.Address
	}
	return l.since[c.Bus]
}

// lookAgain is how late it is noticed that a bus has left which nobody uses at the time.
const lookAgain = time.Second

// watch closes a bus that has left, as long as it is open: its next transfer may be an
// hour away, and the kernel's work on the whole USB port waits for the file of an adapter
// that was pulled out (i2c_del_adapter in i2c-core-base.c). Until then the adapter is not
// found when it is plugged in again, and neither is anything else behind that hub.
func (s *Buses) watch(b *bus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look = time.AfterFunc(lookAgain, func() {
		select {
		case b.turn <- struct{}{}:
			if b.wire.Left() {
				b.close()
				s.drop(b)
			}
			<-b.turn
		default: // a transfer is under way, which finds that out
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed {
			b.look.Reset(lookAgain)
		}
	})
}

// close closes the file of the bus, once.
func (b *bus) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.look.Stop()
	return b.wire.Close()
}

// crowded tells whether somebody asked for a turn together with this address.
func (b *bus) crowded(address uint16) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for other, at := range b.asked {
		if other != address && at.Sub(b.asked[address]).Abs() < together {
			return true
		}
	}
	return false
}

// take waits for the turn.
func (b *bus) take(ctx context.Context, c drivers.I2CConfig) error {
	if ctx.Err() != nil { // with a free bus the select below would have the choice
		return fmt.Errorf("%s: the transfers took too long: %w", who(c), ctx.Err())
	}
	b.mu.Lock()
	b.asked[c.Address] = time.Now()
	b.mu.Unlock()
	select {
	case b.turn <- struct{}{}:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.holder = c.Address
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		return fmt.Errorf("%s: its bus is held up by the transfer with address %#02x, which does not return; "+
			"check the wiring of that chip, power-cycle it", who(c), b.holder)
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
	if delete(b.users, c.Address); len(b.users) > 0 {
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
