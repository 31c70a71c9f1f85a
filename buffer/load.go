package buffer

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

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
