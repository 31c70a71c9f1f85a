package buffer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

// TestWhatIsReplacedWhileAWalkLooksAtItIsNotTakenOutTwice: the walk has an entry that
// is not on disk yet; a newer value takes its place, and what comes behind goes to the
// disk, so that its number lies in the gap when the walk comes back to it.
func TestWhatIsReplacedWhileAWalkLooksAtItIsNotTakenOutTwice(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient(), buffer.WithWindow(2))
	q := queue(t, s, "q", buffer.Limits{WhenFull: buffer.KeepLast})
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	value := func(key int, text string) buffer.Record {
		return buffer.Record{Data: []byte(text), Key: uint64(key), Early: true, Urgency: buffer.Lazy}
	}
	put := func(key int, text string) (seq uint64) {
		c := s.Begin()
		seq = add(t, c, q, value(key, text))
		c.Commit(nil)
		return seq
	}
	sync := func() {
		if err := s.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	}
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprint(i))
		put(100+i, fmt.Sprint(i))
	}
	sync()
	old := put(1, "old")
	put(2, "other")
	purged, kept, err := q.Purge(context.Background(), func(e buffer.Entry) bool {
		if e.Seq == old {
			put(1, "new")
			sync()
		}
		return e.Seq == old
	})
	if purged != 0 || kept != 0 || err != nil {
		t.Errorf("%d purged, %d kept, %v; the entry was gone by then", purged, kept, err)
	}
	want = append(want, "other", "new")
	if n := q.Stats().Messages; n != len(want) {
		t.Errorf("the queue counts %d entries, want %d", n, len(want))
	}
	wantDrain(t, q, want...)
}
