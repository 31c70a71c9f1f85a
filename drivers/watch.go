package drivers

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// watch lets the device tell what changes. The hand is inside Watch all the time;
// for a job the watch is ended and begun again.
func (r *runner) watch(ctx context.Context, dev Watcher, channels []Channel) error {
	box := newInbox(r.Stats)
	settled := time.After(settling + r.mute)
	acts := movable(dev)
	for {
		watching, end := context.WithCancel(ctx)
		r.hand.start("watch", func() result {
			return result{err: dev.Watch(watching, func(reading Reading) { box.emit(ctx, reading) })}
		})
		job, err := r.receive(ctx, dev, channels, box, settled, acts)
		end()
		if !r.hand.free() {
			// An error of a watch that was ended says nothing, unless it is fatal.
			if res := r.hand.wait(ctx, slack+r.Timeout); err == nil && fatal(res.err) {
				err = res.err
			}
		}
		// What was told before the command must not appear after its result.
		if last, ok := box.flush(); ok {
			if len(last.Values) > 0 {
				r.goOnline(dev, channels)
			}
			r.tell(last)
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			if job != nil {
				r.refuse(ctx, *job, err)
			}
			return err
		}
		r.goOnline(dev, channels)
		if err := r.act(ctx, dev, *job); err != nil {
			return err
		}
	}
}

// listen watches, and notes how long in vain if it has. The next watch is not taken for a
// good one before it has lasted longer: a device that does not speak, and is given up for
// that each time, would be online until then.
func (r *runner) listen(ctx context.Context, dev Watcher, channels []Channel) error {
	began, before := time.Now(), r.Stats.Snapshot().Readings
	err := r.watch(ctx, dev, channels)
	r.mute = 0
	if r.Stats.Snapshot().Readings == before && !fatal(err) {
		r.mute = time.Since(began)
	}
	return err
}

// refuse answers a job that nobody starts, because of err or of a stop.
func (r *runner) refuse(ctx context.Context, job Job, err error) {
	if ctx.Err() != nil {
		err = ErrStopped
	} else {
		err = &OfflineError{err}
	}
	r.ev.Result(job, Reading{}, err)
}

// receive hands out what the watch tells, until there is a job for the device or
// the watch is over.
func (r *runner) receive(ctx context.Context, dev Watcher, channels []Channel, box *inbox, settled <-chan time.Time, acts bool) (*Job, error) {
	ready, gate := box.ready, (<-chan time.Time)(nil)
	for {
		select {
		case <-ready:
		case <-gate:
		case <-settled:
			// Silence is what a watcher of a rare event has to say.
			settled = nil
			r.goOnline(dev, channels)
			continue
		case job := <-r.Jobs:
			if acts {
				return &job, nil
			}
			if err := r.act(ctx, dev, job); err != nil {
				return nil, err
			}
			continue
		case res := <-r.hand.returned():
			r.hand.busy = false
			if res.err == nil {
				res.err = errors.New("the driver stopped watching without a reason")
			}
			return nil, res.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if wait := r.deliver(dev, channels, box); wait > 0 {
			ready, gate = nil, time.After(wait)
		} else {
			ready, gate = box.ready, nil
		}
	}
}

// deliver hands out what has come, as fast as the rate allows, and tells how long
// to wait for the rest.
func (r *runner) deliver(dev Watcher, channels []Channel, box *inbox) time.Duration {
	for {
		reading, wait, ok := box.take(time.Now())
		if !ok {
			return wait
		}
		if len(reading.Values) > 0 {
			r.goOnline(dev, channels)
		}
		r.tell(reading)
	}
}

const (
	inboxSize = 32
	// emitPause is how long a Watcher rests for each reading that finds the inbox
	// full: a flood then costs some thousand calls per second, not a whole core.
	emitPause = 250 * time.Microsecond
)

// An inbox takes the readings of a Watcher. A full one puts a new reading into the
// newest it holds, channel by channel, so the state that comes out is always true
// and complete; only changes in between are lost, and counted.
type inbox struct {
	ready chan struct{} // holds a token when something has come
	stats *Stats

	mu      sync.Mutex // guards what follows
	waiting []Reading
	rate    limiter
}

func newInbox(s *Stats) *inbox {
	return &inbox{ready: make(chan struct{}, 1), stats: s}
}

// emit is what a Watcher calls.
func (b *inbox) emit(ctx context.Context, r Reading) {
	r = clean(r)
	if len(r.Values)+len(r.Bad) == 0 && r.Fault == nil && r.Note == "" {
		return
	}
	if b.put(r) {
		select {
		case b.ready <- struct{}{}:
		default:
		}
		return
	}
	b.stats.add(func(c *Counts) { c.Coalesced++ })
	if r.Fault != nil {
		b.stats.failed(r.Fault)
	}
	if ctx.Err() == nil {
		time.Sleep(emitPause)
	}
}

// put appends a reading, or merges it into the newest and returns false.
func (b *inbox) put(r Reading) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) < inboxSize {
		b.waiting = append(b.waiting, r)
		return true
	}
	merge(&b.waiting[len(b.waiting)-1], r)
	return false
}

// flush removes all readings and returns the state that they end in.
func (b *inbox) flush() (state Reading, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.waiting {
		if i == 0 {
			state, ok = r, true
		} else {
			merge(&state, r)
		}
	}
	b.waiting = nil
	return state, ok
}

// merge puts a newer reading into an older one. A Watcher that names other channels each
// time keeps the first ones.
func merge(old *Reading, r Reading) {
	if r.Fault != nil {
		old.Fault = r.Fault
	}
	if r.Note != "" {
		old.Note = r.Note
	}
	if len(r.Values) > 0 {
		old.At = r.At
	}
	for _, name := range r.Bad {
		old.Values = slices.DeleteFunc(old.Values, func(v Value) bool { return v.Channel == name })
		if len(old.Bad) < mostValues && !slices.Contains(old.Bad, name) {
			old.Bad = append(slices.Clip(old.Bad), name)
		}
	}
	for _, v := range r.Values {
		if len(old.Bad) > 0 {
			old.Bad = slices.DeleteFunc(slices.Clone(old.Bad), func(name string) bool { return name == v.Channel })
		}
		i := slices.IndexFunc(old.Values, func(o Value) bool { return o.Channel == v.Channel })
		switch {
		case i >= 0:
			old.Values[i] = v
		case len(old.Values) < mostValues:
			old.Values = append(old.Values, v)
		}
	}
}

// take removes the oldest reading if the rate allows; else it tells how long to
// wait, 0 if the inbox is empty.
func (b *inbox) take(now time.Time) (r Reading, wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return r, 0, false
	}
	if wait = b.rate.take(now); wait > 0 {
		return r, wait, false
	}
	r = b.waiting[0]
	b.waiting = slices.Delete(b.waiting, 0, 1)
	return r, 0, true
}
