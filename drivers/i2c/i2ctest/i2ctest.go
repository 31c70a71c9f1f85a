// Package i2ctest is I2C buses in memory.
package i2ctest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"edgegateway/drivers"
	"edgegateway/drivers/i2c"
)

// A Chip answers the transfers for its address: w has been written to it, r is to be
// filled. An error is that of the controller, such as syscall.ENXIO.
type Chip interface {
	Tx(w, r []byte) error
}

// Func is a Chip.
type Func func(w, r []byte) error

// Tx calls f.
func (f Func) Tx(w, r []byte) error { return f(w, r) }

// A Bus is a Wire with chips on it. Nobody answers at other addresses. The zero value
// is ready; it is safe for concurrent use.
type Bus struct {
	mu         sync.Mutex
	chips      map[uint16]Chip
	kernel     map[uint16]bool
	open       int // times opened minus times closed
	gone       bool
	inside     int
	overlapped bool
}

// Attach puts a chip on the bus; nil takes it off.
func (b *Bus) Attach(address uint16, c Chip) *Bus {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chips == nil {
		b.chips = make(map[uint16]Chip)
	}
	b.chips[address] = c
	return b
}

// Take gives an address to a driver of the kernel.
func (b *Bus) Take(address uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kernel = map[uint16]bool{address: true}
}

// Unplug makes the bus fail as an adapter does that is pulled out, until it is
// plugged in again; who has opened it before must open it anew.
func (b *Bus) Unplug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
}

// Plug ends what Unplug began.
func (b *Bus) Plug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = false
}

// Open tells how many opened files of the bus are not closed.
func (b *Bus) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// Overlapped tells whether two transfers were ever under way at once.
func (b *Bus) Overlapped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.overlapped
}

// Ports returns the way to these buses, by their numbers.
func Ports(buses map[int]*Bus) drivers.Ports {
	return drivers.Ports{I2C: i2c.NewBuses(func(number int) (i2c.Wire, error) {
		b := buses[number]
		if b == nil {
			return nil, &drivers.MissingError{What: fmt.Sprintf("/dev/i2c-%d", number), Check: "switch it on"}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.gone {
			return nil, &drivers.MissingError{What: fmt.Sprintf("/dev/i2c-%d", number), Check: "plug it in"}
		}
		b.open++
		return &wire{bus: b}, nil
	}).Chip}
}

// Wire opens the bus as the system would.
func (b *Bus) Wire() i2c.Wire {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	return &wire{bus: b}
}

// A wire is an opened bus.
type wire struct {
	bus    *Bus
	dead   bool // the bus was unplugged since
	closed bool
}

func (w *wire) Claim(address uint16) error {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	if w.bus.kernel[address] {
		return &i2c.TakenError{Chip: "ds3231", Driver: "rtc-ds1307"}
	}
	return nil
}

// Probe finds every chip that is attached and does not disturb it.
func (w *wire) Probe(address uint16) error {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	switch {
	case w.bus.gone:
		return syscall.ENODEV
	case w.bus.chips[address] == nil:
		return syscall.ENXIO
	}
	return nil
}

func (w *wire) Tx(address uint16, out, in []byte) error {
	b := w.bus
	b.mu.Lock()
	w.dead = w.dead || b.gone
	chip := b.chips[address]
	b.overlapped = b.overlapped || b.inside > 0
	b.inside++
	dead, closed := w.dead, w.closed
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.inside--
	}()
	switch {
	case closed:
		return syscall.EBADF
	case dead:
		return syscall.ENODEV
	case chip == nil:
		return syscall.ENXIO
	}
	return chip.Tx(out, in)
}

// Left tells it until the bus is opened anew.
func (w *wire) Left() bool {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	w.dead = w.dead || w.bus.gone
	return w.dead
}

func (w *wire) Close() error {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	w.bus.open--
	w.closed = true
	return nil
}

// Memory is a chip of registers of 8 bits whose number counts up by itself. It is not
// safe for concurrent use.
type Memory [256]byte

// Tx writes and reads registers.
func (m *Memory) Tx(w, r []byte) error {
	if len(w) == 0 {
		return syscall.EINVAL // this chip forgets the number of the register
	}
	at := w[0]
	for _, x := range w[1:] {
		m[at] = x
		at++
	}
	for i := range r {
		r[i] = m[at]
		at++
	}
	return nil
}

// Words is a chip of registers of 16 bits, the high byte first, whose number stays.
// It is not safe for concurrent use.
type Words map[byte]uint16

// Tx writes and reads a register.
func (m Words) Tx(w, r []byte) error {
	switch len(w) {
	case 1:
	case 2:
		m[w[0]] = uint16(w[1])<<8 | m[w[0]]&0xff
	case 3:
		m[w[0]] = uint16(w[1])<<8 | uint16(w[2])
	default:
		return syscall.EINVAL
	}
	b := []byte{byte(m[w[0]] >> 8), byte(m[w[0]])}
	for i := range r {
		r[i] = b[i%2]
	}
	return nil
}

// A Script is a chip that expects transfers in one order, to the byte.
type Script struct {
	ops  []op
	done int
}

type op struct {
	w, r []byte
	nack bool
}

// Recorded makes a Script of lines like "f7 > 65 5a c0": in hexadecimal what is
// written, and behind > what is then read; "nack" in its place is a chip that does
// not acknowledge. A # begins a comment. It panics at anything else.
func Recorded(lines string) *Script {
	s := new(Script)
	for line := range strings.Lines(lines) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.Join(strings.Fields(line), ""); line == "" {
			continue
		}
		out, in, _ := strings.Cut(line, ">")
		o := op{nack: in == "nack"}
		if o.nack {
			in = ""
		}
		var err error
		if o.w, err = hex.DecodeString(out); err == nil {
			o.r, err = hex.DecodeString(in)
		}
		if err != nil {
			panic(fmt.Sprintf("%q: %v", line, err))
		}
		s.ops = append(s.ops, o)
	}
	return s
}

// Tx compares the transfer with the one that is expected next.
func (s *Script) Tx(w, r []byte) error {
	if s.done == len(s.ops) {
		return fmt.Errorf("transfer %d is one too many: % x", s.done+1, w)
	}
	o := s.ops[s.done]
	s.done++
	if !bytes.Equal(w, o.w) || !o.nack && len(r) != len(o.r) {
		return fmt.Errorf("transfer %d writes % x and reads %d bytes, want % x and %d bytes", s.done, w, len(r), o.w, len(o.r))
	}
	if o.nack {
		return syscall.ENXIO
	}
	copy(r, o.r)
	return nil
}

// Left tells how many transfers have not come.
func (s *Script) Left() int { return len(s.ops) - s.done }
