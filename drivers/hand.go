package drivers

import (
	"context"
	"runtime/debug"
	"time"
)

// A hand is the goroutine that makes all calls of a driver, one after the other,
// and what Run knows of it. It never touches Run's state: what a call brings comes
// back through a channel, so a call that returns late disturbs nobody.
type hand struct {
	calls   chan func() result
	results chan result // holds one, so the hand never waits for Run
	ended   chan error  // of the last close; holds one

	device Device // open or nil; belongs to the hand

	busy bool // a call has not returned; this and what follows belongs to Run
	op   string
}

// A result is what a call brought.
type result struct {
	device   Device
	channels []Channel
	reading  Reading
	err      error
}

func newHand() *hand {
	return &hand{
		calls:   make(chan func() result),
		results: make(chan result, 1),
		ended:   make(chan error, 1),
	}
}

// work makes the calls until there are no more, and closes the device.
func (h *hand) work() {
	for call := range h.calls {
		h.results <- call()
	}
	h.ended <- h.close()
}

// close closes the device, if one is open.
func (h *hand) close() (err error) {
	if h.device == nil {
		return nil
	}
	defer recovered("close", &err)
	dev := h.device
	h.device = nil // also if Close panics: it is not called twice
	return dev.Close()
}

// start begins a call. The hand must be free.
func (h *hand) start(op string, fn func() result) {
	h.busy, h.op = true, op
	h.calls <- func() (res result) {
		defer recovered(op, &res.err)
		return fn()
	}
}

func (h *hand) free() bool { return !h.busy }

// returned brings the result of the call under way; nil if there is none.
func (h *hand) returned() <-chan result {
	if !h.busy {
		return nil
	}
	return h.results
}

// wait waits for the call under way. If it has not returned after limit, or after
// ctx ended and stopGrace passed, it is stuck: the hand stays busy.
func (h *hand) wait(ctx context.Context, limit time.Duration) result {
	began := time.Now()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	done := ctx.Done()
	for {
		select {
		case res := <-h.results:
			h.busy = false
			return res
		case <-done:
			done = nil
			grace := min(limit, stopGrace)
			limit = (time.Since(began) + grace).Round(100 * time.Millisecond)
			timer.Reset(grace)
		case <-timer.C:
			// Not how long it really took: on a busy machine each time would be another
			// trouble.
			return result{err: &StuckError{Op: h.op, After: limit}}
		}
	}
}

// end lets the hand close the device and waits for that, at most stopGrace.
func (h *hand) end() error {
	close(h.calls)
	if !h.busy {
		h.op = "close"
	}
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case err := <-h.ended:
		return err
	case <-timer.C:
		return &StuckError{Op: h.op, After: stopGrace}
	}
}

// recovered, deferred, turns a panic into the error of a call.
func recovered(op string, err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Op: op, Value: v, Stack: debug.Stack()}
	}
}

// call makes one call of the driver and waits for it. Its context ends after
// limit, or with ctx.
func (r *runner) call(ctx context.Context, op string, limit time.Duration, fn func(context.Context) result) result {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.hand.start(op, func() result { return fn(limited) })
	return r.hand.wait(ctx, limit+slack)
}
