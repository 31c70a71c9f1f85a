package buffer

import (
	"context"
	"errors"
	"fmt"
)

// We chose this: how much of a move may wait for the disk.
const (
	moveItems = 4096
	moveBytes = 1 << 20
)

// MoveTo takes all entries from q, the oldest of each lane first, to the end of
// another queue of the store, which keeps their time, deadline, key and lane. It is for
// a queue whose receiver is gone: nobody may take from q or append to it meanwhile. What
// may have been sent goes along, and is a new entry where it goes: marks and numbers
// belong to the receiver that q had. Damaged records, and what is left of purged ones,
// stay behind. Where to keeps the last value of a key only, one that it has is taken as
// the newer one, and that of q goes; gone counts these.
//
// Every slice is one Change, so that a crash leaves each entry in one of the two queues
// and never in both. What was not moved, because of an error or the end of ctx, is still
// in q. An error that wraps [ErrFull] means that to has no room for all of them; then
// nothing was moved.
func (q *Queue) MoveTo(ctx context.Context, to *Queue) (moved, gone int, err error) {
	if q.s == nil || q.s != to.s || q == to {
		return 0, 0, fmt.Errorf("queue %q can not be moved to %q: they must be two queues of one store", q.name, to.name)
	}
	if err := q.s.Sync(ctx); err != nil { // what is not on disk can not be taken from it
		return 0, 0, err
	}
	st := q.Stats()
	if err := to.fits(st.Messages, st.Bytes); err != nil {
		return 0, 0, err
	}
	m := mover{from: q, to: to}
	if to.keepsLast() {
		m.own = make(map[uint64]uint64)
	}
	for i := range Lanes {
		for from, more := uint64(0), true; more; {
			var failed error
			from, more, err = q.step(uint8(i), from, true, func(list []walked) { failed = m.slice(list) }, nil)
			if err = errors.Join(err, failed); err == nil {
				err = ctx.Err()
			}
			if err == nil && (m.items >= moveItems || m.bytes >= moveBytes) {
				m.items, m.bytes = 0, 0
				err = q.s.Sync(ctx)
			}
			if err != nil {
				return m.moved, m.gone, err
			}
		}
	}
	return m.moved, m.gone, q.s.Sync(ctx)
}

type mover struct {
	from, to    *Queue
	own         map[uint64]uint64 // key -> number, of what was moved; nil: any may stay
	moved, gone int
	items       int // since the disk was waited for
	bytes       int64
}

// slice moves entries that a walk has found, which keeps others from them.
func (m *mover) slice(list []walked) error {
	c := m.from.s.Begin()
	defer c.Commit(nil)
	for i := range list {
		w := &list[i]
		switch {
		case w.purged:
			continue
		case m.outdated(w.Key):
			m.gone++
		default:
			seq, err := c.Append(m.to, w.record())
			if err != nil {
				return err
			}
			if m.own != nil {
				m.own[w.Key] = seq
			}
			m.moved++
		}
		m.items++
		m.bytes += int64(w.size)
		c.ops = append(c.ops, queueOp{q: m.from, kind: opTake, urgency: Sync, known: w.known()})
	}
	return nil
}

// outdated reports whether the other queue has a value of its own.
func (m *mover) outdated(key uint64) bool {
	if m.own == nil || key == 0 {
		return false
	}
	m.to.mu.Lock()
	defer m.to.mu.Unlock()
	k, there := m.to.values[key]
	return there && k.seq != m.own[key]
}

func (q *Queue) keepsLast() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.values != nil
}

// takeLocked takes out an entry that goes elsewhere with the Change that is committed:
// the disk lets go of it in the transaction that writes it there, and in no other.
func (q *Queue) takeLocked(k known) {
	l := &q.lanes[k.lane]
	switch it := l.find(k.seq); {
	case it != nil && it.place != onDisk:
		return // somebody has appended it meanwhile: it stays, and goes twice
	case it != nil:
		q.takeOutLocked(it)
	case l.gap.n > 0 && l.gap.lo <= k.seq && k.seq <= l.gap.hi:
		q.leaveGapLocked(l, k)
	default:
		return // it is gone
	}
	q.outdated = append(q.outdated, removal{k.seq, k.lane})
}

// fits returns an error that wraps ErrFull if so much more would break a limit.
func (q *Queue) fits(messages int, bytes int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.limits.Messages > 0 && q.messages+messages > q.limits.Messages || q.limits.Bytes > 0 && q.bytes+bytes > q.limits.Bytes {
		return fmt.Errorf("%d messages with %d bytes more do not fit: %w", messages, bytes, q.fullLocked())
	}
	return nil
}
