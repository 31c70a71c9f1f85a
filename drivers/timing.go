package drivers

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = time.Second
	backoffMost  = 60 * time.Second
	stableFor    = backoffMost // a device that worked this long starts over at backoffFirst
)

// A backoff gives the pauses between attempts to open a device.
type backoff struct{ last time.Duration }

// next doubles the pause from 1 s to 60 s, and moves each by up to a fifth.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, backoffFirst), backoffMost)
	return time.Duration(float64(b.last) * (0.8 + 0.4*rand.Float64()))
}

func (b *backoff) reset() { b.last = 0 }

// ticks fires at whole multiples of an interval after its start, which may lie a little
// ahead. Each tick is computed from the start, so that late ones do not move those that
// follow.
type ticks struct {
	start time.Time
	every time.Duration
	count int64 // of the tick that is waited for
	timer *time.Timer
}

func newTicks(every, phase time.Duration) *ticks {
	t := &ticks{start: time.Now().Add(phase), every: every, timer: time.NewTimer(every)}
	t.timer.Stop()
	return t
}

// next sets the timer to the first tick in the future, which may be the one that is
// waited for already, and returns how many were passed over.
func (t *ticks) next() (skipped int64) {
	elapsed := time.Since(t.start)
	count := int64(elapsed/t.every) + 1
	skipped = max(count-t.count-1, 0)
	t.count = count
	t.timer.Reset(time.Duration(count)*t.every - elapsed)
	return skipped
}

func (t *ticks) C() <-chan time.Time { return t.timer.C }
func (t *ticks) stop()               { t.timer.Stop() }

// A limiter lets a burst pass and then some per second: the theoretical arrival
// time of a leaky bucket.
type limiter struct{ full time.Time }

const (
	readingsBurst  = 50
	readingSpacing = 20 * time.Millisecond // 50 per second
)

// take lets one pass, or tells how long to wait.
func (l *limiter) take(now time.Time) (wait time.Duration) {
	if l.full.Before(now) {
		l.full = now
	}
	if wait = l.full.Add(-(readingsBurst - 1) * readingSpacing).Sub(now); wait > 0 {
		return wait
	}
	l.full = l.full.Add(readingSpacing)
	return 0
}
