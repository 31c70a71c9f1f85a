package buffer

import "io"

// WithHooks injects failures: before runs instead of the commit if it returns an
// error, after's error is reported although the commit went through.
func WithHooks(before, after func() error) Option {
	return func(o *options) { o.faults.Commit, o.faults.Committed = before, after }
}

// WithSteps calls step at the steps of a rewrite of the file: "copying", "batch" (of
// a migration), "copied", "mapping" (of a disk that takes no writes), whose errors stand in for that of the disk, and "renamed".
func WithSteps(step func(name string) error) Option {
	return func(o *options) { o.faults.step = step }
}

// WithWindow keeps fewer entries in memory, so that small tests read from disk.
func WithWindow(items int) Option {
	return func(o *options) { o.window = window{items, windowBytes} }
}

// SweepSoon has the store look for expired entries before its next commit.
func (s *Store) SweepSoon() {
	s.mu.Lock()
	s.sweepAt = 1
	s.wakeLocked()
	s.mu.Unlock()
}

var ErrDamaged = errDamaged

// InMemory returns how many entries, and tombstones, q holds in memory.
func (q *Queue) InMemory() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for i := range q.lanes {
		n += q.lanes[i].front.len() + q.lanes[i].back.len()
	}
	return n
}

// Path returns where the file is.
func (s *Store) Path() string { return s.path }

var Checksum = checksum

// KeyOf returns Record.Key of an entry in memory.
func (q *Queue) KeyOf(seq uint64) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.findLocked(seq); it != nil {
		return it.key
	}
	return 0
}

// SchemaNote is what lies under "schema" and "schema.sum" in the bucket "meta".
var SchemaNote = schemaNote

// SalvageFrom is Salvage for what need not be a file.
func SalvageFrom(f io.ReaderAt, size int64, to string) (Salvaged, error) {
	return salvageTo(newDamaged(f, size), to)
}

// WithWord opens the store as a system with words of so many bits does.
func WithWord(bits int) Option {
	return func(o *options) { o.word = bits }
}

// MaxSize returns how large the file may become.
func (s *Store) MaxSize() int64 { return s.cfg.MaxSize }

// WithSmall has files up to so many bytes checked at every Open.
func WithSmall(bytes int64) Option {
	return func(o *options) { o.small = bytes }
}
