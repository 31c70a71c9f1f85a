package buffer_test

import (
	"errors"
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

func TestAMarkThatComesAfterCloseIsAnswered(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("sent")) })
	e := next(t, s, q)
	mustClose(t, s)
	done := make(chan error, 1)
	if !q.Received(e.Seq, func(err error) { done <- err }) {
		t.Fatal("the entry is not known; who hears that may take the handshake to its end without a mark")
	}
	if err := receive(t, "the answer", done); !errors.Is(err, buffer.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
