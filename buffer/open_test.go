package buffer_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"edgegateway/buffer"
)

func TestASecondOpenIsToldThatTheStoreIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	_, err := buffer.Open(path, fast(), nil)
	if !errors.Is(err, buffer.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte("k"), nil, buffer.Sync) }) // unharmed
	mustClose(t, s)
	mustClose(t, s) // idempotent
	open(t, path, fast())
}

func TestANewerFileIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	mustClose(t, open(t, path, fast()))
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		v, sum := buffer.SchemaNote(3)
		b := tx.Bucket([]byte("meta"))
		return errors.Join(b.Put([]byte("schema"), v), b.Put([]byte("schema.sum"), sum))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	for range 2 {
		if _, err := buffer.Open(path, fast(), nil); !errors.Is(err, buffer.ErrNewer) {
			t.Errorf("got %v", err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestTheCheckRunsOnlyAfterAStopThatWasNotClean(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	checks := 0
	counting := buffer.WithChecker(func(p string) error {
		checks++
		if p != path {
			t.Errorf("the check got %s", p)
		}
		return buffer.Check(p)
	})
	mustClose(t, open(t, path, fast(), counting))
	s := open(t, path, fast(), counting)
	if checks != 0 {
		t.Errorf("%d checks of a new file and after a clean stop", checks)
	}
	path = crash(t, path)
	mustClose(t, s)
	s = open(t, path, fast(), counting)
	if checks != 1 {
		t.Errorf("%d checks after a crash, want 1", checks)
	}
	mustClose(t, s)
	// Someone wrote to it meanwhile.
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	open(t, path, fast(), counting)
	if checks != 2 {
		t.Errorf("%d checks after the file changed, want 2", checks)
	}
}

func TestAnEmptyOrMissingFileIsNotTakenForANewOne(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(path string) error
	}{
		{"empty", func(path string) error { return os.Truncate(path, 0) }},
		{"missing", os.Remove},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			events := 0
			counting := buffer.WithEvents(func(e buffer.Event) {
				events++
				if e.Path != path || e.Err == nil {
					t.Errorf("%+v", e)
				}
			})
			mustClose(t, open(t, path, fast(), counting))
			if events != 0 {
				t.Errorf("%d events for a new store", events)
			}
			if err := c.harm(path); err != nil {
				t.Fatal(err)
			}
			open(t, path, fast(), counting)
			if events != 1 {
				t.Errorf("%d events, want 1", events)
			}
		})
	}
}

func TestNoMarkerMeansAFileFromElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("a")) })
	mustClose(t, s)
	if err := os.Remove(path + ".state"); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, fast())
	if got := s.Stats().SetAside; got != "" {
		t.Fatalf("set aside as %s", got)
	}
	wantDrain(t, attached(t, s, "q"), "a")
}

func TestADamagedRecordIsSkippedCountedAndReportedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for _, text := range []string{"first one", "second one", "third one"} {
			add(t, c, q, early(text))
			c.Put(s.Table("t"), []byte(text), []byte("value of "+text), buffer.Sync)
		}
		c.Detach(q, buffer.Sync)
	})
	mustClose(t, s)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"second one", "value of second one"} {
		for at := 0; ; {
			i := bytes.Index(b[at:], []byte(text))
			if i < 0 {
				break
			}
			at += i + len(text)
			if text[0] == 'v' || !bytes.HasSuffix(b[:at-len(text)], []byte("value of ")) {
				b[at-1] ^= 1 // of the value only; flipping the key as well would be another damage
			}
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, fast())
	q = attached(t, s, "q")
	wantDrain(t, q, "first one", "third one")
	if st := q.Stats(); st.Damaged != 1 || st.Messages != 2 {
		t.Errorf("%+v", st)
	}
	for range 2 {
		var keys []string
		s.Table("t").Each(func(k, v []byte) error { keys = append(keys, string(k)); return nil })
		if len(keys) != 2 {
			t.Errorf("the table holds %q", keys)
		}
	}
	if got := s.Stats().Damaged; got != 2 {
		t.Errorf("%d damaged records counted, want 2", got)
	}
}

// TestTheLargestFileFitsTheAddresses: what a 32-bit system can not map does not keep
// it from starting.
func TestTheLargestFileFitsTheAddresses(t *testing.T) {
	for _, c := range []struct {
		word       int
		size, want int64
	}{
		{32, 64 << 20, 64 << 20},
		{32, 512 << 20, 512 << 20},
		{32, 512<<20 + 1, 512 << 20},
		{32, 1 << 40, 512 << 20},
		{64, 600 << 20, 600 << 20},
	} {
		if c.word > bits.UintSize {
			continue
		}
		var said strings.Builder
		cfg := fast()
		cfg.MaxSize = c.size
		if err := cfg.Validate(); err != nil {
			t.Errorf("%d bytes with %d bits: %v", c.size, c.word, err)
		}
		s, err := buffer.Open(filepath.Join(t.TempDir(), "store.db"), cfg, slog.New(slog.NewTextHandler(&said, nil)), buffer.WithWord(c.word))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.MaxSize(); got != c.want {
			t.Errorf("%d bytes with %d bits: the file may have %d bytes, want %d", c.size, c.word, got, c.want)
		}
		mustClose(t, s)
		warned := strings.Contains(said.String(), fmt.Sprintf("max_size=%d taken=%d", c.size, c.want))
		if warned != (c.size != c.want) || strings.Count(said.String(), "level=WARN") > 1 {
			t.Errorf("%d bytes with %d bits: the log says\n%s", c.size, c.word, said.String())
		}
	}
}
