package buffer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"edgegateway/buffer"
)

func TestAStoreIsLookedAtWithoutATrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if _, err := buffer.OpenReadOnly(path, quiet(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is none: %v", err)
	}
	s := open(t, path, fast())
	q := attached(t, s, "q")
	do(t, s, func(c *buffer.Change) {
		for i := range 1000 {
			add(t, c, q, lane(uint8(i%2), fmt.Sprint(i)))
		}
	})
	if _, err := buffer.OpenReadOnly(path, quiet(t)); !errors.Is(err, buffer.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	killed := crash(t, path)
	mustClose(t, s)
	for _, path := range []string{path, killed} {
		var before [2][]byte
		for i, suffix := range []string{"", ".state"} {
			before[i], _ = os.ReadFile(path + suffix)
		}
		s, err := buffer.OpenReadOnly(path, quiet(t))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := s.Find("q").Each(func(buffer.Entry) bool { n++; return true }); err != nil || n != 1000 {
			t.Errorf("%d entries, %v", n, err)
		}
		if st := s.Find("q").Stats(); st.Messages != 1000 || s.Find("p") != nil || len(s.Queues()) != 1 {
			t.Errorf("%+v, %v", st, s.Queues())
		}
		c := s.Begin()
		if _, err := c.Append(s.Find("q"), early("x")); !errors.Is(err, buffer.ErrClosed) {
			t.Errorf("Append: %v", err)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		for i, suffix := range []string{"", ".state"} {
			if after, _ := os.ReadFile(path + suffix); !bytes.Equal(before[i], after) {
				t.Errorf("%s%s was changed", path, suffix)
			}
		}
	}
	wantDrainOf(t, path, 1000)
}

func wantDrainOf(t *testing.T, path string, n int) {
	t.Helper()
	s := open(t, path, fast())
	if s.Restored() {
		t.Error("it is taken for a restored one")
	}
	if got := len(drainAll(t, s, attached(t, s, "q"))); got != n {
		t.Errorf("%d entries afterwards, want %d", got, n)
	}
}
