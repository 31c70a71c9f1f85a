package buffer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// Table maps keys to values. Reading sees what was committed, on disk or not. It
// is safe for concurrent use.
type Table struct {
	s    *Store
	name string
	key  []byte // its bucket

	// Guarded by the mutex of the store: what is newer than the disk.
	pending map[string]put
	writing map[string]put // part of the transaction that is being written
	dirty   bool
}

// Table returns the table of this name. It takes no room on disk before the first
// Put.
func (s *Store) Table(name string) *Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	if t == nil {
		t = &Table{s: s, name: name, key: []byte(tablePrefix + name)}
		s.tables[name] = t
	}
	return t
}

func (p *put) cost() int64 { return int64(len(p.key)+len(p.value)) + putOverhead }

// putOverhead is roughly what a map entry and its slices take.
const putOverhead = 128

// setLocked: newest wins, because only the newest is kept.
func (t *Table) setLocked(p *put) {
	if t.pending == nil {
		t.pending = make(map[string]put)
	}
	if old, ok := t.pending[p.key]; ok {
		t.s.pendingBytes -= old.cost()
		p.isNew = p.isNew || old.isNew
	}
	t.pending[p.key] = *p
	t.s.pendingBytes += p.cost()
	t.cancelLocked(p.key)
	if !t.dirty {
		t.dirty = true
		t.s.dirtyTables = append(t.s.dirtyTables, t)
	}
}

// cancelLocked takes away what deletes a key that the disk does not have. What deletes
// one that is being written is not new: it found nothing pending.
func (t *Table) cancelLocked(key string) {
	if p := t.pending[key]; p.deleted && p.isNew {
		t.s.pendingBytes -= p.cost()
		delete(t.pending, key)
	}
}

// inheritLocked: what was older than the pending one is certainly not on disk.
func (t *Table) inheritLocked(key string, isNew bool) {
	p := t.pending[key]
	p.isNew = isNew
	t.pending[key] = p
	t.cancelLocked(key)
}

func (t *Table) newerLocked(key string) (p put, ok bool) {
	if p, ok = t.pending[key]; !ok {
		p, ok = t.writing[key]
	}
	return p, ok
}

// Get returns a copy of the value, and whether there is one.
func (t *Table) Get(key []byte) (value []byte, ok bool, err error) {
	t.s.mu.Lock()
	p, newer := t.newerLocked(string(key))
	t.s.mu.Unlock()
	if newer {
		return slices.Clone(p.value), !p.deleted, nil
	}
	err = t.s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(t.key)
		if b == nil {
			return nil
		}
		k := diskKey(string(key))
		if v := b.Get(k); v != nil {
			_, v, good := t.parsePair(k, v)
			value, ok = slices.Clone(v), good
		}
		return nil
	})
	return value, ok, err
}

// Each calls fn with copies of every key and value, in no promised order, until fn
// returns an error, which Each returns. No lock is held during the call.
func (t *Table) Each(fn func(key, value []byte) error) error {
	// What is newer than the disk is taken before the disk is read: what moves from
	// memory to disk meanwhile is then seen twice and not missed.
	t.s.mu.Lock()
	newer := make(map[string]put, len(t.pending)+len(t.writing))
	for k, p := range t.writing {
		newer[k] = p
	}
	for k, p := range t.pending {
		newer[k] = p
	}
	t.s.mu.Unlock()

	type pair struct{ key, value []byte }
	var from []byte
	for {
		// Read transactions are short: a slice, copied out, at a time.
		var pairs []pair
		size := 0
		err := t.s.view(func(tx *bbolt.Tx) error {
			pairs, size = nil, 0
			b := tx.Bucket(t.key)
			if b == nil {
				return nil
			}
			c := b.Cursor()
			k, v := c.Seek(from)
			if from != nil && bytes.Equal(k, from) {
				k, v = c.Next()
			}
			for ; k != nil && size < windowBytes; k, v = c.Next() {
				size += len(k) + len(v)
				t.s.touched.Add(int64(len(k) + len(v)))
				key, value, good := t.parsePair(k, v)
				from = slices.Clone(k)
				if !good {
					continue
				}
				if _, ok := newer[key]; ok {
					continue
				}
				pairs = append(pairs, pair{[]byte(key), slices.Clone(value)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if err := fn(p.key, p.value); err != nil {
				return err
			}
		}
		if size < windowBytes {
			break
		}
	}
	for k, p := range newer {
		if !p.deleted {
			if err := fn([]byte(k), slices.Clone(p.value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A pair on disk: bbolt takes keys up to 32,768 bytes, so longer ones are kept
// under their hash, with the key in front of the value. Every value begins with a
// checksum.
const (
	plainKey  = 'k'
	hashedKey = 'h'

	longestPlain = bbolt.MaxKeySize - 1
)

func diskKey(key string) []byte {
	if len(key) <= longestPlain {
		return append([]byte{plainKey}, key...)
	}
	sum := sha256.Sum256([]byte(key))
	return append([]byte{hashedKey}, sum[:]...)
}

func diskValue(bucket, k []byte, p *put) []byte {
	v := make([]byte, 4, 4+len(p.value)+8)
	if k[0] == hashedKey {
		v = binary.AppendUvarint(v, uint64(len(p.key)))
		v = append(v, p.key...)
	}
	v = append(v, p.value...)
	binary.BigEndian.PutUint32(v, checksum(bucket, k, v[4:]))
	return v
}

// parsePair returns a slice of v; ok is false, and the damage noted, if the
// checksum does not match.
func (t *Table) parsePair(k, v []byte) (key string, value []byte, ok bool) {
	if len(k) == 0 || len(v) < 4 || binary.BigEndian.Uint32(v) != checksum(t.key, k, v[4:]) {
		t.s.damagedPair(t.name, k)
		return "", nil, false
	}
	v = v[4:]
	if k[0] == plainKey {
		return string(k[1:]), v, true
	}
	n, used := binary.Uvarint(v)
	if used <= 0 || n > uint64(len(v)-used) {
		t.s.damagedPair(t.name, k)
		return "", nil, false
	}
	return string(v[used : used+int(n)]), v[used+int(n):], true
}

// damagedPair reports each damaged pair once.
func (s *Store) damagedPair(table string, k []byte) {
	id := table + "\x00" + string(k)
	s.mu.Lock()
	known := s.badPairs[id]
	if !known && len(s.badPairs) < 10_000 {
		s.badPairs[id] = true
	}
	s.mu.Unlock()
	if known {
		return
	}
	s.damaged.Add(1)
	s.log.Error("damaged record in the store is skipped", "table", table,
		"key", strings.ToValidUTF8(string(k[min(1, len(k)):min(65, len(k))]), "?"))
}
