package bench

import (
	"errors"
	"io"

	"edgegateway/broker/packet"
)

// readSize is what one read takes at most. Larger does not get faster: the data
// leaves the processor's cache.
const readSize = 128 << 10

var errLength = errors.New("the other side sent a packet with a remaining length of more than four bytes")

// A splitter cuts what a connection sends into packets. It trusts their content:
// the broker is measured here, not tested.
type splitter struct {
	r          io.Reader
	buf        []byte
	start, end int // what has been read and not handed out
}

// fill reads once and takes what is there.
func (s *splitter) fill() error {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	if s.end == len(s.buf) { // at first, and for a packet that is larger than the buffer
		grown := make([]byte, max(2*len(s.buf), 512))
		copy(grown, s.buf[:s.end])
		s.buf = grown
	}
	n, err := s.r.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// widen makes room for large reads; a connection that idles does without.
func (s *splitter) widen() {
	if len(s.buf) < readSize {
		wide := make([]byte, readSize)
		s.end = copy(wide, s.buf[s.start:s.end])
		s.start, s.buf = 0, wide
	}
}

// next hands out a packet: its first byte and what follows the remaining length.
// body is nil if the packet is not all there; call fill, then. It is valid until then.
func (s *splitter) next() (first byte, body []byte, err error) {
	b := s.buf[s.start:s.end]
	length := 0
	for i := 1; i < len(b); i++ {
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			if len(b)-i-1 < length {
				return 0, nil, nil
			}
			s.start += i + 1 + length
			return b[0], b[i+1 : i+1+length : i+1+length], nil
		}
		if i == 4 {
			return 0, nil, errLength
		}
	}
	return 0, nil, nil
}

// packet reads until one whole packet is there and decodes it.
func (s *splitter) packet(d *packet.Decoder) (packet.Packet, error) {
	for {
		p, n, _, err := d.Next(s.buf[s.start:s.end])
		if err != nil {
			return nil, err
		}
		if p != nil {
			s.start += n
			return p, nil
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// property skips a field that begins with its own length, as the properties of
// MQTT 5 do. It returns nil if there is no such field.
func property(b []byte) []byte {
	length := 0
	for i := 0; i < len(b) && i < 4; i++ {
		length |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if len(b)-i-1 < length {
				return nil
			}
			return b[i+1+length:]
		}
	}
	return nil
}
