package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

func due(at time.Duration, text string) buffer.Record {
	r := early(text)
	r.Deadline = at
	return r
}

func TestWhatHasExpiredGoesWithoutAReceiverToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		s := open(t, path, fast())
		q := queue(t, s, "q", buffer.Limits{Age: time.Hour})
		const n = 10_000
		fill := func() {
			do(t, s, func(c *buffer.Change) {
				for i := range n {
					add(t, c, q, early(fmt.Sprint(i)))
				}
			})
		}
		fill()
		time.Sleep(30 * time.Minute)
		fill()
		commits := s.Stats().Commits
		time.Sleep(29 * time.Minute)
		if got := s.Stats().Commits; got != commits {
			t.Errorf("%d commits while nothing was due", got-commits)
		}
		time.Sleep(5 * time.Minute)
		if st := q.Stats(); st.Messages != n || st.Expired != n || st.Dropped != 0 {
			t.Errorf("%d messages, %d expired, %d dropped; want %d, %d and 0", st.Messages, st.Expired, st.Dropped, n, n)
		}
		mustClose(t, s)
		s = open(t, path, fast())
		q = queue(t, s, "q", buffer.Limits{}) // the age was given to them when they came
		if st := q.Stats(); st.Messages != n {
			t.Errorf("%d messages on disk, want %d", st.Messages, n)
		}
		time.Sleep(3 * time.Hour)
		if st := q.Stats(); st.Messages != 0 || st.Bytes != 0 {
			t.Errorf("%d messages of %d bytes are left", st.Messages, st.Bytes)
		}
		mustClose(t, s)
	})
}

func TestALongAgeIsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
		s.AdvanceClock(21 * 365 * 24 * time.Hour)
		q := queue(t, s, "q", buffer.Limits{Age: math.MaxInt64})
		do(t, s, func(c *buffer.Change) { add(t, c, q, early("kept")) })
		time.Sleep(24 * time.Hour)
		if st := q.Stats(); st.Messages != 1 || st.Expired != 0 {
			t.Errorf("%d messages, %d expired; want 1 and 0", st.Messages, st.Expired)
		}
		mustClose(t, s)
	})
}

func TestDeadlinesAreFoundBehindWhatHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
		q := queue(t, s, "q", buffer.Limits{})
		var want []string
		do(t, s, func(c *buffer.Change) {
			for i := range 6000 {
				r := early(fmt.Sprint(i))
				if i%10 == 9 {
					r.Deadline = s.Clock() + time.Duration(1+i%3)*time.Hour
				}
				if i%10 != 9 || i%3 == 2 {
					want = append(want, fmt.Sprint(i))
				}
				add(t, c, q, r)
			}
		})
		time.Sleep(2*time.Hour + 30*time.Minute)
		if got := each(t, q); !slices.Equal(got, want) {
			t.Errorf("%d are left, want %d", len(got), len(want))
		}
		mustClose(t, s)
	})
}

func TestWhatHasExpiredIsNotHandedOut(t *testing.T) {
	clock := time.Hour
	for _, volatile := range []bool{false, true} {
		t.Run(fmt.Sprint("volatile=", volatile), func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), patient(), buffer.WithWindow(3))
			q := buffer.NewVolatile(buffer.Limits{}, func() time.Duration { return clock })
			advance := func() { clock += time.Hour }
			if now := s.Clock; !volatile {
				q = attached(t, s, "q")
				clock = now()
				advance = func() { s.AdvanceClock(now() + time.Hour) }
			}
			do(t, s, func(c *buffer.Change) {
				for i := range 20 {
					add(t, c, q, due(clock+30*time.Minute, fmt.Sprint("soon ", i)))
				}
				add(t, c, q, due(clock+90*time.Minute, "late"))
				add(t, c, q, early("never"))
				add(t, c, q, due(clock-time.Minute, "before"))
			})
			advance()
			wantDrain(t, q, "late", "never")
			if st := q.Stats(); st.Expired != 21 || st.Messages != 2 {
				t.Errorf("%d expired, %d are left; want 21 and 2", st.Expired, st.Messages)
			}
		})
	}
}

func TestWhatHasExpiredMakesRoomInAFullQueue(t *testing.T) {
	for _, policy := range []buffer.Policy{buffer.DropNewest, buffer.Refuse, buffer.DropOldest} {
		t.Run(fmt.Sprint("policy=", policy), func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
			q := queue(t, s, "q", buffer.Limits{Messages: 2, WhenFull: policy})
			do(t, s, func(c *buffer.Change) {
				add(t, c, q, early("stays"))
				add(t, c, q, due(s.Clock()+time.Hour, "goes"))
			})
			s.AdvanceClock(s.Clock() + 2*time.Hour)
			if policy != buffer.DropOldest {
				// It lies behind one that stays, so it takes a sweep.
				if _, err := s.Begin().Append(q, early("no room yet")); !errors.Is(err, buffer.ErrFull) {
					t.Fatalf("an entry was taken: %v", err)
				}
				do(t, s, func(*buffer.Change) {})
			}
			do(t, s, func(c *buffer.Change) { add(t, c, q, early("new")) })
			// Where entries have to be read before one can be dropped, the expired go first.
			if got := each(t, q); !slices.Equal(got, []string{"stays", "new"}) {
				t.Errorf("the queue holds %q", got)
			}
		})
	}
}

func TestWhatHasExpiredAtTheHeadMakesRoomAtOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	q := queue(t, s, "q", buffer.Limits{Messages: 2, WhenFull: buffer.Refuse})
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	c := s.Begin()
	add(t, c, q, due(s.Clock()+time.Hour, "goes"))
	add(t, c, q, early("stays"))
	if err := q.Room(1, 0); !errors.Is(err, buffer.ErrFull) {
		t.Errorf("a full queue has room: %v", err)
	}
	s.AdvanceClock(s.Clock() + 2*time.Hour)
	if err := q.Room(1, 0); err != nil {
		t.Error(err)
	}
	add(t, c, q, early("new"))
	c.Commit(nil)
	wantDrain(t, q, "stays", "new")
}

func TestWhatIsGivenBackExpiresLikeAnyOther(t *testing.T) {
	for _, back := range []string{"requeue", "forget"} {
		t.Run(back, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
			q := attached(t, s, "q")
			sweep := func() {
				s.AdvanceClock(s.Clock() + time.Hour)
				s.SweepSoon()
				do(t, s, func(*buffer.Change) {})
			}
			do(t, s, func(c *buffer.Change) {
				add(t, c, q, due(s.Clock()+90*time.Minute, "back"))
				add(t, c, q, due(s.Clock()+30*time.Minute, "soon"))
			})
			e := next(t, s, q)
			sweep() // it sees the first one in flight
			if back == "requeue" {
				q.Requeue(e.Seq)
			} else {
				do(t, s, func(c *buffer.Change) { c.Forget(q, buffer.Sync) })
			}
			if got := each(t, q); !slices.Equal(got, []string{"back"}) {
				t.Fatalf("the queue holds %q", got)
			}
			sweep()
			if got := each(t, q); len(got) > 0 {
				t.Errorf("%q has not expired", got)
			}
		})
	}
}

func TestAPurgeInSlicesLeavesTheRestWhenItIsCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var copies []string
	watching := false
	s := open(t, path, patient(), buffer.WithFaults(buffer.Faults{Committed: func() error {
		if watching {
			copies = append(copies, crash(t, path))
		}
		return nil
	}}))
	q := queue(t, s, "q", buffer.Limits{})
	const n = 20_000
	do(t, s, func(c *buffer.Change) {
		for i := range n {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	watching = true
	odd := func(e buffer.Entry) bool { return e.Data[len(e.Data)-1]%2 == 1 }
	if purged, kept, err := q.Purge(context.Background(), odd); purged != n/2 || kept != 0 || err != nil {
		t.Fatalf("purged %d, %d hold their number: %v; want %d and 0", purged, kept, err, n/2)
	}
	if len(copies) < 3 {
		t.Fatalf("it took %d commits, want slices", len(copies))
	}
	watching = false
	mustClose(t, s)
	before := n
	for _, path := range copies {
		s := open(t, path, patient())
		q := queue(t, s, "q", buffer.Limits{})
		got, last, even := 0, -1, 0
		err := q.Each(func(e buffer.Entry) bool {
			var i int
			fmt.Sscan(string(e.Data), &i)
			if i <= last {
				t.Fatalf("%d comes after %d", i, last)
			}
			got, last, even = got+1, i, even+1-i%2
			return true
		})
		if st := q.Stats(); err != nil || st.Messages != got || even != n/2 {
			t.Errorf("%d entries, %d of them even, the queue counts %d: %v; want %d even ones", got, even, st.Messages, err, n/2)
		}
		if got >= before || before-got > 6000 {
			t.Errorf("a commit left %d of %d entries", got, before)
		}
		before = got
		mustClose(t, s)
	}
	if before != n/2 {
		t.Errorf("%d are left at the end, want %d", before, n/2)
	}
}
