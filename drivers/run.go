package drivers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// What we chose. All of these are far from any limit of the hardware.
const (
	defaultEvery   = 10 * time.Second
	defaultTimeout = 5 * time.Second
	shortestEvery  = 10 * time.Millisecond

	openTimeout  = 10 * time.Second       // chips that calibrate themselves take seconds
	slack        = 500 * time.Millisecond // between the end of a call's context and calling it stuck
	closeTimeout = 2 * time.Second
	stopGrace    = time.Second // how long the end of Run waits for a call, and then for Close

	failuresInRow = 3                // samples that fail before the device is offline
	sampleAgain   = 10 * time.Second // how soon one that failed is repeated, where the next tick is later
	settling      = time.Second      // a Watcher that says nothing is online after this, and see listen
	faultSpell    = time.Minute      // without a fault ends a spell of faults
)

// Events is told what happens to a device. All methods are called from one
// goroutine, that of Run, and must not block for long: meanwhile the device rests.
type Events interface {
	// Online says that the device works; readings follow. check validates and
	// normalises a command without touching hardware; it is safe for concurrent use,
	// stays valid after the device went offline, never panics, and is nil if the
	// device takes no commands.
	Online(channels []Channel, check func(Command) (Command, error))

	// Reading hands over a reading, clean and with its time set. The receiver owns
	// Values; there is at least one, or one in Bad, or Missed is set.
	Reading(r Reading)

	// Offline says why the device does not work. It is called at the first failed
	// attempt to open the device, when it fails later, when the reason changes, and
	// with ErrStopped when a device that is online ends with Run.
	Offline(reason error)

	// Result is called exactly once for each job that Run took from the channel. A
	// state that the device told after the command has been given to Reading before,
	// and comes again here. An error says that the command was not carried out, or
	// (StuckError, an ended context) that nobody knows.
	Result(j Job, state Reading, err error)
}

// Spec says which device Run runs, and how.
type Spec struct {
	Name   string // for the log
	Kind   Kind
	Decode func(dst any) error // strict decoding of the device's options
	Ports  Ports

	// Every is the sampling interval; 0 means 10 s, less than 10 ms means 10 ms.
	// Ticks are counted from the first sample, so that the interval does not drift;
	// ticks that pass during a slow sample are skipped and counted. A sample that fails
	// is repeated after 10 s, if that is before the next tick.
	Every time.Duration

	// Phase is how much later than that all ticks come; the first sample comes at once
	// in any case. Devices that are opened together do not go on in step with it.
	Phase time.Duration

	// Timeout limits one Sample and one Actuate; 0 means that of the kind, or else 5 s.
	Timeout time.Duration

	// Last gives what the device said last, for a Resumer; nil if nobody knows. It is
	// called at each opening, from another goroutine than that of Run.
	Last func() []Value

	// Jobs brings the commands; nil means none. Jobs of a device that is offline are
	// answered at once with an OfflineError: a valve must not open an hour late.
	// The channel stays open as long as Run runs.
	Jobs <-chan Job

	Log   *slog.Logger // nil = silent. Run logs each change once; Events need not
	Stats *Stats       // counted into; may be nil
}

// Run opens the device, samples or watches it and carries out its jobs, one call
// at a time, until ctx ends. A device that cannot be opened or that fails is closed
// and opened again after 1 s, doubling to 60 s, each up to a fifth shorter or
// longer, so that many devices behind one failed hub do not come back in step.
//
// Run starts one goroutine, which makes all calls of the driver, because a call
// that ignores its context can then be left waiting while Run goes on to answer
// jobs. At the end a Sampler that is a Resumer is sampled once more, then the device is
// closed, which brings it into its safe state, and Run returns the error of that, after
// its goroutine has ended. Only a call that does not return within 2 s is left behind,
// with a StuckError: the goroutine closes the device and ends if the call ever returns,
// and touches nothing of Run.
func Run(ctx context.Context, s Spec, ev Events) error {
	r := newRunner(s, ev)
	go r.hand.work()

	var wait backoff
	for ctx.Err() == nil {
		if r.session(ctx) > stableFor {
			wait.reset()
		}
		r.rest(ctx, time.After(wait.next()))
	}
	return r.stop()
}

// A runner is the state of one Run. Only Run's goroutine uses it.
type runner struct {
	Spec
	ev   Events
	hand *hand

	online    bool
	openedAt  time.Time
	reason    error         // why the device is offline, as told last
	trouble   string        // and what that is, however often it came
	unclosed  string        // why it could not be closed, as told last
	mute      time.Duration // how long the last watch told nothing before it failed
	lastFault time.Time
	faults    int64
}

func newRunner(s Spec, ev Events) *runner {
	if s.Every <= 0 {
		s.Every = defaultEvery
	}
	s.Every = max(s.Every, shortestEvery)
	if s.Timeout <= 0 {
		s.Timeout = cmp.Or(s.Kind.Timeout, defaultTimeout)
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Stats == nil {
		s.Stats = new(Stats)
	}
	s.Log = s.Log.With("device", s.Name)
	reason := errors.New("not opened yet")
	return &runner{Spec: s, ev: ev, hand: newHand(), reason: reason, trouble: reason.Error()}
}

// session opens the device, uses it until it fails or ctx ends, and closes it. It
// returns how long the device was open.
func (r *runner) session(ctx context.Context) time.Duration {
	r.openedAt = time.Now()
	err := r.use(ctx)
	lasted := time.Since(r.openedAt)
	if ctx.Err() != nil {
		return lasted // the hand closes the device at its end
	}
	r.goOffline(err)
	r.rest(ctx, nil) // a stuck call must return before the next one
	if ctx.Err() == nil {
		res := r.call(ctx, "close", closeTimeout, func(context.Context) result {
			return result{err: r.hand.close()}
		})
		r.closed(err, res.err)
		r.rest(ctx, nil)
	}
	return lasted
}

// closed says that a device that failed could not be closed either, unless that has
// been said since it worked.
func (r *runner) closed(reason, err error) {
	switch {
	case err == nil:
	case r.unclosed == err.Error(), reason.Error() == err.Error():
		r.Stats.failed(err)
	default:
		r.unclosed = err.Error()
		r.offline(fmt.Errorf("%w; then: %w", reason, err))
	}
}

// use opens the device and uses it until it fails or ctx ends.
func (r *runner) use(ctx context.Context) error {
	open := r.call(ctx, "open", openTimeout, func(ctx context.Context) result {
		dev, err := r.Kind.Open(ctx, r.Decode, r.Ports)
		if err == nil && dev == nil {
			err = fmt.Errorf("the driver %s opened nothing", r.Kind.Name)
		}
		if err != nil {
			return result{err: err}
		}
		// The hand must know the device before its code is called again, so that a
		// panic in Channels cannot leave it open.
		r.hand.device = dev
		if meter, ok := dev.(Resumer); ok && r.Last != nil {
			meter.Resume(r.Last())
		}
		return result{device: dev, channels: dev.Channels()}
	})
	if open.err != nil {
		return open.err
	}
	r.Stats.add(func(c *Counts) { c.Opens++ })
	r.openedAt = time.Now()
	switch dev := open.device.(type) {
	case Watcher:
		return r.listen(ctx, dev, open.channels)
	case Sampler:
		err := r.sample(ctx, dev, open.channels)
		if ctx.Err() != nil {
			r.lastSample(dev)
		}
		return err
	default:
		r.goOnline(dev, open.channels)
		return r.serve(ctx, dev)
	}
}

// rest refuses jobs until a moment has come (nil: none is waited for), no call is
// under way any more, and ctx has not ended.
func (r *runner) rest(ctx context.Context, until <-chan time.Time) {
	for ctx.Err() == nil && (until != nil || !r.hand.free()) {
		select {
		case <-ctx.Done():
			return
		case <-until:
			until = nil
		case <-r.hand.returned():
			r.hand.busy = false
		case job := <-r.Jobs:
			r.taken(job)
			r.ev.Result(job, Reading{}, &OfflineError{r.reason})
		}
	}
}

// stop answers the jobs that nobody will start, and ends the hand.
func (r *runner) stop() error {
	for waiting := true; waiting; {
		select {
		case job := <-r.Jobs:
			r.ev.Result(job, Reading{}, ErrStopped)
		default:
			waiting = false
		}
	}
	err := r.hand.end()
	if err != nil {
		r.Log.Error("device could not be closed; it may not be in its safe state", "err", err)
	}
	if r.online {
		r.online = false
		r.Stats.add(func(c *Counts) { c.Online = false })
		r.ev.Offline(ErrStopped)
	}
	return err
}
