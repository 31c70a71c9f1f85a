package buffer

import (
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// batch is what one transaction writes.
type batch struct {
	changes []*Change
	queues  []*queueBatch
	tables  []*Table
	syncers []chan struct{}
	drops   [][]byte // buckets of dropped queues, to be removed in slices
	bytes   int64    // of the budget
	lean    bool     // removals only, because the file is full
	final   bool     // the last one before Close

	dropped [][]byte // of drops, those that are gone completely
	records int64
	txid    int   // 0: it certainly did not get as far as a commit
	pages   int64 // bytes written
	syncs   int64
}

// queueBatch is the part of one queue.
type queueBatch struct {
	q        *Queue
	appends  []*item
	removals []removal
	marks    []mark
	unmarks  []uint64
	rejects  []rejection
	outdated []rejection // rejected entries that make room
	forget   bool
	drop     bool
	skip     bool // the queue is gone
	state    queueState
	handed   int // of the queue, when the state was taken

	disk [Lanes]int // after the transaction
	size [Lanes]int64
}

// takeLocked collects everything that waits. It returns nil if there is nothing.
func (s *Store) takeLocked(final bool) *batch {
	b := &batch{
		drops: s.dropping, final: final,
		lean: s.lean && s.removals > 0,
	}
	if !b.lean {
		b.syncers, s.syncers = s.syncers, nil
		s.force, s.armed, s.otherDue = false, 0, 0
		for _, c := range s.pending {
			if c.place != pending {
				continue
			}
			c.place = writing
			b.changes = append(b.changes, c)
			for _, it := range c.items {
				if it.place != pending || it.gone {
					continue
				}
				it.place = writing
				b.bytes += it.cost()
				qb := b.queue(it.q)
				qb.appends = append(qb.appends, it)
			}
		}
		clear(s.pending)
		s.pending, s.settled = s.pending[:0], 0
		for _, t := range s.dirtyTables {
			t.writing, t.pending, t.dirty = t.pending, nil, false
			for _, p := range t.writing {
				b.bytes += p.cost()
			}
			b.tables = append(b.tables, t)
		}
		s.dirtyTables = nil
	}
	for _, q := range s.dirtyQueues {
		if !b.lean || len(q.removals) > 0 && !q.gone {
			b.queue(q)
		}
	}
	if !b.lean {
		for _, q := range s.dirtyQueues {
			q.dirty = false
		}
		s.dirtyQueues = nil
	}
	if final {
		// After this one the disk knows exactly what may have been sent.
		for _, q := range s.queues {
			if q.handing || q.attached || q.next != q.stored {
				b.queue(q)
			}
		}
	}
	for _, qb := range b.queues {
		qb.fillLocked(s, b)
	}
	if len(b.changes)+len(b.queues)+len(b.tables)+len(b.drops) == 0 {
		for _, c := range b.syncers {
			close(c)
		}
		return nil
	}
	return b
}

func (b *batch) queue(q *Queue) *queueBatch {
	if q.batch == nil {
		q.batch = &queueBatch{q: q}
		b.queues = append(b.queues, q.batch)
	}
	return q.batch
}

func (qb *queueBatch) fillLocked(s *Store, b *batch) {
	q := qb.q
	q.batch = nil
	if q.gone {
		qb.drop, qb.skip = q.drop, !q.drop
		qb.state.dropped = true
		return
	}
	qb.removals, q.removals = q.removals, nil
	q.removing, q.oldestDue[1] = qb.removals, q.oldestDue[0]
	s.removals -= len(qb.removals)
	if len(q.marks) > 0 {
		for _, r := range qb.removals {
			if _, ok := q.marks[r.seq]; ok {
				qb.unmarks = append(qb.unmarks, r.seq)
			}
		}
	}
	if b.lean {
		// What belongs to a Change stays with it: the state may only claim more.
		qb.state.handing = q.handing || q.attached
	} else {
		qb.fillRestLocked(s, b)
	}
	q.reserve = max(q.reserve, q.next+reserveBlock/2)
	qb.state.next, qb.state.reserved = q.next, q.reserve
	qb.handed, q.taken = q.handed, q.handed
	for i := range q.lanes {
		qb.state.lanes[i].again = q.again[i]
		if to := q.lanes[i].sentTo; qb.state.handing && to > 0 {
			qb.state.lanes[i].again = append(slices.Clip(q.again[i]), span{0, to})
		}
		qb.disk[i], qb.size[i] = q.lanes[i].disk, q.lanes[i].diskBytes
	}
}

// fillRestLocked is for all but removals.
func (qb *queueBatch) fillRestLocked(s *Store, b *batch) {
	q := qb.q
	qb.forget, q.forget = q.forget, false
	for _, m := range q.newMarks {
		switch {
		case m.forgets != q.forgets:
			s.callLocked(m.done, errForgotten)
		case m.it.gone:
			s.callLocked(m.done, nil) // the handshake ended: there is nothing to know
		default:
			qb.marks = append(qb.marks, m)
		}
	}
	q.newMarks = nil
	qb.rejects, q.newRejects = q.newRejects, nil
	q.rejected = append(q.rejected, qb.rejects...)
	size := 0
	for i := range q.rejected {
		size += q.rejected[i].size
		q.rejected[i].data = nil // these are copies; qb.rejects keeps the data
	}
	for len(q.rejected) > maxRejected || size > maxRejectedBytes {
		size -= q.rejected[0].size
		qb.outdated = append(qb.outdated, q.rejected[0])
		q.rejected = q.rejected[1:]
	}
	if b.final {
		q.noteSentLocked()
	}
	qb.state.handing = q.attached && !b.final
}

// finishLocked is for a batch that is on disk.
func (s *Store) finishLocked(b *batch) {
	for _, qb := range b.queues {
		qb.finishLocked(s)
	}
	for _, t := range b.tables {
		t.writing = nil
	}
	for _, c := range b.changes {
		c.place = onDisk
		if !c.fired {
			c.fired = true
			s.callLocked(c.done, nil)
		}
		c.done, c.items = nil, nil
	}
	for _, done := range b.syncers {
		close(done)
	}
	if len(b.dropped) > 0 {
		// A new slice: the next batch may still read the old one.
		s.dropping = slices.DeleteFunc(slices.Clone(s.dropping), func(key []byte) bool {
			return slices.ContainsFunc(b.dropped, func(k []byte) bool { return string(k) == string(key) })
		})
	}
	s.pendingBytes -= b.bytes
	s.stats.Records += b.records
	s.roomLocked()
}

func (qb *queueBatch) finishLocked(s *Store) {
	q := qb.q
	if qb.skip {
		return
	}
	if qb.drop {
		q.drop = false
		s.dropping = append(s.dropping, q.key)
		for _, it := range qb.appends {
			it.place, it.change = onDisk, nil
		}
		return
	}
	q.handing, q.stored = qb.state.handing, qb.state.next
	q.reserved = max(q.reserved, qb.state.reserved)
	q.noted = qb.handed
	q.removing = nil
	available := q.waited
	q.waited = false
	for _, it := range qb.appends {
		it.place, it.change = onDisk, nil
		if !it.early {
			available = true
		}
	}
	if q.gone {
		return
	}
	if qb.forget {
		for seq := range q.marks {
			delete(q.marks, seq)
		}
	}
	for _, seq := range qb.unmarks {
		delete(q.marks, seq)
	}
	for _, m := range qb.marks {
		if m.forgets == q.forgets {
			if q.marks == nil {
				q.marks = make(map[uint64]struct{})
			}
			q.marks[m.it.seq] = struct{}{}
			m.it.received = true
		}
		s.callLocked(m.done, nil)
	}
	var w window // none for a receiver that is away
	if q.attached {
		w = s.window
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		l.disk, l.diskBytes = qb.disk[i], qb.size[i]
		l.evict(w)
	}
	if q.trim {
		s.dirtyLocked(q, Sync)
	}
	if available && q.notify != nil && q.attached {
		s.notices = append(s.notices, q.notify)
		s.wakeLocked()
	}
}

// restoreLocked puts a batch that is certainly not on disk back in front of what
// came since.
func (s *Store) restoreLocked(b *batch) {
	older := slices.Clone(b.changes)
	for _, c := range older {
		c.place = pending
	}
	s.pending = append(older, s.pending...)
	for _, qb := range b.queues {
		qb.restoreLocked(s)
	}
	for _, t := range b.tables {
		for key, p := range t.writing {
			if _, newer := t.pending[key]; newer {
				s.pendingBytes -= p.cost()
				continue
			}
			if t.pending == nil {
				t.pending = make(map[string]put)
			}
			t.pending[key] = p
		}
		t.writing = nil
		if !t.dirty {
			t.dirty = true
			s.dirtyTables = append(s.dirtyTables, t)
		}
	}
	s.syncers = append(b.syncers, s.syncers...)
	s.armLocked(s.now())
	s.armOtherLocked(s.now())
}

func (qb *queueBatch) restoreLocked(s *Store) {
	q := qb.q
	for _, it := range qb.appends {
		it.place = pending
		if it.gone {
			s.cancelLocked(it)
		}
	}
	q.removing = nil
	if q.gone {
		for _, m := range qb.marks {
			s.callLocked(m.done, ErrDropped)
		}
		if q.drop {
			s.dirtyLocked(q, Sync)
		}
		return
	}
	q.forget = q.forget || qb.forget
	if len(qb.removals) > 0 {
		oldest := q.oldestDue[1]
		if len(q.removals) > 0 {
			oldest = min(oldest, q.oldestDue[0])
		}
		q.oldestDue[0] = oldest
		q.removals = append(qb.removals, q.removals...)
		s.removals += len(qb.removals)
	}
	q.newMarks = append(qb.marks, q.newMarks...)
	if n := len(qb.rejects); n > 0 {
		q.newRejects = append(qb.rejects, q.newRejects...)
		q.rejected = q.rejected[:max(0, len(q.rejected)-n)]
	}
	q.rejected = append(qb.outdated, q.rejected...)
	if !q.dirty {
		q.dirty = true
		s.dirtyQueues = append(s.dirtyQueues, q)
	}
}

// write puts the batch into tx.
func (b *batch) write(tx *bbolt.Tx, arena *arena) error {
	for _, qb := range b.queues {
		if err := b.writeQueue(tx, qb, arena); err != nil {
			return err
		}
	}
	for _, t := range b.tables {
		bucket, err := tx.CreateBucketIfNotExists(t.key)
		if err != nil {
			return err
		}
		for _, p := range t.writing {
			k := diskKey(p.key)
			if p.deleted {
				err = bucket.Delete(k)
			} else {
				err = bucket.Put(k, diskValue(k, &p))
				b.records++
			}
			if err != nil {
				return err
			}
		}
	}
	return b.writeDrops(tx)
}

func (b *batch) writeQueue(tx *bbolt.Tx, qb *queueBatch, arena *arena) error {
	q := qb.q
	if qb.skip {
		return nil
	}
	if qb.drop && tx.Bucket(q.key) == nil {
		return nil // it never reached the disk
	}
	bucket, err := tx.CreateBucketIfNotExists(q.key)
	if err != nil {
		return err
	}
	bucket.FillPercent = 1 // numbers only grow
	if qb.drop {
		return bucket.Put(stateKey, qb.state.encode())
	}
	c := bucket.Cursor()
	for _, r := range qb.removals {
		key := recordKey(byte(r.lane), r.seq)
		// One that never arrived, because its commit failed, is not there.
		if k, v := c.Seek(key[:]); string(k) == string(key[:]) {
			qb.disk[r.lane]--
			qb.size[r.lane] -= int64(max(0, len(v)-headerSize))
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	if qb.forget {
		from := recordKey(kindMark, 0)
		for k, _ := c.Seek(from[:]); len(k) == keySize && k[0] == kindMark; k, _ = c.Seek(from[:]) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	for _, seq := range qb.unmarks {
		key := recordKey(kindMark, seq)
		if err := bucket.Delete(key[:]); err != nil {
			return err
		}
	}
	for _, r := range qb.outdated {
		key := recordKey(kindRejected, r.seq)
		if err := bucket.Delete(key[:]); err != nil {
			return err
		}
	}
	for _, it := range qb.appends {
		key := recordKey(it.lane, it.seq)
		if err := bucket.Put(key[:], arena.record(key[:], it.at, it.data)); err != nil {
			return err
		}
		qb.disk[it.lane]++
		qb.size[it.lane] += int64(len(it.data))
		b.records++
	}
	for _, m := range qb.marks {
		key := recordKey(kindMark, m.it.seq)
		if err := bucket.Put(key[:], arena.record(key[:], m.it.at, nil)); err != nil {
			return err
		}
	}
	for _, r := range qb.rejects {
		key := recordKey(kindRejected, r.seq)
		if err := bucket.Put(key[:], r.encode(key[:])); err != nil {
			return err
		}
	}
	for i := range qb.disk {
		qb.state.lanes[i].n, qb.state.lanes[i].bytes = qb.disk[i], qb.size[i]
		if qb.disk[i] == 0 {
			qb.state.lanes[i].again = nil
		}
	}
	return bucket.Put(stateKey, qb.state.encode())
}

// dropSlice is how many entries of dropped queues one commit removes; we chose it
// such that a commit stays short on an SD card.
const dropSlice = 4096

func (b *batch) writeDrops(tx *bbolt.Tx) error {
	left := dropSlice
	for _, key := range b.drops {
		bucket := tx.Bucket(key)
		if bucket != nil {
			c := bucket.Cursor()
			k, _ := c.First()
			for ; k != nil && left > 0 && string(k) != string(stateKey); k, _ = c.First() {
				if err := c.Delete(); err != nil {
					return err
				}
				left--
			}
			if left == 0 {
				return nil
			}
			if err := tx.DeleteBucket(key); err != nil {
				return err
			}
		}
		b.dropped = append(b.dropped, key)
	}
	return nil
}

// arena holds the values of one transaction: bbolt wants them unchanged until its
// end, and one allocation for many is cheaper.
type arena struct {
	chunk []byte
}

const arenaChunk = 64 << 10

func (a *arena) record(key []byte, at time.Time, data []byte) []byte {
	n := headerSize + len(data)
	if cap(a.chunk)-len(a.chunk) < n {
		a.chunk = make([]byte, 0, max(arenaChunk, n))
	}
	start := len(a.chunk)
	a.chunk = appendRecord(a.chunk, key, at, data)
	return a.chunk[start:len(a.chunk):len(a.chunk)]
}
