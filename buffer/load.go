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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closedLocked() {
		return nil, s.closedErrLocked()
	}
	q := s.queues[name]
	if q == nil {
		s.generation++
		q = &Queue{s: s, mu: &s.mu, name: name, key: queueKey(name, s.generation), next: 1, reserve: 1 + reserveBlock}
		s.queues[name] = q
		q.cost = queueOverhead
		s.pendingBytes += q.cost
		s.dirtyLocked(q, Sync) // its numbers must be reserved before the first is seen
	}
	q.limits = l
	if q.excessLocked() && l.WhenFull == DropOldest {
		q.trim = true
		s.dirtyLocked(q, Lazy)
	}
	return q, nil
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
		s: s, mu: &s.mu, name: name, key: key,
		next: max(st.next, 1), reserved: st.reserved, reserve: st.reserved,
		stored: st.next, handing: st.handing,
	}
	if !clean {
		q.next = max(q.next, st.reserved)
	}
	c := b.Cursor()
	for i := range q.lanes {
		l, noted := &q.lanes[i], &st.lanes[i]
		if noted.n == 0 {
			continue
		}
		l.disk, l.diskBytes, l.again = noted.n, noted.bytes, noted.again
		l.gap = gap{n: noted.n, bytes: noted.bytes}
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
	for k, _ := c.Seek([]byte{kindMark}); k != nil; k, _ = c.Next() {
		kind, seq, ok := splitKey(k)
		if !ok || kind != kindMark {
			break
		}
		if q.marks == nil {
			q.marks = make(map[uint64]struct{})
		}
		q.marks[seq] = struct{}{}
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
	st := queueState{handing: true}
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

	q.mu.Lock()
	l := &q.lanes[lane]
	g := l.gap
	needed := !q.gone && g.n > 0 && (anyway || l.first() == nil)
	q.mu.Unlock()
	if !needed {
		return nil
	}

	var (
		got   []*item
		bad   []removal
		wrong int64 // bytes of bad
		last  = g.hi
	)
	err := q.s.view(func(tx *bbolt.Tx) error {
		got, bad, wrong, last = nil, nil, 0, g.hi
		b := tx.Bucket(q.key)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		from := recordKey(byte(lane), g.lo)
		size := int64(0)
		for k, v := c.Seek(from[:]); k != nil; k, v = c.Next() {
			kind, seq, ok := splitKey(k)
			if !ok || kind != byte(lane) || seq > g.hi {
				break
			}
			if len(got)+len(bad) == q.s.window.items || size >= q.s.window.bytes {
				return nil // last is where the chunk ends
			}
			last = seq
			size += int64(len(v))
			q.s.touched.Add(int64(len(k) + len(v)))
			h, data, err := parseRecord(q.key, k, v)
			if err != nil {
				bad = append(bad, removal{seq, byte(lane)})
				wrong += dataSize(v)
				continue
			}
			got = append(got, &item{
				seq: seq, data: slices.Clone(data), header: h, q: q,
				lane: byte(lane), place: onDisk, early: true,
			})
		}
		last = g.hi
		return nil
	})
	if err != nil {
		return fmt.Errorf("read queue %q: %w", q.name, err)
	}

	q.mu.Lock()
	q.takeInLocked(l, got, bad, wrong, last)
	q.mu.Unlock()
	if len(bad) > 0 {
		q.s.damaged.Add(int64(len(bad)))
		q.s.log.Error("damaged records in a queue are skipped and removed",
			"queue", q.name, "records", len(bad), "first", bad[0].seq)
	}
	return nil
}

// takeInLocked puts what was read at the end of the front; last is up to where the
// gap was read.
func (q *Queue) takeInLocked(l *lane, got []*item, bad []removal, wrong int64, last uint64) {
	if q.gone {
		return
	}
	for _, it := range got {
		_, it.received = q.marks[it.seq]
		it.again = it.received || contains(l.again, it.seq)
		l.pushFront(it)
		l.gap.bytes -= int64(len(it.data))
		l.gap.at = it.time()
	}
	for _, r := range bad {
		if len(q.removals) == 0 || r.seq < q.oldestDue[0] {
			q.oldestDue[0] = r.seq
		}
		q.removals = append(q.removals, r)
		q.s.removalLocked(q)
	}
	q.damaged += int64(len(bad))
	q.dropped += int64(len(bad))
	q.messages -= len(bad)
	q.bytes -= wrong
	l.gap.bytes -= wrong
	l.gap.n -= len(got) + len(bad)
	l.gap.lo = last + 1
	if last < l.gap.hi {
		l.gap.n = max(l.gap.n, 1)
		return
	}
	// The end. Should the counts have been wrong, they are right from here on.
	q.messages -= l.gap.n
	q.bytes -= l.gap.bytes
	l.gap = gap{}
	l.join()
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
