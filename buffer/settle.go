package buffer

import "slices"

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
		done <- nil
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
	if q.walking {
		q.removed = append(q.removed, qb.removals...)
		q.removed = append(q.removed, qb.replaced...)
	}
	q.removing, q.replacing = nil, nil
	available := q.waited
	q.waited = false
	for _, it := range qb.appends {
		it.place, it.change = onDisk, nil
		if it.rare != nil {
			it.rare.holds = nil // they were part of the same batch
		}
		if !it.early {
			available = true
		}
	}
	if q.gone {
		return
	}
	for _, t := range qb.tombs {
		q.buriedLocked(t)
	}
	if qb.forget {
		for seq := range q.marks {
			delete(q.marks, seq)
		}
	}
	for _, seq := range qb.unmarks {
		delete(q.marks, seq)
		delete(q.tombs, seq)
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
	if available && q.attached {
		s.noticeLocked(q)
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
				t.inheritLocked(key, p.isNew)
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
		switch newer := it.newest(); {
		case newer != nil && !newer.gone:
			s.inheritLocked(it, newer)
		case it.gone:
			s.cancelLocked(it)
		}
	}
	q.removing, q.replacing = nil, nil
	q.cost += qb.cost
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
	q.outdated = append(qb.replaced, q.outdated...)
	for _, t := range qb.tombs {
		t.writing = false
	}
	q.newMarks = append(qb.marks, q.newMarks...)
	q.newRejects = append(qb.rejects, q.newRejects...)
	q.rejected = q.rejected[:max(0, len(q.rejected)-len(qb.rejects))]
	q.rejected = append(qb.outdated, q.rejected...)
	q.unrejects = append(qb.unreject, q.unrejects...)
	if !q.dirty {
		q.dirty = true
		s.dirtyQueues = append(s.dirtyQueues, q)
	}
}
