package gpio

import (
	"strconv"
	"time"
)

// A pulseRate is how fast pulses come, by their times: how often it is asked does not
// matter, and one pulse in half an hour is a rate too.
type pulseRate struct {
	zeroAfter time.Duration // without a pulse for so long the rate is 0
	began     time.Time

	newest    Edge // pulse, if one was seen
	seen      bool
	looked    time.Time // when add was called last
	idle      bool      // and brought no pulse
	perSecond float64   // when the newest pulse came, if that is known
	known     bool
}

func newPulseRate(zeroAfter time.Duration) pulseRate {
	now := time.Now()
	return pulseRate{zeroAfter: zeroAfter, began: now, looked: now}
}

// add takes the pulses that have come since the last call, the newest ones of them
// if there were many. The rate is that from the newest pulse of earlier to the newest
// one now. After a pause that would count the pause, so it is that from the first
// pulse after it; and where the kernel has not kept that one, all of them in the time
// since the last call.
func (r *pulseRate) add(pulses []Edge, now time.Time) {
	paused, looked := r.idle || !r.seen, r.looked
	r.idle, r.looked = len(pulses) == 0, now
	if r.idle {
		return
	}
	first, to := pulses[0], pulses[len(pulses)-1]
	count, span, known := to.Seq-r.newest.Seq, to.Clock-r.newest.Clock, r.seen
	switch {
	case paused && int64(count) > int64(len(pulses)):
		span, known = to.At.Sub(looked), true
	case paused && len(pulses) > 1:
		count, span, known = to.Seq-first.Seq, to.Clock-first.Clock, true
	}
	if known && span > 0 {
		r.perSecond, r.known = float64(count)/span.Seconds(), true
	}
	r.newest, r.seen = to, true
}

// overtaken is how late we may be: for so long after a pulse the next one may have
// come without having been seen yet.
const overtaken = time.Second

// at is the rate at a moment, in pulses per second, if it is known: after the first
// pulse nobody can tell it. While none comes it is at most one pulse in the time
// since the newest.
func (r *pulseRate) at(now time.Time) (perSecond float64, known bool) {
	silence := now.Sub(r.began)
	if r.seen {
		silence = now.Sub(r.newest.At)
	}
	if silence >= r.zeroAfter {
		r.perSecond, r.known = 0, true
	}
	if r.idle && silence > 0 || silence > overtaken {
		return min(r.perSecond, 1/silence.Seconds()), r.known
	}
	return r.perSecond, r.known
}

// significant rounds to five digits: the times of pulses are good to some
// microseconds, and nobody reads more.
func significant(f float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 5, 64), 64)
	if err != nil {
		return f
	}
	return rounded
}
