package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// A cuttable is the demo's link to its cloud. When it is cut, what was open is gone at once with all that
// was under way in it, and who dials gets no answer until it is back. It is also thin, as radio links are,
// so that one can watch a backlog drain; what comes after a rest passes at once. Safe for concurrent use.
type cuttable struct {
	bytesPerSecond int
	burst          int // bytes that pass at once when the link has rested

	mu    sync.Mutex    // guards what follows
	clear time.Time     // when all that was written has passed the link; burst lets it pass earlier
	whole chan struct{} // closed while the link is whole
	conns map[*thinConn]struct{}
}

func newCuttable(bytesPerSecond, burst int) *cuttable {
	l := &cuttable{bytesPerSecond: bytesPerSecond, burst: burst, whole: make(chan struct{}), conns: make(map[*thinConn]struct{})}
	close(l.whole)
	return l
}

var errCut = errors.New("the link is cut")

// Dial opens a connection through the link. While the link is cut it waits, as long as ctx lets it.
func (l *cuttable) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	whole := l.whole
	l.mu.Unlock()
	select {
	case <-whole:
	case <-ctx.Done():
		return nil, errCut
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &thinConn{Conn: conn, link: l, gone: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.upLocked() { // cut meanwhile
		conn.Close()
		return nil, errCut
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// Up reports whether the link is whole.
func (l *cuttable) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upLocked()
}

func (l *cuttable) upLocked() bool {
	select {
	case <-l.whole:
		return true
	default:
		return false
	}
}

// Set cuts the link or restores it.
func (l *cuttable) Set(up bool) {
	l.mu.Lock()
	var open []*thinConn
	switch {
	case up == l.upLocked():
	case up:
		close(l.whole)
	default:
		l.whole = make(chan struct{})
		for c := range l.conns {
			open = append(open, c)
		}
	}
	l.mu.Unlock()
	for _, c := range open {
		c.sever()
	}
}

// pass books n bytes on the link and returns how long they take.
func (l *cuttable) pass(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if rested := now.Add(-l.duration(l.burst)); l.clear.Before(rested) {
		l.clear = rested
	}
	l.clear = l.clear.Add(l.duration(n))
	return max(l.clear.Sub(now), 0)
}

func (l *cuttable) duration(bytes int) time.Duration {
	return time.Duration(bytes) * time.Second / time.Duration(l.bytesPerSecond)
}

// A thinConn is a connection through the link.
type thinConn struct {
	net.Conn
	link *cuttable
	once sync.Once
	gone chan struct{}
}

// atOnce is how much passes the link in one piece, in bytes; small, so that messages arrive one by one.
const atOnce = 128

// Write sends no faster than the link is. What is written when the link is cut is lost, as on a real one.
func (c *thinConn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(n+atOnce, len(b))]
		through := time.NewTimer(c.link.pass(len(piece)))
		select {
		case <-c.gone:
			through.Stop()
			return n, errCut
		case <-through.C:
		}
		sent, err := c.Conn.Write(piece)
		n += sent
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// sever ends the connection without a goodbye: what the kernel still holds is thrown away.
func (c *thinConn) sever() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.Close()
}

func (c *thinConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
