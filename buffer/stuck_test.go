package buffer_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// stuck runs fn in a bubble, with a store and an attached queue whose disk answers
// until hang is called. The disk answers again at the end of the test.
func stuck(t *testing.T, fn func(t *testing.T, s *buffer.Store, q *buffer.Queue, hang func())) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		var hangs atomic.Bool
		answer := make(chan struct{})
		wait := func() error {
			if hangs.Load() {
				<-answer
			}
			return nil
		}
		s, err := buffer.Open(path, timed(), quiet(t), buffer.WithWindow(4), buffer.WithFaults(buffer.Faults{
			Commit: wait,
			Read:   func() { _ = wait() },
		}))
		if err != nil {
			t.Fatal(err)
		}
		q := attached(t, s, "q")
		fn(t, s, q, func() { hangs.Store(true) })
		hangs.Store(false)
		close(answer)
		synctest.Wait()
		s.Close()
	})
}

func TestWhatWasAcknowledgedIsDoneThoughTheDiskDoesNotAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration // after the commit of the Change
	}{
		{"before the commit begins", 0},
		{"while it is being written", time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			stuck(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue, hang func()) {
				hang()
				if c.wait == 0 { // something else is with the disk
					change := s.Begin()
					change.Put(s.Table("t"), []byte("k"), nil, buffer.Sync)
					change.Commit(nil)
					time.Sleep(time.Second)
				}
				other := queue(t, s, "other", buffer.Limits{})
				done := make(chan string, 3)
				for _, n := range []string{"1", "2", "3"} {
					change := s.Begin()
					add(t, change, q, early(n))
					if n == "2" { // nobody takes this one
						add(t, change, other, early(n))
					}
					change.Commit(func(err error) {
						if err != nil {
							t.Error(err)
						}
						done <- n
					})
				}
				time.Sleep(c.wait)
				for range 3 {
					e, ok, err := q.Next()
					if !ok || err != nil {
						t.Fatal(ok, err)
					}
					q.Ack(e.Seq)
				}
				synctest.Wait()
				var order []string
				for len(done) > 0 {
					order = append(order, <-done)
				}
				if got := strings.Join(order, " "); got != "1 3" {
					t.Errorf("done: %q, want 1 and 3", got)
				}
			})
		})
	}
}

func TestPollDoesNotWaitForTheDisk(t *testing.T) {
	stuck(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue, hang func()) {
		do(t, s, func(c *buffer.Change) {
			for n := range 20 {
				add(t, c, q, early(strconv.Itoa(n)))
			}
		})
		var told atomic.Int32
		q.Notify(func() { told.Add(1) })
		polled := func() (all []string) {
			for {
				e, ok, err := q.Poll()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					return all
				}
				all = append(all, string(e.Data))
			}
		}
		if got := strings.Join(polled(), " "); got != "0 1 2 3" {
			t.Fatalf("in memory: %s", got)
		}
		synctest.Wait()
		if got := strings.Join(polled(), " "); got != "4 5 6 7" || told.Load() != 1 {
			t.Fatalf("read: %s, told %d times", got, told.Load())
		}
		synctest.Wait()
		polled()
		synctest.Wait()
		hang()
		for e, ok, _ := q.Poll(); ok; e, ok, _ = q.Poll() {
			if !q.Ack(e.Seq) {
				t.Error("Ack of what was handed out")
			}
		}
		synctest.Wait() // a Poll, or an Ack, that waits for the disk would end the bubble here
		if got := polled(); len(got) > 0 {
			t.Errorf("a disk that does not answer gave %s", got)
		}
	})
}

func TestPollReportsWhatCouldNotBeRead(t *testing.T) {
	broken := false
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast(), buffer.WithWindow(2), buffer.WithFaults(buffer.Faults{Read: func() {
		if broken {
			panic("no such sector")
		}
	}}))
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for n := range 3 {
			add(t, c, q, early(strconv.Itoa(n)))
		}
	})
	told := make(chan error, 1)
	broken = true
	q.Notify(func() { told <- nil })
	for range 2 {
		if _, ok, err := q.Poll(); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if _, ok, err := q.Poll(); ok || err != nil {
		t.Fatal(ok, err)
	}
	receive(t, "Notify", told)
	if _, ok, err := q.Poll(); ok || err == nil {
		t.Errorf("Poll: %v, %v", ok, err)
	}
}

func TestCloseGivesUpOnADiskThatDoesNotAnswer(t *testing.T) {
	stuck(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue, hang func()) {
		hang()
		c := s.Begin()
		add(t, c, q, early("x"))
		c.Commit(nil)
		time.Sleep(time.Second)
		waiting := make(chan error, 1)
		go func() { waiting <- s.Admit(context.Background(), 100<<20) }()
		synctest.Wait()
		start := time.Now()
		err := s.Close()
		if took := time.Since(start); err == nil || took < 5*time.Second || took > 15*time.Second {
			t.Errorf("Close: %v after %v", err, took)
		}
		if !strings.Contains(err.Error(), "does not answer") && !strings.Contains(err.Error(), "not answered") {
			t.Errorf("Close: %v", err)
		}
		if err := <-waiting; !errors.Is(err, buffer.ErrClosed) {
			t.Errorf("Admit: %v", err)
		}
	})
}

// TestWhatWaitsForAStuckDiskIsCountedOrNotKept commits for weeks.
func TestWhatWaitsForAStuckDiskIsCountedOrNotKept(t *testing.T) {
	stuck(t, func(t *testing.T, s *buffer.Store, q *buffer.Queue, hang func()) {
		hang()
		table := s.Table("t")
		for range 100_000 { // the same client comes and goes
			c := s.Begin()
			c.Put(table, []byte("client"), []byte("connected"), buffer.Sync)
			c.Attach(q, buffer.Sync)
			c.Commit(nil)
			c = s.Begin()
			c.Detach(q, buffer.Lazy)
			c.Commit(nil)
		}
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Pending > 1 || st.PendingBytes > 4096 {
			t.Errorf("%d changes with %d bytes wait for what the newest one says", st.Pending, st.PendingBytes)
		}
		n := 0
		for ; s.Room() == nil; n++ {
			c := s.Begin()
			c.Put(table, []byte("client"), []byte("connected"), buffer.Sync)
			c.Commit(func(error) {})
		}
		if n < 1000 || n > 200_000 {
			t.Errorf("room for %d changes that somebody waits for", n)
		}
		if st := s.Stats(); st.Busy < 50*time.Second {
			t.Errorf("the commit has been waiting for %v", st.Busy)
		}
	})
}

func TestQueuesThatNeverReachTheDiskAreCounted(t *testing.T) {
	stuck(t, func(t *testing.T, s *buffer.Store, _ *buffer.Queue, hang func()) {
		hang()
		n := 0
		for ; s.Room() == nil && n < 1_000_000; n++ {
			q := queue(t, s, "client", buffer.Limits{})
			c := s.Begin()
			s.DropQueue(c, q)
			c.Commit(nil)
		}
		if n > 20_000 {
			t.Errorf("room for %d queues", n)
		}
	})
}
