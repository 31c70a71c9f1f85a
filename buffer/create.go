package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// create makes a new file if there is none, or nothing in it. It gets its name when
// it is complete and on disk: a power cut leaves a whole store or none. The marker
// is written behind it, or a cut in between would look like a store that was lost.
func (s *Store) create() (err error) {
	info, err := os.Stat(s.path)
	if err == nil && info.Size() > 0 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	fresh := freshPath(s.path)
	os.Remove(fresh)
	defer os.Remove(fresh) // once it has its name there is none
	db, err := bbolt.Open(fresh, 0o600, &bbolt.Options{
		Timeout: lockTimeout, PageSize: pageSize, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return fmt.Errorf("begin %s: %w", s.path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := putSchema(tx); err != nil {
			return err
		}
		return tx.Bucket([]byte(metaBucket)).Put(runKey, noRun[:])
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("begin %s: %w", s.path, err)
	}
	if err := os.Rename(fresh, s.path); err != nil {
		return fmt.Errorf("begin %s: %w", s.path, err)
	}
	dir := filepath.Dir(s.path)
	// The directory may be new as well. One whose parent this user may not read was
	// there before.
	_ = syncDir(filepath.Dir(dir))
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("begin %s: %w", s.path, err)
	}
	return nil
}
