package buffer

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

var errNoFile = errors.New("the file of the store is not open; it is tried again")

// We chose these.
const (
	firstBackoff   = 100 * time.Millisecond
	longestBackoff = 10 * time.Second
	closeTimeout   = 5 * time.Second // how long Close tries a disk that takes nothing
)

// call is a done function with its argument.
type call struct {
	fn  func(error)
	err error
}

// callLocked has fn called by the committer, outside the lock.
func (s *Store) callLocked(fn func(error), err error) {
	if fn != nil {
		s.calls = append(s.calls, call{fn, err})
		s.wakeLocked()
	}
}

// run is the committer: the only goroutine of the store. It writes, and it calls
// what waits for the writing.
func (s *Store) run() {
	defer close(s.ended)
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		closed, fatal := s.closed, s.fatal != nil
		due, sleep := s.planLocked()
		s.mu.Unlock()
		called := s.deliver()
		switch {
		case closed:
			s.shutdown()
			return
		case fatal:
			s.abandon()
			due, sleep = false, 0
		}
		if due {
			s.commit(false)
			continue
		}
		if called {
			continue
		}
		timer.Stop()
		if sleep > 0 {
			timer.Reset(sleep)
		}
		select {
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// deliver calls what is ready to be called, and reports whether anything was.
func (s *Store) deliver() bool {
	s.mu.Lock()
	calls, notices := s.calls, s.notices
	s.calls, s.notices = nil, nil
	s.mu.Unlock()
	for _, c := range calls {
		c.fn(c.err)
	}
	for _, fn := range notices {
		fn()
	}
	return len(calls)+len(notices) > 0
}

// commit writes what waits. After an error, which was noted, everything still
// waits.
func (s *Store) commit(final bool) error {
	if s.doubt == nil {
		s.cut()
		s.mu.Lock()
		b := s.takeLocked(final)
		s.mu.Unlock()
		if b == nil {
			return nil
		}
		start := time.Now()
		err := s.write(b)
		if err == nil {
			s.committed(b, time.Since(start))
			return nil
		}
		s.doubt, s.cause = b, err
		s.countFailure()
	}
	start := time.Now()
	applied, err := s.reconcile(s.doubt, s.cause)
	if err != nil {
		s.countFailure()
		s.retryLater(err)
		return err
	}
	b, cause := s.doubt, s.cause
	s.doubt, s.cause = nil, nil
	if applied {
		s.committed(b, time.Since(start))
		return nil
	}
	s.mu.Lock()
	s.restoreLocked(b)
	s.mu.Unlock()
	s.retryLater(cause)
	return cause
}

// write runs the transaction.
func (s *Store) write(b *batch) (err error) {
	if s.db == nil {
		return errNoFile
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	b.txid = tx.ID()
	defer func() {
		if r := recover(); r != nil {
			err = s.failed(r)
		}
	}()
	s.stuck = true
	defer func() {
		tx.Rollback()
		s.stuck = false
	}()
	if err := b.write(tx, new(arena)); err != nil {
		b.txid = 0
		return err
	}
	pages, size := int64(0), s.fileSize.Load()
	tx.OnCommit(func() {
		stats := tx.Stats()
		pages = stats.GetPageAlloc() + pageSize // and the meta page
	})
	if s.hooks.before != nil {
		if err := s.hooks.before(); err != nil {
			b.txid = 0
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	b.pages = pages
	s.touched.Add(pages)
	b.syncs = 2
	if now := fileSize(s.db); now != size {
		b.syncs++
		s.fileSize.Store(now)
	}
	if s.hooks.after != nil {
		return s.hooks.after()
	}
	return nil
}

// committed is for a batch that is on disk.
func (s *Store) committed(b *batch, took time.Duration) {
	s.mu.Lock()
	s.finishLocked(b)
	s.stats.Commits++
	s.stats.BytesWritten += b.pages
	s.stats.Fsyncs += b.syncs
	s.stats.Latency = took
	s.stats.LatencyMax = max(s.stats.LatencyMax, took)
	s.latencySum += took
	s.retryAt, s.lean = 0, false
	recovered := s.err != nil && !b.lean
	if !b.lean {
		s.err, s.full, s.backoff = nil, false, 0
	}
	failures := s.stats.Failures
	s.mu.Unlock()
	if recovered {
		s.log.Info("store takes commits again", "path", s.path, "failures", failures)
	}
}

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
	s.fileMu.Lock()
	if s.db != nil {
		s.db.Close() // its error says nothing new
	}
	s.db, err = openFile(s.path, s.cfg)
	s.fileMu.Unlock()
	if err != nil {
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
		if err := s.rewrite(); err != nil {
			return false, err
		}
		s.distrust = false
		// The fresh file counts its transactions anew; this one is decided.
		if !applied {
			b.txid = 0
		} else {
			b.txid = 1
		}
	}
	return applied, nil
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
	s.pending = nil
	for _, q := range s.dirtyQueues {
		for _, m := range q.newMarks {
			s.callLocked(m.done, err)
		}
		q.newMarks = nil
	}
}

// shutdown writes the last batch and ends the store.
func (s *Store) shutdown() {
	var err error
	for end := s.now() + closeTimeout; ; {
		if err = s.commit(true); err == nil {
			s.mu.Lock()
			rest := len(s.pending) + len(s.dirtyQueues) + len(s.dirtyTables)
			s.mu.Unlock()
			if s.deliver(); rest == 0 {
				break
			}
			continue
		}
		s.mu.Lock()
		fatal, pause := s.fatal != nil, s.backoff
		s.mu.Unlock()
		if s.deliver(); fatal || s.now()+pause > end {
			break
		}
		time.Sleep(pause) // nobody is served any more
	}
	s.mu.Lock()
	if err != nil {
		if s.doubt != nil {
			s.restoreLocked(s.doubt)
			s.doubt = nil
		}
		err = fmt.Errorf("close the store: %d changes with %d bytes and %d removals were not written: %w",
			len(s.pending)-s.settled, s.pendingBytes, s.removals, err)
		s.giveUpLocked(err)
	}
	s.closeErr = err
	s.finished = true // from here on nobody delivers
	s.mu.Unlock()
	s.deliver()

	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	var st markerState
	if s.db != nil && !s.stuck {
		st = markerState{clean: err == nil, size: fileSize(s.db), txid: lastTx(s.db)}
		if cerr := s.db.Close(); cerr != nil && err == nil {
			st.clean = false
			s.closeErr = fmt.Errorf("close the store: %w", cerr)
		}
		s.db = nil
	}
	if st.clean && st.txid > 0 {
		if merr := s.marker.write(st); merr != nil {
			s.closeErr = fmt.Errorf("note the clean stop: %w", merr)
		}
	}
	s.marker.close()
}
