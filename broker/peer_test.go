package broker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// peer is a client that keeps its session across connections, as the standard
// wants it from both sides.
type peer struct {
	addr func() string
	id   string
	nc   net.Conn
	dec  packet.Decoder
	buf  []byte
}

func (p *peer) connect() error {
	nc, err := net.Dial("tcp", p.addr())
	if err != nil {
		return err
	}
	p.nc, p.buf, p.dec = nc, nil, packet.Decoder{Role: packet.Client, Version: packet.V311}
	if err := p.send(&packet.Connect{ClientID: p.id}); err != nil {
		return err
	}
	_, err = p.next()
	return err
}

func (p *peer) send(q packet.Packet) error {
	_, err := p.nc.Write(q.Append(nil, packet.V311))
	return err
}

func (p *peer) next() (packet.Packet, error) {
	for {
		q, n, _, err := p.dec.Next(p.buf)
		if err != nil {
			return nil, err
		}
		if q != nil {
			p.buf = p.buf[n:]
			return q, nil
		}
		if err := p.nc.SetReadDeadline(time.Now().Add(brokertest.Patience)); err != nil {
			return nil, err
		}
		more := make([]byte, 32<<10)
		n, err = p.nc.Read(more)
		if n == 0 && err != nil {
			return nil, err
		}
		p.buf = append(p.buf, more[:n]...)
	}
}

// again calls fn on new connections until it has no network error.
func (p *peer) again(ctx context.Context, fn func() error) error {
	for {
		err := p.connect()
		if err == nil {
			err = fn()
		}
		if p.nc != nil {
			p.nc.Close()
		}
		var netErr net.Error
		timeout := errors.As(err, &netErr) && netErr.Timeout()
		if err == nil || timeout {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond): // the victim is starting
		}
	}
}

// publishAll publishes numbers from 1 to n at one QoS with a window of 20.
func (p *peer) publishAll(ctx context.Context, qos packet.QoS, n int, acked *counter) error {
	type flight struct {
		seq      int
		released bool
	}
	var open []*flight
	next, resent := 1, 0
	m := func(f *flight, dup bool) packet.Packet {
		if f.released {
			return &packet.Ack{Kind: packet.PUBREL, ID: uint16(f.seq)}
		}
		return &packet.Publish{Topic: []byte("t/" + p.id), Payload: binary.BigEndian.AppendUint32(nil, uint32(f.seq)), QoS: qos, ID: uint16(f.seq), DUP: dup}
	}
	return p.again(ctx, func() error {
		resent += len(open)
		for _, f := range open {
			if err := p.send(m(f, true)); err != nil {
				return err
			}
		}
		for next <= n || len(open) > 0 {
			for next <= n && len(open) < 20 {
				f := &flight{seq: next}
				next++
				open = append(open, f)
				if err := p.send(m(f, false)); err != nil {
					return err
				}
			}
			q, err := p.next()
			if err != nil {
				return err
			}
			a, ok := q.(*packet.Ack)
			if !ok {
				return fmt.Errorf("publisher received %v", q.Type())
			}
			for i, f := range open {
				if uint16(f.seq) != a.ID {
					continue
				}
				if a.Kind == packet.PUBREC {
					f.released = true
					if err := p.send(m(f, false)); err != nil {
						return err
					}
				} else {
					open = append(open[:i], open[i+1:]...)
					acked.add()
				}
				break
			}
		}
		return nil
	})
}

// receive hands out what arrives, a message of QoS 2 once for each handshake, until
// arrived says that it was the last.
func (p *peer) receive(ctx context.Context, arrived func(topic string, number int) (last bool)) error {
	known := make(map[uint16]bool) // QoS 2 identifiers between PUBLISH and PUBREL
	last := false
	return p.again(ctx, func() error {
		for !last {
			q, err := p.next()
			if err != nil {
				return err
			}
			answer := packet.Ack{Kind: packet.PUBCOMP}
			switch q := q.(type) {
			case *packet.Publish:
				if q.QoS != 2 || !known[q.ID] {
					last = arrived(string(q.Topic), int(binary.BigEndian.Uint32(q.Payload)))
				}
				answer.Kind, answer.ID = packet.PUBACK, q.ID
				if q.QoS == 2 {
					known[q.ID] = true
					answer.Kind = packet.PUBREC
				}
			case *packet.Ack: // PUBREL
				delete(known, q.ID)
				answer.ID = q.ID
			default:
				continue
			}
			if err := p.send(&answer); err != nil {
				return err
			}
		}
		return nil
	})
}

// establish makes the session with its subscriptions, before the first message, and
// leaves without a word.
func (p *peer) establish(t *testing.T, filters ...string) {
	t.Helper()
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	defer p.nc.Close()
	s := &packet.Subscribe{ID: 65001}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, packet.Subscription{Filter: f, QoS: 2})
	}
	if err := p.send(s); err != nil {
		t.Fatal(err)
	}
	if _, err := p.next(); err != nil {
		t.Fatal(err)
	}
}

// untilAll notes in got what arrives, by topic, and ends with number n of so many
// topics.
func untilAll(n, topics int, got map[string][]int) func(string, int) bool {
	ended := make(map[string]bool)
	return func(topic string, number int) bool {
		got[topic] = append(got[topic], number)
		if number == n {
			ended[topic] = true
		}
		return len(ended) == topics
	}
}

// checkArrivals: the numbers 1 to n have all come, in the order of their first
// arrivals, and at QoS 2 none of them twice.
func checkArrivals(t *testing.T, qos, n int, list []int) {
	t.Helper()
	seen := make(map[int]bool)
	high, repeats := 0, 0
	for _, number := range list {
		switch {
		case seen[number]:
			repeats++
		case number < high:
			t.Errorf("QoS %d: %d came first after %d", qos, number, high)
		}
		seen[number] = true
		high = max(high, number)
	}
	if len(seen) != n {
		t.Errorf("QoS %d: %d of %d messages arrived", qos, len(seen), n)
	}
	if qos == 2 && repeats > 0 {
		t.Errorf("QoS 2: %d messages came twice", repeats)
	}
	t.Logf("QoS %d: %d messages, %d repeated", qos, len(seen), repeats)
}

// counter counts acknowledged messages, and can be waited for.
type counter struct {
	mu      sync.Mutex
	n       int
	changed chan struct{} // closed by the next add; nil if nobody waits
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// reach returns when n messages are counted, or ctx has ended.
func (c *counter) reach(ctx context.Context, n int) {
	for {
		c.mu.Lock()
		if c.n >= n {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
