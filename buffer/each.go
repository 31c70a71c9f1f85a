package buffer

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Each calls fn with every entry that is not acknowledged, the highest lane first
// and inside a lane in order, until fn returns false. Nothing is handed out, and
// the queue need not be attached; entries whose Change is not committed yet are
// among them. No lock is held while fn runs, so what comes and goes meanwhile may
// be missed or seen. Damaged records are left out. Data must not be modified.
//
// A long queue is read from disk in chunks.
func (q *Queue) Each(fn func(Entry) bool) error {
	for i := Lanes - 1; i >= 0; i-- {
		if more, err := q.eachOf(i, fn); err != nil || !more {
			return err
		}
	}
	return nil
}

func (q *Queue) eachOf(lane int, fn func(Entry) bool) (more bool, err error) {
	q.mu.Lock()
	l := &q.lanes[lane]
	front, back := l.front.entries(), l.back.entries()
	g, again := l.gap, slices.Clone(l.again)
	q.mu.Unlock()
	for _, e := range front {
		if !fn(e) {
			return false, nil
		}
	}
	for from := g.lo; g.n > 0 && from <= g.hi; {
		var chunk []Entry
		if chunk, from, err = q.readChunk(byte(lane), from, g.hi); err != nil {
			return false, err
		}
		q.mu.Lock()
		for i := range chunk {
			e := &chunk[i]
			_, e.Received = q.marks[e.Seq]
			e.Again = e.Received || contains(again, e.Seq)
		}
		q.mu.Unlock()
		for _, e := range chunk {
			if !fn(e) {
				return false, nil
			}
		}
	}
	for _, e := range back {
		if !fn(e) {
			return false, nil
		}
	}
	return true, nil
}

// entries copies what is not acknowledged. What is with the receiver counts as
// handed out before.
func (d *deque) entries() []Entry {
	var list []Entry
	for i := range d.len() {
		if it := d.at(i); !it.gone {
			list = append(list, it.entry(it.out || it.again))
		}
	}
	return list
}

// readChunk reads entries of a lane from disk, and says where the next chunk
// begins.
func (q *Queue) readChunk(lane byte, from, to uint64) (list []Entry, next uint64, err error) {
	err = q.s.view(func(tx *bbolt.Tx) error {
		list, next = nil, to+1
		b := tx.Bucket(q.key)
		if b == nil {
			return nil
		}
		c, size, first := b.Cursor(), int64(0), recordKey(lane, from)
		for k, v := c.Seek(first[:]); k != nil; k, v = c.Next() {
			kind, seq, ok := splitKey(k)
			if !ok || kind != lane || seq > to {
				return nil
			}
			if len(list) >= q.s.window.items || size >= q.s.window.bytes {
				next = seq
				return nil
			}
			size += int64(len(v))
			q.s.touched.Add(int64(len(k) + len(v)))
			if h, data, err := parseRecord(q.key, k, v); err == nil {
				list = append(list, Entry{Seq: seq, Data: slices.Clone(data), At: h.time(), Deadline: h.due(), Lane: lane})
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("read queue %q: %w", q.name, err)
	}
	return list, next, err
}
