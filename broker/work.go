package broker

import "sync"

// work is what a batch of messages leaves to do when the broker's lock is free:
// sessions whose queue has something to send, connections that have something to
// write. It belongs to its goroutine, which uses it again.
type work struct {
	number   uint64
	touched  []touched
	receipts []*Receipt // whose publisher holds them still
	ended    []*Session // in memory, with messages that go to others
}

type touched struct {
	session *Session
	conn    *conn
	queue   bool
}

// startLocked begins a batch.
func (w *work) startLocked(b *Broker) {
	b.works++
	w.number = b.works
	w.touched = w.touched[:0]
	w.receipts = w.receipts[:0]
	w.ended = w.ended[:0]
}

func (w *work) touch(s *Session, c *conn, queue bool) {
	if s.work != w.number {
		s.work = w.number
		s.workAt = len(w.touched)
		w.touched = append(w.touched, touched{s, c, queue})
		return
	}
	t := &w.touched[s.workAt]
	t.queue = t.queue || queue
	if c != nil {
		t.conn = c
	}
}

// finish does what is left. No lock is held. own is the connection of the
// caller, which flushes it itself; nil: none.
func (w *work) finish(own *conn) {
	for i, t := range w.touched {
		w.touched[i] = touched{}
		if t.session.local != nil {
			t.session.signal()
			continue
		}
		if t.conn == nil {
			continue
		}
		if t.queue {
			t.session.pump(t.conn)
		}
		if t.conn != own {
			t.conn.flush()
		}
	}
	for i, r := range w.receipts {
		w.receipts[i] = nil
		r.release(nil)
	}
	for i, s := range w.ended {
		w.ended[i] = nil
		s.b.handOver(s)
	}
}

// leavers are sessions that have ended and are not on disk any more but for what
// they leave to others. Safe for concurrent use.
type leavers struct {
	mu   sync.Mutex
	list []*Session
}

func (l *leavers) add(s *Session) {
	l.mu.Lock()
	l.list = append(l.list, s)
	l.mu.Unlock()
}

func (l *leavers) take() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}
