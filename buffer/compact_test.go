package buffer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// onDisk is the room that a file takes, as du counts.
func onDisk(t testing.TB, path string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks) * 512
}

// bloat leaves a large file with little in it: a table entry, and what keep says of
// the queue.
func bloat(t testing.TB, s *buffer.Store, records, keep int) *buffer.Queue {
	t.Helper()
	q := attached(t, s, "q")
	for at := 0; at < records; at += 1000 {
		do(t, s, func(c *buffer.Change) {
			for range 1000 {
				add(t, c, q, early(strings.Repeat("x", 200)))
			}
			c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
		})
	}
	do(t, s, func(c *buffer.Change) {
		for range keep {
			add(t, c, q, early("kept"))
		}
	})
	for n := 0; n < records; {
		e, ok, err := q.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			do(t, s, func(*buffer.Change) {})
			continue
		}
		q.Ack(e.Seq)
		n++
	}
	do(t, s, func(*buffer.Change) {})
	return q
}

func wantWhole(t testing.TB, s *buffer.Store, keep int) {
	t.Helper()
	if v, ok, err := s.Table("t").Get([]byte("k")); string(v) != "v" || !ok || err != nil {
		t.Errorf("the table holds %q, %v, %v", v, ok, err)
	}
	q := queue(t, s, "q", buffer.Limits{})
	n := 0
	if err := q.Each(func(e buffer.Entry) bool { n++; return string(e.Data) == "kept" }); err != nil || n != keep {
		t.Errorf("the queue holds %d entries, want %d: %v", n, keep, err)
	}
}

const large = 20_000 // records of bloat, some 5 MiB

func TestADrainedBacklogGivesItsSpaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		s := open(t, path, fast())
		q := bloat(t, s, large, 3)
		before := onDisk(t, path)
		if before < 4<<20 || s.Stats().Compactions > 0 {
			t.Fatalf("%d bytes before, %+v", before, s.Stats())
		}
		written := s.Stats().BytesWritten
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := s.Sync(context.Background()); err != nil { // it looks again
			t.Fatal(err)
		}
		synctest.Wait()
		st := s.Stats()
		if got := onDisk(t, path); got > 128<<10 || st.Compactions != 1 {
			t.Errorf("%d bytes of %d after 10 idle seconds, %d compactions", got, before, st.Compactions)
		}
		if cost := st.BytesWritten - written; cost < 4096 || cost > 128<<10 {
			t.Errorf("%d bytes were counted as written", cost)
		}
		wantWhole(t, s, 3)
		e := next(t, s, q)
		if string(e.Data) != "kept" || e.Seq != large+1 {
			t.Errorf("the next entry is %d %q", e.Seq, e.Data)
		}
		q.Ack(e.Seq)
		do(t, s, func(c *buffer.Change) { add(t, c, q, early("kept")) })
		path = crash(t, path)
		wantWhole(t, open(t, path, fast()), 3)

		// Nothing is copied again for nothing.
		written = s.Stats().BytesWritten
		for range 48 {
			time.Sleep(time.Hour)
			if err := s.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if st := s.Stats(); st.Compactions != 1 || st.BytesWritten != written {
			t.Errorf("%d compactions and %d bytes after two idle days", st.Compactions, st.BytesWritten-written)
		}
	})
}

func TestNothingIsCompactedUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
		q := bloat(t, s, large, 0)
		for range 120 { // a minute
			do(t, s, func(c *buffer.Change) {
				for range 10 {
					q.Ack(add(t, c, q, buffer.Record{Data: make([]byte, 8000)}))
					add(t, c, q, buffer.Record{Data: make([]byte, 8000), Urgency: buffer.Sync})
				}
			})
			for {
				e, ok, _ := q.Next()
				if !ok {
					break
				}
				q.Ack(e.Seq)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if st := s.Stats(); st.Compactions > 0 {
			t.Errorf("%d compactions under load", st.Compactions)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if st := s.Stats(); st.Compactions != 1 {
			t.Errorf("%d compactions after it", st.Compactions)
		}
	})
}

func TestAFileThatIsInUseIsNotCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
		bloat(t, s, large, 3*large) // a fifth of the bytes, but a third of the pages
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := s.Stats(); st.Compactions > 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestAKillDuringACompactionLosesNothing looks at what a killed process would leave
// behind at each step.
func TestAKillDuringACompactionLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		killed := make(map[string]string)
		s := open(t, path, fast(), buffer.WithSteps(func(name string) error {
			copied := crash(t, path)
			if name != "renamed" {
				// What the copy has got to is anything, and half of it.
				b, _ := os.ReadFile(path + ".fresh")
				if name == "copying" {
					b = []byte("torn")
				}
				if err := os.WriteFile(copied+".fresh", b, 0o600); err != nil {
					t.Error(err)
				}
			}
			killed[name] = copied
			return nil
		}))
		bloat(t, s, large, 5)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(killed) != 3 {
			t.Fatalf("killed at %v", killed)
		}
		for name, path := range killed {
			s := open(t, path, fast())
			if aside := s.Stats().SetAside; aside != "" {
				t.Errorf("killed while %s: set aside as %s", name, aside)
			}
			wantWhole(t, s, 5)
			mustClose(t, s)
			if _, err := os.Stat(path + ".fresh"); err == nil {
				t.Errorf("killed while %s: the copy stays behind", name)
			}
		}
	})
}

func TestACompactionOnAFullDiskIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		var mu sync.Mutex
		tries, full := 0, true
		s := open(t, path, fast(), buffer.WithSteps(func(name string) error {
			mu.Lock()
			defer mu.Unlock()
			if name != "copying" {
				return nil
			}
			tries++
			if full {
				return syscall.ENOSPC
			}
			return nil
		}))
		bloat(t, s, large, 5)
		for range 24 * 10 {
			time.Sleep(6 * time.Minute)
			if err := s.Sync(context.Background()); err != nil { // and the committer looks around
				t.Fatal(err)
			}
		}
		synctest.Wait()
		mu.Lock()
		if tries < 10 || tries > 40 {
			t.Errorf("%d tries within a day", tries)
		}
		full = false
		mu.Unlock()
		if st := s.Stats(); st.Compactions != 0 || st.Err != "" || st.Full {
			t.Errorf("%+v", st)
		}
		wantWhole(t, s, 5)
		do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte("k2"), nil, buffer.Sync) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := s.Stats(); st.Compactions != 1 || onDisk(t, path) > 128<<10 {
			t.Errorf("%+v", st)
		}
		wantWhole(t, s, 5)
	})
}

// TestWhatComesDuringACompactionIsKept begins work while the copy runs: readers are
// served at once, writers after it.
func TestWhatComesDuringACompactionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		done := make(chan error, 1)
		var s *buffer.Store
		s = open(t, path, fast(), buffer.WithSteps(func(name string) error {
			if name != "copied" {
				return nil
			}
			if v, ok, err := s.Table("t").Get([]byte("k")); string(v) != "v" || !ok || err != nil {
				t.Errorf("a reader during the copy got %q, %v, %v", v, ok, err)
			}
			c := s.Begin()
			c.Put(s.Table("t"), []byte("late"), []byte("v"), buffer.Sync)
			c.Commit(func(err error) { done <- err })
			return nil
		}))
		bloat(t, s, large, 5)
		time.Sleep(10 * time.Second)
		if err := receive(t, "done of the late Change", done); err != nil {
			t.Error(err)
		}
		s = open(t, crash(t, path), fast())
		wantWhole(t, s, 5)
		if _, ok, err := s.Table("t").Get([]byte("late")); !ok || err != nil {
			t.Errorf("what came during the copy is lost: %v", err)
		}
	})
}

func TestANearlyEmptyFileIsMadeSmallAfterOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	bloat(t, s, large, 5)
	mustClose(t, s)
	if got := onDisk(t, path); got < 4<<20 {
		t.Fatalf("%d bytes", got)
	}
	copied := make(chan struct{})
	s = open(t, path, fast(), buffer.WithSteps(func(name string) error {
		if name == "renamed" {
			close(copied)
		}
		return nil
	}))
	select {
	case <-copied:
	case <-time.After(time.Minute):
		t.Fatal("it was not compacted")
	}
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := onDisk(t, path); got > 128<<10 {
		t.Errorf("%d bytes", got)
	}
	wantWhole(t, s, 5)
}
