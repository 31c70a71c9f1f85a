package buffer_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"edgegateway/buffer"
)

// each describes what Each gives, as drain does.
func each(t testing.TB, q *buffer.Queue) (all []string) {
	t.Helper()
	err := q.Each(func(e buffer.Entry) bool {
		text := string(e.Data)
		if e.Again {
			text += "+"
		}
		if e.Received {
			text += "*"
		}
		all = append(all, text)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEachSeesWhatIsNotAcknowledgedWhereverItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	const n = 3000 // more than the window in memory: some are on disk only
	var want []string
	do(t, s, func(c *buffer.Change) {
		add(t, c, q, lane(3, "high"))
		for i := range n {
			add(t, c, q, early(fmt.Sprint(i)))
		}
	})
	want = append(want, "high+", "0+", "1+*")
	for i := 3; i < n; i++ { // 2 is acknowledged
		want = append(want, fmt.Sprint(i))
	}
	for range 4 {
		e, ok, err := q.Next()
		if err != nil || !ok {
			t.Fatal("Next gave nothing", err)
		}
		switch string(e.Data) {
		case "1":
			marked := make(chan error, 1)
			q.Received(e.Seq, func(err error) { marked <- err })
			if err := receive(t, "the mark", marked); err != nil {
				t.Fatal(err)
			}
		case "2":
			q.Ack(e.Seq)
		}
	}
	c := s.Begin() // and one that is not committed
	if got := each(t, q); !slices.Equal(got, want) {
		t.Fatalf("got %d entries, want %d: %.60q", len(got), len(want), got)
	}
	add(t, c, q, early("begun"))
	if got := each(t, q); !slices.Equal(got, append(slices.Clone(want), "begun")) {
		t.Fatalf("with one that is begun: got %d entries, the last %q", len(got), got[len(got)-1])
	}
	want = append(want, "begun")
	c.Commit(nil)
	q.Rewind()
	do(t, s, func(c *buffer.Change) { c.Detach(q, buffer.Sync) })
	if got := each(t, q); !slices.Equal(got, want) {
		t.Fatalf("detached: got %d entries, want %d: %.60q", len(got), len(want), got)
	}
	mustClose(t, s)
	q = queue(t, open(t, path, fast()), "q", buffer.Limits{})
	if got := each(t, q); !slices.Equal(got, want) {
		t.Fatalf("after a restart: got %d entries, want %d: %.60q", len(got), len(want), got)
	}
	// Nothing was handed out, and fn can end it.
	if st := q.Stats(); st.InFlight != 0 || st.Messages != len(want) {
		t.Errorf("in flight %d of %d", st.InFlight, st.Messages)
	}
	calls := 0
	if err := q.Each(func(buffer.Entry) bool { calls++; return calls < 2 }); err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
}
