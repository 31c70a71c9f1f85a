package bench

import (
	"encoding/binary"
	"sync"
)

// ackSize is the size of a PUBREL, and of each acknowledgement in its short form.
const ackSize = 4

// flights are the messages of one publisher that are under way at QoS 1 and 2.
// Their identifiers are 1 to the window. Safe for concurrent use.
type flights struct {
	mu    sync.Mutex // guards what follows
	state []flight   // by identifier
	free  []uint16   // a ring: the one that rested longest flies next
	head  int        // of free
	nfree int
	rels  []byte // PUBRELs that wait to be sent, in the order of their PUBRECs [MQTT-4.6.0-3]
	spare []byte

	acked, refused, strange int64
	times                   histogram // from PUBLISH to PUBACK or PUBCOMP
}

type flight struct {
	phase phase
	sent  int64
}

type phase byte

const (
	grounded  phase = iota
	published       // PUBACK, or PUBREC, is to come
	released        // PUBCOMP is to come
)

func (f *flights) init(window int) {
	f.state = make([]flight, window+1)
	f.free = make([]uint16, window)
	for i := range f.free {
		f.free[i] = uint16(i + 1)
	}
	f.nfree = window
	f.rels = make([]byte, 0, window*ackSize)
	f.spare = make([]byte, 0, window*ackSize)
}

// take appends up to n free identifiers to ids and returns the PUBRELs to send,
// which are valid until the next call. all says that nothing is under way.
func (f *flights) take(ids []uint16, n int) (_ []uint16, rels []byte, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all = f.nfree == len(f.free) && len(f.rels) == 0
	for range min(n, f.nfree) {
		ids = append(ids, f.free[f.head])
		if f.head++; f.head == len(f.free) {
			f.head = 0
		}
		f.nfree--
	}
	rels = f.rels
	f.rels, f.spare = f.spare[:0], rels
	return ids, rels, all
}

// leave notes that messages with these identifiers are being sent.
func (f *flights) leave(ids []uint16, now int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.state[id] = flight{published, now}
	}
}

// ackLocked handles a PUBACK, PUBREC or PUBCOMP. The caller holds f.mu.
func (f *flights) ackLocked(first byte, body []byte, now int64) {
	var id uint16
	if len(body) >= 2 {
		id = binary.BigEndian.Uint16(body)
	}
	refused := len(body) > 2 && body[2] >= 0x80 // MQTT 5
	if int(id) >= len(f.state) || len(body) < 2 {
		f.strange++
		return
	}
	s := &f.state[id]
	switch kind := first >> 4; {
	case s.phase == published && kind == pubrec && !refused:
		s.phase = released
		f.rels = append(f.rels, pubrel<<4|2, 2, body[0], body[1])
		return
	case s.phase == published && (kind == puback || kind == pubrec) && refused:
		f.refused++
	case s.phase == published && kind == puback, s.phase == released && kind == pubcomp:
		f.acked++
		f.times.add(now - s.sent)
	default:
		f.strange++
		return
	}
	s.phase = grounded
	f.free[(f.head+f.nfree)%len(f.free)] = id
	f.nfree++
}
