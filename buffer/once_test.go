package buffer_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// A commit that fails may have left everything in the file, or nothing. Nobody is
// told anything before that is known: neither that his records are safe, nor that
// they are lost.
func TestNobodyIsToldAnythingBeforeItIsKnownWhatAFailedCommitHasLeft(t *testing.T) {
	for name, c := range map[string]struct {
		visible bool
		err     error
	}{
		"the data is visible":                    {true, errors.New("short write")},
		"the data is not visible":                {false, errors.New("short write")},
		"the data is visible, fsync failed":      {true, syscall.EIO},
		"the data is not visible, fsync failed":  {false, syscall.EIO},
		"the data is visible, no space is left":  {true, noSpace},
		"the data is not visible, none is there": {false, noSpace},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			away := path + ".away"
			var fail atomic.Bool
			hook := func() error {
				if !fail.CompareAndSwap(true, false) {
					return nil
				}
				// The file is not there before the test puts it back. To begin a new one
				// instead would lose everything.
				if err := os.Rename(path, away); err != nil {
					t.Error(err)
				}
				return c.err
			}
			nothing := func() error { return nil }
			opt := buffer.WithHooks(hook, nothing)
			if c.visible {
				opt = buffer.WithHooks(nothing, hook)
			}
			synctest.Test(t, func(t *testing.T) {
				s, err := buffer.Open(path, timed(), quiet(t), opt)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				q := attached(t, s, "q")
				do(t, s, func(c *buffer.Change) { add(t, c, q, buffer.Record{Data: []byte("marked")}) })
				marked := wantDrain(t, q, "marked")[0]

				fail.Store(true)
				change := s.Begin()
				add(t, change, q, buffer.Record{Data: []byte("appended"), Urgency: buffer.Sync})
				change.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
				done, told := stopwatch()
				change.Commit(done)
				mark, markTold := stopwatch()
				q.Received(marked, mark)
				time.Sleep(5 * time.Minute)
				if told() != -1 || markTold() != -1 {
					t.Errorf("told after %v and %v, and the file is not there", told(), markTold())
				}
				wantDrain(t, q) // and nobody gets what was to be on disk first

				if err := os.Rename(away, path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if told() < 5*time.Minute || markTold() < 5*time.Minute {
					t.Errorf("told after %v and %v, want after the file is back", told(), markTold())
				}
				wantDrain(t, q, "appended")
				mustClose(t, s)
				s = open(t, path, timed())
				wantDrain(t, attached(t, s, "q"), "marked+*", "appended+")
				if v, _, _ := s.Table("t").Get([]byte("k")); string(v) != "v" {
					t.Errorf("k = %q", v)
				}
				mustClose(t, s)
			})
		})
	}
}

// A put that may wait is older than one that may not. Whatever the order in which
// they are written, and wherever the power goes, the older never lands on the newer.
func TestAnOlderPutThatMayWaitNeverLandsOnANewerOne(t *testing.T) {
	for _, older := range []buffer.Urgency{buffer.Idle, buffer.Lazy} {
		for _, deleted := range []bool{false, true} {
			name := older.String() + " put"
			if deleted {
				name = older.String() + " delete"
			}
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				synctest.Test(t, func(t *testing.T) {
					s, err := buffer.Open(path, timed(), quiet(t))
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					table := s.Table("t")
					do(t, s, func(c *buffer.Change) { c.Put(table, []byte("k"), []byte("first"), buffer.Sync) })
					change := func(u buffer.Urgency, value string) (after func() time.Duration) {
						c := s.Begin()
						if value == "" {
							c.Delete(table, []byte("k"), u)
						} else {
							c.Put(table, []byte("k"), []byte(value), u)
						}
						done, after := stopwatch()
						c.Commit(done)
						return after
					}
					if value := "older"; deleted {
						change(older, "")
					} else {
						change(older, value)
					}
					safe := change(buffer.Sync, "newer")
					change(older, "newest") // and one behind, which is not safe yet
					check := func(when string, on *buffer.Store, want ...string) {
						t.Helper()
						v, ok, err := on.Table("t").Get([]byte("k"))
						for _, w := range want {
							if string(v) == w && ok && err == nil {
								return
							}
						}
						t.Errorf("%s: k = %q, %v, %v, want one of %q", when, v, ok, err, want)
					}
					time.Sleep(50 * time.Millisecond)
					if got := safe(); got != 50*time.Millisecond {
						t.Fatalf("the newer one is safe after %v", got)
					}
					for _, at := range []time.Duration{0, 5 * time.Second, 10 * time.Minute} { // when each class is due
						time.Sleep(at)
						synctest.Wait()
						check("in memory", s, "newest")
						killed := open(t, crash(t, path), timed())
						check("after a kill", killed, "newer", "newest")
						mustClose(t, killed)
					}
				})
			})
		}
	}
}
