package broker

import (
	"context"
	"sync"
)

// Receipt tells when a published message is safe: on disk for everyone who must
// get it, or acknowledged by them. Safe for concurrent use.
type Receipt struct {
	mu    sync.Mutex
	holds int
	err   error // the first one of those who held
	then  []func(error)
}

// newReceipt returns a Receipt with one hold, the publisher's: it is released
// when routing has ended and the broker's lock is free.
func newReceipt() *Receipt { return &Receipt{holds: 1} }

// Hold keeps the message from being called safe until release is called, with
// nil or with the reason why it is not safe; an ErrRefused reaches an MQTT 5
// publisher with its code. The first error wins. Calls of release after the
// first do nothing.
//
// Hold must be called before Publish returns: from Deliver.
func (r *Receipt) Hold() (release func(error)) {
	r.hold()
	var once sync.Once
	return func(err error) { once.Do(func() { r.release(err) }) }
}

func (r *Receipt) hold() {
	r.mu.Lock()
	r.holds++
	r.mu.Unlock()
}

func (r *Receipt) release(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.holds--
	if r.holds > 0 {
		r.mu.Unlock()
		return
	}
	then, err := r.then, r.err
	r.then = nil
	r.mu.Unlock()
	for _, fn := range then {
		fn(err)
	}
}

// Done has fn called once: with nil when the message is safe, else with the
// reason. That may be before Done returns. fn must not block; it is called
// without any lock of the broker or the store.
func (r *Receipt) Done(fn func(error)) {
	r.mu.Lock()
	if r.holds > 0 {
		r.then = append(r.then, fn)
		r.mu.Unlock()
		return
	}
	err := r.err
	r.mu.Unlock()
	fn(err)
}

// Wait returns nil when the message is safe, the reason why it never will be, or
// the error of ctx.
func (r *Receipt) Wait(ctx context.Context) error {
	result := make(chan error, 1)
	r.Done(func(err error) { result <- err })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
