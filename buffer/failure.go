package buffer

import (
	"errors"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

var (
	errNoFile   = errors.New("the file of the store is not open; it is tried again")
	errDistrust = errors.New("the file of the store may not be the one that the disk has; it is written anew")
)

// We chose these.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 10 * time.Second
)

func (s *Store) countFailure() {
	s.mu.Lock()
	s.stats.Failures++
	s.mu.Unlock()
}

// retryLater notes a failure. It is logged when it is news.
func (s *Store) retryLater(err error) {
	s.mu.Lock()
	s.full = outOfSpace(err)
	// A full file takes removals, and they make room: every other try is theirs.
	s.lean = s.full && !s.lean && s.removals > 0
	s.backoff = min(max(2*s.backoff, firstBackoff), longestBackoff)
	s.retryAt = s.now() + s.backoff
	if s.lean {
		s.retryAt = s.now() + firstBackoff
	}
	news := s.err == nil && s.fatal == nil
	s.err = err
	waiting := s.pendingBytes
	s.mu.Unlock()
	if news {
		s.log.Error("commit failed; everything waits in memory and is tried again", "path", s.path, "err", err, "pending_bytes", waiting)
	}
}

// reconcile finds out what became of a transaction whose commit failed: an error
// says nothing about what is in the file. No one is told anything before.
func (s *Store) reconcile(b *batch, cause error) (applied bool, err error) {
	s.mu.Lock()
	fatal := s.fatal
	s.mu.Unlock()
	if fatal != nil {
		return false, fatal
	}
	if err := s.reopen(); err != nil {
		return false, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		applied = b.txid != 0 && tx.ID() >= b.txid
		return nil
	})
	if err != nil {
		return false, err
	}
	if !s.distrust {
		s.distrust = syncFailed(cause)
	}
	if applied && !s.distrust {
		if err := s.db.Sync(); err != nil {
			s.distrust = true
		}
	}
	if s.distrust {
		swapped, err := s.rewrite()
		if swapped { // the fresh file counts its transactions anew; this one is decided
			b.txid = 0
			if applied {
				b.txid = 1
			}
		}
		if err != nil {
			return false, err
		}
		s.distrust = false
	}
	return applied, nil
}

// reopen leaves the file and opens it as it is on disk.
func (s *Store) reopen() (err error) {
	s.lockFile()
	defer s.unlockFile()
	if s.db != nil {
		s.db.Close() // its error says nothing new
		s.db = nil
	}
	if _, err := os.Stat(s.path); err != nil { // bbolt would begin a new file, and everything would be lost
		return err
	}
	s.db, err = openFile(s.path, s.cfg)
	return err
}

// abandon tells everyone who waits that the store has failed for good.
func (s *Store) abandon() {
	s.mu.Lock()
	if s.doubt != nil {
		s.restoreLocked(s.doubt)
		s.doubt = nil
	}
	s.giveUpLocked(s.fatal)
	s.mu.Unlock()
	s.deliver()
}

func (s *Store) giveUpLocked(err error) {
	for _, c := range s.pending {
		if c.place == pending && !c.fired {
			c.fired = true
			s.callLocked(c.done, err)
		}
	}
	s.pending, s.settled = nil, 0
	for _, done := range s.syncers {
		done <- err
	}
	s.syncers = nil
	s.roomLocked()
	for _, q := range s.dirtyQueues {
		for _, m := range q.newMarks {
			s.callLocked(m.done, err)
		}
		q.newMarks = nil
	}
}
