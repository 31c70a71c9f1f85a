package buffer

// read is a chunk of a queue that somebody wants in memory.
type read struct {
	q    *Queue
	lane int
}

// Poll is Next for those who can not wait for the disk: what is not in memory it
// has read by a goroutine of the store, and the function of Notify is called when
// it is there, or when it could not be read; the next Poll then returns the error.
func (q *Queue) Poll() (e Entry, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err, q.readErr = q.readErr, nil; err != nil {
		return Entry{}, false, err
	}
	it, lane := q.pickLocked(EveryLane)
	switch {
	case it != nil:
		return q.handOutLocked(it), true, nil
	case lane < 0:
		return Entry{}, false, nil
	case !q.reading:
		q.reading = true
		q.s.reads = append(q.s.reads, read{q, lane})
		select {
		case q.s.wanted <- struct{}{}:
		default:
		}
	}
	return Entry{}, false, nil
}

// read is the goroutine that reads what Poll did not find in memory.
func (s *Store) read() {
	for {
		select {
		case <-s.wanted:
		case <-s.written:
			return
		}
		s.mu.Lock()
		reads := s.reads
		s.reads = nil
		s.mu.Unlock()
		for _, r := range reads {
			err := r.q.load(r.lane, false)
			s.mu.Lock()
			r.q.reading, r.q.readErr = false, err
			s.noticeLocked(r.q)
			s.mu.Unlock()
		}
	}
}
