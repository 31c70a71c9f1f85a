package buffer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"time"
)

// Lanes is the number of priorities; the lanes are 0 to Lanes-1.
const Lanes = 10

// Record is what goes into a queue.
type Record struct {
	// Data is never modified after Append, by nobody; queues may share it.
	Data []byte
	// At is what Entry.At will say, by the wall clock; kept to the millisecond,
	// between 1970 and 10889. The zero time stands for that of Append.
	At time.Time
	// Deadline is a time of [Store.Clock] after which nobody wants the record; kept
	// to the millisecond above. 0: none.
	Deadline time.Duration
	// Key is a hash of what the record is a value of, for queues that keep the last
	// value only. 0: none.
	Key uint64
	// Lane is the priority, 0 to 9: a higher lane is handed out first, inside a
	// lane the order of Append holds.
	Lane uint8
	// Early entries may be handed out before they are on disk. Others only after
	// their commit, and entries behind them in their lane wait as well.
	Early   bool
	Urgency Urgency
	// Brief says that the receiver does not remember the number of the entry beyond
	// its connection, as with QoS 0 and 1. What is not brief ends with a handshake.
	Brief bool
}

// Entry is what comes out of a queue.
type Entry struct {
	Seq      uint64
	Data     []byte        // must not be modified
	At       time.Time     // of the Record, to the millisecond
	Deadline time.Duration // of the Record, to the millisecond above; 0: none
	Lane     uint8
	Brief    bool   // of the Record
	Key      uint64 // of the Record
	Again    bool   // may have been handed out before
	Received bool   // the mark of Queue.Received is on disk: only the end of the handshake is missing
}

// A record on disk: its key is a lane and a sequence number, 9 bytes; its value
// is a header and the data. Numbers are big-endian.
//
//	 4  CRC-32C, see checksum
//	 1  flags
//	 6  Record.At, milliseconds since 1970
//	[6] Record.Deadline in milliseconds, with flagDeadline
//	[8] Record.Key, with flagKey
//	[4] when it is too old, by Limits.Age: seconds of the clock, with flagAge
//	[7] of a rejected entry: its lane, and its own time before the one above, with flagSetAside
//	    data
const (
	keySize = 9

	headerSize   = 11 // without the optional fields
	deadlineSize = 6
	keyHashSize  = 8
	ageSize      = 4
	asideSize    = 7

	flagDeadline = 1
	flagKey      = 2
	flagBrief    = 4
	flagTomb     = 8 // of a mark: its entry was purged
	flagAge      = 16
	flagSetAside = 32
	knownFlags   = flagDeadline | flagKey | flagBrief | flagTomb | flagAge | flagSetAside

	largest48 = 1<<48 - 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errDamaged = errors.New("record damaged: checksum does not match")
)

// recordKey begins with what kind of key it is (the lane, for an entry), so that
// one bucket holds a whole queue.
func recordKey(kind byte, seq uint64) [keySize]byte {
	var k [keySize]byte
	k[0] = kind
	binary.BigEndian.PutUint64(k[1:], seq)
	return k
}

func splitKey(k []byte) (kind byte, seq uint64, ok bool) {
	if len(k) != keySize {
		return 0, 0, false
	}
	return k[0], binary.BigEndian.Uint64(k[1:]), true
}

// header is what stands before the data of a record.
type header struct {
	stamp
	tooOld uint32 // when it is, in seconds of the clock of the store; 0: never
	brief  bool
	tomb   bool

	aside bool // of a rejected entry: at is when it was rejected, and what follows is its own
	lane  uint8
	came  int64 // milliseconds since 1970
}

// stamp is the part of it with numbers.
type stamp struct {
	at       int64 // milliseconds since 1970
	deadline int64 // milliseconds of the clock of the store; 0: none
	key      uint64
}

func (r *Record) header() header {
	at := r.At
	if at.IsZero() {
		at = time.Now()
	}
	h := header{stamp: stamp{at: min(max(at.UnixMilli(), 0), largest48), key: r.Key}, brief: r.Brief}
	if r.Deadline != 0 {
		// One that passed before the clock began has passed all the same.
		h.deadline = max(1, (r.Deadline-1).Milliseconds()+1)
	}
	return h
}

// time is Entry.At.
func (h *stamp) time() time.Time { return time.UnixMilli(h.at) }

// due is Entry.Deadline.
func (h *stamp) due() time.Duration {
	return min(time.Duration(h.deadline), math.MaxInt64/time.Millisecond) * time.Millisecond
}

// size is how many bytes the header takes on disk.
func (h *header) size() int {
	n := headerSize
	if h.deadline != 0 {
		n += deadlineSize
	}
	if h.key != 0 {
		n += keyHashSize
	}
	if h.tooOld != 0 {
		n += ageSize
	}
	if h.aside {
		n += asideSize
	}
	return n
}

func appendUint48(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, uint16(v>>32)), uint32(v))
}

func uint48(b []byte) int64 {
	return int64(binary.BigEndian.Uint16(b))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
}

// appendRecord appends the value of a record that lies under key in bucket.
func appendRecord(dst, bucket, key []byte, h *header, data []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0)
	dst = appendUint48(dst, h.at)
	if h.deadline != 0 {
		dst[start+4] |= flagDeadline
		dst = appendUint48(dst, h.deadline)
	}
	if h.key != 0 {
		dst[start+4] |= flagKey
		dst = binary.BigEndian.AppendUint64(dst, h.key)
	}
	if h.tooOld != 0 {
		dst[start+4] |= flagAge
		dst = binary.BigEndian.AppendUint32(dst, h.tooOld)
	}
	if h.aside {
		dst[start+4] |= flagSetAside
		dst = appendUint48(append(dst, h.lane), h.came)
	}
	if h.brief {
		dst[start+4] |= flagBrief
	}
	if h.tomb {
		dst[start+4] |= flagTomb
	}
	dst = append(dst, data...)
	binary.BigEndian.PutUint32(dst[start:], checksum(bucket, key, dst[start+4:]))
	return dst
}

// parseRecord returns the data inside value, not a copy.
func parseRecord(bucket, key, value []byte) (h header, data []byte, err error) {
	n := dataAt(value)
	if n < 0 || binary.BigEndian.Uint32(value) != checksum(bucket, key, value[4:]) {
		return header{}, nil, errDamaged
	}
	h.at = uint48(value[5:])
	rest := value[headerSize:n]
	if value[4]&flagDeadline != 0 {
		h.deadline, rest = uint48(rest), rest[deadlineSize:]
	}
	if value[4]&flagKey != 0 {
		h.key, rest = binary.BigEndian.Uint64(rest), rest[keyHashSize:]
	}
	if value[4]&flagAge != 0 {
		h.tooOld, rest = binary.BigEndian.Uint32(rest), rest[ageSize:]
	}
	if value[4]&flagSetAside != 0 {
		h.aside, h.lane, h.came = true, rest[0], uint48(rest[1:])
	}
	h.brief, h.tomb = value[4]&flagBrief != 0, value[4]&flagTomb != 0
	return h, value[n:], nil
}

// dataAt is where the data of a record begins, -1 if value can be none.
func dataAt(value []byte) int {
	if len(value) < headerSize || value[4]&^knownFlags != 0 {
		return -1
	}
	n := headerSize
	if value[4]&flagDeadline != 0 {
		n += deadlineSize
	}
	if value[4]&flagKey != 0 {
		n += keyHashSize
	}
	if value[4]&flagAge != 0 {
		n += ageSize
	}
	if value[4]&flagSetAside != 0 {
		n += asideSize
	}
	if n > len(value) {
		return -1
	}
	return n
}

// dataSize is how many bytes of data a record counts with, damaged or not.
func dataSize(value []byte) int64 {
	if n := dataAt(value); n >= 0 {
		return int64(len(value) - n)
	}
	return 0
}

// checksum covers where something lies, the key of its bucket and its own, and
// what lies there: what is found without the tree above it can be told to be of one
// queue or table and of no other. It begins with the length of the bucket's key,
// because the two keys together say less than each of them.
func checksum(bucket, key, rest []byte) uint32 {
	return crc32.Update(checksumOfKeys(bucket, key), castagnoli, rest)
}

// checksumOfKeys is where checksum begins.
func checksumOfKeys(bucket, key []byte) uint32 {
	sum := crc32.Update(uint32(len(bucket)), castagnoli, bucket)
	return crc32.Update(sum, castagnoli, key)
}
