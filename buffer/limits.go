package buffer

import "fmt"

// Room returns an error that wraps ErrFull if an Append of n bytes would be
// refused now, by a queue whose policy is Refuse.
func (q *Queue) Room(n int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limits.WhenFull == Refuse && q.overLocked(n) {
		return q.fullLocked()
	}
	return nil
}

// Room returns an error that wraps ErrFull while so much waits for the disk that
// nothing more should be begun whose commit somebody waits for. Append takes
// records of class Sync all the same, so that what was begun is not torn.
func (s *Store) Room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pendingBytes <= 2*s.cfg.Memory {
		return nil
	}
	return fmt.Errorf("%d bytes wait for the disk: %w", s.pendingBytes, ErrFull)
}

// overLocked reports whether one more record of n bytes would break a limit.
func (q *Queue) overLocked(n int) bool {
	return q.limits.Messages > 0 && q.messages+1 > q.limits.Messages ||
		q.limits.Bytes > 0 && q.bytes+int64(n) > q.limits.Bytes
}

// excessLocked reports whether the queue holds more than its limits allow.
func (q *Queue) excessLocked() bool {
	return q.limits.Messages > 0 && q.messages > q.limits.Messages ||
		q.limits.Bytes > 0 && q.bytes > q.limits.Bytes
}

func (q *Queue) fullLocked() error {
	return fmt.Errorf("queue %q holds %d messages with %d bytes: %w", q.name, q.messages, q.bytes, ErrFull)
}

// admitLocked makes room for a record, or says that there is none.
func (q *Queue) admitLocked(r *Record) error {
	if q.s != nil && r.Urgency < Sync && q.s.pendingBytes+int64(len(r.Data)) > 2*q.s.cfg.Memory {
		// Nobody waits for it, so nobody can be told to come again; and it must not
		// fill the memory while the disk does not take anything. What somebody waits
		// for was stopped by Room before anything of it was appended: here it would
		// be lost for one queue and kept for another.
		q.turnAwayLocked()
		return fmt.Errorf("%d bytes wait for the disk: %w", q.s.pendingBytes, ErrFull)
	}
	n := len(r.Data)
	if !q.overLocked(n) {
		return nil
	}
	if q.limits.WhenFull != DropOldest || q.limits.Bytes > 0 && int64(n) > q.limits.Bytes {
		q.turnAwayLocked()
		return q.fullLocked()
	}
	for q.overLocked(n) {
		dropped, later := q.dropOldestLocked(int(r.Lane))
		if later {
			q.trim = true // by the committer: reading the disk is not for callers of Append
			q.s.dirtyLocked(q, Lazy)
			return nil
		}
		if !dropped {
			q.turnAwayLocked()
			return q.fullLocked()
		}
	}
	return nil
}

func (q *Queue) turnAwayLocked() {
	if q.limits.WhenFull == Refuse {
		q.refused++
	} else {
		q.dropped++
	}
}

// dropOldestLocked drops one entry that was certainly never sent, from the lowest
// lane up to most. later says that the next one to go is on disk only.
func (q *Queue) dropOldestLocked(most int) (dropped, later bool) {
	for i := 0; i <= most; i++ {
		l := &q.lanes[i]
		for j := l.cursor; j < l.front.len() && l.unsent > l.unsentAgain; j++ {
			it := l.front.at(j)
			if it.out || it.gone || it.again || it.received {
				continue
			}
			q.dropped++
			q.removeLocked(it)
			return true, false
		}
		if l.gap.n > 0 {
			return false, true
		}
	}
	return false, false
}
