package e2e_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// receiver subscribes at QoS 2 with a session that outlives its connections, and
// keeps the books: which numbers came, how often, and in which order they came
// first. Messages are numbered from 0 per topic.
type receiver struct {
	addr, filter string
	connect      packet.Connect
	subscribed   chan struct{} // closed at the first SUBACK

	// Its habits, until calm is closed.
	calm   <-chan struct{}
	pause  time.Duration // it rests that long whenever it has read what was there
	absent *rand.Rand    // not nil: after some messages it goes away for a while

	sessionsLost atomic.Int64 // Session Present 0 at a reconnect
	absences     atomic.Int64

	mu sync.Mutex
	books
	changed chan struct{} // closed and replaced at each arrival
}

// books is what came to a receiver.
type books struct {
	seen       map[string]map[int]int // topic -> number -> times
	highest    map[string]int         // topic -> highest number that came
	distinct   int
	disordered int    // first arrivals below the highest
	repeated   [3]int // by the QoS in the topic's last level
}

func newReceiver(addr string, connect packet.Connect, filter string) *receiver {
	return &receiver{
		addr: addr, connect: connect, filter: filter,
		subscribed: make(chan struct{}), calm: make(chan struct{}), changed: make(chan struct{}),
		books: books{seen: map[string]map[int]int{}, highest: map[string]int{}},
	}
}

// run receives until ctx ends.
func (r *receiver) run(ctx context.Context) {
	known := map[uint16]bool{} // QoS 2 identifiers between PUBLISH and PUBREL
	for first := true; ctx.Err() == nil; {
		rest := 20 * time.Millisecond // the broker is away: try again
		if c, present, err := dialAs(r.addr, r.connect); err == nil {
			if !present {
				clear(known)
				if !first {
					r.sessionsLost.Add(1)
				}
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			r.drive(c, known)
			stop()
			c.Close()
			select {
			case <-r.subscribed:
				first = false
			default:
			}
			if r.absent != nil {
				r.absences.Add(1)
				rest = time.Duration(r.absent.IntN(2000)) * time.Millisecond
			}
		}
		select {
		case <-ctx.Done():
		case <-r.calm:
			r.absent = nil
			time.Sleep(20 * time.Millisecond) // the broker is away: try again
		case <-time.After(rest):
		}
	}
}

func (r *receiver) drive(c *conn, known map[uint16]bool) {
	err := c.send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: r.filter, QoS: packet.QoS2}}})
	stay := -1
	if r.absent != nil {
		stay = 50 + r.absent.IntN(1000)
	}
	var out []packet.Packet
	for err == nil && stay != 0 {
		var p packet.Packet
		if p, err = c.read(); err != nil {
			return
		}
		switch p := p.(type) {
		case *packet.Suback:
			select {
			case <-r.subscribed:
			default:
				close(r.subscribed)
			}
		case *packet.Publish:
			stay--
			switch p.QoS {
			case packet.QoS1:
				r.arrived(p)
				out = append(out, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			case packet.QoS2:
				if !known[p.ID] {
					known[p.ID] = true
					r.arrived(p)
				}
				out = append(out, &packet.Ack{Kind: packet.PUBREC, ID: p.ID})
			default:
				r.arrived(p)
			}
		case *packet.Ack:
			if p.Kind == packet.PUBREL {
				delete(known, p.ID)
				out = append(out, &packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
			}
		}
		if !c.buffered() {
			if r.pause > 0 {
				select {
				case <-r.calm:
					r.pause = 0
				case <-time.After(r.pause):
				}
			}
			err = c.send(out...)
			out = out[:0]
		}
	}
}

func (r *receiver) arrived(p *packet.Publish) {
	n, ok := number(p)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(string(p.Topic), n)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (b *books) note(topic string, n int) {
	if b.seen[topic] == nil {
		b.seen[topic] = map[int]int{}
		b.highest[topic] = -1
	}
	b.seen[topic][n]++
	switch {
	case b.seen[topic][n] > 1:
		qos := 1
		if strings.HasSuffix(topic, "q2") {
			qos = 2
		}
		b.repeated[qos]++
	case n < b.highest[topic]:
		b.distinct++
		b.disordered++
	default:
		b.distinct++
		b.highest[topic] = n
	}
}

// wait returns when want different messages have come, or false when none has come for
// so long.
func (r *receiver) wait(want int, limit time.Duration) bool {
	for {
		r.mu.Lock()
		got, changed := r.distinct, r.changed
		r.mu.Unlock()
		if got >= want {
			return true
		}
		select {
		case <-changed:
		case <-time.After(limit):
			return false
		}
	}
}
