package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Kinds of keys in the bucket of a queue, beside the lanes 0 to 9.
const (
	kindMark     = 0x40
	kindRejected = 0x60
)

// Names of buckets.
const (
	queuePrefix = "q/" // then the name and 8 bytes of generation
	tablePrefix = "t/"
	metaBucket  = "meta"
)

// queueOverhead is roughly what a queue takes that was never written.
const queueOverhead = 4096

// afterCrash is how many entries may have been handed out for the first time since
// the state was written that is found after a crash: then the next ones of each lane
// count as handed out. A commit is begun when half of them are used up.
const afterCrash = 1000

func queueKey(name string, generation uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(queuePrefix+name), generation)
}

func splitQueueKey(k []byte) (name string, generation uint64, ok bool) {
	rest, ok := bytes.CutPrefix(k, []byte(queuePrefix))
	if !ok || len(rest) < 8 {
		return "", 0, false
	}
	n := len(rest) - 8
	return string(rest[:n]), binary.BigEndian.Uint64(rest[n:]), true
}

// Queue opens the queue of this name, or creates it. For one that is open already
// it returns the same Queue and replaces its limits.
func (s *Store) Queue(name string, l Limits) (*Queue, error) {
	if len(name) > bbolt.MaxKeySize-len(queuePrefix)-8 {
		return nil, fmt.Errorf("queue name of %d bytes is too long", len(name))
	}
	q, lookUp, err := s.openQueue(name, l)
	if err != nil {
		return nil, err
	}
	if lookUp {
		err = q.lookUpValues()
	}
	return q, err
}

func (s *Store) openQueue(name string, l Limits) (q *Queue, lookUp bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closedLocked() {
		return nil, false, s.closedErrLocked()
	}
	q = s.queues[name]
	if q == nil {
		s.generation++
		q = &Queue{s: s, mu: &s.mu, clock: s.Clock, name: name, key: queueKey(name, s.generation), next: 1, reserve: 1 + reserveBlock}
		s.queues[name] = q
		q.cost = queueOverhead
		s.pendingBytes += q.cost
		s.dirtyLocked(q, Sync) // its numbers must be reserved before the first is seen
	}
	lookUp = q.setLimitsLocked(l)
	if q.excessLocked() && l.WhenFull.drops() {
		q.trim = true
		s.dirtyLocked(q, Lazy)
	}
	return q, lookUp, nil
}

// Queues returns the names of all queues, sorted.
func (s *Store) Queues() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.queues))
	for name := range s.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// loadQueues reads the state of every queue. clean says that the last run ended in
// Close, so that what the states say is exact.
func (s *Store) loadQueues(tx *bbolt.Tx, clean bool) error {
	return tx.ForEach(func(k []byte, b *bbolt.Bucket) error {
		name, generation, ok := splitQueueKey(k)
		if !ok || b == nil {
			return nil
		}
		s.generation = max(s.generation, generation)
		key := slices.Clone(k)
		st, err := decodeQueueState(key, b.Get(stateKey))
		if err != nil {
			s.damaged.Add(1)
			s.log.Error("state of a queue is damaged, its entries are counted anew", "queue", name)
			st = countAnew(b)
		}
		s.takeNote(st.clock)
		if st.dropped {
			s.dropping = append(s.dropping, key)
			return nil
		}
		q := newLoaded(s, b, name, key, &st, clean)
		s.queues[name] = q
		if !clean {
			// Its numbers jumped to the end of what was reserved: reserve again before
			// the first of them is wanted.
			q.reserve = q.next + reserveBlock
			s.dirtyLocked(q, Sync)
		}
		return nil
	})
}

func newLoaded(s *Store, b *bbolt.Bucket, name string, key []byte, st *queueState, clean bool) *Queue {
	q := &Queue{
		s: s, mu: &s.mu, clock: s.Clock, name: name, key: key,
		next: max(st.next, 1), reserved: st.reserved, reserve: st.reserved,
		stored: st.next, handing: st.handing,
	}
	if !clean {
		q.next = max(q.next, st.reserved)
	}
	q.mayExpireLocked(st.due)
	c := b.Cursor()
	for i := range q.lanes {
		l, noted := &q.lanes[i], &st.lanes[i]
		if noted.n == 0 {
			continue
		}
		l.disk, l.diskBytes, l.again = noted.n, noted.bytes, noted.again
		l.gap = gap{n: noted.n, bytes: noted.bytes}
		l.mixed = true // as far as is known
		q.messages += noted.n
		q.bytes += noted.bytes

		first, last := recordKey(byte(i), 0), recordKey(byte(i), ^uint64(0))
		k, _ := c.Seek(last[:])
		if k == nil {
			k, _ = c.Last()
		} else if !bytes.Equal(k, last[:]) {
			k, _ = c.Prev()
		}
		if kind, seq, ok := splitKey(k); ok && kind == byte(i) {
			l.gap.hi = seq
			q.next = max(q.next, seq+1)
		}
		k, v := c.Seek(first[:])
		if kind, seq, ok := splitKey(k); ok && kind == byte(i) {
			l.gap.lo = seq
			if h, _, err := parseRecord(key, k, v); err == nil { // a damaged one is found when it is read
				l.gap.at = h.time()
			}
		}
		if st.handing {
			var hi uint64
			for _, s := range noted.again {
				hi = max(hi, s.hi)
			}
			if hi > l.gap.lo {
				next := recordKey(byte(i), hi+1)
				k, _ = c.Seek(next[:])
			}
			for n := 0; n < afterCrash; n++ {
				kind, seq, ok := splitKey(k)
				if !ok || kind != byte(i) {
					break
				}
				hi = seq
				k, _ = c.Next()
			}
			l.again = append([]span{{0, hi}}, l.again...)
		}
		q.again[i] = l.again
	}
	for k, v := c.Seek([]byte{kindMark}); k != nil; k, v = c.Next() {
		kind, seq, ok := splitKey(k)
		if !ok || kind != kindMark {
			break
		}
		q.foundLocked(seq, k, v)
	}
	for k, v := c.Seek([]byte{kindRejected}); k != nil; k, v = c.Next() {
		kind, seq, ok := splitKey(k)
		if !ok || kind != kindRejected {
			break
		}
		q.rejected = append(q.rejected, rejection{seq: seq, size: len(v)})
	}
	return q
}

// countAnew replaces a state that can not be read. What was handed out is not
// known, so the rule for crashes holds; neither are the reserved numbers, so a
// block is skipped.
func countAnew(b *bbolt.Bucket) queueState {
	st := queueState{handing: true, due: 1}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		kind, seq, ok := splitKey(k)
		if !ok || kind >= Lanes {
			continue
		}
		st.lanes[kind].n++
		st.lanes[kind].bytes += dataSize(v)
		st.next = max(st.next, seq+1)
	}
	st.next += 2 * reserveBlock
	st.reserved = st.next
	return st
}

// load moves a chunk of the gap of a lane into memory, if the front has nothing to
// hand out, or anyway.
func (q *Queue) load(lane int, anyway bool) error {
	q.readMu.Lock()
	defer q.readMu.Unlock()
	for {
		more, err := q.loadChunk(lane, anyway)
		if !more || err != nil {
			return err
		}
	}
}

// chunk is what was read from the gap of a lane.
type chunk struct {
	lane     int
	from, to uint64
	got      []*item
	bad      []known // damaged ones
}

// loadChunk is load with readMu held. more says that it came to nothing.
func (q *Queue) loadChunk(lane int, anyway bool) (more bool, err error) {
	q.mu.Lock()
	l := &q.lanes[lane]
	g := l.gap
	needed := !q.gone && g.n > 0 && (anyway || l.first() == nil)
	q.walking = needed
	q.mu.Unlock()
	if !needed {
		return false, nil
	}
	c := chunk{lane: lane, from: g.lo}
	err = q.s.view(func(tx *bbolt.Tx) error { return c.read(tx, q, g.hi) })

	q.mu.Lock()
	bad := 0
	if err == nil {
		bad, more = q.takeInLocked(&c)
	}
	q.walking, q.removed = false, nil
	q.mu.Unlock()
	if err != nil {
		return false, fmt.Errorf("read queue %q: %w", q.name, err)
	}
	if bad > 0 {
		q.s.damaged.Add(int64(bad))
		q.s.log.Error("damaged records in a queue are skipped and removed",
			"queue", q.name, "records", bad, "first", c.bad[0].seq)
	}
	return more, nil
}

func (c *chunk) read(tx *bbolt.Tx, q *Queue, to uint64) error {
	c.got, c.bad, c.to = nil, nil, to
	b := tx.Bucket(q.key)
	if b == nil {
		return nil
	}
	cursor, size, last := b.Cursor(), int64(0), uint64(0)
	from := recordKey(byte(c.lane), c.from)
	for k, v := cursor.Seek(from[:]); k != nil; k, v = cursor.Next() {
		kind, seq, ok := splitKey(k)
		if !ok || kind != byte(c.lane) || seq > to {
			break
		}
		if len(c.got)+len(c.bad) == q.s.window.items || size >= q.s.window.bytes {
			c.to = last
			break
		}
		last = seq
		size += int64(len(v))
		q.s.touched.Add(int64(len(k) + len(v)))
		h, data, err := parseRecord(q.key, k, v)
		if err != nil {
			c.bad = append(c.bad, known{seq: seq, size: int32(dataSize(v)), lane: byte(c.lane)})
			continue
		}
		c.got = append(c.got, &item{
			seq: seq, data: slices.Clone(data), stamp: h.stamp, tooOld: h.tooOld, q: q,
			lane: byte(c.lane), place: onDisk, early: true, brief: h.brief,
		})
	}
	return nil
}

// takeInLocked puts what was read at the end of the front. It returns how many
// damaged records were among it; more says that nothing can be said of the rest.
func (q *Queue) takeInLocked(c *chunk) (bad int, more bool) {
	l := &q.lanes[c.lane]
	if q.gone || l.gap.n == 0 || l.gap.lo != c.from {
		return 0, false // all of it was taken out meanwhile
	}
	leaving := q.leavingLocked(byte(c.lane), c.from, c.to)
	out := func(seq uint64, size int) (gone bool) {
		if _, gone = leaving[seq]; !gone {
			l.gap.n--
			l.gap.bytes -= int64(size)
		}
		return gone
	}
	for _, it := range c.got {
		if out(it.seq, len(it.data)) {
			continue
		}
		_, it.received = q.marks[it.seq]
		it.again = it.received || contains(l.again, it.seq)
		if q.tombs[it.seq] != nil {
			it.more().purged = true
		}
		l.pushFront(it)
		l.gap.at = it.time()
	}
	for _, k := range c.bad {
		if out(k.seq, int(k.size)) {
			continue
		}
		bad++
		q.removeFromDiskLocked(removal{k.seq, k.lane})
		q.damaged++
		q.dropped++
		q.messages--
		q.bytes -= int64(k.size)
	}
	l.gap.lo = c.to + 1
	if c.to < l.gap.hi {
		if l.gap.n < 1 {
			// What is left may all have been taken out: then the next chunk says so.
			q.messages += 1 - l.gap.n
			l.gap.n = 1
			return bad, true
		}
		return bad, false
	}
	// The end. Should the counts have been wrong, they are right from here on.
	q.messages -= l.gap.n
	q.bytes -= l.gap.bytes
	l.gap = gap{}
	l.join()
	return bad, false
}

// cut brings queues that are over their limits, and whose oldest entries are on
// disk only, back to them. It runs on the committer, before a batch is taken.
func (s *Store) cut() {
	s.mu.Lock()
	var over []*Queue
	for _, q := range s.dirtyQueues {
		if q.trim && !q.gone {
			over = append(over, q)
		}
	}
	s.mu.Unlock()
	for _, q := range over {
		if err := q.cut(); err != nil {
			s.log.Warn("queue could not be cut to its limits", "queue", q.name, "err", err)
		}
	}
}

func (q *Queue) cut() error {
	for {
		q.mu.Lock()
		later := false
		for q.excessLocked() && q.s.removals < mostRemovals {
			var dropped bool
			if dropped, later = q.dropOldestLocked(Lanes - 1); !dropped {
				break
			}
		}
		if q.trim = q.excessLocked() && later; !later {
			q.trim = q.excessLocked() && q.s.removals >= mostRemovals // go on after the next commit
			q.mu.Unlock()
			return nil
		}
		lane := slices.IndexFunc(q.lanes[:], func(l lane) bool { return l.gap.n > 0 })
		q.mu.Unlock()
		if err := q.load(lane, true); err != nil {
			return err
		}
	}
}
