package e2e_test

import (
	"sync"
	"testing"
	"time"
)

// progress counts events and lets a test wait for a number of them.
type progress struct {
	mu      sync.Mutex
	n       int
	changed chan struct{}
}

func (p *progress) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// more returns when n more have come, and fails the test after a minute.
func (p *progress) more(t *testing.T, what string, n int) {
	t.Helper()
	want := p.count() + n
	deadline := time.After(time.Minute)
	for {
		p.mu.Lock()
		got := p.n
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if got >= want {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d %s within a minute, waiting for %d", n-(want-got), what, n)
		}
	}
}
