package buffer

import (
	"fmt"
	"slices"
)

// Room returns an error that wraps ErrFull if an Append of n bytes with this key
// would be refused now, by a queue whose policy is Refuse.
func (q *Queue) Room(n int, key uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limits.WhenFull == Refuse && q.overLocked(n, key) && !q.expiryMadeRoomLocked(n, key) {
		return q.fullLocked()
	}
	return nil
}

// overLocked reports whether one more record of n bytes would break a limit, in the
// place of the one that it replaces.
func (q *Queue) overLocked(n int, key uint64) bool {
	messages, bytes := q.messages+1, q.bytes+int64(n)
	over := func() bool {
		return q.limits.Messages > 0 && messages > q.limits.Messages ||
			q.limits.Bytes > 0 && bytes > q.limits.Bytes
	}
	if !over() {
		return false
	}
	if old, ok := q.outdatedLocked(key); ok {
		messages--
		bytes -= int64(old.size)
	}
	return over()
}

// expiryMadeRoomLocked reports whether there is room after what has expired at the
// heads is gone. What lies behind them is for a sweep, which is not far then.
func (q *Queue) expiryMadeRoomLocked(n int, key uint64) bool {
	if q.due == 0 || !passed(q.due, q.clock()) {
		return false
	}
	q.expireHeadsLocked()
	if q.s != nil {
		q.s.sweepLocked(q.s.now())
	}
	return !q.overLocked(n, key)
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
	if !q.overLocked(n, r.Key) || q.expiryMadeRoomLocked(n, r.Key) {
		return nil
	}
	if !q.limits.WhenFull.drops() || q.limits.Bytes > 0 && int64(n) > q.limits.Bytes {
		q.turnAwayLocked()
		return q.fullLocked()
	}
	for q.overLocked(n, r.Key) {
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

// cut brings queues that are over their limits, and whose oldest entries are on
// disk only, back to them. It runs on the committer, before a batch is taken.
func (s *Store) cut() {
	s.mu.Lock()
	var over []*Queue
	for _, q := range s.dirtyQueues {
		if q.trim && !q.gone {
			over = append(over, q)
		}
	}
	s.mu.Unlock()
	for _, q := range over {
		if err := q.cut(); err != nil {
			s.log.Warn("queue could not be cut to its limits", "queue", q.name, "err", err)
		}
	}
}

func (q *Queue) cut() error {
	for {
		q.mu.Lock()
		later := false
		for q.excessLocked() && q.s.removals < mostRemovals {
			var dropped bool
			if dropped, later = q.dropOldestLocked(Lanes - 1); !dropped {
				break
			}
		}
		if q.trim = q.excessLocked() && later; !later {
			q.trim = q.excessLocked() && q.s.removals >= mostRemovals // go on after the next commit
			q.mu.Unlock()
			return nil
		}
		lane := slices.IndexFunc(q.lanes[:], func(l lane) bool { return l.gap.n > 0 })
		q.mu.Unlock()
		if err := q.load(lane, true); err != nil {
			return err
		}
	}
}
