package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// flow is what a stream publishes.
type flow struct {
	qos    packet.QoS
	root   string // of its topics; "": load
	retain bool
	same   bool    // every message has the payload of the first
	topics int     // that it publishes to in turn; 0 is 1
	rate   float64 // messages per second; 0: as fast as the window lets it
	window int     // messages under way; 0 is 1000
}

// stream publishes numbered messages of 100 bytes over one connection that must not
// break.
type stream struct {
	flow
	addr, name string

	sent, acked atomic.Int64
	slowest     atomic.Int64 // time from PUBLISH to PUBACK or PUBCOMP, in nanoseconds
}

func (s *stream) topic(n int) string {
	return fmt.Sprintf("%s/%s/value-%02d/q%d", cmp.Or(s.root, "load"), s.name, n%max(s.topics, 1), s.qos)
}

func (s *stream) payload(n int) []byte {
	if s.same {
		n = 0
	}
	text := fmt.Sprintf("%d ", n)
	return []byte(text + strings.Repeat(".", 100-len(text)))
}

// run publishes count messages, or until ctx ends, and returns when all that were
// sent are acknowledged.
func (s *stream) run(ctx context.Context, count int) error {
	c, _, err := dial(s.addr, s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	window := s.window
	if window == 0 {
		window = 1000
	}
	var (
		reading sync.WaitGroup
		room    = make(chan struct{}, window)
		times   = make(chan time.Time, window) // acknowledgements come in the order of the messages [MQTT-4.6.0-2]
		broken  = make(chan error, 1)
	)
	reading.Go(func() {
		for {
			p, err := c.read()
			if err != nil {
				broken <- err
				return
			}
			a, ok := p.(*packet.Ack)
			switch {
			case !ok:
			case a.Kind == packet.PUBREC:
				if err := c.send(&packet.Ack{Kind: packet.PUBREL, ID: a.ID}); err != nil {
					broken <- err
					return
				}
			default:
				took := time.Since(<-times)
				s.slowest.Store(max(s.slowest.Load(), int64(took)))
				s.acked.Add(1)
				<-room
			}
		}
	})
	defer reading.Wait()
	defer c.Close()

	began := time.Now()
	var out []packet.Packet
	flush := func() error {
		err := c.send(out...)
		out = out[:0]
		return err
	}
	for n := 0; n < count && ctx.Err() == nil; n++ {
		if s.rate > 0 {
			if wait := time.Until(began.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))); wait > 0 {
				if err := flush(); err != nil {
					return err
				}
				time.Sleep(wait)
			}
		}
		p := &packet.Publish{Topic: []byte(s.topic(n)), Payload: s.payload(n), QoS: s.qos, Retain: s.retain}
		if s.qos > 0 {
			p.ID = uint16(1 + n%65535)
			select {
			case room <- struct{}{}:
			default:
				if err := flush(); err != nil {
					return err
				}
				select {
				case room <- struct{}{}:
				case err := <-broken:
					return err
				}
			}
			times <- time.Now()
		}
		out = append(out, p)
		s.sent.Add(1)
		if len(out) >= 100 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	for range window { // every one that was sent has left the window
		select {
		case room <- struct{}{}:
		case err := <-broken:
			return err
		}
	}
	return nil
}
