package buffer

// LaneSet is a set of lanes, a bit for each.
type LaneSet uint16

// EveryLane is the set of all.
const EveryLane LaneSet = 1<<Lanes - 1

// Has reports whether a lane is in the set.
func (s LaneSet) Has(lane int) bool { return s>>lane&1 != 0 }

// Waiting returns the lanes in which something is not handed out yet, whether it
// could be now or not.
func (q *Queue) Waiting() LaneSet {
	q.mu.Lock()
	defer q.mu.Unlock()
	var set LaneSet
	for i := range q.lanes {
		if l := &q.lanes[i]; l.unsent > 0 || l.gap.n > 0 || l.back.len() > 0 {
			set |= 1 << i
		}
	}
	return set
}

// NextOf is Next for some lanes alone: for a consumer that lets the others wait.
func (q *Queue) NextOf(set LaneSet) (e Entry, ok bool, err error) {
	for {
		q.mu.Lock()
		it, l := q.pickLocked(set)
		if it != nil {
			e = q.handOutLocked(it)
			q.mu.Unlock()
			return e, true, nil
		}
		q.mu.Unlock()
		if l < 0 {
			return Entry{}, false, nil
		}
		if err := q.load(l, false); err != nil {
			return Entry{}, false, err
		}
	}
}
