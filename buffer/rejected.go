package buffer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Rejection is an entry that its receiver will never take.
type Rejection struct {
	Entry
	RejectedAt time.Time
	Reason     string
}

type rejection struct {
	header
	seq    uint64
	size   int
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
		h := header{stamp: it.stamp, brief: it.brief, aside: true, lane: it.lane, came: it.at}
		h.at = time.Now().UnixMilli()
		q.newRejects = append(q.newRejects, rejection{h, seq, len(it.data), reason, it.data})
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

// Rejected returns the rejected entries that are on disk, the oldest first. Of those
// that an earlier version has set aside the lane is 0 and the time that of the rejection.
func (q *Queue) Rejected() ([]Rejection, error) {
	var list []Rejection
	if q.s == nil {
		return nil, nil
	}
	err := q.s.view(func(tx *bbolt.Tx) error {
		list = nil
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
			if r, ok := q.parseRejection(seq, k, v); ok {
				list = append(list, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read queue %q: %w", q.name, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.DeleteFunc(list, func(r Rejection) bool { return !q.keepsRejectedLocked(r.Seq) }), nil
}

func (q *Queue) parseRejection(seq uint64, k, v []byte) (r Rejection, ok bool) {
	h, body, err := parseRecord(q.key, k, v)
	if err != nil {
		return Rejection{}, false
	}
	n, used := binary.Uvarint(body)
	if used <= 0 || n > uint64(len(body)-used) {
		return Rejection{}, false
	}
	body = body[used:]
	r = Rejection{RejectedAt: h.time(), Reason: string(body[:n])}
	if h.aside && h.lane < Lanes {
		h.at = h.came
	} else {
		h.lane = 0
	}
	r.Entry = Entry{
		Seq: seq, Data: slices.Clone(body[n:]), At: h.time(), Deadline: h.due(),
		Lane: h.lane, Brief: h.brief, Key: h.key,
	}
	return r, true
}

// keepsRejectedLocked: it is in the list, as far as anybody has decided.
func (q *Queue) keepsRejectedLocked(seq uint64) bool {
	return !q.gone && slices.ContainsFunc(q.rejected, func(r rejection) bool { return r.seq == seq })
}

// RequeueRejected appends rejected entries to the queue again, as new ones with the
// time, the deadline and the lane that they had, and takes them out of the list in the
// same Change; nil seqs are all. It is for a person. An error that wraps [ErrFull]
// means that the queue has no room for them and nothing was done, whatever its policy
// is. It returns when all is on disk. n is how many went back.
func (q *Queue) RequeueRejected(ctx context.Context, seqs []uint64) (n int, err error) {
	return q.settleRejected(ctx, seqs, true)
}

// PurgeRejected takes rejected entries out of the list for good; nil seqs are all. It
// returns when that is on disk.
func (q *Queue) PurgeRejected(ctx context.Context, seqs []uint64) (n int, err error) {
	return q.settleRejected(ctx, seqs, false)
}

func (q *Queue) settleRejected(ctx context.Context, seqs []uint64, again bool) (n int, err error) {
	if q.s == nil {
		return 0, nil
	}
	q.readMu.Lock() // or two of them would both take one entry
	defer q.readMu.Unlock()
	list, err := q.Rejected()
	if err != nil {
		return 0, err
	}
	bytes := int64(0)
	list = slices.DeleteFunc(list, func(r Rejection) bool { return seqs != nil && !slices.Contains(seqs, r.Seq) })
	for i := range list {
		bytes += int64(len(list[i].Data))
	}
	if again {
		if err := q.fits(len(list), bytes); err != nil {
			return 0, err
		}
	}
	c := q.s.Begin()
	for i := range list {
		if again {
			if _, err = c.Append(q, list[i].record()); err != nil {
				break
			}
		}
		c.ops = append(c.ops, queueOp{q: q, kind: opUnreject, urgency: Sync, known: known{seq: list[i].Seq}})
		n++
	}
	c.Commit(nil)
	return n, errors.Join(err, q.s.Sync(ctx))
}

// record is an entry as one that is appended.
func (e *Entry) record() Record {
	return Record{Data: e.Data, At: e.At, Deadline: e.Deadline, Key: e.Key, Lane: e.Lane, Brief: e.Brief, Urgency: Sync}
}

// encode returns what lies on disk for r.
func (r *rejection) encode(bucket, key []byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(r.reason)))
	body = append(append(body, r.reason...), r.data...)
	return appendRecord(nil, bucket, key, &r.header, body)
}
