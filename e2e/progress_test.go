package e2e_test

import (
	"sync"
	"testing"
	"time"

	"edgegateway/internal/need"
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

// more returns when n more have come, and fails the test when none comes any more.
func (p *progress) more(t *testing.T, what string, n int) {
	t.Helper()
	want := p.count() + n
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
		case <-time.After(need.Patience):
			t.Fatalf("%d %s of %d, and for %v no more", n-(want-got), what, n, need.Patience)
		}
	}
}
