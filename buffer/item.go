package buffer

import "time"

// place says where an entry in memory has arrived.
type place uint8

const (
	begun   place = iota // its Change was not handed over yet
	pending              // waits for a commit
	writing              // part of the transaction that is being written
	onDisk               // on disk; entries of volatile queues count as such
)

// item is an entry in memory, guarded by the mutex of its queue.
type item struct {
	seq  uint64
	data []byte
	stamp
	order   uint64 // counts the hand-outs of this run; 0: not handed out in it
	handed  time.Duration
	change  *Change // nil once on disk
	q       *Queue
	rare    *rare  // nil: nothing of it
	tooOld  uint32 // when it is, as in header
	lane    uint8
	urgency Urgency
	place   place

	early    bool
	brief    bool
	out      bool // with the receiver
	again    bool // was, or may have been, with the receiver before
	received bool // its mark is on disk
	released bool // its Change does not wait for it any more
	gone     bool // acknowledged, dropped or rejected; a tombstone until it reaches the head
}

// rare is what few items have.
type rare struct {
	purged bool   // its data is nobody's business any more; it holds its number
	newer  *item  // the value that replaced it before it was written
	holds  []hold // of older values that it replaced before they were written
	last   bool   // the removal of an older value waits for it
}

func (it *item) more() *rare {
	if it.rare == nil {
		it.rare = new(rare)
	}
	return it.rare
}

// newest is the value that has replaced it in the end; nil: none.
func (it *item) newest() (newer *item) {
	for it.rare != nil && it.rare.newer != nil {
		it = it.rare.newer
		newer = it
	}
	return newer
}

func (it *item) purged() bool { return it.rare != nil && it.rare.purged }

func (it *item) header() header { return header{stamp: it.stamp, tooOld: it.tooOld, brief: it.brief} }

// sent reports whether the receiver may know of it.
func (it *item) sent() bool { return it.out || it.again || it.received }

// entry is the item as others see it.
func (it *item) entry(again bool) Entry {
	return Entry{
		Seq: it.seq, Data: it.data, At: it.time(), Deadline: it.due(),
		Lane: it.lane, Brief: it.brief, Key: it.key, Again: again, Received: it.received,
	}
}

// cost is what an entry that waits for its commit counts against the budget.
func (it *item) cost() int64 { return int64(len(it.data)) + itemOverhead }

// itemOverhead is roughly what item, its place in the lane and its share of the
// Change take.
const itemOverhead = 192

// deque holds items in the order of their sequence numbers.
type deque struct {
	s    []*item
	head int
}

func (d *deque) len() int       { return len(d.s) - d.head }
func (d *deque) at(i int) *item { return d.s[d.head+i] }
func (d *deque) push(it *item)  { d.s = append(d.s, it) }

func (d *deque) pop() {
	d.s[d.head] = nil
	d.head++
	if d.head == len(d.s) {
		d.s, d.head = d.s[:0], 0
		if cap(d.s) > 1024 {
			d.s = nil // a burst must not leave its memory behind
		}
	} else if d.head >= 64 && d.head > len(d.s)/2 {
		n := copy(d.s, d.s[d.head:])
		clear(d.s[n:])
		d.s, d.head = d.s[:n], 0
	}
}

// search returns the index of the first item at or behind seq.
func (d *deque) search(seq uint64) int {
	lo, hi := 0, d.len()
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if d.at(m).seq < seq {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (d *deque) find(seq uint64) *item {
	if i := d.search(seq); i < d.len() {
		if it := d.at(i); it.seq == seq && !it.gone {
			return it
		}
	}
	return nil
}
