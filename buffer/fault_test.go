package buffer_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"edgegateway/buffer"
)

// TestAFaultFailsTheStoreAndNotTheProcess takes the file away from under the map:
// to read it then is what reading a bad sector is, a fault that no recover catches
// without help.
func TestAFaultFailsTheStoreAndNotTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, patient())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for range 5000 {
			add(t, c, q, buffer.Record{Data: make([]byte, 100)})
		}
		c.Detach(q, buffer.Sync)
	})
	c := s.Begin()
	c.Attach(q, buffer.Sync)
	waiting := make(chan error, 2)
	c.Commit(func(err error) { waiting <- err })
	if err := os.Truncate(path, 2*4096); err != nil {
		t.Fatal(err)
	}
	_, _, err := q.Next()
	if err == nil || s.Err() == nil {
		t.Fatalf("Next: %v, Err: %v", err, s.Err())
	}
	if err := receive(t, "done of what waited", waiting); err == nil {
		t.Error("done(nil) from a store that failed")
	}
	c = s.Begin()
	if _, err := c.Append(q, early("x")); err == nil {
		t.Error("Append to a store that failed")
	}
	c.Commit(func(err error) { waiting <- err })
	if err := receive(t, "done of a later Change", waiting); err == nil {
		t.Error("done(nil) from a store that failed")
	}
	start := time.Now()
	if err := s.Close(); err == nil || time.Since(start) > 30*time.Second {
		t.Errorf("Close: %v after %v", err, time.Since(start))
	}

	// The next start sets it aside.
	_, err = os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err = buffer.Open(path, fast(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Stats().SetAside == "" {
		t.Error("the file is in use again")
	}
}
