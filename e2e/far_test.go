package e2e_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// far is the way to a server that is some way off: what goes through it, in either
// direction, arrives later, by delay and up to jitter more, and in order.
type far struct {
	addr          string
	delay, jitter time.Duration

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func startFar(t *testing.T, server string, delay, jitter time.Duration) *far {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{addr: ln.Addr().String(), delay: delay, jitter: jitter, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	t.Cleanup(func() { ln.Close(); f.cut(); running.Wait() })
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer near.Close()
				other, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer other.Close()
				if !f.add(near, other) {
					return
				}
				var back sync.WaitGroup
				back.Go(func() { f.pass(near, other) })
				f.pass(other, near)
				back.Wait()
				f.mu.Lock()
				delete(f.conns, near)
				delete(f.conns, other)
				f.mu.Unlock()
			})
		}
	})
	return f
}

func (f *far) add(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		f.conns[c] = !f.down
	}
	return !f.down
}

// cut ends all connections and takes no new ones until mend.
func (f *far) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for c := range f.conns {
		c.Close()
	}
}

// mend lets connections through again.
func (f *far) mend() {
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
}

// pass carries bytes one way until an end is gone; then both are.
func (f *far) pass(to, from net.Conn) {
	type load struct {
		bytes []byte
		due   time.Time
	}
	under := make(chan load, 1024) // on their way; TCP holds back what finds no room
	var writing sync.WaitGroup
	writing.Go(func() {
		defer to.Close()
		for l := range under {
			time.Sleep(time.Until(l.due))
			if _, err := to.Write(l.bytes); err != nil {
				from.Close()
			}
		}
	})
	var last time.Time
	for {
		chunk := make([]byte, 16<<10)
		n, err := from.Read(chunk)
		if n > 0 {
			due := time.Now().Add(f.delay)
			if f.jitter > 0 {
				due = due.Add(rand.N(f.jitter))
			}
			if due.Before(last) {
				due = last
			}
			last = due
			under <- load{chunk[:n], due}
		}
		if err != nil {
			close(under)
			writing.Wait()
			return
		}
	}
}
