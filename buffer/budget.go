package buffer

import (
	"context"
	"fmt"
)

// What waits for the disk has one budget in memory, Config.Memory, of which most that
// waits is told to wait, or to come again, before it is taken.

// Room returns an error that wraps ErrFull while so much waits for the disk that
// nothing more should be begun whose commit somebody waits for. Append takes
// records of class Sync all the same, so that what was begun is not torn.
func (s *Store) Room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pendingBytes <= 2*s.cfg.Memory {
		return nil
	}
	return fmt.Errorf("%d bytes wait for the disk: %w", s.pendingBytes, ErrFull)
}

// Admits reports whether Admit would return at once.
func (s *Store) Admits(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closedLocked() || s.admitsLocked(n)
}

func (s *Store) admitsLocked(n int) bool {
	return s.pendingBytes == 0 || s.pendingBytes+int64(n) <= s.cfg.Memory
}

// Admit waits while n bytes more would exceed the memory for what waits for a
// commit. Call it without locks, before Begin; it reserves nothing. It returns the
// error of ctx, or one that wraps [ErrClosed].
func (s *Store) Admit(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		if s.closedLocked() {
			defer s.mu.Unlock()
			return s.closedErrLocked()
		}
		if s.admitsLocked(n) {
			s.mu.Unlock()
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.forceLocked()
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
		}
	}
}

func (s *Store) roomLocked() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}
