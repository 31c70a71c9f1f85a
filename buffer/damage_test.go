package buffer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/buffer"
	"edgegateway/internal/need"
)

// harmed writes the victim to a new directory, without the page of its newest root.
func (v *victim) harmed(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(inMemory(t), "store.db")
	v.harm(t, path, v.content)
	return path
}

func (v *victim) harm(t *testing.T, path string, content []byte) {
	t.Helper()
	b := bytes.Clone(content)
	for id, kind := range livePages(b) {
		if kind == "leaf" { // some one
			clear(b[id*page : (id+1)*page])
			break
		}
	}
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(path+".state", v.marker, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestTheDamageIsToldUntilSomebodyClearsIt(t *testing.T) {
	v := newVictim(t, 500)
	path := v.harmed(t)
	var events []buffer.Event
	s := open(t, path, fast(), buffer.WithEvents(func(e buffer.Event) { events = append(events, e) }))
	if len(events) != 1 || events[0].Path != path || events[0].Err == nil || events[0].Damage.Salvaged == nil {
		t.Fatalf("events: %+v", events)
	}
	d := s.Stats().Damage
	if d == nil || d.SetAside != events[0].SetAside || s.Stats().SetAside != d.SetAside {
		t.Fatalf("Stats: %+v", s.Stats())
	}
	if b, err := os.ReadFile(d.SetAside); err != nil || len(b) != len(v.content) {
		t.Errorf("the file that was set aside: %d bytes, %v", len(b), err)
	}
	total := d.Salvaged.Total()
	if total.Kept == 0 || !strings.Contains(d.String(), "are known to be lost") && !strings.Contains(d.String(), "none is missing") && !strings.Contains(d.String(), "a part could not be read") {
		t.Errorf("%s", d)
	}
	for range 2 { // a clean stop, and a crash
		mustClose(t, s)
		s = open(t, path, fast())
		if got := s.Stats().Damage; got == nil || got.SetAside != d.SetAside || got.String() != d.String() {
			t.Fatalf("after a restart: %+v", got)
		}
		path = crash(t, path)
	}
	if err := s.ClearDamage(t.Context()); err != nil || s.Stats().Damage != nil || s.Stats().SetAside != "" {
		t.Errorf("ClearDamage: %v, %+v", err, s.Stats().Damage)
	}
	mustClose(t, s)
	path = s.Path()
	if got := open(t, path, fast()).Stats().Damage; got != nil {
		t.Errorf("back after a restart: %+v", got)
	}
	if _, err := os.Stat(d.SetAside); err != nil {
		t.Error(err)
	}
}

func TestAnEmptyStartIsToldAfterARestartAsWell(t *testing.T) {
	v := newVictim(t, 100)
	path := v.harmed(t)
	refuses := errors.New("out of luck")
	s := open(t, path, fast(), buffer.WithSalvager(func(from, to string) (buffer.Salvaged, error) { return buffer.Salvaged{}, refuses }))
	for range 2 {
		if d := s.Stats().Damage; d == nil || d.Salvaged != nil || d.SetAside == "" || !strings.Contains(d.String(), "it began empty") {
			t.Errorf("%+v", d)
		}
		if got := s.Queues(); len(got) != 0 {
			t.Errorf("queues %q", got)
		}
		mustClose(t, s)
		s = open(t, path, fast())
	}
}

func TestOnlyTheNewestDamagedFilesStay(t *testing.T) {
	v := newVictim(t, 100)
	path := v.harmed(t)
	other := filepath.Join(filepath.Dir(path), "store.db.corrupt-by-hand")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var asides []string
	for range 5 {
		v.harm(t, path, v.content)
		s := open(t, path, fast())
		asides = append(asides, s.Stats().SetAside)
		mustClose(t, s)
	}
	for i, name := range asides {
		if _, err := os.Stat(name); (err == nil) != (i >= 2) {
			t.Errorf("file %d of %d: %v", i+1, len(asides), err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

func TestAStopBetweenSettingAsideAndPuttingInPlaceLosesNothing(t *testing.T) {
	v := newVictim(t, 500)
	path := v.harmed(t)
	kept, err := buffer.Salvage(path, path+".salvaged")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".corrupt-20260101T000000.000Z"); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, fast())
	n := 0
	for _, name := range s.Queues() {
		n += queue(t, s, name, buffer.Limits{}).Stats().Messages
	}
	want := 0
	for _, q := range kept.Queues {
		want += q.Kept
	}
	if n != want || n == 0 {
		t.Errorf("%d entries, want %d", n, want)
	}
}

// failing is a disk that can not read one page.
type failing struct {
	*bytes.Reader
	page int64
}

func (f failing) ReadAt(b []byte, at int64) (int, error) {
	if at < (f.page+1)*page && at+int64(len(b)) > f.page*page {
		return 0, syscall.EIO
	}
	return f.Reader.ReadAt(b, at)
}

func TestAPageThatCanNotBeReadIsTheOnlyLoss(t *testing.T) {
	v := newVictim(t, 1000)
	worst, tried := 0, 0
	for at := range int64(v.used / page) {
		var r io.ReaderAt = failing{bytes.NewReader(v.content), at}
		path := filepath.Join(inMemory(t), "store.db")
		kept, err := buffer.SalvageFrom(r, int64(len(v.content)), path)
		if err != nil {
			t.Fatalf("page %d: %v", at, err)
		}
		n := 0
		for _, q := range kept.Queues {
			n += q.Kept
		}
		worst = max(worst, len(v.alive)-n)
		tried++
		if err := buffer.Check(path); err != nil {
			t.Errorf("page %d: what was written is not sound: %v", at, err)
		}
	}
	if worst > 66 || tried < 20 {
		t.Errorf("of %d pages one cost %d entries", tried, worst)
	}
}

func TestAStalePageIsFoundOut(t *testing.T) {
	v := newVictim(t, 2000)
	found := 0
	for id, kind := range livePages(v.content) {
		at := int(id) * page
		if kind != "leaf" || at+page > len(v.before) || bytes.Equal(v.content[at:at+page], v.before[at:at+page]) ||
			!bytes.Equal(v.content[at:at+10], v.before[at:at+10]) { // of another kind
			continue
		}
		b := bytes.Clone(v.content)
		copy(b[at:at+page], v.before[at:])
		path := filepath.Join(inMemory(t), "store.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		found++
		if err := buffer.Check(path); err == nil {
			t.Errorf("page %d of an earlier day was not noticed", id)
		}
	}
	t.Logf("%d stale pages", found)
}

// TestAPageFromBeforeARemovalIsFoundOutByTheCount puts a page back that is right in
// every other way.
func TestAPageFromBeforeARemovalIsFoundOutByTheCount(t *testing.T) {
	path := filepath.Join(inMemory(t), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 100 {
			add(t, c, q, early(text(i)))
		}
	})
	for range 3 {
		next(t, s, q)
	}
	before, err := os.ReadFile(crash(t, path))
	if err != nil {
		t.Fatal(err)
	}
	q.Ack(next(t, s, q).Seq) // in the middle of the first page
	do(t, s, func(c *buffer.Change) {})
	mustClose(t, s)
	now, err := os.ReadFile(path)
	if err != nil || buffer.Check(path) != nil {
		t.Fatal(err, buffer.Check(path))
	}
	first := []byte("000000 ")
	found := false
	for id, kind := range livePages(now) {
		if p := now[id*page:]; kind != "leaf" || !bytes.Contains(p[:page], first) {
			continue
		}
		for old, kind := range livePages(before) {
			if p := before[old*page:]; kind == "leaf" && bytes.Contains(p[:page], first) {
				copy(now[id*page+8:(id+1)*page], p[8:page]) // all but its number
				found = true
			}
		}
	}
	if err := os.WriteFile(path, now, 0o600); err != nil || !found {
		t.Fatal(err, found)
	}
	if err := buffer.Check(path); err == nil || !strings.Contains(err.Error(), "are there") {
		t.Errorf("Check: %v", err)
	}
}

// TestAShorterEntryIsFoundOutByTheBytes puts a page of another store in the place of
// one: only the length of an entry, whose header has all that a header can have, is
// different.
func TestAShorterEntryIsFoundOutByTheBytes(t *testing.T) {
	made := func(first string) []byte {
		path := filepath.Join(inMemory(t), "store.db")
		s := open(t, path, fast())
		q := queue(t, s, "q", buffer.Limits{Age: 1000 * time.Hour})
		do(t, s, func(c *buffer.Change) {
			for i := range 100 {
				data := strings.Repeat("x", 100)
				if i == 0 {
					data = first
				}
				add(t, c, q, buffer.Record{Data: []byte(data), Deadline: 1000 * time.Hour, Key: 7, Urgency: buffer.Sync})
			}
		})
		mustClose(t, s)
		b, err := os.ReadFile(path)
		if err != nil || buffer.Check(path) != nil {
			t.Fatal(err, buffer.Check(path))
		}
		return b
	}
	ours, other := made("first "+strings.Repeat("x", 94)), made("first "+strings.Repeat("x", 93))
	leaf := func(b []byte) []byte { // its place in the file is by chance
		for id, kind := range livePages(b) {
			if p := b[id*page : (id+1)*page]; kind == "leaf" && bytes.Contains(p, []byte("first ")) {
				return p
			}
		}
		return nil
	}
	found := copy(leaf(ours)[8:], leaf(other)[8:]) > 0 // all but the number of the page
	path := filepath.Join(inMemory(t), "store.db")
	if err := os.WriteFile(path, ours, 0o600); err != nil || !found {
		t.Fatal(err, found)
	}
	if err := buffer.Check(path); err == nil || !strings.Contains(err.Error(), "are there") {
		t.Errorf("Check: %v", err)
	}
}

// TestAFileThatRotsAfterACleanStopIsSalvagedAtTheNextStart clears pages of a file that
// was closed well: the marker says that all is as it was.
func TestAFileThatRotsAfterACleanStopIsSalvagedAtTheNextStart(t *testing.T) {
	path := filepath.Join(inMemory(t), "store.db")
	s := open(t, path, fast())
	q := attached(t, s, "q")
	for range 20 {
		do(t, s, func(c *buffer.Change) {
			for n := range 100 {
				add(t, c, q, early(text(n)))
			}
		})
	}
	mustClose(t, s)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	marker, err := os.ReadFile(path + ".state")
	if err != nil {
		t.Fatal(err)
	}
	root := newestRoot(sound)
	for id, kind := range livePages(sound) {
		for _, c := range []struct {
			name  string
			small int64
		}{{"small", 32 << 20}, {"large", 0}} {
			if c.small == 0 && id != root {
				continue // bbolt finds it on a goroutine of its own, and ends the process
			}
			t.Run(fmt.Sprintf("%s file, %s page %d", c.name, kind, id), func(t *testing.T) {
				path := filepath.Join(inMemory(t), "store.db")
				b := bytes.Clone(sound)
				clear(b[id*page : (id+1)*page])
				if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(path+".state", marker, 0o600)); err != nil {
					t.Fatal(err)
				}
				checks := 0
				s := open(t, path, fast(), buffer.WithSmall(c.small), buffer.WithChecker(func(path string) error { checks++; return buffer.Check(path) }))
				d := s.Stats().Damage
				if d == nil || d.Salvaged == nil || d.Salvaged.Total().Kept < 1000 {
					t.Fatalf("damage: %v", d)
				}
				if want := map[bool]int{true: 0, false: 1}[c.small > 0]; checks != want {
					t.Errorf("%d checks by the checker, want %d", checks, want)
				}
				do(t, s, func(c *buffer.Change) { add(t, c, queue(t, s, "q", buffer.Limits{}), early("new")) })
				mustClose(t, s)
			})
		}
	}
}

// newestRoot is the page of the root bucket, by the newer of the two meta pages.
func newestRoot(b []byte) uint64 {
	root, newest := uint64(0), uint64(0)
	for i := range 2 {
		meta := b[i*page+16:]
		if txid := binary.LittleEndian.Uint64(meta[48:]); txid >= newest {
			root, newest = binary.LittleEndian.Uint64(meta[16:]), txid
		}
	}
	return root
}

// TestADamagedFileThatFoundNoRoomIsNeverDeleted has the room come back later, and more
// damage with it.
func TestADamagedFileThatFoundNoRoomIsNeverDeleted(t *testing.T) {
	v := newVictim(t, 100)
	path := v.harmed(t)
	full := func(from, to string) (buffer.Salvaged, error) {
		return buffer.Salvaged{}, fmt.Errorf("begin a fresh file: %w", syscall.ENOSPC)
	}
	s := open(t, path, fast(), buffer.WithSalvager(full))
	d := s.Stats().Damage
	mustClose(t, s)
	if d == nil || d.Salvaged != nil || !strings.HasSuffix(d.SetAside, ".unsalvaged") {
		t.Fatalf("%+v", d)
	}
	for _, want := range []string{d.SetAside, "still in that file", "gateway salvage-store FILE NEW", "gateway restore NEW"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("%q is not in: %s", want, d)
		}
	}
	for range 5 {
		v.harm(t, path, v.content)
		mustClose(t, open(t, path, fast()))
	}
	v.harm(t, path, v.content)
	mustClose(t, open(t, path, fast(), buffer.WithSalvager(full))) // deletes what it may
	found := filepath.Join(inMemory(t), "found.db")
	kept, err := buffer.Salvage(d.SetAside, found)
	if err != nil || kept.Total().Kept == 0 {
		t.Fatalf("Salvage of the file that was set aside: %+v, %v", kept.Total(), err)
	}
	if _, err := buffer.Restore(path, found); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, fast())
	n := 0
	for _, name := range s.Queues() {
		n += s.Find(name).Stats().Messages
	}
	if n == 0 {
		t.Error("nothing is back")
	}
	mustClose(t, s)
}

// TestDamageOnAFullDiskIsToldWhenTheDiskTakesWrites has not even room for an empty file.
func TestDamageOnAFullDiskIsToldWhenTheDiskTakesWrites(t *testing.T) {
	v := newVictim(t, 100)
	dir := t.TempDir()
	need.Tmpfs(t, dir, "size=16m")
	path := filepath.Join(dir, "store.db")
	v.harm(t, path, v.content)
	fill(t, dir)
	look := func() *buffer.Store {
		t.Helper()
		s := open(t, path, fast())
		if d := s.Stats().Damage; s.Late() == nil || d == nil || !strings.HasSuffix(d.SetAside, ".unsalvaged") {
			t.Fatalf("Late %v, damage %+v", s.Late(), d)
		}
		return s
	}
	if err := look().Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	s := look() // which begins with no file, and no note
	remount(t, dir, "size=64m")
	do(t, s, func(c *buffer.Change) { c.Put(s.Table("t"), []byte("k"), []byte("v"), buffer.Sync) })
	mustClose(t, s)
	s = open(t, path, fast())
	if d := s.Stats().Damage; d == nil || !strings.HasSuffix(d.SetAside, ".unsalvaged") || s.Late() != nil {
		t.Errorf("Late %v, damage %+v", s.Late(), d)
	}
	mustClose(t, s)
}

// fill takes all room in the file system of a directory.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	for {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
