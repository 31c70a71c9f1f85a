package buffer

import (
	"fmt"
	"time"
)

// closeTimeout is how long Close tries a disk that takes nothing; we chose it.
const closeTimeout = 5 * time.Second

// shutdown writes the last batch and ends the store.
func (s *Store) shutdown() {
	s.mu.Lock()
	err := s.fatal
	s.mu.Unlock()
	for end := s.now() + closeTimeout; err == nil; {
		if err = s.commit(true); err == nil {
			s.deliver() // who is told may acknowledge something
			s.mu.Lock()
			rest := len(s.pending) + len(s.dirtyQueues) + len(s.dirtyTables)
			s.mu.Unlock()
			if rest == 0 {
				break
			}
			continue
		}
		s.mu.Lock()
		fatal, pause := s.fatal != nil, s.backoff
		s.mu.Unlock()
		if s.deliver(); fatal || s.now()+pause > end {
			break
		}
		time.Sleep(pause) // nobody is served any more
		err = nil
	}
	s.mu.Lock()
	if err != nil {
		if s.doubt != nil {
			s.restoreLocked(s.doubt)
			s.doubt = nil
		}
		err = fmt.Errorf("close the store: %d changes with %d bytes and %d removals were not written: %w",
			max(0, len(s.pending)-s.settled), s.pendingBytes, s.removals, err)
	}
	s.giveUpLocked(err) // without an error there is nobody left, unless in Sync
	s.closeErr = err
	s.finished = true // from here on nobody delivers
	s.mu.Unlock()
	s.deliver()

	s.lockFile()
	defer s.fileMu.Unlock() // no backup begins any more
	var st markerState
	if s.db != nil && !s.stuck {
		st = markerState{clean: err == nil, size: fileSize(s.db), txid: lastTx(s.db), clock: s.Clock(), runs: [][8]byte{s.noted}}
		if cerr := s.db.Close(); cerr != nil && err == nil {
			st.clean = false
			s.closeErr = fmt.Errorf("close the store: %w", cerr)
		}
		s.db = nil
	}
	if st.clean && st.txid > 0 && s.marker != nil {
		if merr := s.marker.write(st); merr != nil {
			s.closeErr = fmt.Errorf("note the clean stop: %w", merr)
		}
	}
	if s.marker != nil {
		s.marker.close()
	}
}
