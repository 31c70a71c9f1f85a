package powercut_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/buffer/powercut"
	"edgegateway/internal/need"
)

// images returns what may be found in a file after the given events, each content
// once; "-" if there is no file.
func images(t *testing.T, name string, events ...powercut.Event) map[string]bool {
	t.Helper()
	d := powercut.NewDisk()
	for _, e := range events {
		if err := d.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	found := make(map[string]bool)
	base := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "powercut"); err == nil { // in memory, if there is room
		base = shm
		defer os.RemoveAll(shm)
	}
	dir := filepath.Join(base, "image")
	for i := range 400 {
		if err := d.Image(dir, powercut.Fate(min(i, 2)), r); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b = []byte("-")
		}
		found[short(b)] = true
		os.RemoveAll(dir)
	}
	return found
}

// short writes a letter for each sector.
func short(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i += 512 {
		s.WriteByte(b[i])
	}
	return strings.ReplaceAll(s.String(), "\x00", "0")
}

func sectors(letters string) []byte {
	var b []byte
	for _, l := range letters {
		b = append(b, strings.Repeat(string(l), 512)...)
	}
	return b
}

func TestImagesHoldWhatWasSyncedAndAnyPartOfTheRest(t *testing.T) {
	create := powercut.Event{Op: powercut.Create, Name: "f"}
	write := func(at int64, letters string) powercut.Event {
		return powercut.Event{Op: powercut.Write, Name: "f", At: 512 * at, Data: sectors(letters)}
	}
	size := func(n int64) powercut.Event { return powercut.Event{Op: powercut.Truncate, Name: "f", At: 512 * n} }
	sync := powercut.Event{Op: powercut.Sync, Name: "f"}
	syncDir := powercut.Event{Op: powercut.SyncDir}
	rename := powercut.Event{Op: powercut.Rename, Name: "f", To: "g"}
	for _, c := range []struct {
		name   string
		events []powercut.Event
		file   string
		want   string // what may be found, and nothing else
	}{
		{"all synced", []powercut.Event{create, write(0, "ab"), sync, syncDir}, "f", "ab"},
		{"a new file whose directory is not", []powercut.Event{create, write(0, "ab"), sync}, "f", "ab -"},
		{"a torn write", []powercut.Event{create, write(0, "ab"), sync, syncDir, write(0, "cd")}, "f", "ab cb ad cd"},
		{"two writes in any order", []powercut.Event{create, write(0, "a"), sync, syncDir, write(0, "b"), write(0, "c")}, "f", "a b c"},
		{"the size of before or behind", []powercut.Event{create, write(0, "ab"), sync, syncDir, size(1)}, "f", "ab a"},
		{"a larger size, empty", []powercut.Event{create, write(0, "a"), sync, syncDir, size(2)}, "f", "a a0"},
		{"an append", []powercut.Event{create, write(0, "a"), sync, syncDir, write(1, "b")}, "f", "a a0 ab"},
		{"a rename: the new name", []powercut.Event{create, write(0, "a"), sync, syncDir, rename}, "g", "a -"},
		{"a rename: the old name", []powercut.Event{create, write(0, "a"), sync, syncDir, rename}, "f", "a -"},
		{"a second name", []powercut.Event{create, write(0, "a"), sync, syncDir, {Op: powercut.Link, Name: "f", To: "g"}}, "g", "a -"},
		{"a second name leaves the first", []powercut.Event{create, write(0, "a"), sync, syncDir, {Op: powercut.Link, Name: "f", To: "g"}}, "f", "a"},
		{"a rename that is synced", []powercut.Event{create, write(0, "a"), sync, syncDir, rename, syncDir}, "f", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := images(t, c.file, c.events...)
			for _, want := range strings.Fields(c.want) {
				if !found[want] {
					t.Errorf("%q was never found", want)
				}
				delete(found, want)
			}
			for other := range found {
				t.Errorf("%q was found", other)
			}
		})
	}
}

func TestATraceTellsWhatWasDoneAndReported(t *testing.T) {
	need.Met(t, powercut.Available())
	dir := t.TempDir()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := powercut.Command(trace, "sh", "-c", `read x; echo begin; cp /dev/null "$1/a"; truncate -s 7 "$1/a"; mv "$1/a" "$1/b"; ln "$1/b" "$1/c"; rm "$1/b"; sync "$1"; echo end`, "sh", dir)
	need.Program(t, "truncate")
	cmd.Stdin = strings.NewReader("\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	events, err := powercut.Read(trace, dir, func(d string) bool { return strings.HasPrefix(d, "1 ") || strings.HasPrefix(d, "0 ") })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, strings.TrimSpace(strings.Join([]string{e.Op.String(), e.To, strings.TrimSpace(string(e.Data))}, " ")))
	}
	want := "heard, report  begin, create, create, truncate, rename b, link c, remove, sync the directory, report  end"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
}

// TestAWriteInWhichTheProgramWasKilledIsAsLongAsTheFileSays reads a trace that ends in
// the middle of calls.
func TestAWriteInWhichTheProgramWasKilledIsAsLongAsTheFileSays(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	hexed := func(s string) string { return `\x` + strings.Join(strings.Fields(fmt.Sprintf("% x", s)), `\x`) }
	for _, c := range []struct{ end, file, want string }{
		{" <unfinished ...>\n7 +++ killed by SIGKILL +++\n", "12345", "345"},
		{" <unfinished ...>\n7 +++ killed by SIGKILL +++\n", "123", "3"},
		{" <unfinished ...>\n7 +++ killed by SIGKILL +++\n", "1", ""},
		{" <unfinished ...>\n7 <... pwrite64 resumed>) = ?\n", "123", "3"},
		{") = ?\n", "123", "3"},
		{") = 3\n", "123", "345"}, // what came later is not asked about
		{" <unfinished ...>\n7 <... pwrite64 resumed>) = 3\n", "123", "345"},
	} {
		trace := filepath.Join(t.TempDir(), "trace")
		text := fmt.Sprintf("7 openat(AT_FDCWD<%s>, \"%s\", O_RDWR|O_CREAT, 0600) = 3<%s>\n7 pwrite64(3<%s>, \"%s\", 3, 2%s",
			hexed("/"), hexed(name), hexed(name), hexed(name), hexed("345"), c.end)
		if err := errors.Join(os.WriteFile(trace, []byte(text), 0o600), os.WriteFile(name, []byte(c.file), 0o600)); err != nil {
			t.Fatal(err)
		}
		events, err := powercut.Read(trace, dir, func(string) bool { return false })
		if err != nil || len(events) != 2 || events[1].Op != powercut.Write || string(events[1].Data) != c.want {
			t.Errorf("%q over %q: %v, %v", c.end, c.file, events, err)
		}
	}
}
