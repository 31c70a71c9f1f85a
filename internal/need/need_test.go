package need_test

import (
	"errors"
	"runtime"
	"testing"

	"edgegateway/internal/need"
)

// witness is a test that tells how it ended.
type witness struct {
	testing.TB
	end string
}

func (w *witness) Helper()               {}
func (w *witness) Fatalf(string, ...any) { w.end = "failed"; runtime.Goexit() }
func (w *witness) Skipf(string, ...any)  { w.end = "skipped"; runtime.Goexit() }

func TestWhatIsMissingFailsOnlyWhereAllMustBeThere(t *testing.T) {
	for _, c := range []struct {
		ci, want string
		err      error
	}{
		{"", "", nil}, {"true", "", nil}, {"", "skipped", errors.New("gone")}, {"true", "failed", errors.New("gone")},
	} {
		t.Setenv("CI", c.ci)
		w := &witness{TB: t}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			need.Met(w, c.err)
		}()
		<-ended
		if w.end != c.want {
			t.Errorf("CI=%q, %v: %q, want %q", c.ci, c.err, w.end, c.want)
		}
	}
}
