package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

// freshFile is a new store file that is filled record by record and then put in
// its place. Its memory is one transaction of bounded size.
type freshFile struct {
	path, to string // where it is made, where it goes
	db       *bbolt.DB
	tx       *bbolt.Tx
	name     []byte // of bucket
	bucket   *bbolt.Bucket
	size     int // of what tx holds
}

// freshBatch is how many bytes one transaction takes; we chose it.
const freshBatch = 1 << 20

func newFreshFile(to string) (*freshFile, error) {
	f := &freshFile{path: to + ".partial", to: to}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	db, err := bbolt.Open(f.path, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, NoFreelistSync: true,
		FreelistType: bbolt.FreelistMapType, NoSync: true,
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = growStep
	f.db = db
	err = db.Update(putSchema)
	if err == nil {
		f.tx, err = db.Begin(true)
	}
	if err != nil {
		f.discard()
		return nil, err
	}
	return f, nil
}

// in selects the bucket of the calls that follow, and creates it.
func (f *freshFile) in(bucket []byte) (err error) {
	if f.bucket != nil && string(f.name) == string(bucket) {
		return nil
	}
	f.name = slices.Clone(bucket)
	f.bucket, err = f.tx.CreateBucketIfNotExists(f.name)
	if err != nil {
		return err
	}
	f.bucket.FillPercent = 1
	f.size += element + len(bucket)
	return nil
}

// put takes both slices over.
func (f *freshFile) put(key, value []byte) error {
	if err := f.bucket.Put(key, value); err != nil {
		return err
	}
	if f.size += element + len(key) + len(value); f.size < freshBatch {
		return nil
	}
	return f.flush()
}

func (f *freshFile) has(key []byte) bool { return f.bucket.Get(key) != nil }

func (f *freshFile) flush() (err error) {
	if err := f.tx.Commit(); err != nil {
		return err
	}
	f.size = 0
	if f.tx, err = f.db.Begin(true); err != nil {
		return err
	}
	if f.bucket != nil {
		f.bucket = f.tx.Bucket(f.name)
		f.bucket.FillPercent = 1
	}
	return nil
}

// finish puts the file in its place, on disk when it returns.
func (f *freshFile) finish() error {
	err := f.tx.Commit()
	if err == nil {
		f.tx = nil
		err = f.db.Sync()
	}
	if err == nil {
		err = f.db.Close()
	}
	if err == nil {
		err = os.Rename(f.path, f.to)
	}
	if err == nil {
		err = syncDir(filepath.Dir(f.to))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// discard takes away what is not finished.
func (f *freshFile) discard() {
	if f.tx != nil {
		f.tx.Rollback()
	}
	f.db.Close()
	os.Remove(f.path)
}
