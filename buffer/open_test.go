package buffer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 0, 0, 0, 0, 3})
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

// filled makes a store of some pages, with everything in it, and returns its path
// and what is in it.
func filled(t *testing.T) (path string, queue []string, table map[string]string) {
	path = filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	table = make(map[string]string)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		do(t, s, func(c *buffer.Change) {
			for j := range 10 {
				text := fmt.Sprint(i, j, strings.Repeat("x", r.IntN(300)))
				queue = append(queue, text)
				add(t, c, q, early(text))
				c.Put(s.Table("t"), []byte(text[:5]), []byte(text), buffer.Sync)
				table[text[:5]] = text
			}
			if i == 10 { // pages with overflow
				text := strings.Repeat("large", 5000)
				queue = append(queue, text)
				add(t, c, q, early(text))
			}
		})
	}
	path = crash(t, path)
	mustClose(t, s)
	return path, queue, table
}

// survives opens a damaged file in every case, and never gets wrong bytes.
func survives(t *testing.T, path string, queue []string, table map[string]string) (kept int) {
	t.Helper()
	s, err := buffer.Open(path, fast(), nil)
	if err != nil {
		t.Fatalf("can not be opened: %v", err)
	}
	defer s.Close()
	q, err := s.Queue("q", buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := s.Begin()
	c.Attach(q, buffer.Sync)
	c.Commit(nil)
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	from := 0
	for {
		e, ok, err := q.Next()
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if !ok {
			break
		}
		kept++
		i := indexFrom(queue, from, string(e.Data))
		if i < 0 {
			t.Fatalf("Next gave %.20q, which was never appended or comes out of order", e.Data)
		}
		from = i + 1
	}
	err = s.Table("t").Each(func(k, v []byte) error {
		kept++
		if want, ok := table[string(k)]; !ok || want != string(v) {
			return fmt.Errorf("%.20q = %.20q", k, v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := q.Stats(); st.Messages < 0 || st.Bytes < 0 {
		t.Fatalf("%+v", st)
	}
	return kept
}

func indexFrom(list []string, from int, text string) int {
	for i := from; i < len(list); i++ {
		if list[i] == text {
			return i
		}
	}
	return -1
}

// TestADamagedFileNeverStopsTheStart damages a file in many ways, each of which
// makes bbolt fault, panic or return wrong bytes somewhere.
func TestADamagedFileNeverStopsTheStart(t *testing.T) {
	good, queue, table := filled(t)
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	marker, err := os.ReadFile(good + ".state")
	if err != nil {
		t.Fatal(err)
	}
	if err := buffer.Check(good); err != nil {
		t.Fatal(err)
	}
	if got := survives(t, good, queue, table); got != len(queue)+len(table) {
		t.Fatalf("%d records in the file without damage, want %d", got, len(queue)+len(table))
	}
	const page = 4096
	used := len(content)
	for used > page && bytes.Equal(content[used-page:used], make([]byte, page)) {
		used -= page // the file grows in large steps
	}
	t.Logf("%d pages", used/page)
	r := seeded(t)
	dir := t.TempDir()
	n, aside, kept := 0, 0, 0
	try := func(name string, harm func(b []byte) []byte) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n), "store.db")
		os.Mkdir(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, harm(bytes.Clone(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".state", marker, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			kept += survives(t, path, queue, table)
			found, _ := filepath.Glob(path + ".corrupt-*")
			aside += len(found)
		})
		os.RemoveAll(filepath.Dir(path))
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 0; at <= used; at += step * page {
		try(fmt.Sprintf("cut at page %d", at/page), func(b []byte) []byte { return b[:at] })
		if at < used {
			try(fmt.Sprintf("page %d zeroed", at/page), func(b []byte) []byte { clear(b[at : at+page]); return b })
			try(fmt.Sprintf("page %d holds another", at/page), func(b []byte) []byte {
				other := r.IntN(used/page) * page
				copy(b[at:at+page], content[other:other+page])
				return b
			})
		}
	}
	for i := range 200 / step {
		try(fmt.Sprintf("flips %d", i), func(b []byte) []byte {
			for range 1 + r.IntN(8) {
				b[r.IntN(used)] ^= 1 << r.IntN(8)
			}
			return b
		})
	}
	t.Logf("%d damaged files: %d were set aside, %d records were read from the others", n, aside, kept)
	if aside == 0 || kept == 0 {
		t.Error("the damage was of one kind only")
	}
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
