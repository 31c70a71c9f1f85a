package buffer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// Schema 1 differs from 2 in its checksums, which did not cover the key of the
// bucket, and in that no flag of a record was in use.

// checksum1 is the checksum of schema 1.
func checksum1(key, rest []byte) uint32 { return checksum(nil, key, rest) }

// We chose these.
const (
	migrateBatch = 1 << 20 // bytes of one transaction
	migrateTell  = 10 * time.Second
)

// migration copies the live content of a file of schema 1 into a fresh one. What
// it does not understand is left out, and what is damaged is counted: a new
// checksum would make it look sound.
type migration struct {
	s       *Store
	dst     *bbolt.DB
	total   int64 // size of the old file
	told    time.Time
	records int64
	damaged int64
	done    int64 // bytes of keys and values

	tx     *bbolt.Tx // the batch; nil: none
	bucket *bbolt.Bucket
	arena  *arena
	size   int
}

// migrate copies the file to the present schema. It was checked in this Open, after a
// clean stop as well, because the marker of that time says less than the present one.
func (s *Store) migrate(from uint64, o *options) error {
	defer o.longWork()()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	start := time.Now()
	m := &migration{s: s, total: fileSize(s.db), told: start}
	s.log.Info("the store is of an earlier version and is copied to the present format", "path", s.path, "schema", from, "bytes", m.total)
	if _, err := s.replace(m.copy); err != nil {
		return fmt.Errorf("bring %s from schema %d to %d: %w (it is as it was; beside it must be room for a second one)", s.path, from, schema, err)
	}
	s.damaged.Add(m.damaged)
	s.log.Info("the store is in the present format", "path", s.path, "records", m.records, "damaged", m.damaged,
		"bytes", fileSize(s.db), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// copy is for replace.
func (m *migration) copy(fresh *bbolt.DB) (err error) {
	m.dst = fresh
	defer func() {
		if m.tx != nil {
			m.tx.Rollback()
		}
	}()
	err = m.s.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
			switch {
			case b == nil:
				return nil
			case bytes.HasPrefix(bucket, []byte(queuePrefix)):
				return m.queue(bucket, b)
			case bytes.HasPrefix(bucket, []byte(tablePrefix)):
				return m.table(bucket, b)
			}
			return nil // of meta, which holds the schema and nothing else
		})
	})
	if err == nil {
		err = m.flush()
	}
	if err == nil {
		err = fresh.Update(putSchema)
	}
	return err
}

func (m *migration) queue(bucket []byte, b *bbolt.Bucket) error {
	var st queueState
	old := b.Get(stateKey)
	sound := sound1(stateKey, old)
	if sound {
		var err error
		if st, err = parseQueueState(old); err != nil {
			sound = false
		}
	}
	if st.dropped {
		return nil // nobody misses what is left of it
	}
	for i := range st.lanes {
		st.lanes[i].n, st.lanes[i].bytes = 0, 0
	}
	m.bucket = nil
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		kind, _, ok := splitKey(k)
		if !ok {
			continue
		}
		if dataAt(v) != headerSize || !sound1(k, v) {
			m.damage(bucket)
			continue
		}
		if kind < Lanes {
			st.lanes[kind].n++
			st.lanes[kind].bytes += dataSize(v)
		}
		if err := m.put(bucket, k, v); err != nil {
			return err
		}
	}
	if !sound {
		// Without a state the queue is counted anew when it is loaded, and the damage
		// with it.
		return m.ensure(bucket)
	}
	if err := m.ensure(bucket); err != nil {
		return err
	}
	m.size += 64
	return m.bucket.Put(stateKey, st.encode(bucket))
}

func (m *migration) table(bucket []byte, b *bbolt.Bucket) error {
	m.bucket = nil
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if !sound1(k, v) {
			m.damage(bucket)
			continue
		}
		if err := m.put(bucket, k, v); err != nil {
			return err
		}
	}
	return nil
}

// sound1 reports whether a value of schema 1 is as it was written.
func sound1(k, v []byte) bool {
	return len(v) >= 4 && binary.BigEndian.Uint32(v) == checksum1(k, v[4:])
}

func (m *migration) damage(bucket []byte) {
	if m.damaged++; m.damaged == 1 {
		m.s.log.Error("damaged records in the store are left out", "first_in", fmt.Sprintf("%q", bucket))
	}
}

// put writes a value that is sound, with its new checksum.
func (m *migration) put(bucket, k, v []byte) error {
	if m.size >= migrateBatch {
		if err := m.flush(); err != nil {
			return err
		}
	}
	if err := m.ensure(bucket); err != nil {
		return err
	}
	v = m.arena.clone(v)
	binary.BigEndian.PutUint32(v, checksum(bucket, k, v[4:]))
	m.size += element + len(k) + len(v)
	m.records++
	return m.bucket.Put(k, v)
}

// ensure makes m.bucket that of the present batch.
func (m *migration) ensure(bucket []byte) (err error) {
	if m.tx == nil {
		if m.tx, err = m.dst.Begin(true); err != nil {
			return err
		}
		m.bucket, m.arena = nil, new(arena)
	}
	if m.bucket == nil {
		if m.bucket, err = m.tx.CreateBucketIfNotExists(bucket); err != nil {
			return err
		}
		m.bucket.FillPercent = 1 // keys come in order
	}
	return nil
}

// flush ends the batch. The caller is inside a transaction of the old file.
func (m *migration) flush() error {
	if m.tx == nil {
		return nil
	}
	tx := m.tx
	m.tx, m.bucket = nil, nil
	if err := tx.Commit(); err != nil {
		return err
	}
	m.done += int64(m.size)
	m.size = 0
	if err := m.s.step("batch"); err != nil {
		return err
	}
	relax(m.s.db, m.total)
	if now := time.Now(); now.Sub(m.told) >= migrateTell {
		m.told = now
		m.s.log.Info("still copying the store", "path", m.s.path, "copied", m.done, "of", m.total)
	}
	return nil
}
