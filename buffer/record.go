package buffer

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// Lanes is the number of priorities; the lanes are 0 to Lanes-1.
const Lanes = 10

// Record is what goes into a queue.
type Record struct {
	// Data is never modified after Append, by nobody; queues may share it.
	Data []byte
	// Lane is the priority, 0 to 9: a higher lane is handed out first, inside a
	// lane the order of Append holds.
	Lane uint8
	// Early entries may be handed out before they are on disk. Others only after
	// their commit, and entries behind them in their lane wait as well.
	Early   bool
	Urgency Urgency
}

// Entry is what comes out of a queue.
type Entry struct {
	Seq      uint64
	Data     []byte // must not be modified
	Lane     uint8
	Again    bool // may have been handed out before
	Received bool // the mark of Queue.Received is on disk: only the end of the handshake is missing
}

// A record on disk: its key is a lane and a sequence number, 9 bytes; its value
// is a header of 11 bytes and the data.
//
//	0  4  CRC-32C over the key, then everything behind this field
//	4  1  flags; 0 for now
//	5  6  when it was appended, milliseconds since 1970
//	11    data
const (
	headerSize = 11
	keySize    = 9
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

func appendRecord(dst []byte, key []byte, at time.Time, data []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0)
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	dst = append(dst, ms[2:]...)
	dst = append(dst, data...)
	binary.BigEndian.PutUint32(dst[start:], checksum(key, dst[start+4:]))
	return dst
}

// parseRecord returns the data inside value, not a copy.
func parseRecord(key, value []byte) (at time.Time, data []byte, err error) {
	if len(value) < headerSize || binary.BigEndian.Uint32(value) != checksum(key, value[4:]) {
		return time.Time{}, nil, errDamaged
	}
	var ms [8]byte
	copy(ms[2:], value[5:11])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))), value[headerSize:], nil
}

func checksum(key, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, rest)
}
