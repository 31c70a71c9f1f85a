package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// A file of bbolt never shrinks: what a backlog took stays free inside it. So a
// file that is mostly free is copied into a fresh one while nobody needs the disk.
//
// It can not become a habit: between two compactions the file has grown to at
// least four times what the first one left, so they add a third to what commits
// write, at most.

// We chose these.
const (
	// Smaller files stay as they are.
	compactFrom = 1 << 20
	// The file is so many times as large as what is in use.
	compactRatio = 4
	// An SD card writes this in about a second, and commits wait so long.
	compactMost = 8 << 20
	// Of a file that is nearly all free more is copied: else it would stay, perhaps
	// for ever.
	extremeRatio = 16
	extremeMost  = 32 << 20

	// The disk counts as idle when it was asked for less than this during the last
	// seconds. What is written wears off at quietRate bytes per second; the worst
	// load is forgotten after 8 s.
	quietRate = 64 << 10
	quietLoad = 2 * quietRate
	mostLoad  = 10 * quietRate
	// cancelledLoad is what an entry counts that was acknowledged before it was
	// written: its publisher waits for the committer all the same.
	cancelledLoad = 256

	firstCompactPause   = time.Minute
	longestCompactPause = time.Hour
	backupPause         = 10 * time.Second // while somebody reads the whole file
	reopenPause         = time.Second
)

// tidiness is the committer's own.
type tidiness struct {
	used, size int64 // bytes in use, and of the file up to the last page that ever was
	load       int64 // bytes that were written lately, less what has worn off
	loadAt     time.Duration
	cancelled  int64         // Stats.Cancelled, as it was at loadAt
	notBefore  time.Duration // after a failure
	pause      time.Duration
}

// measure notes how much of the file is in use. It costs little while the file is
// small or full.
func (s *Store) measure() {
	free := s.db.Stats()
	unused := int64(free.FreePageN+free.PendingPageN) * pageSize
	s.tidiness.used, s.tidiness.size = 0, 0
	if unused < compactFrom/compactRatio*(compactRatio-1) {
		return
	}
	err := s.view(func(tx *bbolt.Tx) error {
		s.tidiness.size = tx.Size()
		return nil
	})
	if err == nil {
		s.tidiness.used = s.tidiness.size - unused
	}
}

// sparse reports whether a compaction is worth its while.
func (t *tidiness) sparse() bool {
	return t.size > compactFrom && t.size > compactRatio*t.used &&
		(t.used <= compactMost || t.used <= extremeMost && t.size > extremeRatio*t.used)
}

// worked counts what a commit wrote.
func (t *tidiness) worked(now time.Duration, bytes, cancelled int64) {
	bytes += cancelledLoad * (cancelled - t.cancelled)
	t.load = min(t.left(now)+bytes, mostLoad)
	t.loadAt, t.cancelled = now, cancelled
}

// left is the load that has not worn off.
func (t *tidiness) left(now time.Duration) int64 {
	return max(0, t.load-int64((now-t.loadAt).Seconds()*quietRate))
}

// wait is how long it takes until the disk counts as idle.
func (t *tidiness) wait(now time.Duration) time.Duration {
	load := t.left(now)
	if load <= quietLoad {
		return max(0, t.notBefore-now)
	}
	return max(t.notBefore-now, time.Duration(float64(load-quietLoad)/quietRate*float64(time.Second))+1)
}

// tidy makes the file small if that is worth its while and nobody needs the disk.
// The committer calls it when no commit is due. It returns after what time it
// wants to be called again, 0: after the next commit.
func (s *Store) tidy() (again time.Duration) {
	t := &s.tidiness
	if !t.sparse() || s.doubt != nil {
		return 0
	}
	if s.db == nil { // the last one could not be opened; those who read wait for it
		if err := s.reopen(); err != nil {
			return reopenPause
		}
		if s.measure(); !t.sparse() {
			return 0
		}
	}
	s.mu.Lock()
	cancelled, failing := s.stats.Cancelled, s.err != nil || s.fatal != nil
	s.mu.Unlock()
	if failing {
		return 0 // a commit follows, and another look; or the store has failed for good
	}
	now := s.now()
	t.worked(now, 0, cancelled)
	if again := t.wait(now); again > 0 {
		return again
	}
	if !s.backups.gate.TryLock() {
		return backupPause
	}
	defer s.backups.gate.Unlock()
	before := t.size
	start := time.Now()
	if _, err := s.rewrite(); err != nil {
		t.pause = min(max(2*t.pause, firstCompactPause), longestCompactPause)
		t.notBefore = s.now() + t.pause
		s.log.Warn("the store's file could not be made smaller; it is tried again", "path", s.path, "size", before, "again_in", t.pause, "err", err)
		if s.db == nil {
			return reopenPause
		}
		return t.pause
	}
	t.pause, t.notBefore = 0, 0
	s.mu.Lock()
	s.stats.Compactions++
	s.mu.Unlock()
	s.log.Info("the store's file was made smaller", "path", s.path, "from", before, "to", t.size, "took", time.Since(start).Round(time.Millisecond))
	return 0
}

func freshPath(path string) string { return path + ".fresh" }

// rewrite copies what the file shows into a fresh one, as replace does.
func (s *Store) rewrite() (swapped bool, err error) {
	return s.replace(func(dst *bbolt.DB) error { return bbolt.Compact(dst, s.db, 1<<20) })
}

// replace has fill write a fresh file, which takes the place of the present one on
// disk when it is complete. Those who read wait for the exchange alone. swapped
// says that the fresh one is in place, although there may be an error.
func (s *Store) replace(fill func(dst *bbolt.DB) error) (swapped bool, err error) {
	fresh := freshPath(s.path)
	os.Remove(fresh)
	defer func() {
		if r := recover(); r != nil {
			err = s.failed(r)
		}
	}()
	size, err := s.copyTo(fresh, fill)
	defer os.Remove(fresh) // once it is in place there is none
	if err != nil {
		return false, fmt.Errorf("copy to a fresh file: %w", err)
	}
	if err := s.step("copied"); err != nil {
		return false, err
	}
	s.lockFile()
	defer s.unlockFile()
	if err := os.Rename(fresh, s.path); err != nil {
		return false, fmt.Errorf("put the fresh file in place: %w", err)
	}
	s.step("renamed")
	s.db.Close()
	if s.db, err = openFile(s.path, s.cfg); err != nil {
		s.db, s.distrust = nil, true
		return true, fmt.Errorf("open the fresh file: %w", err)
	}
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		// After a power cut the old file could be back.
		s.distrust = true
		return true, fmt.Errorf("put the fresh file in place: %w", err)
	}
	s.fileSize.Store(fileSize(s.db))
	s.touched.Store(2 * relaxEvery) // bbolt looked at every page
	s.tidiness.used, s.tidiness.size = size, size
	s.mu.Lock()
	s.stats.BytesWritten += size
	s.stats.Fsyncs += 2
	s.mu.Unlock()
	return true, nil
}

// copyTo has fill write a new file, and has it on disk when it returns. size is what
// was written.
func (s *Store) copyTo(path string, fill func(dst *bbolt.DB) error) (size int64, err error) {
	if err := s.step("copying"); err != nil {
		return 0, err
	}
	dst, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, NoFreelistSync: true,
		FreelistType: bbolt.FreelistMapType, NoSync: true, NoGrowSync: true,
	})
	if err != nil {
		return 0, err
	}
	dst.AllocSize = growStep
	if err = fill(dst); err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = dst.View(func(tx *bbolt.Tx) error {
			size = tx.Size()
			return nil
		})
	}
	return size, errors.Join(err, dst.Close())
}
