package drivers

import (
	"sync"
	"time"
)

// Stats counts what happens to one device. The zero value is ready; it is safe for
// concurrent use.
type Stats struct {
	mu sync.Mutex
	c  Counts
}

// Counts is a copy of Stats.
type Counts struct {
	Online    bool
	Opens     int64 // times the device was opened
	Samples   int64 // calls of Sample that returned in time
	Readings  int64 // given to Events
	Skipped   int64 // sampling ticks passed over because a sample took too long
	Coalesced int64 // readings of a Watcher that became part of a newer one
	Commands  int64 // commands taken
	Errors    int64 // failed attempts, samples and commands that were not just refused, and faulty readings

	LastError   string // of Errors; "" if there was none
	LastErrorAt time.Time
}

// Snapshot returns the counts of this moment.
func (s *Stats) Snapshot() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

func (s *Stats) add(f func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.c)
}

func (s *Stats) failed(err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.Errors++
	s.c.LastError, s.c.LastErrorAt = err.Error(), now
}
