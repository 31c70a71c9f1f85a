package buffer

import (
	"maps"
	"slices"

	"go.etcd.io/bbolt"
)

// write puts the batch into tx.
func (b *batch) write(tx *bbolt.Tx, arena *arena) error {
	for _, qb := range b.queues {
		if err := b.writeQueue(tx, qb, arena); err != nil {
			return err
		}
	}
	for _, t := range b.tables {
		bucket, err := tx.CreateBucketIfNotExists(t.key)
		if err != nil {
			return err
		}
		// In order: a page that is filled from the middle is moved about for each pair.
		for _, key := range slices.Sorted(maps.Keys(t.writing)) {
			p := t.writing[key]
			k := diskKey(p.key)
			if p.deleted {
				err = bucket.Delete(k)
			} else {
				err = bucket.Put(k, diskValue(t.key, k, &p))
				b.records++
			}
			if err != nil {
				return err
			}
		}
	}
	return b.writeDrops(tx)
}

func (b *batch) writeQueue(tx *bbolt.Tx, qb *queueBatch, arena *arena) error {
	q := qb.q
	if qb.skip {
		return nil
	}
	if qb.drop && tx.Bucket(q.key) == nil {
		return nil // it never reached the disk
	}
	bucket, err := tx.CreateBucketIfNotExists(q.key)
	if err != nil {
		return err
	}
	bucket.FillPercent = 1 // numbers only grow
	if qb.drop {
		return bucket.Put(stateKey, qb.state.encode(q.key))
	}
	c := bucket.Cursor()
	for _, r := range qb.removals {
		if err := qb.remove(c, r); err != nil {
			return err
		}
	}
	for _, r := range qb.replaced {
		if err := qb.remove(c, r); err != nil {
			return err
		}
	}
	if qb.forget {
		from := recordKey(kindMark, 0)
		for k, _ := c.Seek(from[:]); len(k) == keySize && k[0] == kindMark; k, _ = c.Seek(from[:]) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	for _, seq := range qb.unmarks {
		key := recordKey(kindMark, seq)
		if err := bucket.Delete(key[:]); err != nil {
			return err
		}
	}
	for _, r := range qb.outdated {
		key := recordKey(kindRejected, r.seq)
		if err := bucket.Delete(key[:]); err != nil {
			return err
		}
	}
	for _, seq := range qb.unreject {
		key := recordKey(kindRejected, seq)
		if err := bucket.Delete(key[:]); err != nil {
			return err
		}
	}
	for _, it := range qb.appends {
		key, h := recordKey(it.lane, it.seq), it.header()
		if err := bucket.Put(key[:], arena.record(q.key, key[:], &h, it.data)); err != nil {
			return err
		}
		qb.disk[it.lane]++
		qb.size[it.lane] += int64(len(it.data))
		b.records++
	}
	for _, m := range qb.marks {
		key := recordKey(kindMark, m.it.seq)
		if err := bucket.Put(key[:], arena.record(q.key, key[:], &header{stamp: stamp{at: m.it.at}}, nil)); err != nil {
			return err
		}
	}
	for _, t := range qb.tombs {
		if err := qb.bury(bucket, t, arena); err != nil {
			return err
		}
	}
	for _, r := range qb.rejects {
		key := recordKey(kindRejected, r.seq)
		if err := bucket.Put(key[:], r.encode(q.key, key[:])); err != nil {
			return err
		}
	}
	for i := range qb.disk {
		qb.state.lanes[i].n, qb.state.lanes[i].bytes = qb.disk[i], qb.size[i]
		if qb.disk[i] == 0 {
			qb.state.lanes[i].again = nil
		}
	}
	return bucket.Put(stateKey, qb.state.encode(q.key))
}

func (qb *queueBatch) remove(c *bbolt.Cursor, r removal) error {
	key := recordKey(r.lane, r.seq)
	k, v := c.Seek(key[:])
	if string(k) != string(key[:]) {
		return nil // it never arrived, because its commit failed
	}
	qb.disk[r.lane]--
	qb.size[r.lane] -= dataSize(v)
	return c.Delete()
}

// dropSlice is how many entries of dropped queues one commit removes; we chose it
// such that a commit stays short on an SD card.
const dropSlice = 4096

func (b *batch) writeDrops(tx *bbolt.Tx) error {
	left := dropSlice
	for _, key := range b.drops {
		bucket := tx.Bucket(key)
		if bucket != nil {
			c := bucket.Cursor()
			k, _ := c.First()
			for ; k != nil && left > 0 && string(k) != string(stateKey); k, _ = c.First() {
				if err := c.Delete(); err != nil {
					return err
				}
				left--
			}
			if left == 0 {
				return nil
			}
			if err := tx.DeleteBucket(key); err != nil {
				return err
			}
		}
		b.dropped = append(b.dropped, key)
	}
	return nil
}

// arena holds the values of one transaction: bbolt wants them unchanged until its
// end, and one allocation for many is cheaper.
type arena struct {
	chunk []byte
}

const arenaChunk = 64 << 10

// room makes room for n bytes and returns where they begin.
func (a *arena) room(n int) int {
	if cap(a.chunk)-len(a.chunk) < n {
		a.chunk = make([]byte, 0, max(arenaChunk, n))
	}
	return len(a.chunk)
}

func (a *arena) clone(b []byte) []byte {
	start := a.room(len(b))
	a.chunk = append(a.chunk, b...)
	return a.chunk[start:len(a.chunk):len(a.chunk)]
}

func (a *arena) record(bucket, key []byte, h *header, data []byte) []byte {
	start := a.room(h.size() + len(data))
	a.chunk = appendRecord(a.chunk, bucket, key, h, data)
	return a.chunk[start:len(a.chunk):len(a.chunk)]
}
