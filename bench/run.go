package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// A run is everybody who takes part in one measurement.
type run struct {
	*Messages
	plan        plan
	clock       clock
	publishers  []*publisher
	subscribers []*subscriber
	progress    chan struct{} // a subscriber has moved on; told once watched
	watched     atomic.Bool
}

func newRun(c *Messages, subscribers int) *run {
	var name [4]byte // sets topics and clients apart from those of other runs
	rand.Read(name[:])
	return &run{
		Messages:    c,
		plan:        plan{hex.EncodeToString(name[:]), c.Publishers, subscribers, c.Topics},
		clock:       clock{time.Now()},
		publishers:  make([]*publisher, c.Publishers),
		subscribers: make([]*subscriber, subscribers),
		progress:    make(chan struct{}, 1),
	}
}

// connectSubscribers opens their connections, and subscribes if wanted now.
func (r *run) connectSubscribers(ctx context.Context, subscribe bool) error {
	return each(len(r.subscribers), handshakes, func(i int) error {
		conn, err := r.Target.connect(ctx, fmt.Sprintf("bench-%s-s%d", r.plan.run, i), false)
		if err != nil {
			return err
		}
		s := &subscriber{
			conn: conn, clock: r.clock, payload: r.Payload, at: make([]int32, r.plan.streams()),
			progress: r.progress, watched: &r.watched, done: make(chan struct{}),
		}
		for stream := range s.at {
			s.at[stream] = -1
			if r.plan.hears(i, stream%r.Topics) {
				s.at[stream] = int32(len(s.tracks))
				s.tracks = append(s.tracks, inStream{})
			}
		}
		r.subscribers[i] = s
		if !subscribe {
			return nil
		}
		return conn.subscribe(ctx, r.plan.filters(i), r.QoS)
	})
}

// connectPublishers opens their connections, shares the work out and links them
// to the subscribers that are there.
func (r *run) connectPublishers(ctx context.Context) error {
	err := each(r.Publishers, handshakes, func(i int) error {
		conn, err := r.Target.connect(ctx, fmt.Sprintf("bench-%s-p%d", r.plan.run, i), false)
		if err != nil {
			return err
		}
		n := int64(r.Publishers)
		p := &publisher{
			conn: conn, qos: r.QoS, clock: r.clock, template: r.plan.template(r.Messages),
			count: r.Count / n, window: r.Window, ahead: int64(r.Ahead), rate: r.Rate / float64(n),
		}
		if int64(i) < r.Count%n {
			p.count++
		}
		if r.Rate > 0 {
			p.phase = time.Duration(float64(i) / r.Rate * float64(time.Second))
		}
		for stream := i; stream < r.plan.streams(); stream += r.Publishers {
			p.streams = append(p.streams, outStream{id: uint32(stream), digits: r.plan.digits(stream % r.Topics)})
		}
		if p.qos == packet.QoS0 {
			p.window = 0
		}
		p.prepare()
		r.publishers[i] = p
		return nil
	})
	if err != nil {
		return err
	}
	rests := r.rests()
	for _, p := range r.publishers {
		p.rests = rests
	}
	for _, s := range r.subscribers {
		s.rests = rests
		links := make(map[*publisher]*link)
		for stream, at := range s.at {
			if at < 0 {
				continue
			}
			p := r.publishers[stream%r.Publishers]
			l := links[p]
			if l == nil {
				l = &link{publisher: p}
				links[p] = l
				p.links = append(p.links, l)
			}
			s.tracks[at].link = l
		}
	}
	return nil
}

// rests says whether readers may rest: see rest. The publishers are connected.
func (r *run) rests() bool {
	if r.Rate > 0 || r.Ahead > 0 && r.Ahead <= restAbove {
		return false
	}
	for _, p := range r.publishers {
		if r.QoS > packet.QoS0 && p.window <= restAbove { // the broker may have lowered it
			return false
		}
	}
	return true
}

// listen starts the goroutines that read; they end when their connections do.
func (r *run) listen() {
	for _, s := range r.subscribers {
		go s.receive()
	}
	for _, p := range r.publishers {
		go p.receive()
	}
}

// publish lets all publishers send and returns their failures when they are done.
func (r *run) publish(ctx context.Context) []error {
	if r.Duration > 0 {
		until := r.clock.now() + int64(r.Duration)
		for _, p := range r.publishers {
			p.until = until
		}
	}
	failures := make([]error, len(r.publishers))
	var wg sync.WaitGroup
	for i, p := range r.publishers {
		wg.Go(func() { failures[i] = p.send(ctx) })
	}
	wg.Wait()
	return failures
}

// drain waits until the subscribers have all that was sent, or until nothing
// more comes.
func (r *run) drain(ctx context.Context) {
	quiet := patience
	if r.QoS == packet.QoS0 {
		quiet = time.Second // what is dropped here never comes
	}
	expected := make([]int64, len(r.subscribers))
	for i, s := range r.subscribers {
		expected[i] = r.expected(s)
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for r.watched.Store(true); ; {
		all := true
		for i, s := range r.subscribers {
			select {
			case <-s.done: // it failed
			default:
				all = all && s.got.Load() >= expected[i]
			}
		}
		if all {
			return
		}
		select {
		case <-r.progress:
			timer.Reset(quiet)
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// expected is how many messages a subscriber should have got. The publishers have ended.
func (r *run) expected(s *subscriber) (n int64) {
	for stream, at := range s.at {
		if at >= 0 {
			n += int64(r.publishers[stream%r.Publishers].streams[stream/r.Publishers].next)
		}
	}
	return n
}

// finish ends the subscribers; their counts may be read when it returns.
func (r *run) finish() {
	var wg sync.WaitGroup
	for _, s := range r.subscribers {
		wg.Go(s.finish)
	}
	wg.Wait()
}

// close ends all connections, and with them whoever reads from one.
func (r *run) close() {
	for _, s := range r.subscribers {
		if s != nil {
			s.conn.leave()
		}
	}
	for _, p := range r.publishers {
		if p != nil {
			p.conn.leave()
		}
	}
}
