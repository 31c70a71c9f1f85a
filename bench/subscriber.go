package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// A subscriber checks what arrives against what its streams have sent.
type subscriber struct {
	conn    *connection
	clock   clock
	payload int     // bytes
	at      []int32 // stream: index in tracks, -1: not for this subscriber
	tracks  []inStream

	got      atomic.Int64 // messages that arrived for the first time
	progress chan<- struct{}
	watched  *atomic.Bool // progress is to be told
	rests    bool         // see rest
	done     chan struct{}

	// Of receive; others may look after done.
	packets                             int // in the last batch
	delivered, late, duplicates, strays int64
	last                                int64 // clock of the last new message
	times                               histogram
	out                                 []byte
	dirty                               []*link
	err                                 error
}

type inStream struct {
	track
	link *link
}

// receive reads until a PINGRESP, which nobody asks for before the end.
func (s *subscriber) receive() {
	defer close(s.done)
	s.conn.in.widen()
	for {
		if s.err = s.conn.in.fill(); s.err != nil {
			s.err = ended(s.err)
			return
		}
		done, err := s.batch()
		if s.err = err; done || err != nil {
			return
		}
		if len(s.out) > 0 {
			if _, s.err = s.conn.nc.Write(s.out); s.err != nil {
				return
			}
			s.out = s.out[:0]
		}
		if s.rests && s.packets < restAfter {
			rest()
		}
	}
}

// batch handles the packets that are in the buffer.
func (s *subscriber) batch() (done bool, err error) {
	now := s.clock.now() // one for all: they were there at the same time
	defer s.tell()
	for s.packets = 0; ; s.packets++ {
		first, body, err := s.conn.in.next()
		if body == nil || err != nil {
			return false, err
		}
		switch first >> 4 {
		case publish:
			if err := s.publish(first, body, now); err != nil {
				return false, err
			}
		case pubrel:
			if len(body) < 2 {
				return false, fmt.Errorf("the broker sent a PUBREL of %d bytes", len(body))
			}
			s.out = append(s.out, pubcomp<<4, 2, body[0], body[1])
		case suback:
			if len(body) == 0 || body[len(body)-1] >= 0x80 {
				return false, errors.New("the broker refuses the subscription")
			}
		case pingresp:
			return true, nil
		default:
			return false, refusal(first, body)
		}
	}
}

// publish answers a message and notes it.
func (s *subscriber) publish(first byte, body []byte, now int64) error {
	if len(body) < 2 {
		return fmt.Errorf("the broker sent a PUBLISH of %d bytes", len(body))
	}
	topic := int(binary.BigEndian.Uint16(body))
	if len(body) < 2+topic {
		return fmt.Errorf("the broker sent a PUBLISH that is shorter than its topic")
	}
	rest := body[2+topic:]
	if qos := first >> 1 & 3; qos > 0 {
		if len(rest) < 2 {
			return fmt.Errorf("the broker sent a PUBLISH without its packet identifier")
		}
		s.out = append(s.out, (puback+qos-1)<<4, 2, rest[0], rest[1]) // PUBREC is the next number
		rest = rest[2:]
	}
	if s.conn.version == packet.V5 {
		rest = property(rest)
	}
	if len(rest) != s.payload {
		s.strays++
		return nil
	}
	m := getStamp(rest)
	if uint64(m.stream) >= uint64(len(s.at)) || s.at[m.stream] < 0 {
		s.strays++
		return nil
	}
	t := &s.tracks[s.at[m.stream]]
	before := t.next
	switch t.arrived(m.number) {
	case duplicate:
		s.duplicates++
		return nil
	case late:
		s.late++
	}
	s.delivered++
	s.times.add(now - m.sent)
	s.last = now
	if t.next > before {
		l := t.link
		l.count += int64(t.next - before)
		if !l.dirty {
			l.dirty = true
			s.dirty = append(s.dirty, l)
		}
	}
	return nil
}

// tell publishes how far this subscriber has come.
func (s *subscriber) tell() {
	for _, l := range s.dirty {
		l.passed.Store(l.count)
		l.dirty = false
		if l.publisher.ahead > 0 {
			l.publisher.notify()
		}
	}
	s.dirty = s.dirty[:0]
	if s.got.Swap(s.delivered) != s.delivered && s.watched.Load() {
		select {
		case s.progress <- struct{}{}:
		default:
		}
	}
}

// finish asks for a PINGRESP: what the broker still had for this connection comes
// before it, or is not coming.
func (s *subscriber) finish() {
	s.conn.nc.SetDeadline(time.Now().Add(patience))
	if _, err := s.conn.nc.Write((&packet.Pingreq{}).Append(nil, s.conn.version)); err != nil {
		s.conn.nc.Close()
	}
	<-s.done
}
