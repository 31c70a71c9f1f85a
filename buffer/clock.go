package buffer

import "time"

// Clock returns how long the store has been open, over all its runs: a clock for
// what expires. It goes on by monotonic time, so the wall clock may be set to what
// it likes, and time without power does not count. After a stop that was not clean
// it goes on from a note that is as old as the newest commit that wrote something of
// a queue, or as the last call of AdvanceClock that the caller remembered: what
// expires does so later then, never earlier. It is above 0.
func (s *Store) Clock() time.Duration {
	return time.Duration(s.clockBase.Load()) + s.now()
}

// AdvanceClock sets the clock forward; it never goes back. It is for a note that
// the caller keeps itself, in a store whose queues may be at rest for long.
func (s *Store) AdvanceClock(to time.Duration) {
	for {
		base := s.clockBase.Load()
		behind := to - time.Duration(base) - s.now()
		if behind <= 0 || s.clockBase.CompareAndSwap(base, base+int64(behind)) {
			return
		}
	}
}

// clockNote is the clock as states of queues note it, in milliseconds.
func (s *Store) clockNote() uint64 { return uint64(s.Clock().Milliseconds()) }

// takeNote goes on from such a note.
func (s *Store) takeNote(note uint64) {
	s.AdvanceClock(time.Duration(min(note, 1<<41)) * time.Millisecond) // 70 years: none is later
}
