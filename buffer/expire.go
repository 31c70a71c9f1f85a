package buffer

import (
	"math"
	"time"
)

// What expires. The deadline of an entry is a time of the store's clock, in
// milliseconds; the age of a queue gives its entries another one at Append. Only what
// was certainly never sent expires [MQTT-3.3.2-5]. It is found when its turn comes to
// be handed out; and, for a receiver that stays away, by sweeps, which go through a
// queue in slices from its oldest entry on. A sweep begins when something can be due
// and not before, and stops where the deadlines are in order and the next one is to
// come.

// We chose these. A pass through a million entries that find no one due takes an
// hour, and a commit that takes expired ones away stays short.
const (
	sweepEvery = time.Minute      // between two passes
	sweepPause = 15 * time.Second // between two slices that found little
	sweepHaste = time.Second      // between two slices that found much
	sweepSlice = 4096             // entries that are looked at
)

// sweep is a pass through a queue.
type sweep struct {
	active bool
	lane   int
	from   uint64
	due    int64 // the earliest deadline that it came by, as in Queue.due
	last   int64 // the deadline before, as in lane.lastDue
	mixed  bool  // the deadlines of the lane are not in order
	first  bool  // nothing stays of the lane so far
}

// earlier returns the lower of two deadlines; 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// passed reports whether a deadline lies in the past.
func passed(deadline int64, clock time.Duration) bool {
	return deadline != 0 && int64((clock-1)/time.Millisecond) >= deadline
}

// expires is when an entry does, as a deadline.
func (it *item) expires() int64  { return expires(it.deadline, it.tooOld) }
func (h *header) expires() int64 { return expires(h.deadline, h.tooOld) }

func expires(deadline int64, tooOld uint32) int64 { return earlier(deadline, 1000*int64(tooOld)) }

// setAgeLocked gives an entry that is appended the age of the queue.
func (q *Queue) setAgeLocked(it *item, l *lane) {
	if q.limits.Age > 0 && q.clock != nil {
		clock := q.clock()
		age := min(q.limits.Age, math.MaxInt64-clock) // who writes 2562047h means for ever
		it.tooOld = uint32(min((clock+age-1)/time.Second+1, math.MaxUint32))
	}
	d := it.expires()
	if d == 0 {
		if l.lastDue != 0 {
			l.lastDue = math.MaxInt64
		}
		return
	}
	l.mixed = l.mixed || d < l.lastDue || l.lastDue == 0 && q.messages > 0
	l.lastDue = d
	q.mayExpireLocked(d)
}

// mayExpireLocked: there is an entry with this deadline; 0: with none.
func (q *Queue) mayExpireLocked(deadline int64) {
	if deadline == 0 || q.clock == nil {
		return
	}
	if q.sweep.active {
		q.sweep.due = earlier(q.sweep.due, deadline)
	}
	if q.due = earlier(q.due, deadline); q.due == deadline && q.s != nil {
		q.s.armSweepLocked(deadline)
	}
}

// expireHeadsLocked drops what has expired and would be handed out next.
func (q *Queue) expireHeadsLocked() {
	clock := q.clock()
	if !passed(q.due, clock) {
		return
	}
	if q.messages == 0 {
		q.due = 0
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		for it := l.first(); it != nil && !it.sent() && passed(it.expires(), clock); it = l.first() {
			q.expired++
			q.removeLocked(it)
		}
	}
}

// armSweepLocked has the committer look for what is due at a deadline.
func (s *Store) armSweepLocked(deadline int64) {
	due := time.Duration(min(deadline, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	s.sweepLocked(max(s.now()+max(0, due-s.Clock()), s.swept+sweepEvery))
}

func (s *Store) sweepLocked(at time.Duration) {
	if s.sweepAt == 0 || at < s.sweepAt {
		s.sweepAt = max(at, 1)
		s.wakeLocked()
	}
}

// sweepDueLocked reports whether a slice of a sweep is due, and else shortens the
// sleep of the committer to when it is.
func (s *Store) sweepDueLocked(sleep *time.Duration) bool {
	if s.sweepAt == 0 || s.closedLocked() {
		return false
	}
	left := s.sweepAt - s.now()
	if left > 0 && (*sleep == 0 || left < *sleep) {
		*sleep = left
	}
	return left <= 0
}

// doSweep is a slice. It runs on the committer.
func (s *Store) doSweep() {
	s.mu.Lock()
	s.sweepAt = 0
	clock := s.Clock()
	var due []*Queue
	if s.err == nil && s.removals < mostRemovals { // else the disk does not keep up
		for _, q := range s.queues {
			if q.sweep.active || passed(q.due, clock) {
				due = append(due, q)
			}
		}
	} else {
		s.sweepLocked(s.now() + sweepPause)
	}
	s.mu.Unlock()
	left, found := sweepSlice, 0
	for _, q := range due {
		if left <= 0 {
			break
		}
		looked, expired, err := q.sweepSlice(clock, left)
		left, found = left-looked, found+expired
		if err != nil {
			s.log.Warn("queue could not be searched for expired entries; it is tried again", "queue", q.name, "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept = s.now()
	for _, q := range s.queues {
		switch {
		case q.sweep.active && found >= sweepSlice/2:
			s.sweepLocked(s.swept + sweepHaste)
		case q.sweep.active:
			s.sweepLocked(s.swept + sweepPause)
		case q.due != 0:
			s.armSweepLocked(q.due)
		}
	}
}

// sweepSlice continues the pass through a queue, or begins one, until about most
// entries were looked at.
func (q *Queue) sweepSlice(clock time.Duration, most int) (looked, expired int, err error) {
	q.mu.Lock()
	w := &q.sweep
	if !w.active {
		*w = sweep{active: true, first: true}
	}
	q.mu.Unlock()
	for looked < most {
		q.mu.Lock()
		done := q.gone || w.lane == Lanes
		if done {
			q.due, q.sweep = w.due, sweep{}
		}
		lane, from, sorted := w.lane, w.from, !done && !q.lanes[w.lane].mixed
		q.mu.Unlock()
		if done {
			break
		}
		ahead := false // in a lane in order: the rest is not due either
		next, more, err := q.step(uint8(lane), from, false,
			func(list []walked) {
				looked += len(list)
				for i := range list {
					list[i].chosen = true
				}
			},
			func(e *walked) {
				if ahead || !q.sweepLocked(e, clock) {
					return
				}
				if passed(e.expires(), clock) {
					if q.discardLocked(e.known()) {
						q.expired++
						expired++
					}
					return
				}
				w.due = earlier(w.due, e.expires())
				ahead = sorted
			})
		if err != nil {
			return looked, expired, err
		}
		q.mu.Lock()
		w.from = next
		if !more || ahead {
			q.sweptLocked(ahead)
		}
		q.mu.Unlock()
	}
	return looked, expired, nil
}

// sweepLocked notes what a pass sees. It is false for what does not expire.
func (q *Queue) sweepLocked(e *walked, clock time.Duration) bool {
	w, l := &q.sweep, &q.lanes[e.Lane]
	it := l.find(e.Seq)
	sent := it != nil && it.sent() || it == nil && !q.unsentInGapLocked(l, e.Seq)
	if sent {
		q.heldDue = earlier(q.heldDue, e.expires())
	}
	goes := !sent && passed(e.expires(), clock)
	if goes {
		return true
	}
	d := e.expires()
	if d == 0 {
		d = math.MaxInt64
	}
	w.mixed = w.mixed || d < w.last
	w.last = d
	if w.first && it == nil && l.gap.n > 0 {
		l.gap.at = e.time() // what was before is gone
	}
	w.first = false
	return !sent && e.expires() != 0
}

// sweptLocked ends a lane of a pass.
func (q *Queue) sweptLocked(ahead bool) {
	w := &q.sweep
	if l := &q.lanes[w.lane]; !ahead && l.highest() < w.from {
		l.mixed, l.lastDue = w.mixed, w.last // it has seen everything
	}
	w.lane, w.from, w.last, w.mixed, w.first = w.lane+1, 0, 0, false, true
}
