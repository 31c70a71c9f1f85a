package buffer

import (
	"fmt"
	"sync"
	"time"
)

// A store has three goroutines, so that no work waits for a disk that it does not
// need: one writes, one reads for [Queue.Poll], one calls back.

// silence is how long Close waits for a disk that does not answer at all. A card
// that tidies up may take seconds for one sync, and systemd waits longer than this
// before it kills. We chose it.
const silence = 10 * time.Second

func (s *Store) start() {
	var others sync.WaitGroup
	others.Go(s.callBack)
	others.Go(s.read)
	go func() {
		defer close(s.ended)
		s.run()
		close(s.written)
		others.Wait()
	}()
}

// Close writes everything that waits, of every class, notes the clean stop and
// ends the goroutines of the store. When the disk takes nothing it gives up after
// some seconds; the error then says what was not written. A disk that does not even
// answer keeps a goroutine, and the lock of the file, until it does. What is
// committed from the beginning of Close on is refused with [ErrClosed]. Close is
// idempotent.
func (s *Store) Close() error {
	if s.looking {
		return s.closeReadOnly()
	}
	s.mu.Lock()
	s.closed = true
	s.roomLocked()
	s.wakeLocked()
	began := s.now()
	s.mu.Unlock()
	for left := silence; left > 0; {
		select {
		case <-s.ended:
			return s.closeErr
		case <-time.After(left):
		}
		s.mu.Lock()
		left = max(began, s.busy) + silence - s.now()
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Errorf("close the store: the disk has not answered for %s; %d bytes and %d removals are not known to be written", silence, s.pendingBytes, s.removals)
}
