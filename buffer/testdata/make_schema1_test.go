// This program made schema1.db.gz. It is of package buffer as it was with schema 1:
// to run it again, put it among the files of such a version and call
// go test -run TestMakeSchema1 with SCHEMA1 set to the file that is to be written.
package buffer_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/buffer"
)

func TestMakeSchema1(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var full atomic.Bool // the disk takes nothing more
	s := open(t, path, fast(), buffer.WithHooks(func() error {
		if full.Load() {
			return errors.New("the disk takes nothing more")
		}
		return nil
	}, nil))

	// A queue whose receiver was there and is gone: of nine entries in three lanes one
	// was acknowledged, one is marked, one was rejected, one is with the receiver.
	q := attached(t, s, "client/lanes")
	do(t, s, func(c *buffer.Change) {
		for i := range 3 {
			for _, l := range []uint8{0, 3, 9} {
				add(t, c, q, lane(l, fmt.Sprintf("lane %d entry %d", l, i)))
			}
		}
	})
	var seqs []uint64
	for range 4 { // lane 9, then the first of lane 3
		seqs = append(seqs, next(t, s, q).Seq)
	}
	q.Ack(seqs[0])
	q.Reject(seqs[1], "too large")
	q.Received(seqs[2], nil)
	do(t, s, func(*buffer.Change) {})
	q.Rewind()
	do(t, s, func(c *buffer.Change) { c.Detach(q, buffer.Sync) })

	// One whose receiver is there when the power fails: two of six are with it.
	q = attached(t, s, "client/attached")
	do(t, s, func(c *buffer.Change) {
		for i := range 6 {
			add(t, c, q, early(fmt.Sprintf("attached %d", i)))
		}
	})
	next(t, s, q)
	next(t, s, q)
	do(t, s, func(*buffer.Change) {})

	// One that nobody ever attached, with records larger than a page.
	q = queue(t, s, "client/waiting", buffer.Limits{})
	do(t, s, func(c *buffer.Change) {
		for i := range 40 {
			add(t, c, q, early(fmt.Sprintf("waiting %d", i)))
		}
		add(t, c, q, early("large"+strings.Repeat(" page", 3000)))
	})
	do(t, s, func(*buffer.Change) { queue(t, s, "client/empty", buffer.Limits{}) })

	table := s.Table("table")
	do(t, s, func(c *buffer.Change) {
		c.Put(table, []byte("made"), []byte(time.Now().UTC().Format(time.RFC3339)), buffer.Sync)
		for i := range 30 {
			c.Put(table, fmt.Appendf(nil, "key %d", i), fmt.Appendf(nil, "value %d", i), buffer.Sync)
		}
		c.Put(table, []byte("empty"), nil, buffer.Sync)
		c.Put(table, []byte("large"), []byte(strings.Repeat("value", 5000)), buffer.Sync)
		c.Put(table, []byte(strings.Repeat("k", 40_000)), []byte("long key"), buffer.Sync)
	})
	do(t, s, func(c *buffer.Change) {
		c.Put(table, []byte("key 1"), []byte("newer"), buffer.Sync)
		c.Delete(table, []byte("key 2"), buffer.Sync)
	})

	// One that was dropped, and of which everything is still there.
	q = queue(t, s, "client/dropped", buffer.Limits{})
	do(t, s, func(c *buffer.Change) {
		for i := range 10 {
			add(t, c, q, early(fmt.Sprintf("dropped %d", i)))
		}
	})
	c := s.Begin()
	s.DropQueue(c, q)
	done := make(chan struct{})
	c.Commit(func(error) { full.Store(true); close(done) })
	<-done

	b, err := os.ReadFile(path) // as a power cut leaves it
	if err != nil {
		t.Fatal(err)
	}
	if used := len(strings.TrimRight(string(b), "\x00")); used < len(b) { // it grows in large steps
		b = b[:(used+4095)/4096*4096]
	}
	f, err := os.Create(os.Getenv("SCHEMA1"))
	if err != nil {
		t.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression)
	_, err = z.Write(b)
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
