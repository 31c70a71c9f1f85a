package buffer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// Store is one file of queues and tables. It is safe for concurrent use. Close it
// before the program ends; one that was not closed loses nothing that was reported
// as done, but is checked at the next Open.
type Store struct {
	path        string
	cfg         Config
	log         *slog.Logger
	epoch       time.Time
	incarnation [8]byte
	lineage     [8]byte
	restored    bool
	trusted     bool // the file was not checked, because it was closed well
	looking     bool // opened by OpenReadOnly
	marker      *marker
	wake        chan struct{} // a token when the committer should look
	news        chan struct{} // a token when there is something to tell
	wanted      chan struct{} // a token when there is something to read
	written     chan struct{} // closed when the committer has ended
	ended       chan struct{} // closed when all goroutines have ended
	telling     sync.Mutex    // held while callbacks are called
	damaged     atomic.Int64
	fileSize    atomic.Int64
	clockBase   atomic.Int64 // what Clock said when this run began
	touched     atomic.Int64 // bytes of the map that were read since its memory was given back
	damage      *Damage      // guarded by mu
	faults      Faults
	window      window

	backups backups

	fileMu sync.RWMutex // held for reading during read transactions, for writing while db is replaced
	db     *bbolt.DB    // nil while the file can not be opened
	loaded bool         // by openLate: what is in memory has more behind it in the file

	// The committer's own.
	doubt    *batch // its commit failed, and what became of it is not known yet
	cause    error
	stuck    bool         // a transaction could not be ended after a fault: its locks are held for ever
	late     func() error // does what Open could not; nil: it did all
	distrust bool         // a sync failed: what the file shows may not be on disk
	noted    [8]byte      // the run that the file names
	tidiness tidiness

	mu           sync.Mutex // guards what follows, and all queues and tables
	queues       map[string]*Queue
	tables       map[string]*Table
	generation   uint64 // of the newest queue
	pending      []*Change
	settled      int // of pending, those with nothing left to do
	pendingBytes int64
	removals     int
	values       int // in all queues
	dirtyQueues  []*Queue
	dirtyTables  []*Table
	dropping     [][]byte // buckets of dropped queues
	badPairs     map[string]bool

	armed      time.Duration // when the next commit is due; 0: nothing waits
	otherDue   time.Duration // the same for what is in no Change and is no removal
	removalDue time.Duration // the same for removals
	sweepAt    time.Duration // when a slice of a sweep is due; 0: nothing can expire
	swept      time.Duration // when the last one was
	force      bool
	syncers    []chan error // each with room for one
	calls      []call
	notices    []func()
	reads      []read
	lateErr    error         // why Open could not take the disk for writing
	busy       time.Duration // since when the committer waits for the disk; 0: it does not
	room       chan struct{} // closed when there is room for those in Admit; nil: nobody waits

	closed     bool
	finished   bool // the committer delivers nothing any more
	closeErr   error
	fatal      error // the store has failed for good
	err        error // of the last commit
	full       bool  // it failed for want of space
	lean       bool  // the next commit is for removals only
	retryAt    time.Duration
	backoff    time.Duration
	stats      Stats
	latencySum time.Duration
}

// Event is something that a person should know.
type Event struct {
	Path     string
	SetAside string // where the damaged file is now; "" if there was nothing left of it
	Err      error  // what is wrong with it
	Damage   Damage // the same, and what was kept
}

// Option changes how a store is opened.
type Option func(*options)

type options struct {
	check    func(path string) error
	salvage  func(from, to string) (Salvaged, error)
	events   func(Event)
	longWork func() (end func())
	faults   Faults
	window   window
	word     int   // bits of an address
	small    int64 // files up to here are checked at every Open
}

// WithChecker replaces [Check], which Open calls after a stop that was not clean,
// for example by one that runs in a child process with bounded memory. An error
// that wraps [ErrLocked] ends Open; any other has the file set aside.
func WithChecker(check func(path string) error) Option {
	return func(o *options) { o.check = check }
}

// WithSalvager replaces [Salvage], which Open calls for a file that is damaged, for
// example by one that runs in a child process. After an error the store starts
// empty, and the damaged file is never deleted.
func WithSalvager(salvage func(from, to string) (Salvaged, error)) Option {
	return func(o *options) { o.salvage = salvage }
}

// WithEvents has fn called, during Open, when the file had to be set aside or was
// found missing.
func WithEvents(fn func(Event)) Option {
	return func(o *options) { o.events = fn }
}

// WithLongWork has begin called, during Open, before the store does what may take
// minutes for a large file, and the function that it returns when that has ended.
// Who waits for Open can be told to be patient. A checker sees to that itself.
func WithLongWork(begin func() (end func())) Option {
	return func(o *options) { o.longWork = begin }
}

// Open opens the store in the file at path, and creates it, and its directory, if
// need be. Beside the file stands a small one, path.state.
//
// The file is checked first: after a stop that was not clean, up to 32 MiB always, and
// when a larger one can not be opened. A damaged one is renamed to path.corrupt-<time>,
// of which the newest three stay, and the store starts with what [Salvage] can keep of
// it: see [WithEvents] and [Stats].Damage. One that could not be salvaged gets a name
// that ends with .unsalvaged, and stays. A file that an earlier version wrote is checked as well, and copied to the present
// format. For either there must be room for two. Errors wrap [ErrLocked] if another
// process has the store open, [ErrNewer] if a newer version wrote it.
func Open(path string, cfg Config, log *slog.Logger, opts ...Option) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	o := options{
		check: Check, salvage: Salvage, events: func(Event) {}, longWork: func() func() { return func() {} },
		window: window{items: windowItems, bytes: windowBytes}, word: bits.UintSize, small: smallFile,
	}
	for _, opt := range opts {
		opt(&o)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if most := mappable(cfg.MaxSize, o.word); most < cfg.MaxSize {
		log.Warn("max_size is more than a 32-bit system can map; the store takes less", "max_size", cfg.MaxSize, "taken", most)
		cfg.MaxSize = most
	}
	s := &Store{
		path: path, cfg: cfg, log: log, epoch: time.Now(), faults: o.faults, window: o.window,
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1), wanted: make(chan struct{}, 1),
		written: make(chan struct{}), ended: make(chan struct{}),
		queues: make(map[string]*Queue), tables: make(map[string]*Table),
		badPairs: make(map[string]bool),
	}
	if _, err := rand.Read(s.incarnation[:]); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	m, st, err := openMarker(path, lockTimeout)
	if err == nil {
		s.marker = m
		if err = s.openTrusting(st, &o); err != nil {
			s.marker = nil
			m.close()
		}
	}
	if takesNothing(err) {
		s.db = nil
		err = s.openLate(err)
	}
	if err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// smallFile is how large a file is at most that is checked at every Open; we chose it.
// What rots while the power is off looks as it was left to the marker, and bbolt ends
// the process on some of it. bbolt reads every page anyway when it opens a file, so a
// check of one that the memory holds costs hardly more than its processor time.
const smallFile = 32 << 20

// openTrusting is open for a file that was not checked because its last stop was clean:
// if it can not be opened, it is checked after all.
func (s *Store) openTrusting(st markerState, o *options) error {
	err := s.openCaught(st, o)
	if !s.trusted || err == nil || takesNothing(err) || errors.Is(err, ErrLocked) || errors.Is(err, ErrNewer) {
		return err
	}
	s.log.Warn("the store was closed well and can not be opened; it is checked", "path", s.path, "err", err)
	s.mu.Lock()
	s.fatal, s.generation = nil, 0
	s.dirtyQueues, s.dropping = nil, nil
	clear(s.queues)
	s.mu.Unlock()
	s.db, st.clean = nil, false
	return s.openCaught(st, o)
}

// openCaught is open with an error for what bbolt panics about.
func (s *Store) openCaught(st markerState, o *options) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if s.db != nil {
				s.db.Close()
			}
			err = fmt.Errorf("open %s: %v", s.path, r)
		}
	}()
	return s.open(st, o)
}

func (s *Store) open(st markerState, o *options) error {
	clean, err := s.inspect(st, o)
	if err != nil {
		return err
	}
	if err := s.create(); err != nil {
		return err
	}
	if err := settleFile(s.path); err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	// From here on a stop without Close is not a clean one, and a file that is
	// missing is not a new one.
	run, err := runOf(s.path)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	s.noted, s.restored = run, s.fromElsewhere(st, run)
	running := markerState{runs: [][8]byte{s.incarnation, run}}
	if err := s.marker.write(markerState{runs: running.runs, restored: s.restored}); err != nil {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	os.Remove(freshPath(s.path)) // of a copy that was not finished
	os.Remove(salvagedPath(s.path))
	s.AdvanceClock(st.clock)
	have, err := s.openSchema()
	if err == nil && have < schema {
		if err = s.migrate(have, o); err != nil && s.db != nil {
			s.db.Close()
		}
	}
	if err != nil {
		return err
	}
	if s.restored {
		s.log.Warn("the store's file is not the one that was in use here last: it is taken for a restored backup; nothing in it is lost, but what was under way is sent again", "path", s.path)
		if err = s.adopt(); err == nil {
			s.noted = s.incarnation
			err = s.marker.write(running)
		}
	} else {
		err = s.loadLineage()
	}
	s.fileSize.Store(fileSize(s.db))
	s.touched.Store(2 * relaxEvery) // bbolt looked at every page
	if err == nil {
		err = s.view(func(tx *bbolt.Tx) error { return s.loadQueues(tx, clean) })
	}
	if err == nil {
		err = s.loadDamage()
	}
	if err != nil {
		s.db.Close()
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	s.measure()
	return nil
}

// inspect looks at the file before anyone maps it into memory, and sets a damaged
// one aside. clean says that it is as Close left it.
func (s *Store) inspect(st markerState, o *options) (clean bool, err error) {
	s.trusted = false
	info, err := os.Stat(s.path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return false, fmt.Errorf("open %s: %w", s.path, err)
	case missing || info.Size() == 0:
		if st.known {
			return false, s.lostFile(o)
		}
		return false, nil
	}
	if st.clean {
		meta, err := readMeta(s.path)
		clean = err == nil && st.size == info.Size() && st.txid == meta.txid
	}
	var damage error
	switch {
	case clean && info.Size() > o.small:
		s.trusted = true
		return true, nil
	case clean:
		damage = Check(s.path) // not worth a process of its own
	default:
		damage = o.check(s.path)
	}
	if damage == nil || errors.Is(damage, ErrLocked) {
		return clean, damage
	}
	return false, s.damagedFile(o, damage)
}

// Incarnation returns a number that is random and new at every Open.
func (s *Store) Incarnation() [8]byte { return s.incarnation }

// Sync returns nil when everything that was committed before is on disk.
func (s *Store) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	s.mu.Lock()
	if s.closedLocked() {
		defer s.mu.Unlock()
		return s.closedErrLocked()
	}
	s.syncers = append(s.syncers, done)
	s.wakeLocked()
	s.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closedLocked reports whether nothing is taken any more.
func (s *Store) closedLocked() bool { return s.closed || s.fatal != nil }

func (s *Store) closedErrLocked() error {
	if s.fatal != nil {
		return s.fatal
	}
	return ErrClosed
}

// closedCallLocked refuses a Change.
func (s *Store) closedCallLocked(c *Change) {
	c.place, c.fired = onDisk, true
	if c.done == nil {
		return
	}
	if !s.finished {
		s.callLocked(c.done, s.closedErrLocked())
		return
	}
	// The committer has ended and the caller may hold locks that done needs.
	go c.done(s.closedErrLocked())
}

// Err returns why the store has failed for good, or nil. It takes nothing any more
// then; closing and opening it again checks the file.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fatal
}

// Stats returns a snapshot.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.PendingBytes = s.pendingBytes
	st.Pending = max(0, len(s.pending)-s.settled)
	st.Damaged = s.damaged.Load()
	st.FileSize = s.fileSize.Load()
	st.Damage = s.damage
	if s.damage != nil {
		st.SetAside = s.damage.SetAside
	}
	st.Full = s.full
	if s.busy > 0 {
		st.Busy = s.now() - s.busy
	}
	if st.Commits > 0 {
		st.LatencyMean = s.latencySum / time.Duration(st.Commits)
	}
	if s.err != nil {
		st.Err = s.err.Error()
	}
	return st
}
