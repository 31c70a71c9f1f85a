package buffer

import "time"

// Ack forgets an entry for good, in any order: it is removed with the next
// commit, or never written at all. It returns false if the queue holds no such
// entry in memory; every entry that Next returned and that was not acknowledged
// is in memory.
func (q *Queue) Ack(seq uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.findLocked(seq)
	if it == nil {
		return false
	}
	if it.out {
		q.measureLocked(it)
	}
	q.acked++
	q.removeLocked(it)
	return true
}

// takeOutLocked makes an entry unknown in memory.
func (q *Queue) takeOutLocked(it *item) {
	if it.out {
		q.inFlight--
	}
	q.messages--
	q.bytes -= int64(len(it.data))
	q.lanes[it.lane].bury(it)
	if it.key != 0 {
		q.unindexLocked(it.key, it.seq)
	}
	if q.walking { // its number may lie in the gap by the time that the walk comes back
		q.removed = append(q.removed, removal{it.seq, it.lane})
	}
}

// removeLocked takes an entry out of memory and sees to it that the disk follows.
func (q *Queue) removeLocked(it *item) {
	q.takeOutLocked(it)
	if q.s == nil {
		return
	}
	switch it.place {
	case begun, pending:
		q.s.cancelLocked(it)
	case writing:
		q.s.cancelLocked(it)
		fallthrough
	case onDisk:
		q.removeFromDiskLocked(removal{it.seq, it.lane})
	}
}

func (q *Queue) removeFromDiskLocked(r removal) {
	if len(q.removals) == 0 || r.seq < q.oldestDue[0] {
		q.oldestDue[0] = r.seq
	}
	q.removals = append(q.removals, r)
	q.s.removalLocked(q)
}

// Received notes that the receiver has the entry and only the end of the
// handshake is missing. done is called once, outside all locks: with nil when the
// mark is on disk (for a volatile queue at once, on this stack), with an error when
// it will never be. It returns false, and never calls done, if the entry is
// unknown or was not handed out.
func (q *Queue) Received(seq uint64, done func(error)) bool {
	q.mu.Lock()
	it := q.findLocked(seq)
	if it == nil || !it.out {
		q.mu.Unlock()
		return false
	}
	if q.s == nil {
		it.received = true
		q.mu.Unlock()
		if done != nil {
			done(nil)
		}
		return true
	}
	switch {
	case q.s.finished:
		if done != nil {
			go done(q.s.closedErrLocked()) // as in closedCallLocked
		}
	case it.received:
		q.s.callLocked(done, nil)
	default:
		q.newMarks = append(q.newMarks, mark{it, q.forgets, done})
		q.s.dirtyLocked(q, Sync)
	}
	q.mu.Unlock()
	return true
}

// Rewind is for the end of a connection: what was handed out and is not
// acknowledged will be handed out again, with Again or Received set.
func (q *Queue) Rewind() {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ended []*item
	for i := range q.lanes {
		l := &q.lanes[i]
		for j := range l.front.len() {
			if it := l.front.at(j); it.out && !it.gone {
				it.out, it.again = false, true
				l.count(it, 1)
				if !q.attached {
					it.order = 0
				}
				if it.brief && it.purged() {
					ended = append(ended, it)
				}
			}
		}
		l.cursor = 0
	}
	q.inFlight = 0
	for _, it := range ended {
		q.removeLocked(it)
	}
	if q.s != nil {
		q.hopeBrokenLocked()
	}
}

// Requeue gives an entry back that the receiver turned away: it will be handed out
// as new, at its place in the order. Unknown entries are ignored.
func (q *Queue) Requeue(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.findLocked(seq)
	if it == nil || !it.out {
		return
	}
	l := &q.lanes[it.lane]
	if it.purged() {
		q.removeLocked(it) // the receiver does not have it, so nothing holds its number
		return
	}
	it.out, it.again, it.order = false, false, 0
	l.count(it, 1)
	l.cursor = min(l.cursor, l.front.search(seq))
	q.inFlight--
	q.mayExpireLocked(it.expires())
}

func (q *Queue) measureLocked(it *item) {
	now := q.nowLocked()
	q.lastMove = now
	d := max(now-it.handed, 1)
	if q.ackTime == 0 {
		q.ackTime = d
	} else {
		q.ackTime += (d - q.ackTime) / 8
	}
}

// patience is how long a queue with entries in flight counts as moving although
// no acknowledgement comes; we chose it.
func (q *Queue) patience() time.Duration {
	return min(time.Second, max(4*q.ackTime, 50*time.Millisecond))
}

// movingLocked reports whether an entry that is appended now is likely to be
// acknowledged soon.
func (q *Queue) movingLocked(now time.Duration) bool {
	if !q.attached || q.ackTime == 0 {
		return false
	}
	for i := range q.lanes {
		if q.lanes[i].gap.n > 0 {
			return false
		}
	}
	return q.inFlight == 0 || now-q.lastMove < q.patience()
}
