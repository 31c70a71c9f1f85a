package e2e_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"edgegateway/broker/packet"
)

// receiver subscribes at QoS 2 with a session that outlives its connections, and
// keeps the books: which numbers came, how often, and in which order they came
// first. Messages are numbered from 0 per topic.
type receiver struct {
	addr, name, filter string
	subscribed         chan struct{} // closed at the first SUBACK

	mu         sync.Mutex
	seen       map[string]map[int]int // topic -> number -> times
	highest    map[string]int         // topic -> highest number that came
	distinct   int
	disordered int           // first arrivals below the highest
	duplicates [3]int        // by the QoS in the topic's last level
	changed    chan struct{} // closed and replaced at each arrival
}

func newReceiver(addr, name, filter string) *receiver {
	return &receiver{
		addr: addr, name: name, filter: filter, subscribed: make(chan struct{}), changed: make(chan struct{}),
		seen: map[string]map[int]int{}, highest: map[string]int{},
	}
}

// run receives until ctx ends.
func (r *receiver) run(ctx context.Context) {
	known := map[uint16]bool{} // QoS 2 identifiers between PUBLISH and PUBREL
	for ctx.Err() == nil {
		if c, present, err := dial(r.addr, r.name); err == nil {
			if !present {
				clear(known)
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			r.drive(c, known)
			stop()
			c.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // the broker is away: try again
		}
	}
}

func (r *receiver) drive(c *conn, known map[uint16]bool) {
	err := c.send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: r.filter, QoS: packet.QoS2}}})
	var out []packet.Packet
	for err == nil {
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
			err = c.send(out...)
			out = out[:0]
		}
	}
}

func (r *receiver) arrived(p *packet.Publish) {
	topic := string(p.Topic)
	n, err := strconv.Atoi(string(p.Payload))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[topic] == nil {
		r.seen[topic] = map[int]int{}
		r.highest[topic] = -1
	}
	r.seen[topic][n]++
	switch {
	case r.seen[topic][n] > 1:
		qos := 0
		if i := strings.LastIndexByte(topic, 'q'); i >= 0 {
			qos, _ = strconv.Atoi(topic[i+1:])
		}
		r.duplicates[qos%3]++
	case n < r.highest[topic]:
		r.distinct++
		r.disordered++
	default:
		r.distinct++
		r.highest[topic] = n
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns when want different messages have come, or false after the limit.
func (r *receiver) wait(want int, limit time.Duration) bool {
	deadline := time.After(limit)
	for {
		r.mu.Lock()
		got, changed := r.distinct, r.changed
		r.mu.Unlock()
		if got >= want {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}
