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

// Find returns the queue of this name, or nil if there is none.
func (s *Store) Find(name string) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[name]
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
