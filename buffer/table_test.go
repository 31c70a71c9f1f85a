package buffer_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

func TestTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	long := strings.Repeat("k", 65_535)
	long2 := strings.Repeat("k", 65_534) + "l"
	for _, stage := range []string{"pending", "on disk", "after a restart"} {
		s := open(t, path, patient())
		table := s.Table("t")
		if stage == "pending" {
			c := s.Begin()
			for _, k := range []string{"a", "b", "empty", "gone", long, long2} {
				c.Put(table, []byte(k), []byte("value of "+k), buffer.Idle)
			}
			c.Put(table, []byte("empty"), nil, buffer.Lazy)
			c.Delete(table, []byte("gone"), buffer.Idle)
			c.Delete(table, []byte("never there"), buffer.Idle)
			c.Put(s.Table("other"), []byte("a"), []byte("x"), buffer.Sync)
			c.Commit(nil)
		}
		if stage == "on disk" {
			do(t, s, func(*buffer.Change) {})
		}
		t.Run(stage, func(t *testing.T) {
			for _, k := range []string{"a", "b", long, long2} {
				if v, ok, err := table.Get([]byte(k)); string(v) != "value of "+k || !ok || err != nil {
					t.Errorf("%.10q = %.20q, %v, %v", k, v, ok, err)
				}
			}
			if v, ok, err := table.Get([]byte("empty")); len(v) != 0 || !ok || err != nil {
				t.Errorf("empty = %q, %v, %v", v, ok, err)
			}
			for _, k := range []string{"gone", "never there", "x"} {
				if v, ok, err := table.Get([]byte(k)); v != nil || ok || err != nil {
					t.Errorf("%s = %q, %v, %v", k, v, ok, err)
				}
			}
			got := make(map[string]int)
			if err := table.Each(func(k, v []byte) error { got[string(k)]++; return nil }); err != nil {
				t.Fatal(err)
			}
			if len(got) != 5 || got[long] != 1 || got["empty"] != 1 {
				t.Errorf("Each gave %d keys", len(got))
			}
			stop := errors.New("stop")
			n := 0
			if err := table.Each(func(k, v []byte) error { n++; return stop }); err != stop || n != 1 {
				t.Errorf("Each went on after an error: %v, %d calls", err, n)
			}
		})
		mustClose(t, s)
	}
}

func TestEachGoesThroughALargeTableInSlices(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	table := s.Table("t")
	do(t, s, func(c *buffer.Change) {
		for i := range 3000 {
			c.Put(table, fmt.Appendf(nil, "%d", i), make([]byte, 100), buffer.Sync)
		}
	})
	seen := make(map[string]bool)
	err := table.Each(func(k, v []byte) error {
		if seen[string(k)] {
			t.Errorf("%s came twice", k)
		}
		seen[string(k)] = true
		// The table may be changed during the call.
		if len(seen) == 1 {
			do(t, s, func(c *buffer.Change) { c.Put(table, k, []byte("new"), buffer.Sync) })
		}
		return nil
	})
	if err != nil || len(seen) != 3000 {
		t.Errorf("%d keys, %v", len(seen), err)
	}
}

func TestCoalescedPutsAreWrittenOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	table := s.Table("t")
	before := s.Stats().Records
	for i := range 100 {
		c := s.Begin()
		c.Put(table, []byte("k"), fmt.Append(nil, i), buffer.Urgency(i%3))
		c.Commit(nil)
	}
	if got := s.Stats().PendingBytes; got > 1000 {
		t.Errorf("%d bytes wait for one key", got)
	}
	do(t, s, func(*buffer.Change) {})
	if got := s.Stats().Records - before; got != 1 {
		t.Errorf("%d records written, want 1", got)
	}
	if v, _, _ := table.Get([]byte("k")); string(v) != "99" {
		t.Errorf("k = %s", v)
	}
	if got := s.Stats().PendingBytes; got != 0 {
		t.Errorf("%d bytes still wait", got)
	}
}

// TestWhatComesAndGoesBeforeItIsWrittenIsNotWritten puts keys that are new, and deletes
// them, before, during and after a commit that fails.
func TestWhatComesAndGoesBeforeItIsWrittenIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		var during atomic.Pointer[func() error]
		s, err := buffer.Open(path, timed(), quiet(t), buffer.WithHooks(func() error {
			if fn := during.Swap(nil); fn != nil {
				return (*fn)()
			}
			return nil
		}, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		table := s.Table("t")
		change := func(fn func(c *buffer.Change)) {
			c := s.Begin()
			fn(c)
			c.Commit(nil)
		}
		put := func(k string) {
			change(func(c *buffer.Change) { c.PutNew(table, []byte(k), []byte("v"), buffer.Sync) })
		}
		remove := func(k string) {
			change(func(c *buffer.Change) { c.Delete(table, []byte(k), buffer.Sync) })
			if _, ok, err := table.Get([]byte(k)); ok || err != nil {
				t.Errorf("%s is there after its Delete: %v", k, err)
			}
		}
		waits := func(when string, want bool) {
			t.Helper()
			if got := s.Stats().PendingBytes > 0; got != want {
				t.Errorf("%s: %d bytes wait", when, s.Stats().PendingBytes)
			}
		}
		settle := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
			waits("at rest", false)
		}
		settle()
		put("before")
		change(func(c *buffer.Change) { c.Put(table, []byte("before"), []byte("newer"), buffer.Lazy) })
		remove("before")
		waits("before a commit", false)

		for _, fails := range []bool{false, true} {
			fn := func() error {
				remove("during")
				put("later")
				remove("later")
				if fails {
					return noSpace
				}
				return nil
			}
			during.Store(&fn)
			put("during")
			time.Sleep(60 * time.Millisecond)
			synctest.Wait()
			if fails {
				waits("after a commit that failed", false)
			}
			settle()
		}
		put("after")
		settle()
		remove("after")
		waits("what is on disk", true)
		settle()
		n := 0
		if err := table.Each(func(k, _ []byte) error { n++; return nil }); err != nil || n > 0 {
			t.Errorf("%d keys are left, %v", n, err)
		}
	})
}
