package bench

import (
	"encoding/binary"
	"time"
)

// MinPayload is the smallest payload in bytes: each begins with a stamp.
const MinPayload = 20

// A stamp says which message this is.
type stamp struct {
	stream uint32
	number uint64 // in its stream, from 0
	sent   int64  // nanoseconds of the run's clock
}

func (s stamp) put(b []byte) {
	_ = b[MinPayload-1]
	binary.BigEndian.PutUint32(b, s.stream)
	binary.BigEndian.PutUint64(b[4:], s.number)
	binary.BigEndian.PutUint64(b[12:], uint64(s.sent))
}

func getStamp(b []byte) stamp {
	_ = b[MinPayload-1]
	return stamp{
		stream: binary.BigEndian.Uint32(b),
		number: binary.BigEndian.Uint64(b[4:]),
		sent:   int64(binary.BigEndian.Uint64(b[12:])),
	}
}

// A clock tells the time since the run was prepared.
type clock struct{ zero time.Time }

func (c clock) now() int64 { return int64(time.Since(c.zero)) }
