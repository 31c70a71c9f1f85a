package cloud

import (
	"context"
	"time"

	"edgegateway/buffer"
)

// Draining is a backlog on its way to the server, since the link came up.
type Draining struct {
	Since time.Time
	Left  int     // messages that were not sent yet
	Rate  float64 // messages per second that the server acknowledged of late

	// Remaining is an estimate from how fast the backlog gets smaller; 0: it does not,
	// or nobody knows yet.
	Remaining time.Duration
}

// We chose these.
const (
	handful    = 100 // messages that are no backlog
	drainEvery = time.Second
	drainSpan  = 10 // looks that the rate is taken from
	drainLines = 10 * time.Second
)

// look is what the queue said at a time.
type look struct {
	at    time.Time
	left  int
	acked int64
}

func newLook(q buffer.QueueStats) look { return look{time.Now(), q.Messages - q.InFlight, q.Acked} }

// follow watches what waited when the link came up, q, become less, and tells: the status
// every second, the log at the begin, every ten seconds, and at the end.
func (l *link) follow(ctx context.Context, q buffer.QueueStats) {
	b := l.b
	if q.Messages <= handful {
		return
	}
	first := newLook(q)
	recent := []look{first}
	b.drains(&Draining{Since: first.at, Left: first.left})
	defer b.drains(nil)
	attrs := []any{"messages", q.Messages, "bytes", q.Bytes}
	if l.throttle != nil {
		attrs = append(attrs, "max_rate", b.cfg.MaxRate, "max_bandwidth", b.cfg.MaxBandwidth)
	}
	b.log.Info("cloud backlog begins to drain", attrs...)
	line := first.at
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return // the next link goes on, and says so
		case <-tick.C:
		}
		now := newLook(b.queue.Stats())
		if now.left == 0 || now.left <= handful && !l.throttle.holds() {
			sent, took := now.acked-first.acked, now.at.Sub(first.at)
			b.log.Info("cloud backlog is drained", "messages", sent, "took", took.Round(time.Second), "per_second", int64(float64(sent)/took.Seconds()+0.5))
			return
		}
		if recent = append(recent, now); len(recent) > drainSpan {
			recent = recent[1:]
		}
		d := estimate(recent[0], now)
		d.Since = first.at
		b.drains(&d)
		if now.at.Sub(line) >= drainLines {
			line = now.at
			b.log.Info("cloud backlog drains", "left", d.Left, "per_second", int64(d.Rate+0.5), "remaining", d.remaining())
		}
	}
}

// estimate draws from two looks how long it will take.
func estimate(then, now look) Draining {
	d := Draining{Left: now.left}
	took := now.at.Sub(then.at)
	if took <= 0 {
		return d
	}
	d.Rate = float64(now.acked-then.acked) / took.Seconds()
	if smaller := then.left - now.left; smaller > 0 {
		d.Remaining = seconds(float64(now.left) / float64(smaller) * took.Seconds())
	}
	return d
}

// remaining is the estimate for people.
func (d Draining) remaining() string {
	if d.Remaining == 0 {
		return "unknown: it does not get smaller"
	}
	return max(time.Second, d.Remaining.Round(time.Second)).String()
}

// drains notes how far a backlog is; nil: there is none.
func (b *Bridge) drains(d *Draining) {
	b.mu.Lock()
	b.status.Draining = d
	b.mu.Unlock()
	b.tell()
}
