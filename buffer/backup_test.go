package buffer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/buffer"
)

// backup writes a backup of an open store to a new file.
func backup(t testing.TB, s *buffer.Store) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "backup")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Backup(t.Context(), f)
	if err := errors.Join(err, f.Close(), buffer.ForgetRun(path)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != n {
		t.Errorf("%d bytes, it says %d: %v", info.Size(), n, err)
	}
	return path
}

func restore(t testing.TB, path, from string) (aside string) {
	t.Helper()
	aside, err := buffer.Restore(path, from)
	if err != nil {
		t.Fatal(err)
	}
	return aside
}

// TestABackupOfABusyStoreIsWholeAndHoldsWhatWasSafe takes backups while queue and
// table grow in one Change each.
func TestABackupOfABusyStoreIsWholeAndHoldsWhatWasSafe(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
	q := attached(t, s, "q")
	stop, ended := make(chan struct{}), make(chan struct{})
	safe := make(chan int, 1)
	safe <- 0
	go func() {
		defer close(ended)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			c := s.Begin()
			if _, err := c.Append(q, early(strconv.Itoa(n))); err != nil {
				t.Error(err)
				return
			}
			c.Put(s.Table("t"), []byte("newest"), []byte(strconv.Itoa(n)), buffer.Sync)
			done := make(chan struct{})
			c.Commit(func(error) { close(done) })
			<-done
			<-safe
			safe <- n
		}
	}()
	for range 5 {
		before := <-safe
		safe <- before
		b := open(t, backup(t, s), fast())
		v, _, err := b.Table("t").Get([]byte("newest"))
		newest, _ := strconv.Atoi(string(v))
		n := 0
		bq := queue(t, b, "q", buffer.Limits{})
		if err := bq.Each(func(buffer.Entry) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		if err != nil || newest < before || n != newest {
			t.Errorf("the backup holds %d entries and says %d; %d were safe before: %v", n, newest, before, err)
		}
		if !b.Restored() {
			t.Error("a backup is taken for the store itself")
		}
	}
	close(stop)
	<-ended
}

func TestWhatWaitsInMemoryIsInTheBackup(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"), patient())
	q := attached(t, s, "q")
	c := s.Begin()
	add(t, c, q, buffer.Record{Data: []byte("lazy"), Early: true, Urgency: buffer.Lazy})
	c.Put(s.Table("t"), []byte("k"), []byte("idle"), buffer.Idle)
	c.Commit(nil)
	b := open(t, backup(t, s), fast())
	if v, _, _ := b.Table("t").Get([]byte("k")); string(v) != "idle" {
		t.Errorf("the table holds %q", v)
	}
	wantDrain(t, attached(t, b, "q"), "lazy")
}

// TestARestoredBackupHandsOutEverythingAsNew: the receiver knows the old numbers for
// other messages by now.
func TestARestoredBackupHandsOutEverythingAsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for _, text := range []string{"a", "b", "c", "d"} {
			add(t, c, q, early(text))
		}
	})
	seqs := wantDrain(t, q, "a", "b", "c", "d")
	marked := make(chan error, 1)
	q.Received(seqs[1], func(err error) { marked <- err })
	if err := receive(t, "the mark", marked); err != nil {
		t.Fatal(err)
	}
	q.Ack(seqs[0])
	from := backup(t, s)
	highest := uint64(0)
	do(t, s, func(c *buffer.Change) { highest = add(t, c, q, early("later")) })
	mustClose(t, s)
	if s.Restored() || s.Lineage() != [8]byte{} {
		t.Errorf("a store of its own: restored %v, lineage %x", s.Restored(), s.Lineage())
	}

	aside := restore(t, path, from)
	s = open(t, path, fast())
	lineage := s.Lineage()
	if !s.Restored() || lineage == [8]byte{} {
		t.Errorf("restored %v, lineage %x", s.Restored(), lineage)
	}
	q = attached(t, s, "q")
	wantDrain(t, q, "b", "c", "d") // no + and no *
	do(t, s, func(c *buffer.Change) {
		if seq := add(t, c, q, early("x")); seq < highest+1<<32 {
			t.Errorf("number %d is given after %d", seq, highest)
		}
	})
	next := crash(t, path)
	mustClose(t, s)
	for name, path := range map[string]string{"a stop": path, "a crash": next} {
		s := open(t, path, fast())
		if s.Restored() || s.Lineage() != lineage {
			t.Errorf("after %s: restored %v, lineage %x, was %x", name, s.Restored(), s.Lineage(), lineage)
		}
		mustClose(t, s)
	}
	// The store that was there before is whole.
	s = open(t, aside, fast())
	n := 0
	queue(t, s, "q", buffer.Limits{}).Each(func(buffer.Entry) bool { n++; return true })
	if n != 4 {
		t.Errorf("%d entries in what was set aside", n)
	}
}

// TestAFileFromElsewhereIsRecognised puts other files in the place of a store, as
// people do, without a word to anyone.
func TestAFileFromElsewhereIsRecognised(t *testing.T) {
	put := func(t *testing.T, s *buffer.Store, text string) {
		do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte(text), nil, buffer.Sync) })
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cases := []struct {
		name string
		want bool
		act  func(t *testing.T, path string) // makes the store at path, and changes it
	}{
		{"after a clean stop it is the own one", false, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			mustClose(t, s)
		}},
		{"after a kill as well", false, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			copied := crash(t, path)
			mustClose(t, s)
			for _, suffix := range []string{"", ".state"} {
				os.WriteFile(path+suffix, read(copied+suffix), 0o600)
			}
		}},
		{"and after a kill before the first commit", false, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			mustClose(t, s)
			for range 3 {
				s = open(t, path, fast())
				copied := crash(t, path)
				mustClose(t, s)
				for _, suffix := range []string{"", ".state"} {
					os.WriteFile(path+suffix, read(copied+suffix), 0o600)
				}
			}
		}},
		{"an earlier version has no runs", false, func(t *testing.T, path string) {
			s := open(t, path, fast())
			mustClose(t, s)
			os.WriteFile(path+".state", []byte("open\n"), 0o600)
		}},
		{"an older copy, after a clean stop", true, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			old := read(path)
			put(t, s, "b")
			mustClose(t, s)
			os.WriteFile(path, old, 0o600)
		}},
		{"a copy of an earlier run, after a kill", true, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			mustClose(t, s)
			old := read(path)
			s = open(t, path, fast())
			put(t, s, "b")
			mustClose(t, s)
			s = open(t, path, fast())
			put(t, s, "c")
			state := read(path + ".state")
			mustClose(t, s)
			os.WriteFile(path, old, 0o600)
			os.WriteFile(path+".state", state, 0o600)
		}},
		{"a backup of the same run, after a kill", true, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			old := read(backup(t, s))
			put(t, s, "b")
			state := read(path + ".state")
			mustClose(t, s)
			os.WriteFile(path, old, 0o600)
			os.WriteFile(path+".state", state, 0o600)
		}},
		{"a file alone in a new place", true, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			mustClose(t, s)
			os.Remove(path + ".state")
		}},
		{"a restore that was cut short behind the marker", true, func(t *testing.T, path string) {
			s := open(t, path, fast())
			put(t, s, "a")
			mustClose(t, s)
			os.WriteFile(path+".state", []byte("restored end\n"), 0o600)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			c.act(t, path)
			s := open(t, path, fast())
			if s.Restored() != c.want {
				t.Errorf("restored: %v, want %v", s.Restored(), c.want)
			}
			if s.Stats().SetAside != "" {
				t.Error("it was set aside")
			}
		})
	}
}

func TestRestoreRefusesWhatItCanNotDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	from := backup(t, s)
	if _, err := buffer.Restore(path, from); !errors.Is(err, buffer.ErrLocked) {
		t.Errorf("while the store is open: %v", err)
	}
	if _, err := buffer.BackupFile(path, io.Discard); !errors.Is(err, buffer.ErrLocked) {
		t.Errorf("a backup of the file while the store is open: %v", err)
	}
	mustClose(t, s)
	b, _ := os.ReadFile(from)
	bad := filepath.Join(t.TempDir(), "bad")
	os.WriteFile(bad, b[:len(b)/2], 0o600)
	before, _ := os.ReadFile(path)
	if _, err := buffer.Restore(path, bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("half a backup: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the store was changed")
	}
	var copied bytes.Buffer
	if n, err := buffer.BackupFile(path, &copied); err != nil || n != int64(copied.Len()) || !bytes.Equal(copied.Bytes(), before) {
		t.Errorf("a backup of the file: %d bytes, %v", n, err)
	}
}

// sluice is a writer that takes nothing until it is told to.
type sluice struct{ begun, free chan struct{} }

func (w *sluice) Write(b []byte) (int, error) {
	select {
	case <-w.begun:
	default:
		close(w.begun)
	}
	<-w.free
	return len(b), nil
}

func TestABackupThatHangsHoldsUpNeitherCommitsNorClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	w := &sluice{make(chan struct{}), make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Backup(context.Background(), w)
		ended <- err
	}()
	<-w.begun
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("a")) })
	mustClose(t, s)
	close(w.free)
	if err := receive(t, "the end of the backup", ended); err == nil {
		t.Error("a backup that was cut off says that it is whole")
	}
}

func TestACompactionWaitsForABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "store.db"), fast())
		bloat(t, s, large, 5)
		w := &sluice{make(chan struct{}), make(chan struct{})}
		ended := make(chan error, 1)
		go func() {
			_, err := s.Backup(context.Background(), w)
			ended <- err
		}()
		<-w.begun
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := s.Stats().Compactions; n != 0 {
			t.Errorf("%d compactions during the backup", n)
		}
		close(w.free)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := s.Stats().Compactions; n != 1 {
			t.Errorf("%d compactions after it", n)
		}
	})
}

// TestABackupEndsWhenTheStoreMustLeaveItsFile: reconciling after a failed commit
// closes the file.
func TestABackupEndsWhenTheStoreMustLeaveItsFile(t *testing.T) {
	fail := make(chan error, 1)
	s := open(t, filepath.Join(t.TempDir(), "store.db"), fast(), buffer.WithHooks(func() error {
		select {
		case err := <-fail:
			return err
		default:
			return nil
		}
	}, nil))
	q := attached(t, s, "q")
	w := &sluice{make(chan struct{}), make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Backup(context.Background(), w)
		ended <- err
	}()
	<-w.begun
	fail <- fmt.Errorf("the disk does not take it")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("a")) })
	close(w.free)
	if err := receive(t, "the end of the backup", ended); err == nil {
		t.Error("a backup that was cut off says that it is whole")
	}
	if n, err := s.Backup(t.Context(), io.Discard); err != nil || n == 0 {
		t.Errorf("the next backup: %d bytes, %v", n, err)
	}
}
