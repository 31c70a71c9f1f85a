package serial

import (
	"bytes"
	"fmt"
)

// A splitter cuts a stream of bytes into lines, and holds no more than one line of
// the longest that is allowed.
type splitter struct {
	ending []byte // empty: CR, LF and both in any order
	most   int    // bytes of a line without its ending
	line   []byte
	long   bool // the line was too long; what comes is dropped up to its end
}

// feed takes bytes and calls each for every line that they complete, without its
// ending; the line is valid during the call. Empty lines are passed over. A line
// that is too long is told once, as an error.
func (s *splitter) feed(data []byte, each func(line []byte, err error)) {
	for _, c := range data {
		s.line = append(s.line, c)
		width := s.ended()
		length := len(s.line) - width
		switch {
		case width > 0:
			if length > s.most && !s.long {
				each(nil, s.tooLong())
			} else if length > 0 && !s.long {
				each(s.line[:length], nil)
			}
			s.line, s.long = s.line[:0], false
		case length >= s.most+max(len(s.ending), 1):
			if !s.long {
				each(nil, s.tooLong())
			}
			// The last bytes may be the beginning of the ending.
			s.line = append(s.line[:0], s.line[length-len(s.ending):]...)
			s.long = true
		}
	}
}

// empty tells whether no line is under way. The other half of a line ending is none.
func (s *splitter) empty() bool { return len(bytes.Trim(s.line, "\r\n")) == 0 && !s.long }

// ended returns how many bytes of ending the line has, 0 if it goes on.
func (s *splitter) ended() int {
	last := s.line[len(s.line)-1]
	switch {
	case len(s.ending) == 0 && (last == '\r' || last == '\n'):
		return 1
	case len(s.ending) > 0 && bytes.HasSuffix(s.line, s.ending):
		return len(s.ending)
	}
	return 0
}

func (s *splitter) tooLong() error {
	return fmt.Errorf("a line is longer than %d bytes: %s", s.most, excerpt(s.line))
}

// excerpt shows the beginning of bytes that may be anything.
func excerpt(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q...", b[:40])
	}
	return fmt.Sprintf("%q", b)
}
