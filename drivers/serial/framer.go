package serial

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// longestFrame bounds what is kept of a stream.
const longestFrame = 1024

// A framer finds frames in a stream of bytes.
type framer struct {
	o    FrameOptions
	held []byte
	// bad says that what was last seen was no frame: so it is at the beginning, where
	// the stream is entered in the middle, and it is not told again.
	bad bool
}

func newFramer(o FrameOptions) *framer { return &framer{o: o, bad: true} }

// feed takes bytes and calls each for every frame that they complete; it is valid
// during the call. What looked like a frame and is none is told as an error, once
// until the next good frame; the search goes on behind its first byte.
func (f *framer) feed(data []byte, each func(frame []byte, err error)) {
	f.held = append(f.held, data...)
	for {
		at := bytes.Index(f.held, f.o.Header)
		if at < 0 {
			// The last bytes may be the beginning of a header.
			at = max(len(f.held)-len(f.o.Header)+1, 0)
			f.drop(at)
			return
		}
		f.drop(at)
		length, complete, err := f.length()
		if err == nil && !complete {
			return
		}
		if err == nil {
			err = f.check(f.held[:length])
		}
		if err != nil {
			if !f.bad {
				each(nil, err)
			}
			f.bad = true
			f.drop(1)
			continue
		}
		f.bad = false
		each(f.held[:length], nil)
		f.drop(length)
	}
}

// silent tells the framer that the line was: what is held does not begin with a frame, but
// noise that looks like a header may have a frame behind it.
func (f *framer) silent(each func(frame []byte, err error)) {
	for len(f.held) > 0 {
		if !f.bad {
			each(nil, fmt.Errorf("a frame ends in the middle: %s", hexcerpt(f.held)))
		}
		f.bad = true
		f.drop(1)
		f.feed(nil, each)
	}
}

func (f *framer) drop(n int) { f.held = append(f.held[:0], f.held[n:]...) }

// length returns that of the frame that begins what is held, and whether it is there.
func (f *framer) length() (n int, complete bool, err error) {
	if f.o.Length > 0 {
		return f.o.Length, len(f.held) >= f.o.Length, nil
	}
	l := f.o.LengthField
	if len(f.held) < l.At+l.Size {
		return 0, false, nil
	}
	switch b := f.held[l.At:]; {
	case l.Size == 1:
		n = int(b[0])
	case l.Order == "little":
		n = int(binary.LittleEndian.Uint16(b))
	default:
		n = int(binary.BigEndian.Uint16(b))
	}
	n += l.Plus
	if n < f.o.shortest() || n > longestFrame {
		return 0, false, fmt.Errorf("a frame says that it has %d bytes: %s", n, hexcerpt(f.held))
	}
	return n, len(f.held) >= n, nil
}

func (f *framer) check(frame []byte) error {
	if !bytes.HasSuffix(frame, f.o.Trailer) {
		return fmt.Errorf("a frame does not end with % X: %s", []byte(f.o.Trailer), hexcerpt(frame))
	}
	if err := f.o.Checksum.check(frame, len(f.o.Trailer)); err != nil {
		return fmt.Errorf("%w: %s", err, hexcerpt(frame))
	}
	return nil
}

// hexcerpt shows the beginning of a frame.
func hexcerpt(b []byte) string {
	if len(b) > 32 {
		return fmt.Sprintf("% X...", b[:32])
	}
	return fmt.Sprintf("% X", b)
}
