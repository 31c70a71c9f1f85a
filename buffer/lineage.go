package buffer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"go.etcd.io/bbolt"
)

// Is the file the one that this machine had open last? Every run puts its random
// number into the file, with its first commit, and into the marker beside it. A file
// that says something else was brought from elsewhere: a backup, or a copy made by
// hand. What it holds is good; but its numbers, and what it knows of handshakes, are
// older than what others remember of us.

var (
	runKey     = []byte("run")     // the last run that committed something
	lineageKey = []byte("lineage") // a new one whenever a file from elsewhere is taken
)

// noRun is in a file to which nothing was committed yet.
var noRun = [8]byte([]byte("no run.."))

// farAhead is how far the numbers of all queues jump when a file is taken that is
// older than what was sent from it: further than any gateway gets.
const farAhead = 1 << 32

// Lineage returns a number that stays as long as the store goes on where it stopped,
// and is new and random since Open took a file that was not the last one of this
// store: a backup, a copy. Zero until that happens for the first time. Who keeps, in
// the store, what others know of us (the state of a handshake) keeps this number with
// it, and distrusts it when the number is another.
func (s *Store) Lineage() [8]byte { return s.lineage }

// Restored reports whether this Open found a file from elsewhere. Then every queue
// hands out what it holds as new, in order, with numbers far above all earlier ones.
func (s *Store) Restored() bool { return s.restored }

// runOf reads what an intact file says of its last run; zero if it says nothing.
func runOf(path string) (run [8]byte, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return run, nil
	}
	if err != nil {
		return run, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true, PageSize: pageSize})
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // after a panic, too
	err = db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			copy(run[:], b.Get(runKey))
		}
		return nil
	})
	return run, err
}

// fromElsewhere holds the file against the marker.
func (s *Store) fromElsewhere(st markerState, run [8]byte) bool {
	meta, err := readMeta(s.path)
	switch {
	case err != nil:
		return false // there is none, or it is empty: nothing in it can be old
	case st.restored:
		return true
	case run == noRun:
		return false // there is nothing in it
	case !st.known:
		return true // it came without its marker
	case len(st.runs) == 0:
		return false // a version that wrote no runs had it last
	}
	return !slices.Contains(st.runs, run) || st.clean && meta.txid < st.txid
}

// noteRun is part of the first commit of a run.
func (s *Store) noteRun(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	return b.Put(runKey, s.incarnation[:])
}

// adopt makes a file from elsewhere the one of this store, in one transaction.
func (s *Store) adopt() error {
	if _, err := rand.Read(s.lineage[:]); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		if err := s.noteRun(tx); err != nil {
			return err
		}
		if err := tx.Bucket([]byte(metaBucket)).Put(lineageKey, s.lineage[:]); err != nil {
			return err
		}
		var queues [][]byte
		err := tx.ForEach(func(k []byte, _ *bbolt.Bucket) error {
			if _, _, ok := splitQueueKey(k); ok {
				queues = append(queues, bytes.Clone(k))
			}
			return nil
		})
		for _, k := range queues {
			if err == nil {
				err = beginAnew(k, tx.Bucket(k))
			}
		}
		return err
	})
}

// beginAnew makes the queue in b forget what was handed out.
func beginAnew(key []byte, b *bbolt.Bucket) error {
	st, err := decodeQueueState(key, b.Get(stateKey))
	if err != nil {
		st = countAnew(b)
	}
	if st.dropped {
		return nil
	}
	st.next = max(st.next, st.reserved) + farAhead
	st.reserved, st.handing = st.next, false
	for i := range st.lanes {
		st.lanes[i].again = nil
	}
	c := b.Cursor()
	from := recordKey(kindMark, 0)
	for k, v := c.Seek(from[:]); len(k) == keySize && k[0] == kindMark; k, v = c.Seek(from[:]) {
		if h, lane, err := parseRecord(key, k, v); err == nil && h.tomb && len(lane) == 1 && lane[0] < Lanes {
			_, seq, _ := splitKey(k)
			tomb := recordKey(lane[0], seq)
			if err := b.Delete(tomb[:]); err != nil {
				return err
			}
			st.lanes[lane[0]].n--
		}
		if err := b.Delete(bytes.Clone(k)); err != nil {
			return err
		}
	}
	return b.Put(stateKey, st.encode(key))
}

// loadLineage reads what an earlier adopt wrote.
func (s *Store) loadLineage() error {
	return s.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			copy(s.lineage[:], b.Get(lineageKey))
		}
		return nil
	})
}

// ForgetRun makes a complete copy of a store known as one, wherever it is opened
// later: see [Store.Backup]. The copy must not be open.
func ForgetRun(path string) error {
	if err := Check(path); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			return b.Put(runKey, []byte("copied.."))
		}
		return fmt.Errorf("%s is not the store of a gateway", path)
	})
	return errors.Join(err, db.Close())
}

func parseRun(text string) (run [8]byte, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(run) {
		return run, false
	}
	return [8]byte(b), true
}
