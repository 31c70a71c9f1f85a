package buffer

import "slices"

// batch is what one transaction writes.
type batch struct {
	changes []*Change
	queues  []*queueBatch
	tables  []*Table
	syncers []chan error
	drops   [][]byte // buckets of dropped queues, to be removed in slices
	bytes   int64    // of the budget
	lean    bool     // removals only
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
	unreject []uint64    // rejected entries that went elsewhere
	replaced []removal   // entries that something in this batch stands for
	tombs    []*tomb
	forget   bool
	drop     bool
	skip     bool // the queue is gone
	cost     int64
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
	s.lean, s.removalDue = b.lean, 0
	if !b.lean {
		b.syncers, s.syncers = s.syncers, nil
		s.force, s.armed, s.otherDue = false, 0, 0
		for _, c := range s.pending {
			if c.place != pending {
				continue
			}
			c.place = writing
			b.bytes += changeOverhead
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
		for _, done := range b.syncers {
			done <- nil
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
	qb.cost, q.cost = q.cost, 0
	b.bytes += qb.cost
	if q.gone {
		qb.drop, qb.skip = q.drop, !q.drop
		qb.state.dropped = true
		return
	}
	qb.removals, q.removals = q.removals, nil
	if b.lean && len(q.newRejects) > 0 {
		qb.removals, q.removals = q.splitRejectedLocked(qb.removals)
	}
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
	qb.state.next, qb.state.reserved, qb.state.clock = q.next, q.reserve, s.clockNote()
	qb.state.due = earlier(q.due, q.heldDue)
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
	qb.replaced, q.outdated = q.outdated, nil
	q.replacing = qb.replaced
	for _, t := range q.tombs {
		if !t.writing && !t.written {
			t.writing = true
			qb.tombs = append(qb.tombs, t)
		}
	}
	qb.unreject, q.unrejects = q.unrejects, nil
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
