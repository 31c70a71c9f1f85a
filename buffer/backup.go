package buffer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// backups are the copies that are being read. A file is not compacted while there
// are any; when it has to be replaced because the disk fails, and at Close, they end.
type backups struct {
	gate sync.RWMutex // held for reading by backups, for writing by a compaction

	mu      sync.Mutex // guards what follows
	pipes   map[*io.PipeWriter]bool
	stopped bool // for now
}

var errBackupCut = errors.New("the store had to leave its file, which the disk does not take or which is closed; try again")

func (b *backups) begin(p *io.PipeWriter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return errBackupCut
	}
	if b.pipes == nil {
		b.pipes = make(map[*io.PipeWriter]bool)
	}
	b.pipes[p] = true
	return nil
}

func (b *backups) end(p *io.PipeWriter) {
	b.mu.Lock()
	delete(b.pipes, p)
	b.mu.Unlock()
}

// stop ends all backups, and lets none begin.
func (b *backups) stop() {
	b.mu.Lock()
	b.stopped = true
	for p := range b.pipes {
		p.CloseWithError(errBackupCut)
	}
	b.mu.Unlock()
}

func (b *backups) allow() {
	b.mu.Lock()
	b.stopped = false
	b.mu.Unlock()
}

// Backup writes a copy of the store to w while it is in use. In it is everything
// that was committed before the call, which waits until that is on disk, and
// everything that belongs to it; n is the number of bytes. ctx bounds that wait.
//
// Commits go on meanwhile. What they free is not used again before the end, so the
// file grows by what is written during a backup, and w should not be slow. The copy
// is as long as the file.
//
// The copy is the file of a store once [ForgetRun] was called on it: then it is
// known as a copy, see [Store.Restored]. Safe for concurrent use.
func (s *Store) Backup(ctx context.Context, w io.Writer) (n int64, err error) {
	if err := s.Sync(ctx); err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	s.backups.gate.RLock()
	defer s.backups.gate.RUnlock()
	// Whatever w does, the file can be left at once: the pipe stands between.
	r, p := io.Pipe()
	if err := s.backups.begin(p); err != nil {
		return 0, fmt.Errorf("back up the store: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer s.backups.end(p)
		p.CloseWithError(s.view(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(p)
			return err
		}))
	}()
	n, err = io.Copy(w, r)
	r.CloseWithError(err)
	<-ended
	if err != nil {
		return n, fmt.Errorf("back up the store: %w", err)
	}
	return n, nil
}

// BackupFile is [Store.Backup] of a store that nobody has open. The error wraps
// [ErrLocked] if somebody has.
func BackupFile(path string, w io.Writer) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	m, _, err := openMarker(path, lockTimeout)
	if err != nil {
		return 0, err
	}
	defer m.close()
	n, err = io.Copy(w, f)
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", path, err)
	}
	return n, nil
}

// Restore puts the copy of a store in the place of the one at path, which nobody may
// have open, and notes that Open shall take it as restored. The copy is checked
// first. The present file, if there is one, is kept under the name that is returned.
// Whenever it is cut short, one of the two files is in place, and whole.
func Restore(path, from string) (aside string, err error) {
	if _, err := os.Stat(from); err != nil {
		return "", fmt.Errorf("restore the store: %w", err)
	}
	if err := Check(from); err != nil {
		return "", fmt.Errorf("restore the store: %s is damaged or no backup: %w", from, err)
	}
	m, _, err := openMarker(path, lockTimeout)
	if err != nil {
		return "", err
	}
	defer m.close()
	fresh := freshPath(path)
	defer os.Remove(fresh)
	if err := copyFile(fresh, from); err != nil {
		return "", fmt.Errorf("restore the store: %w", err)
	}
	if err := Check(fresh); err != nil {
		return "", fmt.Errorf("restore the store: the copy: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		aside = fmt.Sprintf("%s.before-restore-%s", path, time.Now().UTC().Format("20060102T150405.000Z"))
		// A second name, so that there is no moment without a file.
		if err := os.Link(path, aside); err != nil {
			if err := copyFile(aside, path); err != nil { // a file system without links
				os.Remove(aside)
				return "", fmt.Errorf("keep the present store: %w", err)
			}
		}
	}
	if err := m.write(markerState{known: true, restored: true}); err != nil {
		return aside, fmt.Errorf("restore the store: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return aside, fmt.Errorf("restore the store: %w", err)
	}
	return aside, syncDir(filepath.Dir(path))
}

// copyFile has a copy on disk when it returns.
func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
