package buffer

// Queues that keep the last value of a key only. Which entry that is, of those that
// a new one may replace, is in Queue.values: one that is handed out stays in it, and
// is asked when it would be replaced.
//
// What is removed for a newer value must not be gone from the disk before that is
// there, and whoever waits for it must not be told before that is safe: a crash
// would leave neither of the two.

// maxValues is how many keys are known in all queues of a store. We chose it: some
// 4 MB.
const maxValues = 1 << 16

// hold is what an older value, replaced before it was written, leaves behind: its
// Change is not done before the newer value is.
type hold struct {
	c       *Change
	urgency Urgency
}

// setLimitsLocked returns whether the values on disk are to be looked up.
func (q *Queue) setLimitsLocked(l Limits) (lookUp bool) {
	q.limits = l
	switch {
	case l.WhenFull != KeepLast && !l.Values:
		if q.s != nil {
			q.s.values -= len(q.values)
		}
		q.values = nil
		return false
	case q.values != nil:
		return false
	}
	q.values, q.mostKeys = make(map[uint64]known), 0
	return q.messages > 0
}

// lookUpValues notes the newest values of a queue that has entries.
func (q *Queue) lookUpValues() error {
	for i := range Lanes {
		for from, more := uint64(0), true; more; {
			var err error
			from, more, err = q.step(uint8(i), from, false,
				func(list []walked) {
					for j := range list {
						list[j].chosen = list[j].key != 0
					}
				},
				func(w *walked) { q.indexLocked(w.known()) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// indexLocked notes an entry as the newest value of its key, if it is. It returns
// the one that was so far, if there is one.
func (q *Queue) indexLocked(k known) (old known, replaces bool) {
	if q.values == nil {
		return known{}, false
	}
	old, there := q.values[k.key]
	switch {
	case there && old.seq >= k.seq:
		return known{}, false
	case !there && q.s != nil && q.s.values >= maxValues:
		return known{}, false
	case !there && q.s != nil:
		q.s.values++
	}
	q.values[k.key] = k
	q.mostKeys = max(q.mostKeys, len(q.values))
	return old, there
}

// unindexLocked is for an entry that is gone.
func (q *Queue) unindexLocked(key, seq uint64) {
	if k, there := q.values[key]; !there || k.seq != seq {
		return
	}
	delete(q.values, key)
	if q.s != nil {
		q.s.values--
	}
	if len(q.values) == 0 && q.mostKeys > 1024 {
		q.values, q.mostKeys = make(map[uint64]known), 0 // a map does not shrink
	}
}

// outdatedLocked returns the entry that one with this key would replace.
func (q *Queue) outdatedLocked(key uint64) (old known, ok bool) {
	if q.values == nil || key == 0 {
		return known{}, false
	}
	if old, ok = q.values[key]; !ok {
		return known{}, false
	}
	l := &q.lanes[old.lane]
	if it := l.find(old.seq); it != nil {
		return old, !it.sent()
	}
	return old, q.unsentInGapLocked(l, old.seq)
}

// replaceLocked takes out the entry that a new one replaces.
func (q *Queue) replaceLocked(by *item) {
	replaces, ok := q.outdatedLocked(by.key)
	if old, there := q.indexLocked(known{by.seq, by.key, int32(len(by.data)), by.lane}); !there || !ok || old != replaces {
		return
	}
	q.replaced++
	l := &q.lanes[replaces.lane]
	it := l.find(replaces.seq)
	switch {
	case it == nil:
		q.leaveGapLocked(l, replaces)
		q.outdateLocked(removal{replaces.seq, replaces.lane}, by)
	case q.s == nil:
		q.removeLocked(it)
	default:
		q.takeOutLocked(it)
		it.more().newer = by
		if it.place >= writing {
			q.outdateLocked(removal{it.seq, it.lane}, by)
		} else {
			q.s.inheritLocked(it, by)
		}
	}
}

// outdateLocked has an entry removed from disk by the commit that writes the newer
// one: not by one for removals alone, but by the next that takes all that waits.
func (q *Queue) outdateLocked(r removal, by *item) {
	by.more().last = true
	q.outdated = append(q.outdated, r)
}

// inheritLocked is cancelLocked for an entry that a newer one replaces: who waits
// for it waits for that one.
func (s *Store) inheritLocked(it, by *item) {
	old, heir := it.more(), by.more()
	heir.holds = append(old.holds, heir.holds...)
	heir.last = heir.last || old.last
	old.holds, old.last = nil, false
	c := it.change
	if c == nil || it.urgency == Idle || c.done == nil && c.place != begun {
		s.cancelLocked(it) // nobody waits
		return
	}
	heir.holds = append(heir.holds, hold{c, it.urgency})
	it.change = nil
	s.pendingBytes -= it.cost()
	c.live--
	s.roomLocked()
}

// releaseLocked is for an entry that will not be written: who waited for it, for an
// older value, waits no longer.
func (s *Store) releaseLocked(it *item) {
	holds := it.rare.holds
	it.rare.holds = nil
	for _, h := range holds {
		h.c.unhold(h.urgency)
		s.settleLocked(h.c)
	}
	if it.rare.last && it.place != writing {
		s.dirtyLocked(it.q, Lazy) // nothing keeps the older value on disk any more
	}
}
