package buffer

import (
	"runtime/debug"
	"time"
)

// run is the committer: the goroutine that writes.
func (s *Store) run() {
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		closed, fatal := s.closed, s.fatal != nil
		due, sleep := s.planLocked()
		sweep := s.sweepDueLocked(&sleep)
		s.mu.Unlock()
		switch {
		case closed:
			s.shutdown()
			return
		case fatal:
			s.abandon()
			due, sleep = false, 0
		}
		if sweep {
			s.doSweep()
			continue
		}
		if due {
			s.commit(false)
			continue
		}
		if again := s.tidy(); again > 0 && (sleep == 0 || again < sleep) {
			sleep = again
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

// commit writes what waits. After an error, which was noted, everything still
// waits.
func (s *Store) commit(final bool) error {
	s.setBusy(true)
	defer s.setBusy(false)
	if s.late != nil {
		if err := s.late(); err != nil {
			s.countFailure()
			s.retryLater(err)
			return err
		}
	}
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

// setBusy notes that the disk is being waited for, or is not any more.
func (s *Store) setBusy(busy bool) {
	s.mu.Lock()
	s.busy = 0
	if busy {
		s.busy = s.now()
	}
	s.mu.Unlock()
}

// write runs the transaction.
func (s *Store) write(b *batch) (err error) {
	switch {
	case s.db == nil:
		return errNoFile
	case s.distrust:
		return errDistrust
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
	err = b.write(tx, new(arena))
	if err == nil && s.noted != s.incarnation {
		err = s.noteRun(tx)
	}
	if err != nil {
		b.txid = 0
		return err
	}
	pages, size := int64(0), s.fileSize.Load()
	tx.OnCommit(func() {
		stats := tx.Stats()
		pages = stats.GetPageAlloc() + pageSize // and the meta page
	})
	if s.faults.Commit != nil {
		if err := s.faults.Commit(); err != nil {
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
	if s.faults.Committed != nil {
		return s.faults.Committed()
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
	failures, cancelled := s.stats.Failures, s.stats.Cancelled
	s.mu.Unlock()
	s.noted = s.incarnation
	s.tidiness.worked(s.now(), b.pages, cancelled)
	s.measure()
	if recovered {
		s.log.Info("store takes commits again", "path", s.path, "failures", failures)
	}
}
