package buffer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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
	known    bool // there was a store here
	restored bool // another file was put in its place since
	clean    bool // it was closed, and then looked like this:
	size     int64
	txid     uint64
	clock    time.Duration
	runs     [][8]byte // the file says one of these; none if an earlier version wrote the marker
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
	return &marker{f}, parseMarker(string(b)), nil
}

// parseMarker takes what a marker says. What is torn reads as a stop that was not
// clean.
func parseMarker(text string) markerState {
	st := markerState{known: len(text) > 0}
	words := strings.Fields(text)
	if len(words) < 2 || words[len(words)-1] != "end" {
		return st
	}
	what, words := words[0], words[1:len(words)-1]
	whole := markerState{known: true}
	switch {
	case what == "restored" && len(words) == 0:
		whole.restored = true
	case what == "clean" && len(words) >= 3:
		whole.clean = true
		var err error
		if whole.size, err = strconv.ParseInt(words[0], 10, 64); err != nil {
			return st
		}
		if whole.txid, err = strconv.ParseUint(words[1], 10, 64); err != nil {
			return st
		}
		clock, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return st
		}
		whole.clock = time.Duration(clock)
		words = words[3:]
	case what != "open":
		return st
	}
	for _, w := range words {
		run, ok := parseRun(w)
		if !ok {
			return st
		}
		whole.runs = append(whole.runs, run)
	}
	return whole
}

func (st markerState) line() string {
	line := "open"
	switch {
	case st.restored:
		line = "restored"
	case st.clean:
		line = fmt.Sprintf("clean %d %d %d", st.size, st.txid, int64(st.clock))
	}
	for _, run := range st.runs {
		if !st.restored { // then it does not count whose it was
			line += fmt.Sprintf(" %x", run)
		}
	}
	return fmt.Sprintf("%-*s\n", markerSize-1, line+" end")
}

// markerSize is the length of every line, so that one replaces another with one write
// inside a sector, which a power cut does not tear. A cut between the write and a new
// length would leave the whole of neither, and then nobody knows whose the file is.
const markerSize = 160

// write replaces the content, on disk when it returns. A write that was torn reads
// as a stop that was not clean.
func (m *marker) write(st markerState) error {
	if _, err := m.f.WriteAt([]byte(st.line()), 0); err != nil {
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
