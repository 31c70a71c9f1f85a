package drivers

import (
	"context"
	"errors"
	"time"
)

// A Job is a command on its way to a device.
type Job struct {
	Command Command

	// Safe asks a Failsafe for its safe state; Command is then not looked at.
	Safe bool

	// Sample asks a Sampler for a reading before its next tick; Command is then not
	// looked at. A Watcher has told all that it knows: its Result is empty.
	Sample bool

	// Deadline is when the command is no longer wanted; it is looked at when the
	// job's turn comes. The zero time means never.
	Deadline time.Time

	// Context is the sender's own. It comes back with the Result.
	Context any
}

// serve carries out jobs for a device that can do nothing else.
func (r *runner) serve(ctx context.Context, dev Device) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case job := <-r.Jobs:
			if err := r.act(ctx, dev, job); err != nil {
				return err
			}
		}
	}
}

// act carries out one job and tells its result. Its error ends the session.
func (r *runner) act(ctx context.Context, dev Device, job Job) error {
	r.taken(job)
	op, carryOut, err := r.carrier(dev, job)
	if err != nil || carryOut == nil {
		r.ev.Result(job, Reading{}, err)
		return nil
	}
	if ctx.Err() != nil { // the select that gave the job may have had the choice: nothing moves during a stop
		r.ev.Result(job, Reading{}, ErrStopped)
		return ctx.Err()
	}
	if !job.Deadline.IsZero() && time.Now().After(job.Deadline) {
		r.ev.Result(job, Reading{}, ErrExpired)
		return nil
	}
	res := r.call(ctx, op, r.Timeout, func(ctx context.Context) result {
		state, err := carryOut(ctx)
		return result{reading: state, err: err}
	})
	state := clean(res.reading)
	if res.err != nil {
		r.ev.Result(job, Reading{}, interrupted(ctx, res.err))
		var refused *RefusedError
		switch {
		case fatal(res.err):
			return res.err
		case !errors.As(res.err, &refused):
			r.Stats.failed(res.err)
		}
		return nil
	}
	r.tell(state)
	r.ev.Result(job, state, nil)
	return nil
}

// interrupted says what a call that a stop has ended means to the sender of a command.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &interruptedError{err}
	}
	return err
}

// taken counts a job that is a command.
func (r *runner) taken(job Job) {
	if !job.Safe && !job.Sample {
		r.Stats.add(func(c *Counts) { c.Commands++ })
	}
}

// movable tells whether a job may have to touch the device.
func movable(dev Device) bool {
	_, acts := dev.(Actuator)
	_, safe := dev.(Failsafe)
	return acts || safe
}

// carrier is what a job asks of the device; nil is nothing, and touches it not. The
// hand may be inside Watch when there is an error or nothing to do.
func (r *runner) carrier(dev Device, job Job) (op string, carryOut func(context.Context) (Reading, error), err error) {
	if job.Sample {
		return "sample", sampleOf(dev), nil
	}
	if job.Safe {
		if device, ok := dev.(Failsafe); ok {
			return "actuate", device.Safe, nil
		}
		return "", nil, errors.New("this device has no safe state")
	}
	act, ok := dev.(Actuator)
	if !ok {
		return "", nil, errors.New("this device takes no commands")
	}
	return "actuate", func(ctx context.Context) (Reading, error) {
		c, err := act.Check(job.Command)
		if err != nil {
			return Reading{}, &RefusedError{err}
		}
		return act.Actuate(ctx, c)
	}, nil
}

// sampleOf measures out of turn; nil for a device that is not sampled.
func sampleOf(dev Device) func(context.Context) (Reading, error) {
	sampler, ok := dev.(Sampler)
	if _, watched := dev.(Watcher); watched || !ok {
		return nil
	}
	return func(ctx context.Context) (Reading, error) {
		reading, err := sampler.Sample(ctx)
		if err == nil && len(reading.Values) == 0 {
			err = reading.Fault
		}
		return reading, err
	}
}

// fatal tells whether after this error the opened device is of no more use.
func fatal(err error) bool {
	var stuck *StuckError
	var panicked *PanicError
	return errors.Is(err, ErrGone) || errors.As(err, &stuck) || errors.As(err, &panicked)
}
