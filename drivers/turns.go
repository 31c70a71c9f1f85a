package drivers

import (
	"context"
	"sync"
)

// Turns lets devices use something slow that they share one after the other, first come,
// first served. A call of the kernel that waits for its turn cannot be ended; here one
// can. There is one for all devices of a gateway. The zero value is ready, a nil one
// lets everybody pass; both are safe for concurrent use.
type Turns struct {
	mu    sync.Mutex // guards what follows
	lines map[string]chan struct{}
}

// Take waits for the turn at what is shared, at most until ctx ends. Whoever got it
// calls release at its end.
func (t *Turns) Take(ctx context.Context, what string) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if t == nil {
		return func() {}, nil
	}
	line := t.line(what)
	select {
	case line <- struct{}{}:
		return func() { <-line }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// line is a channel that is full while somebody has the turn.
func (t *Turns) line(what string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines == nil {
		t.lines = make(map[string]chan struct{})
	}
	if t.lines[what] == nil {
		t.lines[what] = make(chan struct{}, 1)
	}
	return t.lines[what]
}
