package broker

import (
	"container/heap"
	"encoding/binary"
	"time"

	"edgegateway/buffer"
)

// clock is that of the store, in milliseconds: the time that the gateway has been
// running, over all its runs. Everything that expires goes by it. A machine without
// a clock of its own starts in 1970 and jumps when the network tells the time, and
// nothing may expire by that; so time spent without power does not count.
type clock struct{ store *buffer.Store }

func (c *clock) now() int64 { return c.store.Clock().Milliseconds() }

// until is how long it takes to a time of the clock; not negative.
func (c *clock) until(due int64) time.Duration {
	return time.Duration(max(0, due-c.now())) * time.Millisecond
}

// secondsLeft is what remains to a time of the clock as a Message Expiry Interval.
func (c *clock) secondsLeft(deadline int64) uint32 {
	return uint32((max(0, deadline-c.now()) + 999) / 1000)
}

var clockKey = []byte("clock")

// load goes on from the note of the last run, which is the newest there is if
// nothing came to a queue for a while.
func (c *clock) load(meta *buffer.Table) error {
	v, ok, err := meta.Get(clockKey)
	if err != nil {
		return err
	}
	if ok && len(v) == 8 {
		c.store.AdvanceClock(time.Duration(binary.BigEndian.Uint64(v)) * time.Millisecond)
	}
	return nil
}

// save notes the time. After a crash the clock goes back to the last note: things
// expire later, never earlier.
func (c *clock) save(change *buffer.Change, meta *buffer.Table, u buffer.Urgency) {
	change.Put(meta, clockKey, binary.BigEndian.AppendUint64(nil, uint64(c.now())), u)
}

// agenda is what is due by the clock, soonest first. An entry whose reason has
// gone is not taken out; do finds out.
type agenda []appointment

type appointment struct {
	due int64
	do  func(*work) // with the broker's lock held
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].due < a[j].due }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = appointment{}
	*a = (*a)[:last]
	return x
}

func (a *agenda) add(due int64, do func(*work)) { heap.Push(a, appointment{due, do}) }

// next takes the first entry that is due at now.
func (a *agenda) next(now int64) (do func(*work), ok bool) {
	if len(*a) == 0 || (*a)[0].due > now {
		return nil, false
	}
	return heap.Pop(a).(appointment).do, true
}
