package buffer_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// held is a file that somebody else has locked, so that the store can not open it.
type held struct {
	path string
	f    *os.File
}

// hold is for the step at which the fresh file has its name and is not open yet.
func (h *held) hold(t *testing.T) {
	t.Helper()
	f, err := os.Open(h.path)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		t.Errorf("lock %s: %v", h.path, err)
	}
	h.f = f
}

func TestACompactedFileThatCanNotBeOpenedIsOpenedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		other := held{path: path}
		var swaps atomic.Int32
		s := open(t, path, fast(), buffer.WithSteps(func(name string) error {
			if name == "renamed" && swaps.Add(1) == 1 {
				other.hold(t)
			}
			return nil
		}))
		bloat(t, s, large, 3)
		time.Sleep(30 * time.Second)
		if swaps.Load() != 1 {
			t.Fatalf("%d compactions", swaps.Load())
		}
		if _, _, err := s.Table("t").Get([]byte("k")); err == nil {
			t.Fatal("a file that nobody could open was read")
		}
		other.f.Close()
		time.Sleep(10 * time.Minute) // nothing is to be written meanwhile
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, s, 3)
		mustClose(t, s)
		wantWhole(t, open(t, path, fast()), 3)
	})
}

// TestWhatBecameOfACommitIsNotAskedOfAFreshFile has a commit that fails although it
// is on disk, and then a copy of the file that takes its place but can not be opened
// at first. The copy counts its transactions anew.
func TestWhatBecameOfACommitIsNotAskedOfAFreshFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		other := held{path: path}
		var fails, swaps atomic.Int32
		s := open(t, path, fast(),
			buffer.WithHooks(func() error { return nil }, func() error {
				if fails.Add(-1) == 0 {
					return syscall.EIO
				}
				return nil
			}),
			buffer.WithSteps(func(name string) error {
				if name == "renamed" && swaps.Add(1) == 1 {
					other.hold(t)
					time.AfterFunc(5*time.Second, func() { other.f.Close() })
				}
				return nil
			}))
		q := attached(t, s, "q")
		for range 50 {
			do(t, s, func(c *buffer.Change) { add(t, c, q, early("kept")) })
		}
		for range 20 {
			q.Ack(next(t, s, q).Seq)
		}
		fails.Store(1)
		do(t, s, func(c *buffer.Change) {
			add(t, c, q, early("kept"))
			c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
		})
		if swaps.Load() < 2 {
			t.Fatalf("%d copies; the first one was not in the way", swaps.Load())
		}
		mustClose(t, s)
		if err := buffer.Check(path); err != nil {
			t.Error(err)
		}
		wantWhole(t, open(t, path, fast()), 31)
	})
}

func TestAStoreThatHasFailedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		var steps atomic.Int32
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast(),
			buffer.WithFaults(buffer.Faults{Read: func() {
				if broken.Load() {
					panic("a sector that can not be read")
				}
			}}),
			buffer.WithSteps(func(string) error { steps.Add(1); return nil }))
		bloat(t, s, large, 3)
		broken.Store(true)
		if _, _, err := s.Table("t").Get([]byte("other")); err == nil || s.Err() == nil {
			t.Fatalf("Get: %v, Err: %v", err, s.Err())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := steps.Load(); n != 0 {
			t.Errorf("%d steps of a compaction of a file that can not be read", n)
		}
	})
}
