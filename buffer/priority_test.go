package buffer_test

import (
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

func TestNextOfLeavesTheOtherLanesAlone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		add(t, c, q, lane(0, "a1"))
		add(t, c, q, lane(5, "m1"))
		add(t, c, q, lane(9, "z1"))
		add(t, c, q, lane(5, "m2"))
	})
	if got, want := q.Waiting(), buffer.LaneSet(1|1<<5|1<<9); got != want {
		t.Errorf("Waiting() = %b, want %b", got, want)
	}
	want := func(set buffer.LaneSet, data string) {
		t.Helper()
		if e, ok, err := q.NextOf(set); err != nil || ok != (data != "") || string(e.Data) != data {
			t.Fatalf("NextOf(%b) = %q, %v, %v; want %q", set, e.Data, ok, err, data)
		}
	}
	want(1<<5, "m1")
	want(1<<3, "")
	want(1<<5|1, "m2")
	want(1<<5, "")
	if got, want := q.Waiting(), buffer.LaneSet(1|1<<9); got != want {
		t.Errorf("Waiting() = %b, want %b", got, want)
	}
	q.Rewind() // what was handed out waits again, and comes before what was not
	if got, want := q.Waiting(), buffer.LaneSet(1|1<<5|1<<9); got != want {
		t.Errorf("Waiting() = %b after Rewind, want %b", got, want)
	}
	want(1<<9, "z1")
	wantDrain(t, q, "m1+", "m2+", "a1")
	if got := q.Waiting(); got != 0 {
		t.Errorf("Waiting() = %b with everything handed out", got)
	}
}
