package buffer

import (
	"context"

	"go.etcd.io/bbolt"
)

// A tomb is an entry whose data was purged although its receiver may hold its
// number: it stands for the number until the handshake has ended.
type tomb struct {
	seq     uint64
	lane    uint8
	size    int32 // of the data that goes
	forgets int
	writing bool
	written bool
}

// Purge takes entries out for which match returns true; nil matches all. It is for a
// person. purged is how many are out of the way: their data goes from the disk, and
// none of them will be handed out for the first time. kept is how many of these hold
// their number for now, because the receiver may know it:
//
//   - One that was certainly never sent goes as a whole.
//   - A [Record.Brief] one that may have been sent goes as well, as soon as it is not
//     in flight: a receiver at QoS 1 remembers no number when its connection has ended.
//     Until then it waits for Ack or Rewind.
//   - Of any other the number stays, through Rewind and restarts, and it is handed out
//     with Received set and no data: the receiver is told that the message is complete,
//     and whether it knows of it or not, its answer ends the handshake [MQTT-4.3.3-11].
//     Where a receiver can not know such handshakes, Ack ends it as well. Forget, too.
//
// Purge works in slices, each on disk before the next one; it returns when all is on
// disk, or with the error of ctx or of the disk: what was not purged then is still
// there. match is called without locks, but must not call the queue. What is appended
// meanwhile may be missed.
func (q *Queue) Purge(ctx context.Context, match func(Entry) bool) (purged, kept int, err error) {
	if match == nil {
		match = func(Entry) bool { return true }
	}
	for i := range Lanes {
		for from, more := uint64(0), true; more; {
			unwritten := false
			from, more, err = q.step(uint8(i), from, true,
				func(list []walked) {
					for j := range list {
						list[j].chosen = !list[j].purged && match(list[j].Entry)
					}
				},
				func(w *walked) {
					out, stays := q.purgeLocked(w)
					purged += out
					kept += stays
					unwritten = unwritten || q.s != nil && q.s.removals >= mostRemovals/2
				})
			if err == nil && unwritten {
				err = q.s.Sync(ctx)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return purged, kept, err
			}
		}
	}
	if q.s != nil && purged > 0 {
		err = q.s.Sync(ctx)
	}
	return purged, kept, err
}

func (q *Queue) purgeLocked(w *walked) (purged, kept int) {
	l := &q.lanes[w.Lane]
	it := l.find(w.Seq)
	switch {
	case it == nil && (l.gap.n == 0 || w.Seq < l.gap.lo || w.Seq > l.gap.hi):
		return 0, 0 // it is gone
	case q.discardLocked(w.known()):
	case it == nil && w.brief:
		q.leaveGapLocked(l, w.known())
		q.removeFromDiskLocked(removal{w.Seq, w.Lane})
	case it == nil:
		q.buryLocked(w)
		kept = 1
	case w.brief && !it.out:
		q.removeLocked(it)
	case w.brief:
		kept = 1
		it.more().purged = true
		switch {
		case q.s == nil:
		case it.place == writing: // its data is being read
			q.removeFromDiskLocked(removal{it.seq, it.lane})
			q.purged++
			return 1, kept
		case it.place == onDisk:
			q.removeFromDiskLocked(removal{it.seq, it.lane})
		default:
			q.s.cancelLocked(it)
			it.place = onDisk // there is nothing to be written any more
		}
		q.emptyLocked(it)
	case q.s == nil:
		q.emptyLocked(it)
		it.received = true
		kept = 1
	default:
		it.more().purged = true
		q.buryLocked(w)
		kept = 1
	}
	q.purged++
	return 1, kept
}

// emptyLocked takes the data of an entry that keeps its number.
func (q *Queue) emptyLocked(it *item) {
	l := &q.lanes[it.lane]
	counted := !it.out && l.inFront(it)
	if counted {
		l.count(it, -1)
	}
	it.more().purged = true
	q.bytes -= int64(len(it.data))
	it.data = nil
	if counted {
		l.count(it, 1)
	}
}

// buryLocked has the next commit put a tomb in the place of an entry.
func (q *Queue) buryLocked(w *walked) {
	q.addTombLocked(&tomb{seq: w.Seq, lane: w.Lane, size: w.size, forgets: q.forgets})
	q.s.dirtyLocked(q, Sync)
}

// bury writes a tomb and its mark, unless the handshake has ended.
func (qb *queueBatch) bury(bucket *bbolt.Bucket, t *tomb, arena *arena) error {
	key := recordKey(t.lane, t.seq)
	v := bucket.Get(key[:])
	if t.written = v != nil; !t.written {
		return nil
	}
	h, _, _ := parseRecord(qb.q.key, key[:], v) // of a damaged one the number is enough
	qb.size[t.lane] -= dataSize(v)
	h = header{stamp: stamp{at: h.at}}
	if err := bucket.Put(key[:], arena.record(qb.q.key, key[:], &h, nil)); err != nil {
		return err
	}
	key = recordKey(kindMark, t.seq)
	h.tomb = true
	return bucket.Put(key[:], arena.record(qb.q.key, key[:], &h, []byte{t.lane}))
}

// foundLocked is for a mark that was found at Open.
func (q *Queue) foundLocked(seq uint64, k, v []byte) {
	if q.marks == nil {
		q.marks = make(map[uint64]struct{})
	}
	q.marks[seq] = struct{}{}
	if h, data, err := parseRecord(q.key, k, v); err == nil && h.tomb && len(data) == 1 && data[0] < Lanes {
		q.addTombLocked(&tomb{seq: seq, lane: data[0], written: true})
	}
}

func (q *Queue) addTombLocked(t *tomb) {
	if q.tombs == nil {
		q.tombs = make(map[uint64]*tomb)
	}
	q.tombs[t.seq] = t
}

// buriedLocked is for a tomb that is on disk.
func (q *Queue) buriedLocked(t *tomb) {
	t.writing = false
	if t.forgets != q.forgets {
		return
	}
	if !t.written {
		delete(q.tombs, t.seq)
		return
	}
	if q.marks == nil {
		q.marks = make(map[uint64]struct{})
	}
	q.marks[t.seq] = struct{}{}
	l := &q.lanes[t.lane]
	if it := l.find(t.seq); it != nil {
		q.emptyLocked(it)
		it.received = true
	} else if l.gap.n > 0 && l.gap.lo <= t.seq && t.seq <= l.gap.hi {
		q.bytes -= int64(t.size)
		l.gap.bytes -= int64(t.size)
	}
	t.size = 0
}

// endTombsLocked: the receiver holds no number any more.
func (q *Queue) endTombsLocked() {
	var ended []*item
	for i := range q.lanes {
		l := &q.lanes[i]
		for j := range l.front.len() {
			if it := l.front.at(j); !it.gone && it.purged() {
				ended = append(ended, it)
			}
		}
	}
	for _, it := range ended {
		q.removeLocked(it)
	}
	for _, t := range q.tombs {
		if l := &q.lanes[t.lane]; q.unsentInGapLocked(l, t.seq) {
			q.leaveGapLocked(l, known{seq: t.seq, size: t.size, lane: t.lane})
			q.removeFromDiskLocked(removal{t.seq, t.lane})
		}
	}
	q.tombs = nil
}
