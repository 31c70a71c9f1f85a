package e2e_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
)

// sink is a cloud that takes messages as fast as they come, up to QoS 1, and keeps
// nothing but their number and order.
type sink struct {
	addr string

	mu       sync.Mutex
	next     map[string]int // topic -> the number that is expected
	came     int
	wrong    int // that are neither expected nor repeated
	repeated int
	last     time.Time // when the newest came
}

func startSink(t *testing.T, addr string) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: addr, next: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); ln.Close(); running.Wait() })
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer nc.Close()
				defer context.AfterFunc(ctx, func() { nc.Close() })()
				s.serve(&conn{Conn: nc, version: packet.V5, dec: packet.Decoder{Role: packet.Server}})
			})
		}
	})
	return s
}

func (s *sink) serve(c *conn) {
	var out []packet.Packet
	for {
		p, err := c.read()
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packet.Connect:
			c.dec.Version = p.Version
			out = append(out, &packet.Connack{ReceiveMaximum: 1000})
		case *packet.Publish:
			s.take(p)
			if p.QoS > 0 {
				out = append(out, &packet.Ack{Kind: packet.PUBACK, ID: p.ID})
			}
		case *packet.Subscribe:
			out = append(out, &packet.Suback{ID: p.ID, Codes: make([]packet.ReasonCode, len(p.Subscriptions))})
		case *packet.Pingreq:
			out = append(out, &packet.Pingresp{})
		}
		if !c.buffered() {
			if c.send(out...) != nil {
				return
			}
			out = out[:0]
		}
	}
}

func (s *sink) take(p *packet.Publish) {
	n, ok := number(p)
	if !ok {
		return // the status
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch next := s.next[string(p.Topic)]; {
	case n == next:
		s.next[string(p.Topic)]++
		s.came++
		s.last = time.Now()
	case n < next:
		s.repeated++
	default:
		s.wrong++
	}
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d in order, %d again, %d wrong", s.came, s.repeated, s.wrong)
}
