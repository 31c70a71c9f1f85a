package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// OpenReadOnly opens a store to be looked at: [Store.Queues], [Store.Find],
// [Queue.Each], [Queue.Stats], [Queue.Rejected], tables. Nothing is written, not
// even that it was opened, and everything that would write is refused with
// [ErrClosed]. While it is open nobody else can open the store. The file is checked
// first, unless it is large and its last stop was clean. Errors wrap [ErrLocked] if another process
// has the store open, [ErrNewer] if a newer version wrote it, fs.ErrNotExist if there
// is none.
func OpenReadOnly(path string, log *slog.Logger) (_ *Store, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	m, st, err := openMarker(path, lockTimeout)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	meta, merr := readMeta(path)
	clean := merr == nil && st.clean && st.size == info.Size() && st.txid == meta.txid
	if !clean || info.Size() <= smallFile {
		if err := Check(path); err != nil {
			return nil, fmt.Errorf("%s can not be read: %w (start the gateway: it keeps what can be kept)", path, err)
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true, PageSize: pageSize})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &Store{
		path: path, cfg: DefaultConfig(), log: log, epoch: time.Now(), marker: m, db: db,
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1), wanted: make(chan struct{}, 1),
		written: make(chan struct{}), ended: make(chan struct{}),
		queues: make(map[string]*Queue), tables: make(map[string]*Table), badPairs: make(map[string]bool),
		window: window{items: windowItems, bytes: windowBytes},
		closed: true, finished: true, looking: true,
	}
	close(s.written)
	close(s.ended)
	err = s.view(func(tx *bbolt.Tx) error {
		have := uint64(0)
		if b := tx.Bucket([]byte(metaBucket)); b != nil {
			if v := b.Get(schemaKey); len(v) >= 8 {
				have = binary.BigEndian.Uint64(v)
			}
		}
		switch {
		case have > schema:
			return fmt.Errorf("it has schema %d, this version knows %d: %w", have, schema, ErrNewer)
		case have < schema:
			return errors.New("an earlier version wrote it: start the gateway once, which brings it up to date")
		}
		return s.loadQueues(tx, clean)
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

// closeReadOnly is Close of a store that has no committer.
func (s *Store) closeReadOnly() error {
	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	if s.db == nil {
		return nil
	}
	err := errors.Join(s.db.Close(), s.marker.close())
	s.db = nil
	return err
}
