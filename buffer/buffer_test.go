package buffer_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
)

// fast is a configuration whose commits need no waiting.
func fast() buffer.Config {
	c := buffer.DefaultConfig()
	c.Sync, c.Lazy, c.RetainedEvery = 0, time.Hour, time.Hour
	c.MaxSize = 64 << 20
	return c
}

// patient is a configuration in which nothing is written before someone asks.
func patient() buffer.Config {
	c := fast()
	c.Sync, c.RetainedEvery = time.Minute, 24*time.Hour
	return c
}

// quiet collects the log of a store and shows it when the test fails.
func quiet(t testing.TB) *slog.Logger {
	var b strings.Builder
	t.Cleanup(func() {
		if t.Failed() && b.Len() > 0 {
			t.Logf("log of the store:\n%s", b.String())
		}
	})
	return slog.New(slog.NewTextHandler(&b, nil))
}

func open(t testing.TB, path string, cfg buffer.Config, opts ...buffer.Option) *buffer.Store {
	t.Helper()
	s, err := buffer.Open(path, cfg, quiet(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustClose(t testing.TB, s *buffer.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// crash leaves behind what a killed process would: a copy of what is on disk, with
// the marker of a store that is open.
func crash(t testing.TB, path string) (copied string) {
	t.Helper()
	copied = filepath.Join(t.TempDir(), "store.db")
	for _, suffix := range []string{"", ".state"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

func queue(t testing.TB, s *buffer.Store, name string, l buffer.Limits) *buffer.Queue {
	t.Helper()
	q, err := s.Queue(name, l)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// attached opens a queue and attaches it, all on disk.
func attached(t testing.TB, s *buffer.Store, name string) *buffer.Queue {
	t.Helper()
	q := queue(t, s, name, buffer.Limits{})
	do(t, s, func(c *buffer.Change) { c.Attach(q, buffer.Sync) })
	return q
}

// do commits a change and waits until it is on disk.
func do(t testing.TB, s *buffer.Store, fn func(c *buffer.Change)) {
	t.Helper()
	c := s.Begin()
	fn(c)
	c.Commit(nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, c *buffer.Change, q *buffer.Queue, r buffer.Record) uint64 {
	t.Helper()
	seq, err := c.Append(q, r)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// early is a record of a common kind.
func early(text string) buffer.Record {
	return buffer.Record{Data: []byte(text), Early: true, Urgency: buffer.Sync}
}

func lane(lane uint8, text string) buffer.Record {
	r := early(text)
	r.Lane = lane
	return r
}

// drain takes everything that Next gives and describes it: "text", with a + if it
// may have been handed out before and a * if its mark is on disk.
func drain(t testing.TB, q *buffer.Queue) (all []string, seqs []uint64) {
	t.Helper()
	for {
		e, ok, err := q.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all, seqs
		}
		text := string(e.Data)
		if e.Again {
			text += "+"
		}
		if e.Received {
			text += "*"
		}
		all, seqs = append(all, text), append(seqs, e.Seq)
	}
}

// next is Next of a queue that certainly has something: it waits for the commit
// that it may need.
func next(t testing.TB, s *buffer.Store, q *buffer.Queue) buffer.Entry {
	t.Helper()
	for range 2 {
		e, ok, err := q.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return e
		}
		do(t, s, func(*buffer.Change) {})
	}
	t.Fatal("Next has nothing")
	return buffer.Entry{}
}

// drainAll is drain for many.
func drainAll(t testing.TB, s *buffer.Store, q *buffer.Queue) (all []string) {
	t.Helper()
	for {
		more, _ := drain(t, q)
		if len(more) == 0 {
			return all
		}
		all = append(all, more...)
		do(t, s, func(*buffer.Change) {})
	}
}

func wantDrain(t testing.TB, q *buffer.Queue, want ...string) []uint64 {
	t.Helper()
	got, seqs := drain(t, q)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("Next gave %v, want %v", got, want)
	}
	return seqs
}

func receive(t testing.TB, what string, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("%s: nothing came within a minute", what)
		return nil
	}
}
