package serial

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"edgegateway/drivers"
)

// A Checksum says how a frame shows that it is whole.
type Checksum struct {
	Type  string `toml:"type"`  // none, sum8, sum16, neg8 (two's complement of sum8), xor, crc8, crc16
	From  int    `toml:"from"`  // the first byte that is summed; 0 is the first of the header
	To    int    `toml:"to"`    // the first byte that is not; 0 = the checksum
	At    int    `toml:"at"`    // where it stands; 0 = at the end, before the trailer
	Order string `toml:"order"` // of 16 bits: big, little

	Poly    uint16 `toml:"poly"` // crc8, crc16: the polynomial without its highest bit, e.g. 0x8005
	Init    uint16 `toml:"init"`
	XorOut  uint16 `toml:"xor_out"`
	Reflect bool   `toml:"reflect"` // the lowest bit of each byte comes first, as with Modbus
}

func checksums() []string {
	return []string{"none", "sum8", "sum16", "neg8", "xor", "crc8", "crc16"}
}

func (c Checksum) width() int {
	switch c.Type {
	case "none":
		return 0
	case "sum16", "crc16":
		return 2
	}
	return 1
}

func (c Checksum) crc() bool { return c.Type == "crc8" || c.Type == "crc16" }

func (c Checksum) validate() error {
	var m drivers.Mistakes
	known := slices.Contains(checksums(), c.Type)
	m.If(!known, "checksum.type must be one of %s, not %q", strings.Join(checksums(), ", "), c.Type)
	m.If(c.Order != "big" && c.Order != "little", "checksum.order must be big or little, not %q", c.Order)
	switch {
	case min(c.From, c.To, c.At) < 0 || max(c.From, c.To, c.At) > longestFrame:
		m.If(true, "checksum.from, to and at must be between 0 and %d", longestFrame)
	case c.To != 0 && c.To <= c.From:
		m.If(true, "checksum.to must be more than from: it is the first byte that is not summed")
	case c.At != 0 && c.To == 0 && c.From >= c.At:
		m.If(true, "checksum.to must say where the sum ends, since the checksum stands before it")
	case known && c.At != 0 && c.From < c.At+c.width() && c.To > c.At:
		m.If(true, "checksum.from and to must leave out the checksum itself")
	}
	switch {
	case c.crc() && c.Poly == 0:
		m.If(true, "checksum.poly must be the polynomial of the crc, like 0x8005")
	case known && !c.crc() && (c.Poly != 0 || c.Init != 0 || c.XorOut != 0 || c.Reflect):
		m.If(true, "checksum.poly, init, xor_out and reflect are for crc8 and crc16")
	case c.Type == "crc8" && (c.Poly|c.Init|c.XorOut) > 0xFF:
		m.If(true, "checksum.poly, init and xor_out of a crc8 must not be more than 0xFF")
	}
	return m.Err()
}

// of computes the checksum of bytes.
func (c Checksum) of(b []byte) uint16 {
	var sum, xor uint16
	for _, x := range b {
		sum += uint16(x)
		xor ^= uint16(x)
	}
	switch c.Type {
	case "sum8":
		return sum & 0xFF
	case "neg8":
		return -sum & 0xFF
	case "xor":
		return xor
	case "crc8", "crc16":
		return c.remainder(b)
	}
	return sum
}

// remainder divides bit by bit, the highest first.
func (c Checksum) remainder(b []byte) uint16 {
	width := 8 * c.width()
	top := uint16(1) << (width - 1)
	crc := c.Init
	for _, x := range b {
		if c.Reflect {
			x = bits.Reverse8(x)
		}
		crc ^= uint16(x) << (width - 8)
		for range 8 {
			if crc&top != 0 {
				crc = crc<<1 ^ c.Poly
			} else {
				crc <<= 1
			}
		}
	}
	if c.Reflect {
		crc = bits.Reverse16(crc) >> (16 - width)
	}
	return (crc ^ c.XorOut) & (top<<1 - 1)
}

// at is where the checksum of a frame stands.
func (c Checksum) at(length, trailer int) int {
	if c.At != 0 {
		return c.At
	}
	return length - trailer - c.width()
}

// check compares. The frame is long enough for what the configuration names, or the
// error says that it is not.
func (c Checksum) check(frame []byte, trailer int) error {
	if c.Type == "none" {
		return nil
	}
	at := c.at(len(frame), trailer)
	to := c.To
	if to == 0 {
		to = at
	}
	if at < 0 || at+c.width() > len(frame) || c.From >= to || to > len(frame) {
		return fmt.Errorf("a frame of %d bytes is too short for its checksum", len(frame))
	}
	got := uint16(frame[at])
	switch {
	case c.width() == 2 && c.Order == "big":
		got = binary.BigEndian.Uint16(frame[at:])
	case c.width() == 2:
		got = binary.LittleEndian.Uint16(frame[at:])
	}
	if want := c.of(frame[c.From:to]); got != want {
		return fmt.Errorf("a frame has the wrong checksum, %#x instead of %#x", got, want)
	}
	return nil
}
