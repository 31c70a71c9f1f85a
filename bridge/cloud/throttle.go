package cloud

import (
	"sync/atomic"
	"time"

	"edgegateway/buffer"
)

// throttle holds back what waited when the link came up, as max_rate and
// max_bandwidth say, so that a backlog does not reach the cloud as one wave.
//
// Inside one priority order holds, so what arrives meanwhile stands behind the backlog
// of its priority. It brings its own place: for each message that arrives one more may
// leave. So a backlog gets smaller by max_rate, however much arrives. A priority whose
// backlog is gone is held back no more, whatever others have left.
//
// The pump alone uses it. The nil throttle holds nothing back.
type throttle struct {
	rate      float64 // messages per second; 0: no limit
	bandwidth float64 // bytes per second; 0: no limit

	behind   buffer.LaneSet // priorities that were never empty since the link came up
	caughtUp atomic.Bool    // there are none; for others to see

	at       time.Time // when the allowance was counted
	messages float64   // that may leave now
	bytes    float64   // below zero after a message that was larger than there was room for
	arrived  int64     // messages, as the queue had counted them then
	size     float64   // of a message, smoothed; 0: none was sent
}

// burst is how much may leave at once: what is allowed in this time.
const burst = 250 * time.Millisecond

// shortestPause keeps the pump from waking for every single message.
const shortestPause = 10 * time.Millisecond

// newThrottle is for a link that comes up; nil if there is no limit.
func newThrottle(rate, bandwidth int64, q *buffer.Queue, now time.Time) *throttle {
	if rate == 0 && bandwidth == 0 {
		return nil
	}
	t := &throttle{
		rate: float64(rate), bandwidth: float64(bandwidth),
		behind: q.Waiting(), at: now.Add(-burst), arrived: arrivals(q.Stats()),
		messages: 1, // the first one leaves at once
	}
	t.caughtUp.Store(t.behind == 0)
	return t
}

// arrivals counts messages that made the queue longer. One that took the place of an
// older one did not.
func arrivals(s buffer.QueueStats) int64 { return s.Appended - s.Replaced }

// holds reports whether there is a backlog that is held back.
func (t *throttle) holds() bool { return t != nil && !t.caughtUp.Load() }

// next is the next entry that may leave now. wait is after what time more may, 0: not
// before something happens.
func (t *throttle) next(q *buffer.Queue, now time.Time) (e buffer.Entry, ok bool, wait time.Duration, err error) {
	if t != nil && t.behind != 0 {
		if t.behind &= q.Waiting(); t.behind == 0 {
			t.caughtUp.Store(true)
		}
	}
	if !t.holds() {
		e, ok, err = q.Next()
		return e, ok, 0, err
	}
	t.allow(now, arrivals(q.Stats()))
	if wait = t.pause(); wait > 0 {
		e, ok, err = q.NextOf(buffer.EveryLane &^ t.behind)
		return e, ok, wait, err
	}
	e, ok, err = q.Next()
	return e, ok, 0, err
}

// allow adds what time and arrivals allow. Time alone allows no more than a burst.
func (t *throttle) allow(now time.Time, arrived int64) {
	passed := now.Sub(t.at).Seconds()
	t.at = now
	add := func(room *float64, limit float64) {
		if most := max(1, limit*burst.Seconds()); *room < most {
			*room = min(most, *room+passed*limit)
		}
	}
	add(&t.messages, t.rate)
	add(&t.bytes, t.bandwidth)
	n := float64(max(0, arrived-t.arrived))
	t.arrived = arrived
	t.messages += n
	t.bytes += n * t.size
}

// pause is the time until a message may leave.
func (t *throttle) pause() (d time.Duration) {
	if t.rate > 0 && t.messages < 1 {
		d = seconds((1 - t.messages) / t.rate)
	}
	if t.bandwidth > 0 && t.bytes <= 0 {
		d = max(d, seconds((1-t.bytes)/t.bandwidth))
	}
	if d > 0 {
		d = max(d, shortestPause)
	}
	return d
}

func seconds(s float64) time.Duration { return time.Duration(min(s, 1e9) * float64(time.Second)) }

// sent takes a message of n bytes from what is allowed.
func (t *throttle) sent(n int) {
	if !t.holds() {
		return
	}
	t.messages--
	t.bytes -= float64(n)
	if t.size == 0 {
		t.size = float64(n)
	}
	t.size += (float64(n) - t.size) / 64
}
