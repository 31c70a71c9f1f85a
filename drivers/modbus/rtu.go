package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"edgegateway/drivers"
)

// crc16 is the check of a frame, sent low byte first (Serial Line V1.02, 6.2.2).
func crc16(frame []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, b := range frame {
		crc ^= uint16(b)
		for range 8 {
			odd := crc&1 != 0
			crc >>= 1
			if odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// appendRTU appends a frame: unit, PDU, CRC.
func appendRTU(dst []byte, unit byte, r request) []byte {
	begin := len(dst)
	dst = r.append(append(dst, unit))
	return binary.LittleEndian.AppendUint16(dst, crc16(dst[begin:]))
}

const (
	frameAround  = 3   // bytes of a frame that are not PDU: unit and CRC
	shortest     = 5   // bytes of the shortest answer, an exception
	longestFrame = 256 // bytes (Serial Line V1.02, 2.5.1.1)
)

// silence is how long a line must be silent between two frames: the time of 3.5
// characters, above 19200 bit/s always 1.75 ms (Serial Line V1.02, 2.5.1.1, page 13).
func silence(baud, bitsOfCharacter int) time.Duration {
	if baud > 19200 {
		return 1750 * time.Microsecond
	}
	return characters(7, baud, bitsOfCharacter) / 2
}

// characters is how long so many characters take on the line.
func characters(n, baud, bitsOfCharacter int) time.Duration {
	return time.Duration(n*bitsOfCharacter) * time.Second / time.Duration(baud)
}

// An rtu carries frames over a serial line, or over a TCP connection to a converter
// that takes bytes as they are.
type rtu struct {
	name string // of the port, for errors
	hint string // what else may be wrong if a unit is silent; "" = nothing
	port drivers.SerialPort

	silence   time.Duration           // between two frames
	airtime   func(int) time.Duration // of so many bytes; nil = not known
	echo      bool                    // what is sent comes back first: as configured, or as was seen
	lastByte  time.Time               // when it was sent or received
	lateComer bool                    // the answer to an earlier request may still come
	opened    time.Time               // when the line was: somebody else may have asked something before
}

func (c *rtu) ask(ctx context.Context, unit byte, r request, w waits) ([]byte, error) {
	frame := appendRTU(nil, unit, r)
	// Until a good answer has come, a bad one may.
	c.lateComer = true
	if _, err := c.port.Write(frame); err != nil {
		return nil, err
	}
	sent := time.Now()
	if c.airtime != nil {
		sent = sent.Add(c.airtime(len(frame))) // the kernel has taken it, the wire has not
	}
	c.lastByte = sent

	var pdu, answer, part []byte
	err := receive(ctx, c.port, sent.Add(w.answer), func(got []byte) (ready bool, err error) {
		c.lastByte = time.Now()
		if answer, part, err = c.withoutEcho(got, frame, r); err == nil {
			pdu, err = find(answer, unit, r)
		}
		return pdu != nil, err
	})
	if errors.Is(err, errCut) && !c.echo {
		// What could have become the echo has not, so it is an answer that looks so.
		if pdu, _ = find(part, unit, r); pdu != nil {
			err = nil
		}
	}
	if err == os.ErrDeadlineExceeded || errors.Is(err, errCut) && len(answer)+len(part) == 0 {
		return nil, noAnswer(fmt.Sprintf("unit %d on %s", unit, c.name), c.hint, r)
	}
	if err != nil {
		return nil, err
	}
	c.lateComer = false
	return pdu, nil
}

// withoutEcho takes off the own request, which comes back on two wires if the
// receiver is on while sending. A request that has come back shows that the line does
// that, unless the answer to it is the same: a single write is answered by its
// repetition (Application Protocol V1.1b3, 6.5 and 6.6). part is what may become the
// echo, or is a short answer that begins like it.
func (c *rtu) withoutEcho(got, frame []byte, r request) (answer, part []byte, err error) {
	if !c.echo && r.mirrored() {
		return got, nil, nil
	}
	answer, whole := bytes.CutPrefix(got, frame)
	switch {
	case whole:
		c.echo = true
		return answer, nil, nil
	case bytes.HasPrefix(frame, got):
		return nil, got, nil
	case c.echo:
		return nil, nil, fmt.Errorf("%w: % x came back of % x", errDamaged, got[:min(len(got), len(frame))], frame)
	}
	return got, nil, nil
}

// find looks for the answer in what has come; nil means that it is not complete. A
// line that changes its direction may put bytes of noise before it.
func find(got []byte, unit byte, r request) ([]byte, error) {
	for len(got) >= 2 && (got[0] != unit || got[1]&^failed != r.function) {
		got = got[1:]
	}
	size := r.answer() + frameAround
	if len(got) >= 2 && got[1]&failed != 0 {
		size = shortest
	}
	if len(got) < size {
		return nil, nil
	}
	frame := got[:size]
	end := size - 2
	if crc16(frame[:end]) != binary.LittleEndian.Uint16(frame[end:]) {
		return nil, fmt.Errorf("%w: wrong CRC in % x", errDamaged, frame[:min(size, 16)])
	}
	return frame[1:end], nil
}

// errCut is wrapped by the error of an answer that did not go on.
var errCut = fmt.Errorf("%w: it ends", errDamaged)

func cut(got []byte) error {
	return fmt.Errorf("%w after % x", errCut, got[:min(len(got), 16)])
}

// longestTalk is how long a line may not be silent for a late answer of the longest frame.
func (c *rtu) longestTalk(w waits) time.Duration {
	d := w.answer + time.Second
	if c.airtime != nil {
		d += c.airtime(longestFrame)
	}
	return d
}

// quiet waits until a request may be sent. Where an answer may still come it waits
// until a whole read brings nothing: a late answer to one request would look like the
// answer to the next, which may ask for another register. So would one to a run of the
// gateway that ended a moment ago, which has as long as any answer has.
func (c *rtu) quiet(ctx context.Context, r request, w waits) error {
	inherited := func() bool { return !r.writes() && time.Since(c.opened) < w.answer }
	buf := make([]byte, 512)
	for began := time.Now(); c.lateComer || inherited(); {
		_, err := c.port.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.lateComer = false
		case err != nil:
			return err
		case time.Since(began) > c.longestTalk(w):
			return fmt.Errorf("%s is never silent; is the baud rate right, is there another master?", c.name)
		default:
			c.lateComer = true // there may be more of it
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.lastByte = time.Now()
	}
	if err := pause(ctx, time.Until(c.lastByte.Add(max(c.silence, w.delay)))); err != nil {
		return err
	}
	return c.there()
}

func (c *rtu) there() error { return discard(c.port) }

func (c *rtu) numbered() bool { return false }

func (c *rtu) Close() error { return c.port.Close() }
