package buffer

import (
	"bytes"
	"slices"
)

// lostQueue is a queue of a damaged file.
type lostQueue struct {
	ref       bucketRef
	name      string
	state     queueState
	known     knowledge
	lies      bool // all of its tree can be read, and holds no state: it can not be its tree
	elsewhere bool // the state was not found in its place
	lanes     [Lanes]lostLane
	lost      []keyRange // what its tree does not lead to
	marks     []lostMark
	last      uint64 // the highest number that was seen
}

type lostLane struct {
	kept   int
	bytes  int64
	first  uint64 // the lowest number that was found in its place; 0: none
	wanted []whereabouts
	spans  []span // from the first to the last number of each page that was read
}

type lostMark struct {
	seq   uint64
	value []byte
}

// knowledge says where a state comes from.
type knowledge uint8

const (
	unknown knowledge = iota
	stale             // it may not be the newest
	exact             // it is the one of the last commit
)

func newLostQueue(name string, ref bucketRef) *lostQueue { return &lostQueue{ref: ref, name: name} }

// queue keeps what lies in its place.
func (s *salvage) queue(q *lostQueue) {
	there := false
	lost := s.walk(q.ref, func(low, high []byte) bool { return !(keyRange{low, high}).holds(stateKey) },
		func(p *rawPage, _, _ []byte) bool {
			for i := range p.elements(true) {
				if e := p.element(i, true); bytes.Equal(e.key, stateKey) {
					there = true
					s.readState(q, &e)
				}
			}
			return true
		})
	switch {
	case q.state.dropped:
	case len(lost) == 0 && !there:
		q.lies, q.lost = true, []keyRange{{}}
	default:
		s.inPlace(q)
	}
}

func (s *salvage) inPlace(q *lostQueue) {
	if s.in(q.ref.key); s.err != nil {
		return
	}
	q.lost = s.walk(q.ref, nil, func(p *rawPage, low, high []byte) bool {
		n, good := p.elements(true), 0
		var last []byte
		for i := range n {
			if s.err != nil {
				return true
			}
			e := p.element(i, true)
			if len(e.key) == 0 || e.bucket || !(keyRange{low, high}).holds(e.key) || last != nil && bytes.Compare(e.key, last) <= 0 {
				continue
			}
			if s.entry(q, &e) {
				good++
				last = slices.Clone(e.key)
			}
		}
		if good > 0 {
			s.d.claim(p)
		}
		if good == n {
			q.span(p)
		}
		return good == n
	})
}

// span notes which numbers a page has or says to be gone.
func (q *lostQueue) span(p *rawPage) {
	var at span
	lane := byte(Lanes)
	for i := range p.elements(true) {
		e := p.element(i, true)
		kind, seq, ok := splitKey(e.key)
		if !ok || kind != lane {
			q.lanes[lane%Lanes].addSpan(at)
			if at, lane = (span{}), Lanes; !ok || kind >= Lanes {
				continue
			}
			at.lo, lane = seq, kind
		}
		at.hi = seq
	}
	q.lanes[lane%Lanes].addSpan(at)
}

func (l *lostLane) addSpan(s span) {
	if s.hi > s.lo {
		l.spans = append(l.spans, s)
	}
}

func (s *salvage) readState(q *lostQueue, e *rawElement) {
	v := s.value(q.ref.key, e)
	if v == nil {
		return
	}
	st, err := decodeQueueState(q.ref.key, v)
	if err != nil {
		return
	}
	q.state, q.known = st, stale
	if q.ref.newest {
		q.known = exact
	}
}

// entry keeps one record that lies in its place.
func (s *salvage) entry(q *lostQueue, e *rawElement) bool {
	if bytes.Equal(e.key, stateKey) {
		return q.known != unknown
	}
	kind, seq, ok := splitKey(e.key)
	if !ok {
		return false
	}
	v := s.value(q.ref.key, e)
	if v == nil || dataAt(v) < 0 {
		return false
	}
	q.last = max(q.last, seq)
	switch {
	case kind < Lanes:
		if l := &q.lanes[kind]; l.kept == 0 {
			l.first = seq
		}
		q.lanes[kind].count(v)
		s.put(e.key, v)
	case kind == kindMark:
		q.marks = append(q.marks, lostMark{seq, v})
	default:
		s.put(e.key, v)
	}
	return true
}

func (l *lostLane) count(v []byte) {
	l.kept++
	l.bytes += dataSize(v)
}

// missing is how many entries the state counts that were not found.
func (q *lostQueue) missing(lane int) int {
	if q.known == unknown {
		return 0
	}
	return max(0, q.state.lanes[lane].n-q.lanes[lane].kept)
}

// searches reports whether entries of the queue may lie elsewhere.
func (q *lostQueue) searches() bool {
	if q.known == stale {
		return true
	}
	for i := range q.lanes {
		if q.missing(i) > 0 {
			return true
		}
	}
	return false
}

// finish writes the marks and the state.
func (s *salvage) finish(q *lostQueue) {
	part := SalvagedPart{Name: q.name, More: q.known != exact}
	st := q.state
	for i := range q.lanes {
		part.Lost += q.missing(i)
		l, noted := &q.lanes[i], &st.lanes[i]
		part.Kept += l.kept
		if noted.n, noted.bytes = l.kept, l.bytes; l.kept == 0 {
			noted.again = nil
		}
	}
	if q.ref.found && q.known == unknown {
		return // there is nothing but its name, on a page of no age
	}
	if s.in(q.ref.key); s.err != nil {
		return
	}
	for _, m := range q.marks {
		key := recordKey(kindMark, m.seq)
		if s.hasEntry(m.seq) {
			s.put(key[:], m.value)
		}
	}
	st.next = max(st.next, st.reserved, q.last+1)
	if q.known == exact {
		st.next += 2 * reserveBlock
	} else {
		st.next += farAhead
		st.handing = true // what was handed out is not known, as after a crash
	}
	if q.known != exact {
		st.due = 1 // nobody knows which deadlines there are
	}
	st.reserved = st.next
	s.put(slices.Clone(stateKey), st.encode(q.ref.key))
	s.kept.Queues = append(s.kept.Queues, part)
}

func (s *salvage) hasEntry(seq uint64) bool {
	for lane := range byte(Lanes) {
		key := recordKey(lane, seq)
		if s.out.has(key[:]) {
			return true
		}
	}
	return false
}
