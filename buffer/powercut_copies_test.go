package buffer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"edgegateway/buffer"
	"edgegateway/buffer/powercut"
)

// on has the disk hold what is in the directory of a store.
func (c *cutter) on(path string) (dir string) {
	c.t.Helper()
	dir = filepath.Dir(path)
	var err error
	if c.disk, err = powercut.Load(dir); err != nil {
		c.t.Fatal(err)
	}
	return dir
}

// replaced checks that the run put another file in the place of the store's.
func replaced(t *testing.T, events []powercut.Event) {
	t.Helper()
	if !slices.ContainsFunc(events, func(e powercut.Event) bool { return e.Op == powercut.Rename && e.To == "store.db" }) {
		t.Error("no file took the place of another")
	}
}

func (c *cutter) log() {
	c.t.Helper()
	c.t.Logf("%d calls, %d cuts, images opened: %d", c.calls, c.cuts, c.opened)
}

// TestPowerCutWhileTheFileIsMadeSmaller cuts the power of a store that is idle and
// mostly empty, and of the work behind.
func TestPowerCutWhileTheFileIsMadeSmaller(t *testing.T) {
	c := newCutter(t)
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	bloat(t, s, 8000, 3)
	mustClose(t, s)
	dir := c.on(path)
	c.found = func(path string) error {
		if err := found(path, c.known); err != nil {
			return err
		}
		s, err := buffer.Open(path, fast(), nil)
		if err != nil {
			return err
		}
		wantWhole(t, s, 3)
		return s.Close()
	}
	before := t.TempDir()
	if err := c.disk.Image(before, powercut.Kept, c.r); err != nil {
		t.Fatal(err)
	}
	events := c.record(dir, 1, "compact 20")
	replaced(t, events)
	c.play(events, true)
	c.killed(before, events)
}

// TestPowerCutWhileAnEarlierSchemaIsCopied cuts the power while a file of schema 1 is
// brought to the present one.
func TestPowerCutWhileAnEarlierSchemaIsCopied(t *testing.T) {
	c := newCutter(t)
	dir := c.on(schema1(t))
	want := inSchema1()
	c.found = func(path string) error {
		return opened(path, func(s *buffer.Store) error { return c.same(listed(t, s), want) })
	}
	events := c.record(dir, 1, "close 0")
	replaced(t, events)
	// The child's own queues come behind, and are nothing of schema 1.
	last := slices.IndexFunc(events, func(e powercut.Event) bool { return e.Op == powercut.Report })
	c.play(events[:last+1], true)
	c.log()
}

// TestPowerCutWhileADamagedFileIsSalvaged cuts the power while what can be kept of a
// damaged file takes its place. The damaged one is there as well, at any time.
func TestPowerCutWhileADamagedFileIsSalvaged(t *testing.T) {
	c := newCutter(t)
	v := newVictim(t, 400)
	path := v.harmed(t)
	damaged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := c.on(path)
	var want []string
	c.found = func(path string) error {
		return opened(path, func(s *buffer.Store) error {
			d := s.Stats().Damage
			if d == nil || d.Salvaged == nil {
				return fmt.Errorf("nothing is said of the damage: %v", d)
			}
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(path), filepath.Base(d.SetAside))); err != nil || !bytes.Equal(b, damaged) {
				return fmt.Errorf("the damaged file is not what it was: %d bytes, %v", len(b), err)
			}
			got := everything(t, s)
			if want == nil {
				want = got
			}
			return c.same(got, want)
		})
	}
	events := c.record(dir, 1, "close 0")
	replaced(t, events)
	last := slices.IndexFunc(events, func(e powercut.Event) bool { return e.Op == powercut.Report })
	c.play(events[:last+1], true)
	if len(want) < 100 {
		t.Errorf("%d things were kept", len(want))
	}
	c.log()
}

// TestPowerCutWhileABackupIsRestored cuts the power while a backup takes the place of
// the store: one of the two is there, and the backup once that was said.
func TestPowerCutWhileABackupIsRestored(t *testing.T) {
	c := newCutter(t)
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("both")) })
	from := backup(t, s)
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("later")) })
	mustClose(t, s)
	dir := c.on(path)
	restored := make(map[bool]int)
	c.found = func(path string) error {
		return opened(path, func(s *buffer.Store) error {
			got := everything(t, s)
			isBackup := len(got) == 1
			if !isBackup && len(got) != 2 || c.told["restored\n"] && !isBackup || isBackup && !s.Restored() {
				return fmt.Errorf("it holds %q, restored: %v", got, s.Restored())
			}
			restored[isBackup]++
			return nil
		})
	}
	events := c.record(dir, 1, "restore "+from)
	replaced(t, events)
	c.play(events, true)
	if restored[true] == 0 || restored[false] == 0 {
		t.Errorf("%v", restored)
	}
	c.log()
}

// TestPowerCutWhileAFileFromElsewhereIsTakenIn cuts the power while the store finds that
// somebody has copied another file to its place: what that file knows of handshakes is
// not to be trusted, however often it begins.
func TestPowerCutWhileAFileFromElsewhereIsTakenIn(t *testing.T) {
	c := newCutter(t)
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) { add(t, c, q, early("handed out")) })
	marked := make(chan error, 1)
	q.Received(next(t, s, q).Seq, func(err error) { marked <- err })
	if err := receive(t, "Received", marked); err != nil {
		t.Fatal(err)
	}
	from := backup(t, s)
	mustClose(t, s)
	s = open(t, path, fast())
	path = crash(t, path) // the line of one that was not closed is longer than "restored"
	mustClose(t, s)
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := c.on(path)
	c.found = func(path string) error {
		before, err := os.ReadFile(path + ".state")
		if err != nil {
			return err
		}
		return opened(path, func(s *buffer.Store) error {
			var told error
			err := s.Find("q").Each(func(e buffer.Entry) bool {
				if e.Received || e.Again {
					told = fmt.Errorf("%q is said to be sent: %v, received: %v; the marker said %q", e.Data, e.Again, e.Received, before)
				}
				return true
			})
			return errors.Join(told, err)
		})
	}
	events := c.record(dir, 1, "close 0")
	c.play(events, true)
	c.log()
}

// opened looks at a store.
func opened(path string, look func(s *buffer.Store) error) error {
	s, err := buffer.Open(path, fast(), nil)
	if err != nil {
		return err
	}
	return errors.Join(look(s), s.Close())
}

// everything is what lies in queues and tables, sorted.
func everything(t *testing.T, s *buffer.Store) (all []string) {
	t.Helper()
	if err := s.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, name := range s.Queues() {
		err := s.Find(name).Each(func(e buffer.Entry) bool {
			all = append(all, fmt.Sprint(name, e.Seq, e.Received, string(e.Data)))
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range tableNames {
		if err := s.Table(name).Each(func(k, v []byte) error { all = append(all, fmt.Sprint(name, string(k), string(v))); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

func (c *cutter) same(got, want []string) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d things came out, and not the %d that were there", len(got), len(want))
	}
	return nil
}
