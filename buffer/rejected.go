package buffer

import (
	"encoding/binary"
	"time"

	"go.etcd.io/bbolt"
)

// Rejection is an entry that its receiver will never take.
type Rejection struct {
	Seq    uint64
	At     time.Time // when it was rejected
	Reason string
	Data   []byte
}

type rejection struct {
	seq    uint64
	size   int
	at     int64 // milliseconds since 1970
	reason string
	data   []byte
}

// We chose: a list for a person to look at, not a second queue.
const (
	maxRejected      = 100
	maxRejectedBytes = 1 << 20
)

// Reject takes an entry out and keeps it, with the reason, in the bounded list of
// the queue's rejected entries, where the oldest make room. A volatile queue only
// counts it. Unknown entries are ignored.
func (q *Queue) Reject(seq uint64, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.findLocked(seq)
	if it == nil {
		return
	}
	if it.out {
		q.measureLocked(it)
	}
	q.rejects++
	if q.s != nil && !it.purged() && len(it.data) <= maxRejectedBytes {
		q.newRejects = append(q.newRejects, rejection{seq, len(it.data), time.Now().UnixMilli(), reason, it.data})
		q.s.dirtyLocked(q, Lazy)
	}
	q.removeLocked(it)
}

// splitRejectedLocked divides removals into those of entries that are not rejected
// ones, and those that wait for the commit that puts the entry into the list.
func (q *Queue) splitRejectedLocked(all []removal) (others, rejected []removal) {
	noted := make(map[uint64]bool, len(q.newRejects))
	for i := range q.newRejects {
		noted[q.newRejects[i].seq] = true
	}
	for _, r := range all {
		if noted[r.seq] {
			rejected = append(rejected, r)
		} else {
			others = append(others, r)
		}
	}
	return others, rejected
}

// Rejected returns the rejected entries that are on disk, the oldest first.
func (q *Queue) Rejected() ([]Rejection, error) {
	var list []Rejection
	if q.s == nil {
		return nil, nil
	}
	err := q.s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(q.key)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		from := recordKey(kindRejected, 0)
		for k, v := c.Seek(from[:]); k != nil; k, v = c.Next() {
			kind, seq, ok := splitKey(k)
			if !ok || kind != kindRejected {
				break
			}
			h, body, err := parseRecord(q.key, k, v)
			if err != nil {
				continue
			}
			n, used := binary.Uvarint(body)
			if used <= 0 || n > uint64(len(body)-used) {
				continue
			}
			body = body[used:]
			list = append(list, Rejection{seq, h.time(), string(body[:n]), append([]byte(nil), body[n:]...)})
		}
		return nil
	})
	return list, err
}

// encode returns what lies on disk for r.
func (r *rejection) encode(bucket, key []byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(r.reason)))
	body = append(append(body, r.reason...), r.data...)
	return appendRecord(nil, bucket, key, &header{stamp: stamp{at: r.at}}, body)
}
