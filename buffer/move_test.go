package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
)

// deserted fills a queue whose receiver is gone; it may have seen the first entry, and
// said of the second that it has it.
func deserted(t *testing.T, s *buffer.Store, n int) *buffer.Queue {
	t.Helper()
	q := attached(t, s, "from")
	do(t, s, func(c *buffer.Change) {
		for i := range n {
			r := lane(uint8(i%2), fmt.Sprint(i))
			r.At, r.Deadline = time.UnixMilli(1e12+int64(i)), s.Clock()+time.Hour
			add(t, c, q, r)
		}
	})
	next(t, s, q)
	if !q.Received(next(t, s, q).Seq, nil) {
		t.Fatal("nothing was handed out")
	}
	do(t, s, func(*buffer.Change) {})
	q.Rewind()
	do(t, s, func(c *buffer.Change) { c.Detach(q, buffer.Sync) })
	return q
}

// plain lists what a queue holds, sent or not.
func plain(t *testing.T, q *buffer.Queue) (list []string) {
	t.Helper()
	for _, text := range each(t, q) {
		list = append(list, strings.TrimRight(text, "+*"))
	}
	return list
}

// where lists what two queues hold.
func where(t *testing.T, s *buffer.Store) (from, to []string) {
	t.Helper()
	for _, name := range []string{"from", "to"} {
		var list []string
		if q := s.Find(name); q != nil {
			list = plain(t, q)
			if st := q.Stats(); st.Messages != len(list) {
				t.Errorf("queue %q counts %d entries and holds %d", name, st.Messages, len(list))
			}
		}
		if name == "from" {
			from = list
		} else {
			to = list
		}
	}
	return from, to
}

func TestAMovedQueueKeepsOrderTimesAndLanes(t *testing.T) {
	for _, reopened := range []bool{false, true} { // entries in memory, and on disk
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast(), buffer.WithWindow(4))
		q := deserted(t, s, 20)
		if reopened {
			path := s.Path()
			mustClose(t, s)
			s = open(t, path, fast(), buffer.WithWindow(4))
			q = s.Find("from")
		}
		to := attached(t, s, "to")
		do(t, s, func(c *buffer.Change) { add(t, c, to, lane(1, "first")) })
		before := make(map[string]buffer.Entry)
		if err := q.Each(func(e buffer.Entry) bool { before[string(e.Data)] = e; return true }); err != nil {
			t.Fatal(err)
		}
		if moved, gone, err := q.MoveTo(t.Context(), to); moved != 20 || gone != 0 || err != nil {
			t.Fatalf("moved %d, %d gone: %v; want 20, 0", moved, gone, err)
		}
		if st := q.Stats(); st.Messages != 0 || st.Bytes != 0 {
			t.Errorf("%d messages with %d bytes stay behind", st.Messages, st.Bytes)
		}
		if err := to.Each(func(e buffer.Entry) bool {
			if b, ok := before[string(e.Data)]; ok && (!e.At.Equal(b.At) || e.Deadline != b.Deadline || e.Lane != b.Lane || e.Again || e.Received) {
				t.Errorf("%+v became %+v", b, e)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		want := []string{"first"}
		for _, odd := range []int{1, 0} {
			for i := odd; i < 20; i += 2 {
				want = append(want, fmt.Sprint(i))
			}
		}
		if got := drainAll(t, s, to); !slices.Equal(got, want) {
			t.Errorf("the other queue gives %q, want %q", got, want)
		}
	}
}

func TestACrashInAMoveLeavesEveryEntryInOneOfTheTwoQueues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var copies []string
	watching := false
	s := open(t, path, fast(), buffer.WithFaults(buffer.Faults{Committed: func() error {
		if watching {
			copies = append(copies, crash(t, path))
		}
		return nil
	}}))
	const n = 10_000
	q, to := deserted(t, s, n), queue(t, s, "to", buffer.Limits{})
	do(t, s, func(*buffer.Change) {})
	watching = true
	if _, _, err := q.MoveTo(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	watching = false
	if len(copies) < 3 {
		t.Fatalf("it took %d commits, want slices", len(copies))
	}
	_, want := where(t, s)
	mustClose(t, s)
	for _, path := range copies {
		s := open(t, path, fast())
		from, to := where(t, s)
		if all := append(slices.Clone(to), from...); len(from)+len(to) != n || !sameEntries(all, want) {
			t.Errorf("%d entries in one queue and %d in the other, of %d", len(from), len(to), n)
		}
		// What was cut goes on where it was.
		if _, _, err := s.Find("from").MoveTo(t.Context(), s.Find("to")); err != nil {
			t.Fatal(err)
		}
		if _, got := where(t, s); !slices.Equal(got, want) {
			t.Error("the order is another one when it goes on")
		}
		mustClose(t, s)
	}
}

func sameEntries(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// cutShort is a context that ends when it is looked at for the first time.
type cutShort struct{ context.Context }

func (cutShort) Err() error { return context.Canceled }

// A commit that takes removals alone, because what else waits may become unnecessary,
// must not take those of a move: what stands for them is not written.
func TestACommitOfRemovalsAloneMovesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cfg := patient()
	cfg.Lazy = 0
	committed := make(chan struct{}, 100)
	s := open(t, path, cfg, buffer.WithFaults(buffer.Faults{Committed: func() error { committed <- struct{}{}; return nil }}))
	q, to, other := deserted(t, s, 20), queue(t, s, "to", buffer.Limits{}), attached(t, s, "other")
	do(t, s, func(c *buffer.Change) { add(t, c, other, early("acknowledged")) })
	e := next(t, s, other)
	moved, _, err := q.MoveTo(cutShort{t.Context()}, to)
	if moved == 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("moved %d: %v", moved, err)
	}
	for len(committed) > 0 {
		<-committed
	}
	other.Ack(e.Seq)
	<-committed
	s = open(t, crash(t, path), cfg)
	if got := each(t, s.Find("other")); len(got) > 0 {
		t.Fatalf("the commit did not take the removal: %q", got)
	}
	if from, to := where(t, s); len(from) != 20 || len(to) != 0 {
		t.Errorf("%d entries in one queue and %d in the other, want 20 and 0", len(from), len(to))
	}
}

func TestAMoveToAQueueWithoutRoomDoesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := deserted(t, s, 20)
	to := queue(t, s, "to", buffer.Limits{Messages: 20, WhenFull: buffer.DropOldest})
	do(t, s, func(c *buffer.Change) { add(t, c, to, early("x")) })
	if moved, _, err := q.MoveTo(t.Context(), to); moved != 0 || !errors.Is(err, buffer.ErrFull) {
		t.Fatalf("moved %d: %v", moved, err)
	}
	if from, to := where(t, s); len(from) != 20 || len(to) != 1 {
		t.Errorf("%d entries in one queue and %d in the other, want 20 and 1", len(from), len(to))
	}
}

func TestAMovedValueDoesNotReplaceANewerOne(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast(), buffer.WithWindow(2))
	q := queue(t, s, "from", buffer.Limits{})
	to := queue(t, s, "to", buffer.Limits{WhenFull: buffer.KeepLast})
	value := func(key uint64, text string) buffer.Record {
		r := early(text)
		r.Key = key
		return r
	}
	do(t, s, func(c *buffer.Change) {
		for i := range 5 {
			add(t, c, q, value(1, fmt.Sprint("old ", i)))
			add(t, c, q, value(2, fmt.Sprint("other ", i)))
		}
		add(t, c, to, value(1, "new"))
	})
	moved, gone, err := q.MoveTo(t.Context(), to)
	if moved != 5 || gone != 5 || err != nil {
		t.Errorf("moved %d, %d gone: %v; want 5 and 5", moved, gone, err)
	}
	if got, want := each(t, to), []string{"new", "other 4"}; !slices.Equal(got, want) {
		t.Errorf("it holds %q, want %q", got, want)
	}
}

func TestRejectedEntriesGoBackOrAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	at := time.UnixMilli(1_700_000_000_123)
	do(t, s, func(c *buffer.Change) {
		for _, text := range []string{"a", "b", "c", "d"} {
			r := lane(3, text)
			r.At, r.Deadline, r.Key, r.Brief = at, s.Clock()+time.Hour, 7, true
			add(t, c, q, r)
		}
	})
	_, seqs := drain(t, q)
	for _, seq := range seqs[:3] {
		q.Reject(seq, "not authorized")
	}
	do(t, s, func(*buffer.Change) {})
	mustClose(t, s)
	s = open(t, path, patient())
	q = attached(t, s, "q")
	rejected := func() (text string) {
		t.Helper()
		list, err := q.Rejected()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if !r.At.Equal(at) || r.Deadline == 0 || r.Lane != 3 || r.Key != 7 || !r.Brief {
				t.Errorf("rejected: %+v", r)
			}
			text += string(r.Data)
		}
		return text
	}
	if got := rejected(); got != "abc" {
		t.Fatalf("rejected are %q", got)
	}
	if n, err := q.RequeueRejected(t.Context(), []uint64{seqs[0], seqs[3], 99}); n != 1 || err != nil {
		t.Fatalf("%d went back: %v", n, err)
	}
	// Not on disk yet, and gone all the same: nobody may take it twice.
	if n, err := q.RequeueRejected(cutShort{ended()}, []uint64{seqs[1]}); n != 1 || err == nil {
		t.Fatalf("%d went back: %v", n, err)
	}
	if got := rejected(); got != "c" {
		t.Errorf("rejected are %q, want c", got)
	}
	if n, err := q.RequeueRejected(t.Context(), []uint64{seqs[1]}); n != 0 || err != nil {
		t.Errorf("%d went back a second time: %v", n, err)
	}
	if n, err := q.PurgeRejected(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("%d were purged: %v", n, err)
	}
	if got := rejected(); got != "" {
		t.Errorf("rejected are %q", got)
	}
	s = open(t, crash(t, path), fast())
	q = queue(t, s, "q", buffer.Limits{})
	if got := rejected(); got != "" {
		t.Errorf("rejected on disk are %q", got)
	}
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	if err := q.Each(func(e buffer.Entry) bool {
		if !e.At.Equal(at) || e.Deadline == 0 || e.Lane != 3 || e.Key != 7 || !e.Brief {
			t.Errorf("it came back as %+v", e)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if got := plain(t, q); !slices.Equal(got, []string{"d", "a", "b"}) {
		t.Errorf("the queue holds %q", got)
	}
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestRejectedEntriesThatDoNotFitStayRejected(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("a")); add(t, c, q, early("b")) })
	q.Reject(next(t, s, q).Seq, "no")
	do(t, s, func(*buffer.Change) {})
	queue(t, s, "q", buffer.Limits{Messages: 1, WhenFull: buffer.DropOldest})
	if n, err := q.RequeueRejected(t.Context(), nil); n != 0 || !errors.Is(err, buffer.ErrFull) {
		t.Errorf("%d went back: %v", n, err)
	}
	if list, err := q.Rejected(); len(list) != 1 || err != nil {
		t.Errorf("%d are left: %v", len(list), err)
	}
	if got := each(t, q); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the queue holds %q", got)
	}
}
