package drivers

import (
	"context"
	"time"
)

// sample reads the device at every tick, and carries out jobs in between.
func (r *runner) sample(ctx context.Context, dev Sampler, channels []Channel) error {
	ticks := newTicks(r.Every, r.Phase)
	defer ticks.stop()
	var inRow []error
	for {
		var again <-chan time.Time
		res := r.call(ctx, "sample", r.Timeout, func(ctx context.Context) result {
			reading, err := dev.Sample(ctx)
			return result{reading: reading, err: err}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		reading, err := clean(res.reading), res.err
		if err == nil && len(reading.Values) == 0 {
			err = reading.Fault // nothing but trouble is a failure
		}
		r.Stats.add(func(c *Counts) { c.Samples++ })
		switch {
		case err == nil:
			for _, missed := range inRow {
				r.logFault(missed)
			}
			inRow = inRow[:0]
			r.goOnline(dev, channels)
			r.tell(reading)
		case !r.online || fatal(err):
			return err
		default:
			// What it is, an accident or the end, is logged when that is known.
			if inRow = append(inRow, err); len(inRow) == failuresInRow {
				return &repeated{len(inRow), err}
			}
			r.Stats.failed(err)
			r.ev.Reading(Reading{At: time.Now(), Missed: true})
			if r.Every > sampleAgain {
				again = time.After(sampleAgain)
			}
		}
		skipped := ticks.next()
		r.Stats.add(func(c *Counts) { c.Skipped += skipped })
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticks.C():
				due = true
			case <-again:
				due = true
			case job := <-r.Jobs:
				if err := r.act(ctx, dev, job); err != nil {
					return err
				}
			}
		}
	}
}

// lastSample has a meter tell what it has counted since its last sample: nobody will see
// that again.
func (r *runner) lastSample(dev Sampler) {
	if _, ok := dev.(Resumer); !ok || !r.online || !r.hand.free() {
		return
	}
	res := r.call(context.Background(), "sample", slack, func(ctx context.Context) result {
		reading, err := dev.Sample(ctx)
		return result{reading: reading, err: err}
	})
	if res.err != nil {
		r.fault(res.err)
		return
	}
	r.tell(clean(res.reading))
}
