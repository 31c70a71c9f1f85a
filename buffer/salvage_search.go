package buffer

import (
	"bytes"
	"cmp"
	"slices"
)

// Where the tree of pages is broken, what a queue misses is looked for on all pages
// that were not read in their place.

// whereabouts is where a record lies.
type whereabouts struct {
	seq    uint64
	page   uint32
	index  uint8 // below mostElements
	copies uint8 // how many pages have it, or a few less
	gone   bool  // a page that has numbers around it does not have it
}

// elsewhere calls fn with every page that holds records of one of these queues and
// was not read in its place.
func (s *salvage) elsewhere(queues []*lostQueue, fn func(q *lostQueue, p *rawPage)) {
	if len(queues) == 0 {
		return
	}
	for id := uint64(2); id < s.d.pages; id++ {
		if s.d.isClaimed(id) {
			continue
		}
		p, ok := s.d.page(id)
		if !ok {
			continue
		}
		if q := s.ownerOf(p, queues); q != nil {
			fn(q, p)
			if p.says == id {
				id += p.size/pageSize - 1 // behind it lies the rest of a long value
			}
		}
	}
}

// mostTried is how many records of a page that belongs to no queue are looked at; we
// chose it.
const mostTried = 3

// ownerOf finds the queue whose key fits to the checksum of a record of p.
func (s *salvage) ownerOf(p *rawPage, queues []*lostQueue) *lostQueue {
	tried, left := 0, 2*p.size
	for i := range p.elements(true) {
		e := p.element(i, true)
		if !isQueueKey(e.key) || e.bucket || !budget(&left, &e) {
			continue
		}
		for _, q := range queues {
			if carries, has, ok := s.d.sum(checksumOfKeys(q.ref.key, e.key), &e); ok && carries == has {
				return q
			}
		}
		if tried++; tried == mostTried {
			return nil
		}
	}
	return nil
}

// budget keeps the values of one page from being read again and again: in one that
// makes no sense they can all claim the same bytes.
func budget(left *uint64, e *rawElement) bool {
	if uint64(e.size) > *left {
		return false
	}
	*left -= uint64(e.size)
	return true
}

func isQueueKey(k []byte) bool { return len(k) == keySize || bytes.Equal(k, stateKey) }

// mostNewer is how many entries of a lane are taken that are newer than a state which
// was not found in its place; we chose it. All of them could have been acknowledged.
const mostNewer = 4096

// mostAgain is how many entries of a lane more are taken than are missing, if nothing
// says that they were removed; we chose it. To hand out again what was acknowledged
// is the lesser evil.
const mostAgain = afterCrash

// mostWanted bounds the memory for what is found; we chose it. What is too much is
// decided with what is known by then.
const mostWanted = 1 << 18

// findStates looks for states of the queues whose own can not be read. The newest
// of those that are found is the one with the highest next number, and among
// equals, since then entries only went, the one with the fewest.
func (s *salvage) findStates() {
	var queues []*lostQueue
	for _, q := range s.queues {
		if q.known == unknown {
			queues = append(queues, q)
		}
	}
	s.elsewhere(queues, func(q *lostQueue, p *rawPage) {
		for i := range p.elements(true) {
			e := p.element(i, true)
			if !bytes.Equal(e.key, stateKey) {
				continue
			}
			v := s.value(q.ref.key, &e)
			if v == nil {
				continue
			}
			st, err := decodeQueueState(q.ref.key, v)
			if err == nil && (q.known == unknown || st.newerThan(&q.state)) {
				q.state, q.known, q.elsewhere = st, stale, true
			}
		}
	})
	s.queues = slices.DeleteFunc(s.queues, func(q *lostQueue) bool { return q.known == stale && q.state.dropped })
}

func (st *queueState) newerThan(old *queueState) bool {
	if st.dropped != old.dropped {
		return st.dropped
	}
	if st.next != old.next {
		return st.next > old.next
	}
	return st.count() < old.count()
}

func (st *queueState) count() (n int) {
	for i := range st.lanes {
		n += st.lanes[i].n
	}
	return n
}

// findEntries takes entries from pages that the tree does not lead to.
func (s *salvage) findEntries() {
	var queues []*lostQueue
	for _, q := range s.queues {
		if q.known != unknown && q.searches() {
			queues = append(queues, q)
		}
	}
	s.elsewhere(queues, func(q *lostQueue, p *rawPage) {
		whole, left := true, 2*p.size
		for i := range p.elements(true) {
			e := p.element(i, true)
			if !isQueueKey(e.key) || e.bucket || !budget(&left, &e) {
				whole = false
				continue
			}
			carries, has, ok := s.d.sum(checksumOfKeys(q.ref.key, e.key), &e)
			if !ok || carries != has {
				whole = false
				continue
			}
			kind, seq, ok := splitKey(e.key)
			if !ok || kind >= Lanes {
				continue
			}
			q.last = max(q.last, seq)
			if !q.mayTake(kind, seq, e.key) {
				continue
			}
			l := &q.lanes[kind]
			w := whereabouts{seq: seq, page: uint32(p.id), index: uint8(i), copies: 1}
			if l.wanted = append(l.wanted, w); len(l.wanted) > 2*q.missing(int(kind))+mostWanted {
				q.choose(int(kind))
			}
		}
		if whole {
			q.span(p)
		}
	})
	for _, q := range queues {
		if s.in(q.ref.key); s.err != nil {
			return
		}
		for lane := range q.lanes {
			q.choose(lane)
			s.take(q, byte(lane))
		}
	}
}

// mayTake reports whether an entry that was found outside of its place may be one of
// those that are missing.
func (q *lostQueue) mayTake(kind byte, seq uint64, key []byte) bool {
	if seq >= q.state.next {
		// Newer than the state: of a commit that is lost, or that never came to its
		// end.
		return q.known == stale && (!q.elsewhere || q.fits(kind, seq, key))
	}
	return q.missing(int(kind)) > 0 && q.fits(kind, seq, key)
}

// fits reports whether it is above something that is kept, or lies where the tree is
// broken: what is neither was removed.
func (q *lostQueue) fits(kind byte, seq uint64, key []byte) bool {
	first := q.lanes[kind].first
	return first > 0 && seq > first || inRanges(q.lost, key)
}

// choose leaves as many as are missing, and those that are newer than the state. An
// entry of which a page with numbers around it says nothing was removed, for nothing
// is ever put between two numbers; of the rest the newest come first, and some more.
func (q *lostQueue) choose(lane int) {
	l := &q.lanes[lane]
	slices.SortFunc(l.wanted, func(a, b whereabouts) int { return cmp.Compare(b.seq, a.seq) })
	n := 0
	for _, w := range l.wanted {
		if n > 0 && l.wanted[n-1].seq == w.seq {
			l.wanted[n-1].copies = uint8(min(int(l.wanted[n-1].copies)+int(w.copies), 255))
			continue
		}
		l.wanted[n] = w
		n++
	}
	l.wanted = l.wanted[:n]
	l.findGone()
	newer := 0
	for newer < len(l.wanted) && l.wanted[newer].seq >= q.state.next {
		newer++
	}
	if q.elsewhere && newer > mostNewer {
		l.wanted = slices.Delete(l.wanted, mostNewer, newer)
		newer = mostNewer
	}
	slices.SortStableFunc(l.wanted[newer:], func(a, b whereabouts) int {
		switch {
		case a.gone == b.gone:
			return 0
		case b.gone:
			return -1
		}
		return 1
	})
	older := l.wanted[newer:]
	keep := min(len(older), q.missing(lane))
	// Those that were not acknowledged in their turn are older than some that were.
	for extra := 0; extra < mostAgain && keep > 0 && keep < len(older) && !older[keep].gone; extra++ {
		keep++
	}
	l.wanted = l.wanted[:newer+keep]
}

// findGone compares how many pages could have each number with how many do.
func (l *lostLane) findGone() {
	starts, ends := make([]uint64, len(l.spans)), make([]uint64, len(l.spans))
	for i, s := range l.spans {
		starts[i], ends[i] = s.lo, s.hi
	}
	slices.Sort(starts)
	slices.Sort(ends)
	for i := range l.wanted {
		w := &l.wanted[i]
		begun, _ := slices.BinarySearch(starts, w.seq+1)
		ended, _ := slices.BinarySearch(ends, w.seq)
		w.gone = begun-ended > int(w.copies) && w.copies < 255
	}
}

// take writes what was chosen, the oldest first.
func (s *salvage) take(q *lostQueue, lane byte) {
	l := &q.lanes[lane]
	var p *rawPage
	slices.SortFunc(l.wanted, func(a, b whereabouts) int { return cmp.Compare(a.seq, b.seq) })
	for _, at := range l.wanted {
		if p == nil || p.id != uint64(at.page) {
			var ok bool
			if p, ok = s.d.page(uint64(at.page)); !ok {
				continue
			}
		}
		key := recordKey(lane, at.seq)
		e := p.element(int(at.index), true)
		if !bytes.Equal(e.key, key[:]) || s.err != nil {
			continue
		}
		if v := s.value(q.ref.key, &e); v != nil && dataAt(v) >= 0 && !s.out.has(key[:]) {
			l.count(v)
			s.put(key[:], v)
		}
	}
	l.wanted = nil
}
