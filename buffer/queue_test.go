package buffer_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"edgegateway/buffer"
)

func TestHigherLanesComeFirstAndOrderHoldsInside(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		add(t, c, q, lane(0, "a1"))
		add(t, c, q, lane(9, "z1"))
		add(t, c, q, lane(5, "m1"))
		add(t, c, q, lane(0, "a2"))
		add(t, c, q, lane(9, "z2"))
	})
	wantDrain(t, q, "z1", "z2", "m1", "a1", "a2")
}

func TestRewindGivesBackInTheOrderOfHandingOut(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	for _, q := range []*buffer.Queue{attached(t, s, "q"), buffer.NewVolatile(buffer.Limits{}, nil)} {
		t.Run("name="+q.Name(), func(t *testing.T) {
			do(t, s, func(c *buffer.Change) {
				add(t, c, q, lane(0, "a1"))
				add(t, c, q, lane(0, "a2"))
			})
			seqs := wantDrain(t, q, "a1", "a2")
			do(t, s, func(c *buffer.Change) {
				add(t, c, q, lane(9, "z1"))
				add(t, c, q, lane(9, "z2"))
			})
			e, _, _ := q.Next()
			if string(e.Data) != "z1" {
				t.Fatalf("got %q", e.Data)
			}
			q.Ack(seqs[0])
			q.Rewind()
			// z1 was handed out after a2, so it comes after it again; z2 was not.
			wantDrain(t, q, "a2+", "z1+", "z2")
		})
	}
}

func TestAcknowledgementsComeInAnyOrder(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 5 {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	seqs := wantDrain(t, q, "0", "1", "2", "3", "4")
	for _, i := range []int{3, 0, 4} {
		if !q.Ack(seqs[i]) {
			t.Errorf("Ack(%d) = false", seqs[i])
		}
	}
	if q.Ack(seqs[3]) {
		t.Error("the second Ack of an entry was not refused")
	}
	if q.Ack(999) {
		t.Error("Ack of an unknown entry was not refused")
	}
	q.Rewind()
	wantDrain(t, q, "1+", "2+")
}

func TestRequeuedComesAsNewAtItsPlace(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 4 {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	var seqs []uint64
	for range 3 {
		e, _, _ := q.Next()
		seqs = append(seqs, e.Seq)
	}
	q.Requeue(seqs[1])
	wantDrain(t, q, "1", "3")
}

func TestOnlyTheEarlyAreHandedOutBeforeTheirCommit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	q := attached(t, s, "q")
	c := s.Begin()
	add(t, c, q, early("before"))
	add(t, c, q, buffer.Record{Data: []byte("late"), Urgency: buffer.Lazy})
	add(t, c, q, early("behind"))
	add(t, c, q, lane(1, "other lane"))
	wantDrain(t, q) // not committed: nothing is visible
	c.Commit(nil)
	wantDrain(t, q, "other lane", "before")
	notified := make(chan error, 1)
	q.Notify(func() { notified <- nil })
	do(t, s, func(c *buffer.Change) {})
	receive(t, "Notify", notified)
	wantDrain(t, q, "late", "behind")
}

func TestNothingIsHandedOutWithoutAReceiver(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := queue(t, s, "q", buffer.Limits{})
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("a")) })
	wantDrain(t, q)
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	wantDrain(t, q, "a")
}

func TestForgetMakesEverythingNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 4 {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	seqs := wantDrain(t, q, "0", "1", "2", "3")
	got := make(chan error, 1)
	q.Received(seqs[1], func(err error) { got <- err })
	if err := receive(t, "Received", got); err != nil {
		t.Fatal(err)
	}
	q.Ack(seqs[0])
	q.Rewind()
	e, _, _ := q.Next()
	if !e.Received {
		t.Fatalf("%q is not marked as received", e.Data)
	}
	do(t, s, func(c *buffer.Change) { c.Forget(q, buffer.Sync) })
	wantDrain(t, q, "1", "2", "3")

	// The disk has forgotten as well.
	do(t, s, func(c *buffer.Change) { c.Forget(q, buffer.Sync); c.Detach(q, buffer.Sync) })
	s = open(t, crash(t, path), fast())
	wantDrain(t, attached(t, s, "q"), "1", "2", "3")
}

// TestAgain is the table of what may have been sent, after the ways a run can end.
func TestAgain(t *testing.T) {
	// Every run appends a b c, hands out a and b, marks b, acknowledges nothing.
	for _, c := range []struct {
		name   string
		detach bool   // and d is appended after it
		stop   string // clean, crash
		want   string
	}{
		{"clean stop while attached", false, "clean", "a+ b+* c"},
		{"crash while attached", false, "crash", "a+ b+* c+"},
		{"clean stop after Detach", true, "clean", "a+ b+* c d"},
		{"crash after Detach", true, "crash", "a+ b+* c d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := open(t, path, fast())
			q := attached(t, s, "q")
			do(t, s, func(c *buffer.Change) {
				add(t, c, q, early("a"))
				add(t, c, q, early("b"))
				add(t, c, q, early("c"))
			})
			q.Next()
			b, _, _ := q.Next()
			marked := make(chan error, 1)
			q.Received(b.Seq, func(err error) { marked <- err })
			if err := receive(t, "Received", marked); err != nil {
				t.Fatal(err)
			}
			if c.detach {
				do(t, s, func(c *buffer.Change) { c.Detach(q, buffer.Sync) })
				do(t, s, func(c *buffer.Change) { add(t, c, q, early("d")) })
			}
			if c.stop == "crash" {
				path = crash(t, path)
			} else {
				mustClose(t, s)
			}
			// A run in which nobody comes must not change what is known.
			for range 2 {
				s = open(t, path, fast())
				mustClose(t, s)
			}
			s = open(t, path, fast())
			wantDrain(t, attached(t, s, "q"), strings.Fields(c.want)...)
		})
	}
}

func TestAfterACrashOnlyAWindowMayHaveBeenSent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 3000 {
			add(t, c, q, lane(uint8(i%2), "x"))
		}
	})
	s = open(t, crash(t, path), fast())
	got := drainAll(t, s, attached(t, s, "q"))
	again := 0
	for i, text := range got {
		if text == "x+" {
			again++
			if i >= 2000 {
				t.Fatalf("entry %d is to be sent again, after entries that are new", i)
			}
		}
	}
	if len(got) != 3000 || again != 2000 {
		t.Errorf("%d entries, %d of them again; want 3000 and the first 1000 of each lane", len(got), again)
	}
}

func TestNumbersAreNotReusedAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := attached(t, s, "q")
	c := s.Begin()
	add(t, c, q, early("lost")) // handed out before its commit, and never written
	c.Commit(nil)
	lost := wantDrain(t, q, "lost")[0]

	s = open(t, crash(t, path), fast())
	q = attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		if seq := add(t, c, q, early("new")); seq <= lost {
			t.Errorf("the new entry got number %d, which the receiver may know: %d was the last", seq, lost)
		}
	})
}

func TestAnEarlyEntryWaitsForTheReservationOfItsNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := queue(t, s, "q", buffer.Limits{})
	notified := make(chan error, 1)
	q.Notify(func() { notified <- nil })
	c := s.Begin()
	c.Attach(q, buffer.Lazy)
	add(t, c, q, early("a"))
	c.Commit(nil)
	wantDrain(t, q) // nothing of the queue is on disk yet
	do(t, s, func(*buffer.Change) {})
	receive(t, "Notify", notified)
	wantDrain(t, q, "a")
}

func TestCleanStopWastesNoNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for want := uint64(1); want <= 3; want++ {
		s := open(t, path, fast())
		q := attached(t, s, "q")
		do(t, s, func(c *buffer.Change) {
			if got := add(t, c, q, early("x")); got != want {
				t.Errorf("got number %d, want %d", got, want)
			}
		})
		mustClose(t, s)
	}
}

func TestTheAgeOfTheOldestIsKnownFromDiskAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast(), buffer.WithWindow(2))
	q := queue(t, s, "q", buffer.Limits{})
	if at := q.Stats().Oldest; !at.IsZero() {
		t.Errorf("the oldest entry of an empty queue is from %v", at)
	}
	before := time.Now().Truncate(time.Millisecond) // as the record holds it
	for i := range 5 {
		do(t, s, func(c *buffer.Change) { add(t, c, q, early(fmt.Sprint(i))) })
	}
	after := time.Now()
	check := func(when string, q *buffer.Queue) {
		t.Helper()
		if at := q.Stats().Oldest; at.Before(before) || at.After(after) {
			t.Errorf("%s: the oldest entry is from %v, want %v to %v", when, at, before, after)
		}
	}
	check("nobody reads", q)
	mustClose(t, s)

	s = open(t, path, fast(), buffer.WithWindow(2))
	q = attached(t, s, "q")
	check("after a restart", q)
	e, _, _ := q.Next()
	check("some are in memory again", q)
	q.Ack(e.Seq)
	check("the first is gone", q)
	_, seqs := drain(t, q)
	for _, seq := range seqs {
		q.Ack(seq)
	}
	if at := q.Stats().Oldest; !at.IsZero() {
		t.Errorf("the oldest entry of a drained queue is from %v", at)
	}
}

func TestOldestCountsWhatTheDiskMayBringBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := attached(t, s, "q")
	if _, ok := q.Oldest(); ok {
		t.Error("an empty queue has an oldest entry")
	}
	do(t, s, func(c *buffer.Change) {
		for i := range 3 {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	if _, ok := q.Oldest(); ok {
		t.Error("an entry that was never sent counts")
	}
	seqs := wantDrain(t, q, "0", "1", "2")
	q.Ack(seqs[0])
	if got, ok := q.Oldest(); !ok || got != seqs[0] {
		t.Errorf("Oldest = %d, %v; want %d, whose removal is not on disk", got, ok, seqs[0])
	}
	do(t, s, func(*buffer.Change) {})
	if got, ok := q.Oldest(); !ok || got != seqs[1] {
		t.Errorf("Oldest = %d, %v; want %d", got, ok, seqs[1])
	}
}

func TestALongQueueLivesOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	const n = 20_000
	for i := 0; i < n; i += 1000 {
		do(t, s, func(c *buffer.Change) {
			for j := range 1000 {
				add(t, c, q, early(fmt.Sprint(i+j)))
			}
		})
	}
	for round := range 2 {
		if round == 1 {
			mustClose(t, s)
			s = open(t, path, fast())
			q = attached(t, s, "q")
		}
		for i := round * n / 2; i < (round+1)*n/2; i++ {
			e := next(t, s, q)
			if string(e.Data) != fmt.Sprint(i) || e.Again {
				t.Fatalf("entry %d: %q again=%v", i, e.Data, e.Again)
			}
			if inMemory := q.InMemory(); inMemory > 3000 {
				t.Fatalf("%d entries in memory", inMemory)
			}
			if !q.Ack(e.Seq) {
				t.Fatalf("Ack(%d) = false", e.Seq)
			}
		}
	}
	if st := q.Stats(); st.Messages != 0 || st.Bytes != 0 {
		t.Errorf("the drained queue says %+v", st)
	}
}

func TestAStuckEntryDoesNotKeepWhatIsBehindItInMemory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for range 5000 {
			add(t, c, q, early("x"))
		}
	})
	q.Next()
	for range 4999 {
		q.Ack(next(t, s, q).Seq)
	}
	if got := q.InMemory(); got > 200 {
		t.Errorf("%d entries in memory, 1 is left", got)
	}
	q.Rewind()
	wantDrain(t, q, "x+")
}

func TestRejectedEntriesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 150 {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	_, seqs := drain(t, q)
	for _, seq := range seqs[:149] {
		q.Reject(seq, "not authorized")
	}
	mustClose(t, s)
	s = open(t, path, fast())
	q = attached(t, s, "q")
	wantDrain(t, q, "149+")
	list, err := q.Rejected()
	if err != nil || len(list) != 100 {
		t.Fatalf("%d rejected entries, %v; want the newest 100", len(list), err)
	}
	if r := list[0]; r.Seq != seqs[49] || r.Reason != "not authorized" || string(r.Data) != "49" || r.RejectedAt.IsZero() || r.At.After(r.RejectedAt) {
		t.Errorf("got %+v", r)
	}
}

func TestLimits(t *testing.T) {
	full := func(err error) string {
		if errors.Is(err, buffer.ErrFull) {
			return "full"
		}
		if err != nil {
			return err.Error()
		}
		return "taken"
	}
	for _, c := range []struct {
		name   string
		limits buffer.Limits
		sent   int      // how many of a b c are handed out
		then   []string // lane and text
		got    string
		left   string
		counts string // dropped, refused
	}{
		{"drop-oldest spares what was sent", buffer.Limits{Messages: 3}, 1,
			[]string{"0d", "0e"}, "taken taken", "a+ d e", "2 0"},
		{"drop-oldest with nothing to drop", buffer.Limits{Messages: 3}, 3,
			[]string{"0d"}, "full", "a+ b+ c+", "1 0"},
		{"drop-oldest never drops for a lower lane", buffer.Limits{Messages: 3}, 0,
			[]string{"5x", "5y", "4z", "0d"}, "taken taken taken full", "x y z", "4 0"},
		{"drop-newest", buffer.Limits{Messages: 3, WhenFull: buffer.DropNewest}, 0,
			[]string{"0d"}, "full", "a b c", "1 0"},
		{"refuse", buffer.Limits{Messages: 4, WhenFull: buffer.Refuse}, 0,
			[]string{"0d", "0e"}, "taken full", "a b c d", "0 1"},
		{"bytes", buffer.Limits{Bytes: 5}, 0,
			[]string{"0ddd"}, "taken", "b c ddd", "1 0"},
		{"one that could never fit", buffer.Limits{Bytes: 3}, 0,
			[]string{"0dddd"}, "full", "a b c", "1 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
			durable := queue(t, s, "q", c.limits)
			do(t, s, func(c *buffer.Change) { c.Attach(durable, buffer.Sync) })
			for _, q := range []*buffer.Queue{durable, buffer.NewVolatile(c.limits, nil)} {
				do(t, s, func(c *buffer.Change) {
					for _, text := range []string{"a", "b", "c"} {
						add(t, c, q, early(text))
					}
				})
				for range c.sent {
					q.Next()
				}
				var got []string
				do(t, s, func(ch *buffer.Change) {
					for _, x := range c.then {
						room := q.Room(len(x)-1, 0)
						_, err := ch.Append(q, lane(x[0]-'0', x[1:]))
						got = append(got, full(err))
						if c.limits.WhenFull == buffer.Refuse && full(room) != full(err) {
							t.Errorf("Room said %v, Append %v", room, err)
						}
					}
				})
				if strings.Join(got, " ") != c.got {
					t.Errorf("%q: appends were %v, want %s", q.Name(), got, c.got)
				}
				q.Rewind()
				left, _ := drain(t, q)
				if strings.Join(left, " ") != c.left {
					t.Errorf("%q: left is %v, want %s", q.Name(), left, c.left)
				}
				st := q.Stats()
				if counts := fmt.Sprint(st.Dropped, " ", st.Refused); counts != c.counts {
					t.Errorf("%q: dropped and refused %s, want %s", q.Name(), counts, c.counts)
				}
			}
		})
	}
}

func TestDropOldestReachesWhatIsOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := queue(t, s, "q", buffer.Limits{Messages: 2000})
	for i := 0; i < 10_000; i += 100 {
		do(t, s, func(c *buffer.Change) {
			for j := range 100 {
				add(t, c, q, early(fmt.Sprint(i+j)))
			}
		})
	}
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	do(t, s, func(*buffer.Change) {})
	got := drainAll(t, s, q)
	if len(got) != 2000 || got[0] != "8000" || got[1999] != "9999" {
		t.Errorf("%d entries from %s to %s, want 2000 from 8000 to 9999", len(got), got[0], got[len(got)-1])
	}
	// Lower limits act on what is there.
	q.Rewind()
	do(t, s, func(c *buffer.Change) { c.Forget(q, buffer.Sync); c.Detach(q, buffer.Sync) })
	queue(t, s, "q", buffer.Limits{Messages: 10})
	do(t, s, func(*buffer.Change) {})
	if st := q.Stats(); st.Messages != 10 || st.Dropped != 9990 {
		t.Errorf("%d messages and %d dropped, want 10 and 9990", st.Messages, st.Dropped)
	}
	mustClose(t, s)
	s = open(t, path, fast())
	if got, _ := drain(t, attached(t, s, "q")); len(got) != 10 || got[0] != "9990" {
		t.Errorf("on disk are %v", got)
	}
}

func TestADroppedQueueIsGoneAndItsNameIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for range 10_000 { // more than one slice
			add(t, c, q, early("old"))
		}
	})
	q.Next()
	dropped := make(chan error, 1)
	c := s.Begin()
	s.DropQueue(c, q)
	c.Commit(func(err error) { dropped <- err })
	successor := queue(t, s, "q", buffer.Limits{})
	do(t, s, func(c *buffer.Change) {
		c.Attach(successor, buffer.Sync)
		add(t, c, successor, early("new"))
		if _, err := c.Append(q, early("x")); !errors.Is(err, buffer.ErrDropped) {
			t.Errorf("Append to a dropped queue: %v", err)
		}
	})
	if err := receive(t, "DropQueue", dropped); err != nil {
		t.Fatal(err)
	}
	wantDrain(t, q)
	// Whenever the power goes, the old entries do not come back.
	for _, path := range []string{crash(t, path), path} {
		if path == s.Path() {
			mustClose(t, s)
		}
		s := open(t, path, fast())
		if got := s.Queues(); fmt.Sprint(got) != "[q]" {
			t.Errorf("queues are %v", got)
		}
		if got, _ := drain(t, attached(t, s, "q")); len(got) != 1 || !strings.HasPrefix(got[0], "new") {
			t.Errorf("the successor holds %v", got)
		}
	}
}

// TestALargeWindowIsKnownAfterACrash: more entries than the rule for crashes covers
// are with the receiver, none is acknowledged.
func TestALargeWindowIsKnownAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for range 5000 {
			add(t, c, q, early("x"))
		}
	})
	const window = 2500
	for range window {
		next(t, s, q)
	}
	s = open(t, crash(t, path), fast())
	again := 0
	for _, text := range drainAll(t, s, attached(t, s, "q")) {
		if text == "x+" {
			again++
		}
	}
	if again < window || again > window+1000 {
		t.Errorf("%d entries are to be sent again, %d were with the receiver", again, window)
	}
}

// TestNothingStaysBehindAnAcknowledgedEntry looks into the file: entries and marks
// are gone, only the state of the queue is left.
func TestNothingStaysBehindAnAcknowledgedEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for range 10 {
			add(t, c, q, early("x"))
		}
	})
	_, seqs := drain(t, q)
	for _, seq := range seqs {
		q.Received(seq, nil)
	}
	do(t, s, func(*buffer.Change) {})
	for _, seq := range seqs {
		q.Ack(seq)
	}
	mustClose(t, s)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if bytes.HasPrefix(name, []byte("q/")) && b.Stats().KeyN != 1 {
				t.Errorf("%d keys in the bucket of an empty queue, want 1", b.Stats().KeyN)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
