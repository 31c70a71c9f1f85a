package buffer

import "time"

// lane is one priority of a queue, in three parts, in order:
//
//	front   in memory: handed out, or next to be
//	gap     on disk only
//	back    in memory because it is not on disk yet
//
// While there is no gap, front holds everything and back is empty. So a lane
// takes memory for a window and for what waits for its commit, however long it is.
type lane struct {
	front deque
	back  deque
	gap   gap

	cursor int // items of front before it are out or gone
	dead   int // tombstones in front

	unsent      int // in front, neither out nor gone
	unsentBytes int64
	unsentAgain int // of these, how many are to be handed out again

	lastDue int64 // deadline of the newest entry; the largest number: it has none; 0: no entry has one
	mixed   bool  // the deadlines may not be in order

	again  []span // in the gap, what may have been handed out
	sentTo uint64 // the highest number that was handed out in this run

	disk      int   // entries on disk; belongs to the committer
	diskBytes int64 // their data
}

// gap stands for the entries from lo to hi that are on disk only. hi is one that
// exists, lo need not be.
type gap struct {
	lo, hi uint64
	n      int
	bytes  int64
	at     time.Time // of the first, or of one before it; zero if unknown
}

// span is a range of sequence numbers, both ends included.
type span struct{ lo, hi uint64 }

func contains(spans []span, seq uint64) bool {
	for _, s := range spans {
		if s.lo <= seq && seq <= s.hi {
			return true
		}
	}
	return false
}

// We chose: how much of a lane that is handed out is kept in memory.
const (
	windowItems = 512
	windowBytes = 128 << 10
)

type window struct {
	items int
	bytes int64
}

func (l *lane) push(it *item) {
	if l.gap.n > 0 || l.back.len() > 0 {
		l.back.push(it)
		return
	}
	l.pushFront(it)
}

func (l *lane) pushFront(it *item) {
	l.front.push(it)
	if it.gone {
		l.dead++
	} else if !it.out {
		l.count(it, 1)
	}
}

// count adds an item to what front holds unsent (n = 1), or takes it out (n = -1).
func (l *lane) count(it *item, n int) {
	l.unsent += n
	l.unsentBytes += int64(n) * int64(len(it.data))
	if it.again {
		l.unsentAgain += n
	}
}

// highest is not below the number of any entry; 0 if there is none.
func (l *lane) highest() uint64 {
	for _, d := range [...]*deque{&l.back, &l.front} {
		if d == &l.front && l.gap.n > 0 {
			return l.gap.hi
		}
		if d.len() > 0 {
			return d.at(d.len() - 1).seq
		}
	}
	return l.gap.hi
}

func (l *lane) inFront(it *item) bool {
	return l.front.len() > 0 && it.seq <= l.front.at(l.front.len()-1).seq
}

// oldest is the time of the first entry; zero if there is none, or if it is not
// known.
func (l *lane) oldest() time.Time {
	for i := range l.front.len() {
		if it := l.front.at(i); !it.gone {
			return it.time()
		}
	}
	return l.gap.at
}

func (l *lane) find(seq uint64) *item {
	if it := l.front.find(seq); it != nil {
		return it
	}
	return l.back.find(seq)
}

// first returns the first item of front that is not out, or nil.
func (l *lane) first() *item {
	for l.cursor < l.front.len() {
		if it := l.front.at(l.cursor); !it.out && !it.gone {
			return it
		}
		l.cursor++
	}
	return nil
}

// bury makes it a tombstone and clears away what lies at the heads.
func (l *lane) bury(it *item) {
	front := l.inFront(it)
	if front {
		if !it.out {
			l.count(it, -1)
		}
		l.dead++
	}
	it.gone = true
	if !front {
		for l.back.len() > 0 && l.back.at(0).gone {
			l.back.pop()
		}
		return
	}
	for l.front.len() > 0 && l.front.at(0).gone {
		l.front.pop()
		l.dead--
		l.cursor = max(0, l.cursor-1)
	}
	if l.dead > 64 && l.dead > l.front.len()/2 {
		l.sweep()
	}
}

// sweep takes tombstones out of the middle: an entry that is never acknowledged
// must not keep everything behind it in memory.
func (l *lane) sweep() {
	kept := make([]*item, 0, l.front.len()-l.dead+16)
	for i := range l.front.len() {
		if it := l.front.at(i); !it.gone {
			kept = append(kept, it)
		}
	}
	l.front = deque{s: kept}
	l.dead, l.cursor = 0, 0
}

// evict leaves on disk what need not be in memory: what was not handed out and
// lies behind the window. With an empty window, for a receiver that is away, even
// what was handed out before.
func (l *lane) evict(w window) {
	if l.gap.n > 0 {
		l.widen(&l.back)
	} else if l.unsent > w.items || l.unsentBytes > w.bytes {
		l.split(w)
	}
	l.join()
}

// widen moves what is on disk from the head of d into the gap.
func (l *lane) widen(d *deque) {
	extend := false // the entry before was handed out as well
	for d.len() > 0 {
		it := d.at(0)
		if !it.gone {
			if it.place != onDisk {
				break
			}
			if l.gap.n == 0 {
				l.gap.lo, l.gap.at = it.seq, it.time()
			}
			l.gap.hi = it.seq
			l.gap.n++
			l.gap.bytes += int64(len(it.data))
			switch {
			case it.again && extend:
				l.again[len(l.again)-1].hi = it.seq
			case it.again:
				l.again = append(l.again, span{it.seq, it.seq})
			}
			extend = it.again
		}
		d.pop()
	}
}

// split opens the gap behind the window.
func (l *lane) split(w window) {
	keep, n, size := 0, 0, int64(0)
	for i := range l.front.len() {
		it := l.front.at(i)
		if it.gone {
			continue
		}
		if it.out || it.again && w.items > 0 {
			keep = i + 1
			continue
		}
		if n++; n > w.items {
			continue
		}
		if size += int64(len(it.data)); size <= w.bytes {
			keep = i + 1
		} else {
			n = w.items
		}
	}
	if keep == l.front.len() || l.front.at(keep).place != onDisk {
		return
	}
	var rest deque
	for i := keep; i < l.front.len(); i++ {
		it := l.front.at(i)
		if it.gone {
			l.dead--
			continue
		}
		l.count(it, -1)
		rest.push(it)
	}
	kept := make([]*item, keep)
	for i := range kept {
		kept[i] = l.front.at(i)
	}
	l.front = deque{s: kept}
	l.cursor = min(l.cursor, keep)
	l.widen(&rest)
	l.back = rest
}

// join makes front and back one again when nothing lies between.
func (l *lane) join() {
	if l.gap.n > 0 {
		return
	}
	l.again = nil
	for l.back.len() > 0 {
		l.pushFront(l.back.at(0))
		l.back.pop()
	}
}

// maybeSent returns what may have been handed out and is not acknowledged.
func (l *lane) maybeSent() []span {
	var spans []span
	extend := false
	for i := range l.front.len() {
		it := l.front.at(i)
		if it.gone {
			continue
		}
		sent := it.out || it.again || it.received
		switch {
		case sent && extend:
			spans[len(spans)-1].hi = it.seq
		case sent:
			spans = append(spans, span{it.seq, it.seq})
		}
		extend = sent
	}
	if l.gap.n == 0 {
		return spans
	}
	for _, s := range l.again {
		s.lo, s.hi = max(s.lo, l.gap.lo), min(s.hi, l.gap.hi)
		if s.lo <= s.hi {
			spans = append(spans, s)
		}
	}
	return spans
}

// againInGap reports whether something beyond the front is to be handed out again.
func (l *lane) againInGap() bool {
	if l.gap.n == 0 {
		return false
	}
	for _, s := range l.again {
		if s.hi >= l.gap.lo {
			return true
		}
	}
	return false
}
