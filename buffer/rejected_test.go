package buffer_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// TestARejectedEntryIsInTheQueueOrInTheList: a commit for removals alone, which an
// earlier acknowledgement has asked for, must not take it from the one before it is
// in the other.
func TestARejectedEntryIsInTheQueueOrInTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		s := open(t, path, timed())
		q := attached(t, s, "q")
		do(t, s, func(c *buffer.Change) {
			add(t, c, q, early("acknowledged"))
			add(t, c, q, early("rejected"))
		})
		first, second := next(t, s, q), next(t, s, q)
		q.Ack(first.Seq)
		time.Sleep(timed().Lazy - time.Second)
		q.Reject(second.Seq, "never")
		commits := s.Stats().Commits
		for range 3 * timed().Lazy / time.Second {
			time.Sleep(time.Second)
			synctest.Wait()
			s := open(t, crash(t, path), timed())
			list, err := queue(t, s, "q", buffer.Limits{}).Rejected()
			if err != nil {
				t.Fatal(err)
			}
			waits := 0
			for _, text := range drainAll(t, s, attached(t, s, "q")) {
				if text == "rejected+" {
					waits++
				}
			}
			if waits+len(list) != 1 {
				t.Fatalf("the entry is %d times in the queue and %d times in the list", waits, len(list))
			}
		}
		if s.Stats().Commits < commits+2 {
			t.Error("there was no commit for removals alone, which the test is about")
		}
		if list, err := q.Rejected(); len(list) != 1 || err != nil {
			t.Errorf("%d in the list in the end, %v", len(list), err)
		}
	})
}
