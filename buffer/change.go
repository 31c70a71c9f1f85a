package buffer

import (
	"fmt"
	"slices"
	"time"
)

// Change is a set of operations that reach the disk together or not at all. One
// goroutine uses it until Commit. Every Change with appends must be committed: its
// entries hold their places, and what is behind them waits.
//
// Operations take effect in memory at Commit, except that Append gives the entry
// its number and its place at once.
type Change struct {
	s     *Store
	items []*item
	room  [2]*item // backs items for the common case
	puts  []put
	ops   []queueOp
	done  func(error)
	at    time.Duration // of Commit

	// Guarded by the mutex of the store.
	place  place
	fired  bool          // done was called, or is about to be
	live   int           // items that are still to be written
	holds  int           // Sync and Lazy operations that hold back done
	syncs  int           // of these, the Sync ones
	firm   int           // of these, what no acknowledgement can cancel
	due    time.Duration // when it is to be written, at the latest
	hoping bool          // due is late, in the hope for acknowledgements
}

// changeOverhead is roughly what a Change and its done function take while it waits
// for its commit.
const changeOverhead = 512

type put struct {
	t       *Table
	key     string
	value   []byte
	deleted bool
	isNew   bool // the disk has nothing under the key
	urgency Urgency
}

type queueOp struct {
	q       *Queue
	kind    opKind
	urgency Urgency
	known   known // of what is taken out
}

type opKind uint8

const (
	opAttach opKind = iota
	opDetach
	opForget
	opDrop
	opTake
	opUnreject
)

// Begin returns an empty Change.
func (s *Store) Begin() *Change {
	c := &Change{s: s}
	c.items = c.room[:0]
	return c
}

// Append puts a record at the end of its lane and returns its sequence number,
// which is above all earlier ones of the queue. An error that wraps [ErrFull] means
// that the queue, or the memory of the store, has no room; nothing was appended and
// the Change can still be used.
func (c *Change) Append(q *Queue, r Record) (seq uint64, err error) {
	if r.Lane >= Lanes {
		return 0, fmt.Errorf("lane %d does not exist (0 to %d do)", r.Lane, Lanes-1)
	}
	if q.s != nil && q.s != c.s {
		return 0, fmt.Errorf("queue %q belongs to another store", q.name)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return 0, ErrDropped
	}
	if q.s != nil && q.s.closedLocked() {
		return 0, ErrClosed
	}
	if err := q.admitLocked(&r); err != nil {
		return 0, err
	}
	l := &q.lanes[r.Lane]
	it := &item{
		seq: q.next, data: r.Data, q: q,
		lane: r.Lane, urgency: r.Urgency, early: r.Early, place: onDisk,
	}
	h := r.header()
	it.stamp, it.brief = h.stamp, h.brief
	if it.deadline != 0 || q.limits.Age > 0 || l.lastDue != 0 {
		q.setAgeLocked(it, l)
	}
	q.next++
	q.messages++
	q.bytes += int64(len(r.Data))
	q.appended++
	if q.s != nil {
		it.place, it.change = begun, c
		c.items = append(c.items, it)
		c.live++
		c.hold(r.Urgency)
		q.s.pendingBytes += it.cost()
		q.s.reserveLocked(q)
	}
	l.push(it)
	if q.s == nil && q.values != nil && it.key != 0 {
		q.replaceLocked(it)
	}
	return it.seq, nil
}

// hold counts an operation that holds back done.
func (c *Change) hold(u Urgency) {
	if u == Idle {
		return
	}
	c.holds++
	if u == Sync {
		c.syncs++
	}
}

// unhold takes back one hold.
func (c *Change) unhold(u Urgency) {
	if u == Idle {
		return
	}
	c.holds--
	if u == Sync {
		c.syncs--
	}
}

// Put sets a key of 1 to 65,535 bytes. Key and value are copied. Of several
// values for one key the one of the latest Commit wins, whatever their urgency,
// and the others need not be written.
func (c *Change) Put(t *Table, key, value []byte, u Urgency) {
	c.puts = append(c.puts, put{t: t, key: string(key), value: slices.Clone(value), urgency: u})
}

// PutNew is Put for a key that the table never had. If it is deleted again before it is
// written, neither is: what comes and goes takes no memory while the disk takes nothing.
func (c *Change) PutNew(t *Table, key, value []byte, u Urgency) {
	c.puts = append(c.puts, put{t: t, key: string(key), value: slices.Clone(value), isNew: true, urgency: u})
}

// Delete removes a key; that it does not exist is no error.
func (c *Change) Delete(t *Table, key []byte, u Urgency) {
	c.puts = append(c.puts, put{t: t, key: string(key), deleted: true, urgency: u})
}

// Attach says that the receiver is there: entries may be handed out from now on,
// and after a crash the first entries of each lane count as handed out.
func (c *Change) Attach(q *Queue, u Urgency) {
	c.ops = append(c.ops, queueOp{q: q, kind: opAttach, urgency: u})
}

// Detach says that the receiver is gone: what comes later was certainly never
// sent. It does not give back what is in flight, [Queue.Rewind] does.
func (c *Change) Detach(q *Queue, u Urgency) {
	c.ops = append(c.ops, queueOp{q: q, kind: opDetach, urgency: u})
}

// Forget says that the receiver lost its session: marks, and what is known of
// earlier hand-outs, are cleared, and every entry that is not acknowledged will be
// handed out as new, in order.
func (c *Change) Forget(q *Queue, u Urgency) {
	c.ops = append(c.ops, queueOp{q: q, kind: opForget, urgency: u})
}

// DropQueue removes a queue with all its entries. Its name is free as soon as the
// Change is committed; a queue of the same name that is opened then has nothing to
// do with this one. The disk follows in slices.
func (s *Store) DropQueue(c *Change, q *Queue) {
	c.ops = append(c.ops, queueOp{q: q, kind: opDrop, urgency: Sync})
}

// Commit hands the Change over. It never blocks and may be called with locks held.
// Changes are applied in the order of their Commit calls.
//
// done may be nil. It is called exactly once, by a goroutine of the store that calls
// nothing else meanwhile, without locks; after the end of Close by one of its own. nil
// means that every Sync and Lazy operation is on disk, or need not be: its entry was
// acknowledged before it was on disk, or was dropped by a limit. An error means that
// it is not on disk and never will be. Idle operations are not waited for. done must
// not block: what else was committed is told behind it.
func (c *Change) Commit(done func(error)) {
	s := c.s
	if done == nil && len(c.items)+len(c.puts)+len(c.ops) == 0 {
		return
	}
	for _, op := range c.ops {
		if op.q.s == nil {
			op.applyVolatile()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.done = done
	if s.closedLocked() {
		s.closedCallLocked(c)
		return
	}
	c.at = s.now()
	c.place = pending
	for _, it := range c.items {
		if it.place == begun && !it.gone {
			it.place = pending
		}
	}
	for i := range c.puts {
		p := &c.puts[i]
		c.hold(p.urgency)
		if p.urgency == Sync {
			c.firm++
		}
		p.t.setLocked(p)
		s.armOtherLocked(c.at + s.wait(p.urgency))
	}
	for _, op := range c.ops {
		if op.q.s != s {
			continue
		}
		c.hold(op.urgency)
		if op.urgency == Sync {
			c.firm++
		}
		op.applyLocked()
	}
	c.puts, c.ops = nil, nil
	if done == nil && len(c.items) == 0 {
		c.place, c.fired = onDisk, true // tables and queues know what to write; while they wait, the newest is enough
		s.pressureLocked()
		return
	}
	for _, it := range c.items {
		if it.key != 0 && it.q.values != nil && !it.gone {
			it.q.replaceLocked(it)
		}
	}
	s.pending = append(s.pending, c)
	s.pendingBytes += changeOverhead
	s.scheduleLocked(c)
	s.settleLocked(c)
	s.pressureLocked()
}

func (op queueOp) applyLocked() {
	q := op.q
	if q.gone {
		return
	}
	switch op.kind {
	case opAttach:
		q.noteSentLocked()
		q.attached, q.ackTime = true, 0
	case opDetach:
		q.noteSentLocked()
		q.attached, q.ackTime = false, 0
		q.unorderLocked()
		if q.s != nil {
			q.hopeBrokenLocked()
		}
	case opForget:
		q.forgetLocked()
		q.forget = true
	case opDrop:
		q.dropLocked()
	case opTake:
		q.takeLocked(op.known)
	case opUnreject:
		q.rejected = slices.DeleteFunc(q.rejected, func(r rejection) bool { return r.seq == op.known.seq })
		q.unrejects = append(q.unrejects, op.known.seq)
	}
	if q.s != nil {
		q.s.dirtyLocked(q, op.urgency)
	}
}

func (op queueOp) applyVolatile() {
	op.q.mu.Lock()
	defer op.q.mu.Unlock()
	op.applyLocked()
}

// dropLocked empties the memory; the disk is the committer's.
func (q *Queue) dropLocked() {
	for i := range q.lanes {
		l := &q.lanes[i]
		for _, d := range []*deque{&l.front, &l.back} {
			for j := range d.len() {
				it := d.at(j)
				if it.gone {
					continue
				}
				it.gone = true
				if q.s != nil {
					q.s.cancelLocked(it)
				}
			}
		}
		n, bytes := l.disk, l.diskBytes
		*l = lane{disk: n, diskBytes: bytes}
	}
	q.gone, q.attached = true, false
	q.messages, q.bytes, q.inFlight = 0, 0, 0
	q.due, q.heldDue, q.sweep = 0, 0, sweep{}
	if q.s == nil {
		return
	}
	q.s.values -= len(q.values)
	q.values = nil
	for _, m := range q.newMarks {
		q.s.callLocked(m.done, ErrDropped)
	}
	q.s.removals -= len(q.removals)
	q.newMarks, q.removals, q.newRejects, q.rejected, q.marks = nil, nil, nil, nil, nil
	q.outdated, q.unrejects, q.tombs = nil, nil, nil
	q.drop = true
	if q.s.queues[q.name] == q {
		delete(q.s.queues, q.name)
	}
}

// cancelLocked takes an entry out of its Change that nobody needs any more: what is
// not written yet need not be, and what is being written nobody has to wait for.
func (s *Store) cancelLocked(it *item) {
	c := it.change
	if c == nil {
		return
	}
	if !it.released {
		it.released = true
		c.unhold(it.urgency)
	}
	if it.rare != nil {
		s.releaseLocked(it)
	}
	if it.place == writing {
		s.fireLocked(c)
		return
	}
	it.change = nil
	s.pendingBytes -= it.cost()
	s.stats.Cancelled++
	s.stats.CancelledBytes += int64(len(it.data))
	c.live--
	s.settleLocked(c)
	s.roomLocked()
}

// fireLocked calls done when nothing holds it back.
func (s *Store) fireLocked(c *Change) {
	if c.holds == 0 && !c.fired {
		c.fired = true
		s.callLocked(c.done, nil)
		c.done = nil
	}
}

// settleLocked lets go of a Change with which nothing is left to do.
func (s *Store) settleLocked(c *Change) {
	if c.place != pending {
		return
	}
	s.fireLocked(c)
	if c.live == 0 && c.holds == 0 {
		c.place = onDisk // nothing is left to do for it
		s.pendingBytes -= changeOverhead
		s.settled++
		if s.settled > 64 && s.settled > len(s.pending)/2 {
			s.pending = slices.DeleteFunc(s.pending, func(c *Change) bool { return c.place == onDisk })
			s.settled = 0
		}
	}
}
