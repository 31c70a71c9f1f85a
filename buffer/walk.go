package buffer

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// known is what must be known of an entry to take it out without reading it.
type known struct {
	seq  uint64
	key  uint64
	size int32
	lane uint8
}

// walked is an entry that a walk comes by.
type walked struct {
	Entry
	header // of the item or the record
	size   int32
	purged bool
	chosen bool // by the walk's look
}

func (w *walked) known() known { return known{w.Seq, w.key, w.size, w.Lane} }

// step collects the entries of a lane from a sequence number on, not more than a
// window of them: those of the front, or of the gap, or of the back. It says where
// the next step begins, and whether there may be more. Entries in the gap have their
// data only if that is wanted.
//
// look, if there is one, is called with them, without the lock; then apply with the
// lock held, for each one that was chosen and is still there. Meanwhile no gap is
// loaded, so that what was found on disk only can be taken out of it.
func (q *Queue) step(lane uint8, from uint64, data bool, look func([]walked), apply func(*walked)) (next uint64, more bool, err error) {
	q.readMu.Lock()
	defer q.readMu.Unlock()

	q.mu.Lock()
	l := &q.lanes[lane]
	list, g := l.collect(from)
	again := slices.Clone(l.again)
	q.walking = true
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.walking, q.removed = false, nil
		q.mu.Unlock()
	}()
	if g.n > 0 {
		if list, next, err = q.readGap(lane, g.lo, g.hi, data); err != nil {
			return from, false, err
		}
		q.mu.Lock()
		leaving := q.leavingLocked(lane, g.lo, next-1)
		list = slices.DeleteFunc(list, func(w walked) bool { _, gone := leaving[w.Seq]; return gone })
		for i := range list {
			w := &list[i]
			_, w.Received = q.marks[w.Seq]
			w.Again = w.Received || contains(again, w.Seq)
			w.purged = q.tombs[w.Seq] != nil
		}
		q.mu.Unlock()
	} else if len(list) == 0 {
		return from, false, nil
	} else {
		next = list[len(list)-1].Seq + 1
	}
	if look == nil {
		return next, true, nil
	}
	look(list)
	q.mu.Lock()
	defer q.mu.Unlock()
	leaving := q.leavingLocked(lane, from, next-1)
	for i := range list {
		if _, gone := leaving[list[i].Seq]; !gone && list[i].chosen && !q.gone {
			apply(&list[i])
		}
	}
	return next, true, nil
}

// collect returns entries in memory from a number on, or the part of the gap that
// is to be read instead.
func (l *lane) collect(from uint64) (list []walked, g gap) {
	if list = l.front.collect(from); len(list) > 0 {
		return list, gap{}
	}
	if l.gap.n > 0 && from <= l.gap.hi {
		g = l.gap
		g.lo = max(g.lo, from)
		return nil, g
	}
	return l.back.collect(from), gap{}
}

// collect copies what is not acknowledged. What is with the receiver counts as
// handed out before.
func (d *deque) collect(from uint64) (list []walked) {
	for i := d.search(from); i < d.len() && len(list) < windowItems; i++ {
		if it := d.at(i); !it.gone {
			list = append(list, walked{Entry: it.entry(it.out || it.again), header: it.header(), size: int32(len(it.data)), purged: it.purged()})
		}
	}
	return list
}

// readGap reads entries of a lane from disk, and says where the next step begins.
// Damaged ones are left out.
func (q *Queue) readGap(lane uint8, from, to uint64, data bool) (list []walked, next uint64, err error) {
	err = q.s.view(func(tx *bbolt.Tx) error {
		list, next = nil, to+1
		b := tx.Bucket(q.key)
		if b == nil {
			return nil
		}
		c, size, first := b.Cursor(), int64(0), recordKey(lane, from)
		for k, v := c.Seek(first[:]); k != nil; k, v = c.Next() {
			kind, seq, ok := splitKey(k)
			if !ok || kind != lane || seq > to {
				return nil
			}
			if len(list) >= q.s.window.items || size >= q.s.window.bytes {
				next = seq
				return nil
			}
			size += int64(len(v))
			q.s.touched.Add(int64(len(k) + len(v)))
			h, text, err := parseRecord(q.key, k, v)
			if err != nil {
				continue
			}
			w := walked{Entry: Entry{Seq: seq, At: h.time(), Deadline: h.due(), Lane: lane, Brief: h.brief, Key: h.key}, header: h, size: int32(len(text))}
			if data {
				w.Data = slices.Clone(text)
			}
			list = append(list, w)
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read queue %q: %w", q.name, err)
	}
	return list, next, err
}

// leavingLocked returns the numbers of a lane, from lo to hi, that a reader of the
// disk may find there although the entries were taken out; nil: none.
func (q *Queue) leavingLocked(lane uint8, lo, hi uint64) map[uint64]struct{} {
	var m map[uint64]struct{}
	for _, list := range [...][]removal{q.removals, q.removing, q.removed, q.outdated, q.replacing} {
		for _, r := range list {
			if r.lane == lane && lo <= r.seq && r.seq <= hi {
				if m == nil {
					m = make(map[uint64]struct{})
				}
				m[r.seq] = struct{}{}
			}
		}
	}
	return m
}

// discardLocked takes out an entry that is in the queue and was certainly never
// sent. It is false if that can not be said of it.
func (q *Queue) discardLocked(k known) bool {
	l := &q.lanes[k.lane]
	if it := l.find(k.seq); it != nil {
		if it.sent() {
			return false
		}
		q.removeLocked(it)
		return true
	}
	if !q.unsentInGapLocked(l, k.seq) {
		return false
	}
	q.leaveGapLocked(l, k)
	q.removeFromDiskLocked(removal{k.seq, k.lane})
	return true
}

// unsentInGapLocked: the number lies in the gap, and was certainly never sent.
func (q *Queue) unsentInGapLocked(l *lane, seq uint64) bool {
	if l.gap.n == 0 || seq < l.gap.lo || seq > l.gap.hi || contains(l.again, seq) {
		return false
	}
	_, marked := q.marks[seq]
	return !marked
}

// leaveGapLocked takes an entry out of the gap that is there.
func (q *Queue) leaveGapLocked(l *lane, k known) {
	q.unindexLocked(k.key, k.seq)
	q.messages--
	q.bytes -= int64(k.size)
	l.gap.n--
	l.gap.bytes -= int64(k.size)
	if l.gap.n == 0 {
		l.gap = gap{}
		l.join()
	}
}
