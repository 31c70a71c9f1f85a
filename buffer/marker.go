package buffer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// marker is the small file beside the store. It is locked as long as the store is
// open, it tells a store that lost its file, or all of its content, from one that
// never was, and it notes what the file looked like when it was closed, and the
// clock.
type marker struct {
	f *os.File
}

// markerState is what a marker says.
type markerState struct {
	known bool // there was a store here
	clean bool // it was closed, and then looked like this:
	size  int64
	txid  uint64
	clock time.Duration
}

func markerPath(path string) string { return path + ".state" }

// openMarker locks the marker, waiting up to timeout for another process.
func openMarker(path string, timeout time.Duration) (*marker, markerState, error) {
	f, err := os.OpenFile(markerPath(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, markerState{}, err
	}
	for end := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, markerState{}, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if time.Now().After(end) {
			f.Close()
			return nil, markerState{}, fmt.Errorf("%s: %w (is another gateway running with this data directory?)", path, ErrLocked)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, 512))
	if err != nil {
		f.Close()
		return nil, markerState{}, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	st := markerState{known: len(b) > 0}
	closed := markerState{known: true, clean: true}
	if n, _ := fmt.Sscanf(string(b), "clean %d %d %d", &closed.size, &closed.txid, (*int64)(&closed.clock)); n == 3 && string(b) == closed.line() {
		st = closed
	}
	return &marker{f}, st, nil
}

func (st markerState) line() string {
	if st.clean {
		return fmt.Sprintf("clean %d %d %d end\n", st.size, st.txid, int64(st.clock))
	}
	return "open\n"
}

// write replaces the content, on disk when it returns. A write that was torn reads
// as a stop that was not clean.
func (m *marker) write(st markerState) error {
	line := st.line()
	if _, err := m.f.WriteAt([]byte(line), 0); err != nil {
		return err
	}
	if err := m.f.Truncate(int64(len(line))); err != nil {
		return err
	}
	return m.f.Sync()
}

// close releases the lock.
func (m *marker) close() error { return m.f.Close() }

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
