package buffer_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
)

var keepLast = buffer.Limits{WhenFull: buffer.KeepLast}

func value(key uint64, text string) buffer.Record {
	return buffer.Record{Data: []byte(text), Key: key, Early: true, Urgency: buffer.Lazy}
}

func TestTheNewestValueOfAKeyReplacesTheOlderWhereverThatIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := queue(t, s, "q", keepLast)
	const n = 2000 // more than the window in memory: most are on disk only
	do(t, s, func(c *buffer.Change) {
		for i := range n {
			add(t, c, q, value(uint64(i+1), fmt.Sprint(i)))
		}
		add(t, c, q, value(0, "no key"))
	})
	var want []string
	for i := range n {
		if i%3 > 0 {
			want = append(want, fmt.Sprint(i))
		}
	}
	want = append(want, "no key")
	replace := func(round string) {
		do(t, s, func(c *buffer.Change) {
			for i := 0; i < n; i += 3 {
				add(t, c, q, value(uint64(i+1), fmt.Sprint(i, round)))
			}
			add(t, c, q, value(0, "no key"))
		})
	}
	replace("")
	mustClose(t, s)
	s = open(t, path, patient()) // what lies where is looked up on disk
	q = queue(t, s, "q", keepLast)
	want = append(want, "no key")
	replace("!")
	for i := 0; i < n; i += 3 {
		want = append(want, fmt.Sprint(i, "!"))
	}
	want = append(want, "no key")
	if st := q.Stats(); st.Messages != len(want) || st.Replaced != (n+2)/3 {
		t.Errorf("%d messages and %d replaced, want %d and %d", st.Messages, st.Replaced, len(want), (n+2)/3)
	}
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	if got := drainAll(t, s, q); !slices.Equal(got, want) {
		t.Errorf("got %d entries, want %d: %.200q", len(got), len(want), got)
	}
}

func TestAReplacedValueIsOnDiskUntilTheNewerOneIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := queue(t, s, "q", keepLast)
	do(t, s, func(c *buffer.Change) {
		c.Attach(q, buffer.Sync)
		add(t, c, q, value(0, "other"))
		add(t, c, q, value(7, "old"))
	})
	other := next(t, s, q)
	c := s.Begin()
	newer := value(7, "new")
	newer.Urgency = buffer.Idle
	add(t, c, q, newer)
	c.Commit(nil)
	// A commit for removals alone: the one of the old value is not among them.
	written := make(chan error, 1)
	q.Notify(func() { written <- nil })
	q.Ack(other.Seq)
	q.Hurry()
	receive(t, "Notify", written)
	left := func() []string {
		crashed := open(t, crash(t, path), patient())
		return each(t, queue(t, crashed, "q", keepLast))
	}
	if got := left(); !slices.Equal(got, []string{"old+"}) {
		t.Errorf("a crash before the new value is written leaves %q, want the old one", got)
	}
	do(t, s, func(*buffer.Change) {})
	if got := left(); !slices.Equal(got, []string{"new+"}) {
		t.Errorf("a crash behind it leaves %q, want the new one", got)
	}
}

func TestWhoWaitsForAReplacedValueWaitsForTheNewerOne(t *testing.T) {
	for _, acked := range []bool{false, true} {
		t.Run(fmt.Sprint("acknowledged=", acked), func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
			q := queue(t, s, "q", keepLast)
			do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
			commits := s.Stats().Commits
			calls := make(chan string, 10)
			commit := func(name string, u buffer.Urgency) (seq uint64) {
				c := s.Begin()
				r := value(7, name)
				r.Urgency = u
				seq = add(t, c, q, r)
				c.Commit(func(err error) { calls <- fmt.Sprint(name, " ", err) })
				return seq
			}
			// A sign of life of the callbacks: what was due before it was called before.
			called := func() (all []string) {
				v := queue(t, s, "sign", buffer.Limits{})
				c := s.Begin()
				seq := add(t, c, v, early("sign"))
				c.Commit(func(error) { calls <- "sign" })
				v.Ack(seq)
				for name := range calls {
					if name == "sign" {
						return all
					}
					all = append(all, name)
				}
				return nil
			}
			commit("one", buffer.Sync)
			commit("two", buffer.Lazy)
			seq := commit("three", buffer.Lazy)
			if got := called(); len(got) > 0 {
				t.Fatalf("%q were told before anything was safe", got)
			}
			if acked {
				wantDrain(t, q, "three")
				q.Ack(seq)
			} else {
				do(t, s, func(*buffer.Change) {})
			}
			got := called()
			slices.Sort(got)
			if !slices.Equal(got, []string{"one <nil>", "three <nil>", "two <nil>"}) {
				t.Errorf("told: %q", got)
			}
			if st := s.Stats(); acked && st.Commits != commits {
				t.Errorf("%d commits for what was acknowledged before it was written", st.Commits-commits)
			}
		})
	}
}

func TestReplacingAValueThatIsNotWrittenCostsNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	q := queue(t, s, "q", keepLast)
	do(t, s, func(c *buffer.Change) {})
	before := s.Stats()
	for i := range 1000 {
		c := s.Begin()
		add(t, c, q, value(uint64(1+i%2), fmt.Sprint(i)))
		c.Commit(nil)
	}
	if n := q.InMemory(); n > 200 {
		t.Errorf("%d entries are in memory for 2 values", n)
	}
	do(t, s, func(*buffer.Change) {})
	if after := s.Stats(); after.Records-before.Records != 2 || after.PendingBytes != 0 {
		t.Errorf("%d records were written, %d bytes are pending; want 2 and 0", after.Records-before.Records, after.PendingBytes)
	}
}

// What was replaced is on disk until the next commit, but nobody reads it there any
// more: neither one by one, nor where nothing else is left to be read.
func TestAReplacedValueIsNotReadFromDiskAnyMore(t *testing.T) {
	for _, replaced := range []string{"5", "3456789", "0123456789"} {
		t.Run(replaced, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "store.db"), patient(), buffer.WithWindow(3))
			q := queue(t, s, "q", keepLast)
			do(t, s, func(c *buffer.Change) {
				for i := range 10 {
					add(t, c, q, value(uint64(i+1), fmt.Sprint(i)))
				}
			})
			do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
			var want []string
			c := s.Begin()
			for i := range 10 {
				if text := fmt.Sprint(i); strings.Contains(replaced, text) {
					add(t, c, q, value(uint64(i+1), text+"!"))
				} else {
					want = append(want, text)
				}
			}
			c.Commit(nil)
			for i := range len(replaced) {
				want = append(want, replaced[i:i+1]+"!")
			}
			if got := each(t, q); !slices.Equal(got, want) {
				t.Errorf("Each saw %q, want %q", got, want)
			}
			if got := drainAll(t, s, q); !slices.Equal(got, want) {
				t.Errorf("Next gave %q, want %q", got, want)
			}
			if st := q.Stats(); st.Messages != 10 || st.Bytes != int64(10+len(replaced)) {
				t.Errorf("%d messages of %d bytes, want 10 of %d", st.Messages, st.Bytes, 10+len(replaced))
			}
		})
	}
}

func TestMoreKeysThanAreKnownKeepSeveralValues(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	q := queue(t, s, "q", keepLast)
	const known, more = 1 << 16, 10
	for range 2 {
		do(t, s, func(c *buffer.Change) {
			for i := range known + more {
				add(t, c, q, value(uint64(i+1), "v"))
			}
		})
	}
	if st := q.Stats(); st.Messages != known+2*more || st.Replaced != known {
		t.Errorf("%d messages and %d replaced, want %d and %d", st.Messages, st.Replaced, known+2*more, known)
	}
	// Another queue has no room either, until this one gives its keys back.
	other := queue(t, s, "other", keepLast)
	values := func() int {
		do(t, s, func(c *buffer.Change) { add(t, c, other, value(1, "a")); add(t, c, other, value(1, "b")) })
		return other.Stats().Messages
	}
	if n := values(); n != 2 {
		t.Errorf("the other queue keeps %d values, want both", n)
	}
	do(t, s, func(c *buffer.Change) { s.DropQueue(c, q) })
	if n := values(); n != 3 {
		t.Errorf("the other queue keeps %d values, want the two and the newest", n)
	}
}

func TestKeepLastTakesAValueIntoAFullQueueOfInMemoryToo(t *testing.T) {
	clock := func() time.Duration { return time.Hour }
	q := buffer.NewVolatile(buffer.Limits{WhenFull: buffer.KeepLast, Messages: 2}, clock)
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	c := s.Begin()
	for i, key := range []uint64{1, 2, 1, 3} {
		add(t, c, q, value(key, fmt.Sprint(i)))
	}
	wantDrain(t, q, "2", "3")
	if st := q.Stats(); st.Replaced != 1 || st.Dropped != 1 {
		t.Errorf("%d replaced and %d dropped, want 1 and 1", st.Replaced, st.Dropped)
	}
}
