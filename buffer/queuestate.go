package buffer

import (
	"encoding/binary"
	"errors"
)

// queueState is what a queue notes about itself, in the same transaction as its
// entries. Its key is the last of the bucket, so that for a queue with one lane it
// shares the page of the newest entries and costs no page of its own.
type queueState struct {
	dropped  bool   // to be removed, in slices
	handing  bool   // entries may have been handed out since this was written
	next     uint64 // the next sequence number; true only after a clean stop
	reserved uint64 // numbers below may have been handed out
	clock    uint64 // see clockNote
	due      int64  // no entry has a deadline before; 0: none has one
	lanes    [Lanes]laneState
}

type laneState struct {
	n     int
	bytes int64
	again []span // may have been handed out
}

const (
	stateFormat  = 2
	stateFormat1 = 1 // has no clock

	flagDropped = 1
	flagHanding = 2
	flagDue     = 4
)

var (
	stateKey = []byte{0xff}

	errState = errors.New("state of the queue damaged")
)

func (st *queueState) encode(bucket []byte) []byte {
	flags := byte(0)
	if st.dropped {
		flags |= flagDropped
	}
	if st.handing {
		flags |= flagHanding
	}
	if st.due != 0 {
		flags |= flagDue
	}
	b := append(make([]byte, 4, 64), stateFormat, flags)
	b = binary.AppendUvarint(b, st.next)
	b = binary.AppendUvarint(b, st.reserved)
	b = binary.AppendUvarint(b, st.clock)
	if st.due != 0 {
		b = binary.AppendUvarint(b, uint64(st.due))
	}
	for i := range st.lanes {
		l := &st.lanes[i]
		if l.n == 0 && len(l.again) == 0 {
			continue
		}
		b = append(b, byte(i))
		b = binary.AppendUvarint(b, uint64(l.n))
		b = binary.AppendUvarint(b, uint64(l.bytes))
		b = binary.AppendUvarint(b, uint64(len(l.again)))
		for _, s := range l.again {
			b = binary.AppendUvarint(b, s.lo)
			b = binary.AppendUvarint(b, s.hi-s.lo)
		}
	}
	binary.BigEndian.PutUint32(b, checksum(bucket, stateKey, b[4:]))
	return b
}

func decodeQueueState(bucket, b []byte) (st queueState, err error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != checksum(bucket, stateKey, b[4:]) {
		return st, errState
	}
	return parseQueueState(b)
}

// parseQueueState is decodeQueueState without the checksum.
func parseQueueState(b []byte) (st queueState, err error) {
	if len(b) < 6 || b[4] != stateFormat && b[4] != stateFormat1 {
		return st, errState
	}
	st.dropped, st.handing = b[5]&flagDropped != 0, b[5]&flagHanding != 0
	format, hasDue := b[4], b[5]&flagDue != 0
	b = b[6:]
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errState, nil
			return 0
		}
		b = b[n:]
		return v
	}
	st.next, st.reserved = number(), number()
	if format != stateFormat1 {
		st.clock = number()
	}
	if hasDue {
		st.due = int64(number())
	}
	for len(b) > 0 {
		i := b[0]
		if i >= Lanes {
			return st, errState
		}
		b = b[1:]
		l := &st.lanes[i]
		l.n, l.bytes = int(number()), int64(number())
		for n := number(); n > 0 && err == nil; n-- {
			lo := number()
			l.again = append(l.again, span{lo, lo + number()})
		}
	}
	return st, err
}
