package buffer

import (
	"context"
	"log/slog"
)

// thin bodies: replaced by the next commit

type Store struct{}

type Event struct {
	Path, SetAside string
	Err            error
}

type Option func(*options)
type options struct{}

func WithChecker(check func(path string) error) Option { return func(*options) {} }
func WithEvents(fn func(Event)) Option                 { return func(*options) {} }

func Open(path string, cfg Config, log *slog.Logger, opts ...Option) (*Store, error) {
	return nil, ErrClosed
}
func Check(path string) error                                { return nil }
func (s *Store) Close() error                                { return nil }
func (s *Store) Sync(ctx context.Context) error              { return nil }
func (s *Store) Incarnation() [8]byte                        { return [8]byte{} }
func (s *Store) Stats() Stats                                { return Stats{} }
func (s *Store) Err() error                                  { return nil }
func (s *Store) Admit(ctx context.Context, n int) error      { return nil }
func (s *Store) Table(name string) *Table                    { return nil }
func (s *Store) Queue(name string, l Limits) (*Queue, error) { return nil, ErrClosed }
func (s *Store) Queues() []string                            { return nil }
func (s *Store) DropQueue(c *Change, q *Queue)               {}
func (s *Store) Begin() *Change                              { return nil }

func NewVolatile(l Limits) *Queue { return nil }

type Change struct{}

func (c *Change) Append(q *Queue, r Record) (seq uint64, err error) { return 0, ErrClosed }
func (c *Change) Put(t *Table, key, value []byte, u Urgency)        {}
func (c *Change) Delete(t *Table, key []byte, u Urgency)            {}
func (c *Change) Attach(q *Queue, u Urgency)                        {}
func (c *Change) Detach(q *Queue, u Urgency)                        {}
func (c *Change) Forget(q *Queue, u Urgency)                        {}
func (c *Change) Commit(done func(error))                           {}

type Queue struct{}

func (q *Queue) Name() string                               { return "" }
func (q *Queue) Next() (Entry, bool, error)                 { return Entry{}, false, ErrClosed }
func (q *Queue) Ack(seq uint64) bool                        { return false }
func (q *Queue) Received(seq uint64, done func(error)) bool { return false }
func (q *Queue) Rewind()                                    {}
func (q *Queue) Reject(seq uint64, reason string)           {}
func (q *Queue) Requeue(seq uint64)                         {}
func (q *Queue) Room(n int) error                           { return nil }
func (q *Queue) Notify(fn func())                           {}
func (q *Queue) Oldest() (seq uint64, ok bool)              { return 0, false }
func (q *Queue) Stats() QueueStats                          { return QueueStats{} }

type Table struct{}

func (t *Table) Get(key []byte) ([]byte, bool, error)        { return nil, false, nil }
func (t *Table) Each(fn func(key, value []byte) error) error { return nil }
