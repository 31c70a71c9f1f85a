package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// timed is the configuration that the tests of the timers reckon with. Inside
// synctest a commit takes no time, so every moment is exact.
func timed() buffer.Config {
	c := buffer.DefaultConfig()
	c.Sync, c.Lazy, c.RetainedEvery = 50*time.Millisecond, 5*time.Second, 10*time.Minute
	c.MaxSize = 16 << 20
	return c
}

// timing runs fn in a bubble with a store and an attached queue on disk.
func timing(t *testing.T, fn func(t *testing.T, s *buffer.Store, q *buffer.Queue)) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := buffer.Open(path, timed(), quiet(t))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fn(t, s, attached(t, s, "q"))
	})
}

// stopwatch returns a done function and one that tells when it was called.
func stopwatch() (done func(error), after func() time.Duration) {
	var mu sync.Mutex
	start, took := time.Now(), time.Duration(-1)
	return func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if took = time.Since(start); err != nil {
				took = -2
			}
		}, func() time.Duration {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return took
		}
}

func TestUrgencySaysWhenACommitBegins(t *testing.T) {
	for _, c := range []struct {
		name string
		fn   func(c *buffer.Change, s *buffer.Store, q *buffer.Queue)
		want time.Duration
	}{
		{"sync append", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Append(q, buffer.Record{Data: []byte("x"), Urgency: buffer.Sync})
		}, 50 * time.Millisecond},
		{"lazy append", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Append(q, buffer.Record{Data: []byte("x"), Urgency: buffer.Lazy})
		}, 5 * time.Second},
		{"sync put", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
		}, 50 * time.Millisecond},
		{"lazy delete", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Delete(s.Table("t"), []byte("k"), buffer.Lazy)
		}, 5 * time.Second},
		{"lazy detach", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Detach(q, buffer.Lazy)
		}, 5 * time.Second},
		{"idle put holds nothing back", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Idle)
		}, 0},
		{"nothing at all", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {}, 0},
		{"lazy append with a sync put", func(c *buffer.Change, s *buffer.Store, q *buffer.Queue) {
			c.Append(q, buffer.Record{Data: []byte("x"), Urgency: buffer.Lazy})
			c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
		}, 50 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
				done, after := stopwatch()
				change := s.Begin()
				c.fn(change, s, q)
				change.Commit(done)
				time.Sleep(time.Minute)
				if got := after(); got != c.want {
					t.Errorf("done after %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestIdleRidesAlongOrWaitsLong(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		table := s.Table("t")
		put := func(u buffer.Urgency) {
			c := s.Begin()
			c.Put(table, []byte(u.String()), []byte("v"), u)
			c.Commit(nil)
		}
		commits := func() int64 { synctest.Wait(); return s.Stats().Commits }
		before := commits()
		put(buffer.Idle)
		time.Sleep(10*time.Minute - time.Millisecond)
		if got := commits() - before; got != 0 {
			t.Errorf("%d commits for an idle put before its time", got)
		}
		time.Sleep(time.Millisecond)
		if got := commits() - before; got != 1 {
			t.Errorf("%d commits for an idle put, want 1", got)
		}
		put(buffer.Idle)
		put(buffer.Sync)
		time.Sleep(time.Hour)
		if got := commits() - before; got != 2 {
			t.Errorf("%d commits, want 2: an idle put rides with a sync one", got)
		}
	})
}

func TestChangesShareACommit(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		before := s.Stats()
		for range 40 {
			c := s.Begin()
			c.Append(q, buffer.Record{Data: []byte("x"), Urgency: buffer.Sync})
			c.Commit(nil)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		after := s.Stats()
		if got := after.Commits - before.Commits; got != 1 {
			t.Errorf("%d commits for 40 changes within 40 ms, want 1", got)
		}
		if got := after.Fsyncs - before.Fsyncs; got != 2 {
			t.Errorf("%d fsyncs, want 2", got)
		}
	})
}

// cycle hands out what there is and acknowledges it after d.
func cycle(t *testing.T, s *buffer.Store, q *buffer.Queue, d time.Duration) {
	t.Helper()
	c := s.Begin()
	c.Append(q, buffer.Record{Data: []byte("x"), Early: true, Urgency: buffer.Sync})
	done, after := stopwatch()
	c.Commit(done)
	e, ok, err := q.Next()
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	time.Sleep(d)
	q.Ack(e.Seq)
	if got := after(); got < 0 || got > d {
		t.Errorf("acknowledged after %v, done after %v", d, got)
	}
}

func TestWhatIsAcknowledgedBeforeItsCommitIsNeverWritten(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		// The first one measures; 100 ms are more than Sync, so it is written.
		cycle(t, s, q, 100*time.Millisecond)
		time.Sleep(time.Minute) // its removal
		synctest.Wait()
		before := s.Stats()
		for range 100 {
			cycle(t, s, q, 100*time.Millisecond)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		after := s.Stats()
		if after.BytesWritten != before.BytesWritten || after.Commits != before.Commits || after.Fsyncs != before.Fsyncs {
			t.Errorf("100 delivered messages cost %d bytes in %d commits, want 0",
				after.BytesWritten-before.BytesWritten, after.Commits-before.Commits)
		}
		if got := after.Cancelled - before.Cancelled; got != 100 {
			t.Errorf("%d writes cancelled, want 100", got)
		}
		if after.PendingBytes != 0 || after.Pending != 0 {
			t.Errorf("%d bytes in %d changes still wait", after.PendingBytes, after.Pending)
		}
	})
}

func TestHope(t *testing.T) {
	const ack = 100 * time.Millisecond
	for _, c := range []struct {
		name   string
		record buffer.Record
		extra  func(c *buffer.Change, s *buffer.Store)
		during func(s *buffer.Store, q *buffer.Queue) // 10 ms after Commit
		want   time.Duration
	}{
		{name: "four times the time of an acknowledgement", want: 4 * ack,
			record: buffer.Record{Early: true, Urgency: buffer.Sync}},
		{name: "none for an entry that must be on disk first", want: 50 * time.Millisecond,
			record: buffer.Record{Urgency: buffer.Sync}},
		{name: "none if something is written anyway", want: 50 * time.Millisecond,
			record: buffer.Record{Early: true, Urgency: buffer.Sync},
			extra: func(c *buffer.Change, s *buffer.Store) {
				c.Put(s.Table("t"), []byte("k"), nil, buffer.Sync)
			}},
		{name: "ends when the receiver leaves", want: 50 * time.Millisecond,
			record: buffer.Record{Early: true, Urgency: buffer.Sync},
			during: func(s *buffer.Store, q *buffer.Queue) {
				c := s.Begin()
				c.Detach(q, buffer.Lazy)
				c.Commit(nil)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
				for range 3 {
					cycle(t, s, q, ack)
				}
				change := s.Begin()
				change.Append(q, c.record)
				if c.extra != nil {
					c.extra(change, s)
				}
				done, after := stopwatch()
				change.Commit(done)
				q.Next()
				time.Sleep(10 * time.Millisecond)
				if c.during != nil {
					c.during(s, q)
				}
				time.Sleep(time.Minute)
				if got := after(); got != c.want {
					t.Errorf("written after %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestNoHopeForAReceiverThatStopped(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		for range 3 {
			cycle(t, s, q, 100*time.Millisecond)
		}
		c := s.Begin()
		c.Append(q, early("stuck"))
		c.Commit(nil)
		q.Next()
		time.Sleep(time.Minute)
		c = s.Begin()
		c.Append(q, early("behind it"))
		done, after := stopwatch()
		c.Commit(done)
		time.Sleep(time.Minute)
		if got := after(); got != 50*time.Millisecond {
			t.Errorf("written after %v, want 50ms", got)
		}
	})
}

func TestIdleRestOfACancelledChangeIsWrittenAndNeverOverANewerOne(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		table := s.Table("t")
		c := s.Begin()
		seq, _ := c.Append(q, early("x"))
		c.Put(table, []byte("a"), []byte("old"), buffer.Idle)
		c.Put(table, []byte("b"), []byte("rest"), buffer.Idle)
		done, after := stopwatch()
		c.Commit(done)
		q.Next()
		q.Ack(seq)
		if got := after(); got != 0 {
			t.Errorf("done after %v, want at once", got)
		}
		do(t, s, func(c *buffer.Change) { c.Put(table, []byte("a"), []byte("new"), buffer.Sync) })
		time.Sleep(time.Hour)
		for key, want := range map[string]string{"a": "new", "b": "rest"} {
			if got, ok, err := table.Get([]byte(key)); string(got) != want || !ok || err != nil {
				t.Errorf("%s = %q, %v, %v; want %q", key, got, ok, err, want)
			}
		}
	})
}

func TestReceivedIsMarkedWithinSync(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		do(t, s, func(c *buffer.Change) { c.Append(q, buffer.Record{Data: []byte("x")}) })
		e, _, _ := q.Next()
		done, after := stopwatch()
		if !q.Received(e.Seq, done) {
			t.Fatal("unknown")
		}
		time.Sleep(time.Minute)
		if got := after(); got != 50*time.Millisecond {
			t.Errorf("marked after %v, want 50ms", got)
		}
		if q.Received(999, nil) {
			t.Error("an unknown entry was marked")
		}
		volatile := buffer.NewVolatile(buffer.Limits{}, nil)
		c := s.Begin()
		seq, _ := c.Append(volatile, buffer.Record{Data: []byte("x")})
		volatile.Next()
		called := false
		volatile.Received(seq, func(err error) { called = err == nil })
		if !called {
			t.Error("a volatile queue did not call at once")
		}
	})
}

func TestRemovalsAreForcedBeforeIdentifiersRunOut(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		do(t, s, func(c *buffer.Change) { c.Append(q, early("first")) })
		e, _, _ := q.Next()
		q.Ack(e.Seq)
		notified := 0
		q.Notify(func() { notified++ })
		before := s.Stats().Commits
		for i := range 30_001 {
			if i == 30_000 {
				synctest.Wait()
				if got := s.Stats().Commits; got != before {
					t.Fatal("committed before it was necessary")
				}
			}
			c := s.Begin()
			seq, err := c.Append(q, buffer.Record{Early: true, Urgency: buffer.Lazy})
			if err != nil {
				t.Fatal(err)
			}
			c.Commit(nil)
			if _, ok, _ := q.Next(); !ok {
				t.Fatal("nothing to hand out")
			}
			q.Ack(seq)
		}
		synctest.Wait()
		if got := s.Stats().Commits; got == before {
			t.Error("30,001 numbers later the removal of the first is still not on disk")
		}
		if notified == 0 {
			t.Error("nobody was told that numbers are free")
		}
	})
}

// noSpace is what a write to a full disk returns.
var noSpace = &os.PathError{Op: "write", Path: "store.db", Err: syscall.ENOSPC}

func TestAHurriedRemovalIsWrittenAtOnce(t *testing.T) {
	timing(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue) {
		q.Hurry() // nothing waits
		do(t, s, func(c *buffer.Change) { c.Append(q, early("a")) })
		seq := wantDrain(t, q, "a")[0]
		q.Ack(seq)
		// What hopes, or may wait, is not written along.
		c := s.Begin()
		c.Append(q, buffer.Record{Data: []byte("b"), Early: true, Urgency: buffer.Lazy})
		c.Commit(nil)
		notified := 0
		q.Notify(func() { notified++ })
		if oldest, ok := q.Oldest(); !ok || oldest != seq {
			t.Fatalf("Oldest = %d, %v", oldest, ok)
		}
		before := s.Stats()
		q.Hurry()
		synctest.Wait()
		if oldest, ok := q.Oldest(); ok || notified != 1 {
			t.Errorf("Oldest = %d, %v; notified %d times", oldest, ok, notified)
		}
		if after := s.Stats(); after.Commits != before.Commits+1 || after.Records != before.Records {
			t.Errorf("%d commits, %d records", after.Commits-before.Commits, after.Records-before.Records)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if after := s.Stats(); after.Records != before.Records+1 {
			t.Errorf("%d records", after.Records-before.Records)
		}
	})
}

func TestAFailingDiskIsRetriedAndNobodyIsTold(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		applied bool // the transaction is in the file although its commit failed
	}{
		{"no space", noSpace, false},
		{"error after the data is visible", errors.New("short write"), true},
		{"error, and nothing is visible", errors.New("short write"), false},
		{"fsync fails, data visible", syscall.EIO, true},
		{"fsync fails, data not visible", syscall.EIO, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			var failures atomic.Int32 // that are to come
			hook := func() error {
				if failures.Add(-1) >= 0 {
					return c.err
				}
				return nil
			}
			nothing := func() error { return nil }
			opt := buffer.WithHooks(hook, nothing)
			if c.applied {
				opt = buffer.WithHooks(nothing, hook)
			}
			synctest.Test(t, func(t *testing.T) {
				s, err := buffer.Open(path, timed(), quiet(t), opt)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				q := attached(t, s, "q")
				do(t, s, func(c *buffer.Change) { add(t, c, q, early("0")) })
				// Open, so that its number is not given to one of the fresh files.
				first, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer first.Close()
				file, err := first.Stat()
				if err != nil {
					t.Fatal(err)
				}
				failures.Store(3)
				if c.applied {
					failures.Store(1)
				}
				change := s.Begin()
				for i := range 3 {
					add(t, change, q, early(fmt.Sprint(i+1)))
				}
				change.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync)
				done, after := stopwatch()
				change.Commit(done)
				time.Sleep(49 * time.Millisecond)
				if got := after(); got != -1 {
					t.Fatalf("done after %v", got)
				}
				time.Sleep(time.Minute)
				if got := after(); c.applied && got != 50*time.Millisecond || !c.applied && got <= 350*time.Millisecond {
					t.Errorf("done after %v", got)
				}
				if st := s.Stats(); st.Failures == 0 || st.Err != "" {
					t.Errorf("failures %d, last error %q; want some and none now", st.Failures, st.Err)
				}
				// A file whose fsync failed is not trusted again.
				now, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if fresh := !os.SameFile(file, now); fresh != (c.err == syscall.EIO) {
					t.Errorf("a fresh file is in place: %v", fresh)
				}
				do(t, s, func(c *buffer.Change) { add(t, c, q, early("4")) })
				wantDrain(t, q, "0", "1", "2", "3", "4")
				mustClose(t, s)

				s, err = buffer.Open(path, timed(), quiet(t))
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				wantDrain(t, attached(t, s, "q"), "0+", "1+", "2+", "3+", "4+")
				if got, _, _ := s.Table("t").Get([]byte("k")); string(got) != "v" {
					t.Errorf("k = %q", got)
				}
			})
		})
	}
}

func TestWhileTheDiskFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var broken atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		cfg := timed()
		cfg.Memory = 64 << 10
		s, err := buffer.Open(path, cfg, quiet(t), buffer.WithHooks(func() error {
			if broken.Load() {
				return noSpace
			}
			return nil
		}, nil))
		if err != nil {
			t.Fatal(err)
		}
		q := attached(t, s, "q")
		synctest.Wait()
		broken.Store(true)

		// A bubble has no subtests.
		step := func(name string, fn func(t *testing.T)) { t.Log(name); fn(t) }
		step("what is acknowledged is done all the same", func(t *testing.T) {
			c := s.Begin()
			seq := add(t, c, q, early("x"))
			done, after := stopwatch()
			c.Commit(done)
			time.Sleep(time.Second)
			if got := after(); got != -1 {
				t.Fatalf("done after %v", got)
			}
			q.Next()
			q.Ack(seq)
			if got := after(); got < 0 {
				t.Error("an acknowledged entry is still waited for")
			}
		})
		step("memory is bounded", func(t *testing.T) {
			c := s.Begin()
			n := 0
			for ; ; n++ {
				if _, err := c.Append(q, buffer.Record{Data: make([]byte, 1000), Urgency: buffer.Lazy}); err != nil {
					if !errors.Is(err, buffer.ErrFull) {
						t.Fatal(err)
					}
					break
				}
				if n > 200 {
					t.Fatal("200 kB wait with a budget of 64 KiB")
				}
			}
			c.Commit(nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := s.Admit(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Admit: %v, want a deadline", err)
			}
		})
		step("Admit goes on when the disk does", func(t *testing.T) {
			admitted := make(chan error, 1)
			go func() { admitted <- s.Admit(context.Background(), 100) }()
			synctest.Wait()
			broken.Store(false)
			if err := <-admitted; err != nil {
				t.Error(err)
			}
		})
		step("Close ends, and says what was not written", func(t *testing.T) {
			broken.Store(true)
			c := s.Begin()
			add(t, c, q, early("not written"))
			told := make(chan error, 1)
			c.Commit(func(err error) { told <- err })
			start := time.Now()
			err := s.Close()
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("Close took %v", took)
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Close: %v", err)
			} else {
				t.Log(err)
			}
			if err := <-told; err == nil {
				t.Error("done(nil) for what was not written")
			}
			c = s.Begin()
			c.Commit(func(err error) { told <- err })
			if err := <-told; !errors.Is(err, buffer.ErrClosed) {
				t.Errorf("done of a Change after Close: %v", err)
			}
		})
	})
}

// TestANewerPutWinsOverOneWhoseCommitFailed puts while the older one is being
// written.
func TestANewerPutWinsOverOneWhoseCommitFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		var during atomic.Pointer[func()]
		s, err := buffer.Open(path, timed(), quiet(t), buffer.WithHooks(func() error {
			if fn := during.Swap(nil); fn != nil {
				(*fn)()
				return noSpace
			}
			return nil
		}, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		table := s.Table("t")
		put := func(value string) {
			c := s.Begin()
			c.Put(table, []byte("k"), []byte(value), buffer.Sync)
			c.Commit(nil)
		}
		want := func(when string) {
			if got, ok, err := table.Get([]byte("k")); string(got) != "newer" || !ok || err != nil {
				t.Errorf("%s: k = %q, %v, %v", when, got, ok, err)
			}
		}
		newer := func() { put("newer"); want("while the older one is written") }
		during.Store(&newer)
		put("older")
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		want("after the failure")
		time.Sleep(time.Minute)
		synctest.Wait()
		want("on disk")
		if st := s.Stats(); st.Failures != 1 || st.PendingBytes != 0 || st.Records != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAFullFileTakesRemovalsAndThenAppends(t *testing.T) {
	cfg := fast()
	cfg.MaxSize = 4 << 20
	cfg.Lazy = 10 * time.Millisecond
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) { // the clock stands still between a failure and what is seen of it
		s := open(t, path, cfg)
		q := attached(t, s, "q")
		data := make([]byte, 1000)
		written, waiting := 0, 0
		results := make(chan error, 10_000)
		for s.Stats().Failures == 0 {
			c := s.Begin()
			for range 50 {
				if _, err := c.Append(q, buffer.Record{Data: data, Urgency: buffer.Sync}); err != nil {
					t.Fatal(err)
				}
			}
			waiting++
			c.Commit(func(err error) { results <- err })
			synctest.Wait()
			for len(results) > 0 {
				if err := <-results; err != nil {
					t.Fatal(err)
				}
				written++
			}
		}
		if written == waiting || written < 40 {
			t.Fatalf("%d of %d changes fitted into 4 MiB", written, waiting)
		}
		if !s.Stats().Full {
			t.Errorf("not full: %+v", s.Stats())
		}
		for range written * 50 { // the receiver makes room
			q.Ack(next(t, s, q).Seq)
		}
		for ; written < waiting; written++ {
			if err := receive(t, "done", results); err != nil {
				t.Fatal(err)
			}
		}
		if st := s.Stats(); st.Full || st.Err != "" || st.FileSize > 4<<20 {
			t.Errorf("%+v", st)
		}
		mustClose(t, s)
	})
}
