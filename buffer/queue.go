package buffer

import (
	"sync"
	"time"
)

// Queue keeps records until they are acknowledged. It is safe for concurrent use;
// it is meant for one consumer at a time. A durable queue hands out nothing before
// [Change.Attach]. Once its store is closed, or it was dropped, it hands out
// nothing and knows no entry.
type Queue struct {
	s    *Store // nil for a volatile queue
	name string
	key  []byte // its bucket

	readMu sync.Mutex // held while a chunk of the gap is read; taken before mu

	mu     *sync.Mutex // of the store, or its own; guards what follows
	limits Limits
	clock  func() time.Duration // nil: nothing expires
	notify func()
	lanes  [Lanes]lane
	gone   bool

	next       uint64 // the next sequence number
	reserve    uint64 // numbers below are to be reserved by the next commit
	reserved   uint64 // numbers below are reserved on disk
	newest     uint64 // the highest number that was handed out in this run
	stored     uint64 // next, as it was written last
	handing    bool   // as it was written last
	attached   bool
	cost       int64 // counts against the budget until the queue is on disk
	dirty      bool  // the next commit has something to write for it
	forget     bool  // all marks are to be removed
	drop       bool  // the queue itself is to be removed
	forgets    int
	again      [Lanes][]span // as they were noted at the last Attach, Detach or Forget
	marks      map[uint64]struct{}
	newMarks   []mark
	removals   []removal
	removing   []removal // by the transaction that is being written
	removed    []removal // since the disk is being read: from it, or from memory
	outdated   []removal // that belong to a Change which is not written: values for which there is a newer one, entries that went elsewhere
	replacing  []removal // of outdated, by the transaction that is being written
	walking    bool      // the disk is being read, with readMu held
	oldestDue  [2]uint64 // the lowest number in removals and in removing
	tombs      map[uint64]*tomb
	rejected   []rejection
	newRejects []rejection
	unrejects  []uint64 // of the list, not any more; they belong to a Change
	waited     bool     // the consumer waits for a commit
	handed     int      // counts entries that were handed out for the first time and are on disk
	noted      int      // handed, as it was when the state on disk was taken
	taken      int      // handed, as it was when a state was taken last
	trim       bool     // over its limits, to be cut by the committer
	reading    bool     // somebody who uses Poll waits for the disk
	readErr    error

	hands    uint64 // counts hand-outs
	inFlight int
	ackTime  time.Duration // smoothed; 0: none measured since Attach
	lastMove time.Duration // when an acknowledgement came, or the first entry went out

	values   map[uint64]known // the newest value of each key, on disk or in memory; nil: any may stay
	mostKeys int              // that values had

	due     int64 // no entry that was never sent has a deadline before; 0: none has one
	heldDue int64 // the same of those that were maybe sent, as far as they are not in due
	sweep   sweep

	messages int
	bytes    int64
	appended int64
	acked    int64
	dropped  int64
	refused  int64
	rejects  int64
	damaged  int64
	expired  int64
	replaced int64
	purged   int64

	batch *queueBatch // its part of the batch that is being taken; committer only
}

// mark is a call of Received that waits for its commit.
type mark struct {
	it      *item
	forgets int
	done    func(error)
}

// removal is an entry that is to be removed from disk.
type removal struct {
	seq  uint64
	lane uint8
}

// NewVolatile returns a queue that never touches a disk: for receivers whose
// session ends with their connection. It behaves like a queue of a store, but its
// entries can be had from Next as soon as they are appended, whatever becomes of
// their Change.
//
// clock is what deadlines and ages are held against, as [Store.Clock]; with nil
// nothing expires. It is called with the lock of the queue held.
func NewVolatile(l Limits, clock func() time.Duration) *Queue {
	q := &Queue{mu: new(sync.Mutex), clock: clock, next: 1, attached: true}
	q.setLimitsLocked(l)
	return q
}

// Name returns the name that the queue was opened with, "" for a volatile one.
func (q *Queue) Name() string { return q.name }

// Notify sets the function that is called, outside all locks, when a commit or
// something else inside the store made entries available to Next, or when removals
// that were in a hurry are on disk. It must not block. It is not called for what an
// Append made available.
func (q *Queue) Notify(fn func()) {
	q.mu.Lock()
	q.notify = fn
	q.mu.Unlock()
}

// Next returns the next entry: those that Rewind gave back first, in the order in
// which they were handed out (after a Detach or a restart: the highest lane first),
// then the highest lane that has one. ok is false when
// there is none now. Next never waits for a commit; it may read from disk. The
// error says that this failed; the queue is as before.
func (q *Queue) Next() (e Entry, ok bool, err error) { return q.NextOf(EveryLane) }

// pickLocked returns the entry of some lanes to be handed out next, or the lane that
// must be read first, or nil and -1.
func (q *Queue) pickLocked(set LaneSet) (it *item, load int) {
	if !q.attached || q.gone || q.s != nil && q.s.closedLocked() {
		return nil, -1
	}
	if q.due != 0 {
		q.expireHeadsLocked()
	}
	var found *item
	for i := Lanes - 1; i >= 0; i-- {
		l := &q.lanes[i]
		if !set.Has(i) || l.unsentAgain == 0 && !l.againInGap() {
			continue
		}
		first := l.first()
		if first == nil {
			return nil, i
		}
		// An order of 0 is from before this run, so it was earlier.
		if q.availableLocked(first) && (found == nil || first.order < found.order) {
			found = first
		}
	}
	if found != nil {
		return found, -1
	}
	for i := Lanes - 1; i >= 0; i-- {
		if !set.Has(i) {
			continue
		}
		l := &q.lanes[i]
		if first := l.first(); first == nil {
			if l.gap.n > 0 {
				return nil, i
			}
		} else if q.availableLocked(first) {
			return first, -1
		}
	}
	return nil, -1
}

// availableLocked: an entry that nobody could tell from another after a crash must
// not be seen by anyone. So either it is on disk, or its number is reserved there
// and to lose it does no harm. And an entry that would come back after a crash is
// only seen while the state on disk implies that it may have been.
func (q *Queue) availableLocked(it *item) bool {
	switch {
	case q.s == nil:
		return true
	case it.rare != nil && it.rare.purged && !it.received:
		q.waited = true
		return false
	case it.place == begun || it.place != onDisk && !it.early:
		return false
	case it.place != onDisk && it.seq >= q.reserved,
		it.place >= writing && !it.again && q.handed-q.noted >= afterCrash:
		q.waited = true
		return false
	}
	return true
}

func (q *Queue) handOutLocked(it *item) Entry {
	l := &q.lanes[it.lane]
	l.count(it, -1)
	it.out = true
	q.hands++
	it.order = q.hands
	it.handed = q.nowLocked()
	if q.inFlight == 0 {
		q.lastMove = it.handed
	}
	q.inFlight++
	q.newest = max(q.newest, it.seq)
	l.sentTo = max(l.sentTo, it.seq)
	if q.s != nil {
		if it.place >= writing && !it.again {
			if q.handed++; q.handed-q.taken == afterCrash/2 {
				q.s.dirtyLocked(q, Sync)
				q.s.forceLocked()
			}
		}
		q.s.forceSpanLocked(q)
	}
	return it.entry(it.again)
}

func (q *Queue) findLocked(seq uint64) *item {
	if q.gone {
		return nil
	}
	for i := range q.lanes {
		if it := q.lanes[i].find(seq); it != nil {
			return it
		}
	}
	return nil
}

func (q *Queue) nowLocked() time.Duration {
	if q.s == nil {
		return 0 // nobody asks how fast a volatile queue moves
	}
	return q.s.now()
}

// Stats returns a snapshot.
func (q *Queue) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	st := QueueStats{
		Messages: q.messages, Bytes: q.bytes, InFlight: q.inFlight,
		Appended: q.appended, Acked: q.acked, Dropped: q.dropped, Refused: q.refused,
		Rejected: q.rejects, Damaged: q.damaged, AckTime: q.ackTime,
		Expired: q.expired, Replaced: q.replaced, Purged: q.purged,
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		if at := l.oldest(); !at.IsZero() && (st.Oldest.IsZero() || at.Before(st.Oldest)) {
			st.Oldest = at
		}
		st.MaybeSent += l.unsentAgain
	}
	st.MaybeSent += q.inFlight
	return st
}
