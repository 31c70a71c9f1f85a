package buffer

import (
	"slices"
	"time"
)

// When a commit is due. Every commit takes everything that waits, so there is one
// moment, armed, and it is the earliest that anything asks for.

// We chose these.
const (
	longestHope = time.Second

	// A commit begins early when this many removals wait: their memory, and how
	// many entries come back after a crash, stay bounded.
	mostRemovals = 8192
	// The same when the numbers between the newest entry that was handed out and
	// the oldest removal that waits are this far apart: identifiers derived from
	// them would run out.
	mostSpan = 30_000
)

// now is never 0, which stands for no time at all.
func (s *Store) now() time.Duration { return time.Since(s.epoch) + 1 }

// armLocked sees to it that a commit begins at the given time, or earlier.
func (s *Store) armLocked(at time.Duration) {
	if s.armed == 0 || at < s.armed {
		s.armed = max(at, 1)
		s.wakeLocked()
	}
}

func (s *Store) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) wait(u Urgency) time.Duration {
	switch u {
	case Sync:
		return s.cfg.Sync
	case Lazy:
		return s.cfg.Lazy
	}
	return s.cfg.RetainedEvery
}

// scheduleLocked notes when c must be written. What somebody waits for may wait
// longer than for company while there is hope that it need not be written at all.
func (s *Store) scheduleLocked(c *Change) {
	switch {
	case c.syncs > 0:
		c.due = c.at + s.cfg.Sync
		c.hoping = false
		if d, ok := s.hopeLocked(c); ok {
			c.hoping = true
			c.due = c.at + max(d, s.cfg.Sync)
		}
	case c.holds > 0:
		c.due = c.at + s.cfg.Lazy
	case c.live > 0:
		c.due = c.at + s.cfg.RetainedEvery
	default:
		return
	}
	s.armLocked(c.due)
}

// hopeLocked reports how long the acknowledgements may take that would make
// writing c unnecessary.
func (s *Store) hopeLocked(c *Change) (d time.Duration, ok bool) {
	if c.firm > 0 {
		return 0, false
	}
	now := s.now()
	for _, it := range c.items {
		if it.gone || it.urgency != Sync {
			continue
		}
		if !it.early || !it.q.movingLocked(now) {
			return 0, false
		}
		d = max(d, 4*it.q.ackTime)
	}
	return min(d, longestHope), true
}

// hopeBrokenLocked: the receiver of q left, so what hoped for it hopes no longer. Of
// all that waits only the entries of q are looked at: with a disk that does not answer
// much waits, and many may leave.
func (q *Queue) hopeBrokenLocked() {
	var last *Change // looked at; the entries of one are neighbours
	for i := range q.lanes {
		l := &q.lanes[i]
		for _, d := range [...]*deque{&l.front, &l.back} {
			for j := range d.len() {
				c := d.at(j).change
				if c == nil || c == last {
					continue
				}
				if last = c; c.place == pending && c.hoping {
					q.s.scheduleLocked(c)
				}
			}
		}
	}
}

// dirtyLocked: the next commit has something to write for q.
func (s *Store) dirtyLocked(q *Queue, u Urgency) {
	if !q.dirty {
		q.dirty = true
		s.dirtyQueues = append(s.dirtyQueues, q)
	}
	s.armOtherLocked(s.now() + s.wait(u))
}

// armOtherLocked is armLocked for work that is in no Change.
func (s *Store) armOtherLocked(at time.Duration) {
	if s.otherDue == 0 || at < s.otherDue {
		s.otherDue = max(at, 1)
	}
	s.armLocked(at)
}

// removalLocked: one more entry of q is to be removed from disk.
func (s *Store) removalLocked(q *Queue) {
	s.removals++
	if !q.dirty {
		q.dirty = true
		s.dirtyQueues = append(s.dirtyQueues, q)
	}
	if s.removalDue == 0 {
		s.removalDue = s.now() + s.cfg.Lazy
		s.armLocked(s.removalDue)
	}
	if s.removals == mostRemovals {
		s.forceLocked()
	}
	s.forceSpanLocked(q)
}

func (s *Store) forceSpanLocked(q *Queue) {
	if len(q.removals) > 0 && q.newest > q.oldestDue[0]+mostSpan {
		s.hurryLocked(q)
	}
}

// hurryLocked has the removals of q written now.
func (s *Store) hurryLocked(q *Queue) {
	if len(q.removals)+len(q.removing) == 0 {
		return
	}
	q.waited = true
	if len(q.removals) > 0 {
		s.removalDue = s.now()
		s.armLocked(s.removalDue)
	}
}

func (s *Store) forceLocked() {
	if !s.force {
		s.force = true
		s.wakeLocked()
	}
}

// pressureLocked: transactions stay small and the budget is not used up by what
// only waits for company.
func (s *Store) pressureLocked() {
	if s.pendingBytes > s.cfg.Memory/4 {
		s.forceLocked()
	}
}

// reserveBlock is how many numbers a queue reserves ahead. After a crash the
// unused ones are skipped; there are 2^64.
const reserveBlock = 1 << 20

// reserveLocked keeps reservations ahead of the numbers in use.
func (s *Store) reserveLocked(q *Queue) {
	if q.next+reserveBlock/2 < q.reserve {
		return
	}
	q.reserve = q.next + reserveBlock
	u := Lazy
	if q.next >= q.reserved {
		u = Sync // an entry may already wait for it
	}
	s.dirtyLocked(q, u)
}

// planLocked decides whether a commit begins now, else how long the committer may
// sleep; 0 means until something happens.
func (s *Store) planLocked() (due bool, sleep time.Duration) {
	now := s.now()
	if s.retryAt > now {
		return false, s.retryAt - now // the disk did not take the last one
	}
	if s.retryAt > 0 || s.force || len(s.syncers) > 0 || len(s.dropping) > 0 && s.retryAt == 0 {
		return true, 0
	}
	if s.armed == 0 {
		return false, 0
	}
	if now < s.armed {
		return false, s.armed - now
	}
	// The work that armed it may have been cancelled since.
	next := s.earliestLocked()
	if next > 0 && next <= now {
		return true, 0
	}
	if s.removalDue > 0 && s.removalDue <= now {
		// What hopes need not be written along: it would have to be removed again,
		// and so on for ever.
		s.lean = true
		return true, 0
	}
	if s.removalDue > 0 && (next == 0 || s.removalDue < next) {
		next = s.removalDue
	}
	s.armed = next
	return false, max(0, next-now)
}

// earliestLocked looks at everything that waits, but for removals.
func (s *Store) earliestLocked() (next time.Duration) {
	note := func(at time.Duration) {
		if next == 0 || at < next {
			next = max(at, 1)
		}
	}
	if s.otherDue > 0 {
		note(s.otherDue)
	}
	s.pending = slices.DeleteFunc(s.pending, func(c *Change) bool { return c.place == onDisk })
	s.settled = 0
	for _, c := range s.pending {
		switch {
		case c.syncs > 0:
			note(c.due)
		case c.holds > 0:
			note(c.at + s.cfg.Lazy)
		default:
			note(c.at + s.cfg.RetainedEvery)
		}
	}
	return next
}
