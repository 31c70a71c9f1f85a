package buffer

// What the receiver may know.

// Oldest returns the lowest sequence number that may be known to the receiver and
// whose removal is not on disk yet. Acknowledged entries count until then: after a
// crash they would be handed out again. ok is false if there is none.
func (q *Queue) Oldest() (seq uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.oldestLocked()
}

// Hurry is for a consumer that waits for Oldest to move on: the removals that wait
// are written now, and the function of Notify is called when they are on disk. If
// none wait, nothing happens. The queue does it by itself when more than 30,000
// numbers lie between a removal that waits and the newest entry handed out.
func (q *Queue) Hurry() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.s != nil {
		q.s.hurryLocked(q)
	}
}

func (q *Queue) oldestLocked() (oldest uint64, ok bool) {
	note := func(seq uint64) {
		if !ok || seq < oldest {
			oldest, ok = seq, true
		}
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		if l.unsentAgain > 0 || l.front.len()-l.dead > l.unsent {
			for j := range l.front.len() {
				if it := l.front.at(j); !it.gone && (it.out || it.again) {
					note(it.seq)
					break
				}
			}
		}
		if l.againInGap() {
			for _, s := range l.again {
				if s.hi >= l.gap.lo {
					note(max(s.lo, l.gap.lo))
				}
			}
		}
	}
	if len(q.removals) > 0 {
		note(q.oldestDue[0])
	}
	if len(q.removing) > 0 {
		note(q.oldestDue[1])
	}
	return oldest, ok
}

// forgetLocked: the receiver knows nothing any more, so everything is new to it.
func (q *Queue) forgetLocked() {
	for i := range q.lanes {
		l := &q.lanes[i]
		l.again, q.again[i], l.sentTo = nil, nil, 0
		l.cursor, l.unsent, l.unsentBytes, l.unsentAgain = 0, 0, 0, 0
		for j := range l.front.len() {
			it := l.front.at(j)
			it.out, it.again, it.received, it.order = false, false, false, 0
			if !it.gone {
				l.count(it, 1)
			}
		}
	}
	q.inFlight = 0
	q.forgets++
	clear(q.marks)
	q.endTombsLocked()
	q.mayExpireLocked(q.heldDue)
}

// unorderLocked: entries that leave the memory lose the order of their hand-outs,
// so all of them do.
func (q *Queue) unorderLocked() {
	for i := range q.lanes {
		for j := range q.lanes[i].front.len() {
			q.lanes[i].front.at(j).order = 0
		}
	}
}

// noteSentLocked fixes what the receiver may know, for the state on disk.
func (q *Queue) noteSentLocked() {
	for i := range q.lanes {
		q.again[i] = q.lanes[i].maybeSent()
	}
}
