package buffer

// call is a done function with its argument.
type call struct {
	fn  func(error)
	err error
}

// callLocked has fn called outside the lock, by the goroutine of callBack.
func (s *Store) callLocked(fn func(error), err error) {
	if fn != nil {
		s.calls = append(s.calls, call{fn, err})
		s.tellLocked()
	}
}

// noticeLocked has the function of Notify called in the same way.
func (s *Store) noticeLocked(q *Queue) {
	if q.notify != nil {
		s.notices = append(s.notices, q.notify)
		s.tellLocked()
	}
}

func (s *Store) tellLocked() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// callBack is the goroutine that calls what waited for a commit. It is not the
// committer, because that may be with a disk that does not answer: what need not be
// written any more must not wait for it.
func (s *Store) callBack() {
	for {
		select {
		case <-s.news:
			s.deliver()
		case <-s.written:
			s.deliver()
			return
		}
	}
}

// deliver calls what is ready to be called. When it returns, what was ready before
// has been called.
func (s *Store) deliver() {
	s.telling.Lock() // the calls keep their order, whoever makes them
	defer s.telling.Unlock()
	s.mu.Lock()
	calls, notices := s.calls, s.notices
	s.calls, s.notices = nil, nil
	s.mu.Unlock()
	for _, c := range calls {
		c.fn(c.err)
	}
	for _, fn := range notices {
		fn()
	}
}
