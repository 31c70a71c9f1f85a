package buffer_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"edgegateway/buffer"
	"edgegateway/internal/need"
)

func remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %v %s", err, out)
	}
}

func TestAStoreOnAReadOnlyDiskGivesWhatItHasAndWritesLater(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := t.TempDir()
		need.Tmpfs(t, dir, "size=16m")
		path := filepath.Join(dir, "store.db")
		s := open(t, path, fast())
		q := attached(t, s, "q")
		do(t, s, func(c *buffer.Change) { add(t, c, q, early("old")) })
		if clean {
			mustClose(t, s)
		} else {
			copied := crash(t, path)
			mustClose(t, s)
			for _, suffix := range []string{"", ".state"} {
				b, err := os.ReadFile(copied + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		remount(t, dir, "ro")

		s = open(t, path, fast())
		if s.Late() == nil {
			t.Fatal("the disk is said to take writes")
		}
		q = queue(t, s, "q", buffer.Limits{})
		c := s.Begin()
		c.Attach(q, buffer.Sync)
		add(t, c, q, early("new"))
		c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
		done := make(chan error, 1)
		c.Commit(func(err error) { done <- err })
		if e, ok, err := q.Next(); !ok || err != nil || string(e.Data) != "old" {
			t.Fatalf("Next: %q, %v, %v", e.Data, ok, err)
		}
		select {
		case err := <-done:
			t.Fatalf("done(%v) on a read-only disk", err)
		default:
		}
		remount(t, dir, "rw")
		if err := receive(t, "done", done); err != nil {
			t.Fatal(err)
		}
		if s.Late() != nil || s.Stats().Err != "" {
			t.Errorf("Late: %v, Err: %s", s.Late(), s.Stats().Err)
		}
		mustClose(t, s)
		s = open(t, path, fast())
		wantDrain(t, attached(t, s, "q"), "old+", "new")
		if s.Restored() || s.Stats().SetAside != "" {
			t.Error("the file is taken for another one")
		}
		mustClose(t, s)
	}
}

func TestANewStoreBeginsWhenTheDiskTakesWrites(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"read-only", "size=16m,ro", "rw"},
		{"full", "size=4k", "size=16m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			need.Tmpfs(t, dir, c.before)
			path := filepath.Join(dir, "store.db")
			s := open(t, path, fast())
			if s.Late() == nil {
				t.Fatal("the disk is said to take writes")
			}
			q := queue(t, s, "q", buffer.Limits{})
			change := s.Begin()
			change.Attach(q, buffer.Sync)
			add(t, change, q, early("x"))
			done := make(chan error, 1)
			change.Commit(func(err error) { done <- err })
			if e, ok, err := q.Next(); ok || err != nil {
				t.Errorf("Next: %q, %v", e.Data, err)
			}
			remount(t, dir, c.after)
			if err := receive(t, "done", done); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			s = open(t, path, fast())
			wantDrain(t, attached(t, s, "q"), "x")
			mustClose(t, s)
		})
	}
}

// TestALateFileThatCanNotBeMappedAgainIsAnErrorAndNotEmpty: another process looks at
// the file just when the disk takes writes again, and memory is short.
func TestALateFileThatCanNotBeMappedAgainIsAnErrorAndNotEmpty(t *testing.T) {
	dir := t.TempDir()
	need.Tmpfs(t, dir, "size=16m")
	path := filepath.Join(dir, "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 20 {
			add(t, c, q, early(strconv.Itoa(i)))
		}
		c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
	})
	mustClose(t, s)
	remount(t, dir, "ro")

	var maps atomic.Int32
	failed := make(chan error, 100)
	s = open(t, path, fast(), buffer.WithWindow(2), buffer.WithSteps(func(name string) error {
		if name != "mapping" || maps.Add(1) == 1 {
			return nil
		}
		failed <- nil
		return syscall.ENOMEM
	}))
	q = queue(t, s, "q", buffer.Limits{})
	c := s.Begin()
	c.Attach(q, buffer.Sync)
	c.Commit(nil)
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	remount(t, dir, "rw")
	_ = receive(t, "the second mapping", failed)

	seen := 0
	count := func(buffer.Entry) bool { seen++; return seen < 1000 }
	if err := q.Each(count); err == nil {
		t.Errorf("Each: %d entries, and no error", seen)
	}
	if n, _, err := q.Purge(context.Background(), func(buffer.Entry) bool { return false }); err == nil {
		t.Errorf("Purge: %d, and no error", n)
	}
	if _, ok, err := s.Table("t").Get([]byte("k")); err == nil {
		t.Errorf("Get: %v, and no error", ok)
	}
	noticed := make(chan error, 100)
	q.Notify(func() { noticed <- nil })
	if e, ok, err := q.Poll(); ok || err != nil {
		t.Fatalf("Poll: %q, %v", e.Data, err)
	}
	_ = receive(t, "the end of the read", noticed)
	if e, ok, err := q.Poll(); ok || err == nil {
		t.Errorf("Poll behind it: %q, %v, and no error", e.Data, ok)
	}

	if err := errors.Join(syscall.Flock(int(other.Fd()), syscall.LOCK_UN), other.Close()); err != nil {
		t.Fatal(err)
	}
	do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte("k2"), nil, buffer.Sync) })
	if seen = 0; q.Each(count) != nil || seen != 20 {
		t.Errorf("%d entries when the disk takes writes", seen)
	}
	mustClose(t, s)
}
