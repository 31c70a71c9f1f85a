package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"go.etcd.io/bbolt"
)

// A disk that takes no writes when the store is opened, because it is full or was
// mounted read-only, is one that fails at the first commit already: what it holds is
// read, everything new waits in memory, and when it takes writes Open is brought to
// its end.

var errRestart = errors.New("the file can only be taken into use at a start with a disk that takes writes")

// takesNothing reports whether err is that of such a disk.
func takesNothing(err error) bool {
	return err != nil && (outOfSpace(err) || errors.Is(err, syscall.EROFS))
}

// Late returns why the disk takes no writes since Open, or nil. As long as it does not, a
// queue that is not on disk hands out nothing.
func (s *Store) Late() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lateErr
}

// openLate opens what can be read.
func (s *Store) openLate(cause error) error {
	s.lateErr, s.err, s.full = cause, cause, outOfSpace(cause)
	s.retryAt = 1 // it is tried again and again, though nothing may wait
	s.log.Error("the disk takes nothing; the gateway starts all the same, and what would be written waits in memory", "path", s.path, "err", cause)
	was, err := s.readOnly()
	if err != nil {
		s.log.Error("what the store holds is not used in this run", "path", s.path, "err", err)
		s.late = func() error { return fmt.Errorf("%w: %w", errRestart, err) }
		return nil
	}
	s.late = func() error { return s.catchUp(was) }
	return nil
}

// readOnly loads what the file holds. It returns its newest transaction, 0 if there is no
// file. What Open would have to change first is not loaded.
func (s *Store) readOnly() (txid uint64, err error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(markerPath(s.path))
	if err != nil {
		return 0, err
	}
	st := parseMarker(string(text))
	meta, err := readMeta(s.path)
	if err != nil {
		return 0, err
	}
	clean := st.clean && st.size == info.Size() && st.txid == meta.txid
	if !clean || info.Size() <= smallFile {
		if err := Check(s.path); err != nil {
			return 0, err
		}
	}
	run, err := runOf(s.path)
	if err != nil {
		return 0, err
	}
	if s.fromElsewhere(st, run) {
		return 0, errors.New("it is a restored backup")
	}
	if err := s.mapReadOnly(); err != nil {
		return 0, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		var have uint64
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			have, _ = parseSchema(b.Get(schemaKey), b.Get(schemaSumKey))
		}
		if have != schema {
			return fmt.Errorf("it has schema %d", have)
		}
		return s.loadQueues(tx, clean)
	})
	if err != nil {
		s.db.Close()
		s.db = nil
		s.mu.Lock()
		s.generation, s.dirtyQueues, s.dropping = 0, nil, nil
		clear(s.queues) // half of them may be there
		s.mu.Unlock()
		return 0, err
	}
	s.loaded = true
	s.AdvanceClock(st.clock)
	s.noted = run
	return meta.txid, s.loadLineage()
}

func (s *Store) mapReadOnly() (err error) {
	if err := s.step("mapping"); err != nil {
		return err
	}
	s.db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true, PageSize: pageSize})
	return err
}

// catchUp does what Open could not. was is the file's newest transaction then.
func (s *Store) catchUp(was uint64) error {
	m, _, err := openMarker(s.path, 0)
	if err != nil {
		return err
	}
	if err := s.catchUpWith(m, was); err != nil {
		m.close()
		return err
	}
	s.marker, s.late = m, nil
	s.fileSize.Store(fileSize(s.db))
	s.mu.Lock()
	s.lateErr, s.err, s.full, s.retryAt, s.backoff = nil, nil, false, 0, 0
	s.mu.Unlock()
	s.log.Info("the disk takes what is written", "path", s.path)
	return nil
}

func (s *Store) catchUpWith(m *marker, was uint64) error {
	if err := s.create(); err != nil {
		return err
	}
	if err := settleFile(s.path); err != nil {
		return err
	}
	run, err := runOf(s.path)
	if err != nil {
		return err
	}
	meta, err := readMeta(s.path)
	if err != nil {
		return err
	}
	if was == 0 && run != noRun || was != 0 && meta.txid != was {
		return fmt.Errorf("%w: it is another one than before", errRestart)
	}
	if err := m.write(markerState{runs: [][8]byte{s.incarnation, run}}); err != nil {
		return err
	}
	s.lockFile()
	defer s.unlockFile()
	if s.db != nil {
		s.db.Close()
	}
	db, err := openFile(s.path, s.cfg)
	if err == nil {
		if err = s.noteNews(db); err != nil {
			db.Close()
		}
	}
	if err != nil {
		s.db = nil
		if was != 0 {
			err = errors.Join(err, s.mapReadOnly())
		}
		return err
	}
	s.db, s.noted = db, run
	return nil
}
