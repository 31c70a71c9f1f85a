package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	pageSize    = 4096 // whatever the kernel's is: a page is the least that a commit writes
	growStep    = 1 << 20
	lockTimeout = time.Second

	// relaxEvery is how many bytes of the map are touched before its memory is given
	// back.
	relaxEvery = 4 << 20

	// schema is the version of everything inside the file.
	schema = 2
)

var (
	schemaKey    = []byte("schema")
	schemaSumKey = []byte("schema.sum")
)

// openFile opens the file of the store for writing.
func openFile(path string, cfg Config) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        lockTimeout,
		PageSize:       pageSize,
		NoFreelistSync: true, // a commit that writes the list of free pages costs an eighth more
		FreelistType:   bbolt.FreelistMapType,
		MaxSize:        int(cfg.MaxSize),
		// The map is as large as the file may become: a new, larger one would have to
		// wait for everyone who reads.
		InitialMmapSize: int(cfg.MaxSize),
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.AllocSize = growStep
	return db, nil
}

// settleFile brings to the disk what a killed process, or who copied the file, left in
// the memory of the kernel, its name too. Without it the first commit would write over
// pages that the newest meta page on the disk still needs, because it sees a newer one;
// the marker would name a run of which the disk does not know; and another file could
// have the name after a power cut. No file is fine.
func settleFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// openSchema opens the file, notes the schema in a new one and refuses a newer one.
// It returns what the file has.
func (s *Store) openSchema() (have uint64, err error) {
	if s.db, err = openFile(s.path, s.cfg); err != nil {
		return 0, err
	}
	err = s.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			var sound bool
			if have, sound = parseSchema(b.Get(schemaKey), b.Get(schemaSumKey)); !sound {
				have = schema // nobody else wrote the sum
			}
		}
		return nil
	})
	switch {
	case err != nil:
		err = fmt.Errorf("read %s: %w", s.path, err)
	case have > schema:
		err = fmt.Errorf("%s has schema %d, this version knows %d: %w (run the version that wrote it, or move the file away)", s.path, have, schema, ErrNewer)
	case have == 0:
		have = schema
		if err = s.db.Update(putSchema); err != nil {
			err = fmt.Errorf("begin %s: %w", s.path, err)
		}
	}
	if err != nil {
		s.db.Close()
	}
	return have, err
}

func putSchema(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	v, sum := schemaNote(schema)
	if err := b.Put(schemaKey, v); err != nil {
		return err
	}
	return b.Put(schemaSumKey, sum)
}

func schemaNote(n uint64) (v, sum []byte) {
	v = binary.BigEndian.AppendUint64(nil, n)
	return v, binary.BigEndian.AppendUint32(nil, checksum([]byte(metaBucket), schemaKey, v))
}

// parseSchema returns the schema of a file, 0 if it notes none. sound is false if a
// checksum stands beside it, as there does since schema 2, and does not match: a
// flipped bit must not make a file look like one of a newer version.
func parseSchema(v, sum []byte) (have uint64, sound bool) {
	if len(v) == 8 {
		have = binary.BigEndian.Uint64(v)
	}
	return have, len(sum) == 0 || len(sum) == 4 && binary.BigEndian.Uint32(sum) == checksum([]byte(metaBucket), schemaKey, v)
}

// view runs fn in a short read transaction: fn copies what it keeps. The file is
// mapped into memory, so an unreadable sector is a fault and not an error; it fails
// the store and not the process.
func (s *Store) view(fn func(tx *bbolt.Tx) error) (err error) {
	s.fileMu.RLock()
	defer s.fileMu.RUnlock()
	if s.db == nil {
		if s.Late() != nil && !s.loaded {
			return nil // there is nothing to be seen yet
		}
		return errNoFile
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(false)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = s.failed(r)
		}
	}()
	defer tx.Rollback()
	if s.faults.Read != nil {
		s.faults.Read()
	}
	err = fn(tx)
	if s.touched.Load() > relaxEvery {
		s.touched.Store(0)
		relax(s.db, s.fileSize.Load())
	}
	return err
}

// failed makes an error of a panic, and the store unusable.
func (s *Store) failed(r any) error {
	err := fmt.Errorf("the store can not be read: %v (is the disk failing? a restart checks the file)", r)
	s.mu.Lock()
	news := s.fatal == nil
	if news {
		s.fatal = err
		s.wakeLocked()
	}
	s.mu.Unlock()
	if news {
		s.log.Error("store failed", "path", s.path, "err", err)
	}
	return err
}

// outOfSpace: bbolt passes some errors of the system on as text.
func outOfSpace(err error) bool {
	return errors.Is(err, berrors.ErrMaxSizeReached) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// syncFailed reports whether err may come from a sync. After one that failed the
// kernel may hold, and show, what will never reach the disk, and the next sync may
// say nil: the file can not be trusted any more. bbolt returns the bare number for
// fdatasync.
func syncFailed(err error) bool {
	var number syscall.Errno
	if errors.As(err, &number) {
		var path *os.PathError
		return !errors.As(err, &path) || path.Op == "sync"
	}
	return strings.Contains(err.Error(), "file sync error")
}

// lockFile waits until nobody reads the file, so that it can be replaced.
func (s *Store) lockFile() {
	s.backups.stop()
	s.fileMu.Lock()
}

func (s *Store) unlockFile() {
	s.fileMu.Unlock()
	s.backups.allow()
}

func (s *Store) step(name string) error {
	if s.faults.step == nil {
		return nil
	}
	return s.faults.step(name)
}
