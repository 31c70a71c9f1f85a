package bench_test

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"edgegateway/bench"
	"edgegateway/broker/packet"
)

// fake is a broker in memory that can be made to break every promise.
type fake struct {
	// twist says what a subscriber gets when message i of the whole run has come;
	// nil delivers it.
	twist func(i int, m *packet.Publish) []*packet.Publish

	// holdAcks keeps acknowledgements back until that many are owed and all that
	// has arrived has been looked at, then sends them, the youngest first.
	holdAcks int

	code    packet.ReasonCode // of PUBACK and PUBREC
	receive uint16            // Receive Maximum of CONNACK
	mute    bool              // swallows everything but CONNECT and SUBSCRIBE
	dieAt   int               // closes the publisher's connection at that message

	mu       sync.Mutex // guards what follows
	messages int
	clients  []*fakeClient
	underway int // QoS 1 and 2 messages of publishers without PUBACK or PUBCOMP
	most     int // the most that ever were
	reused   int // identifiers that came again while they were under way
}

type fakeClient struct {
	nc      net.Conn
	version packet.Version
	out     chan []byte
	filters map[string]packet.QoS
	id      uint16
	owed    [][]byte
	open    map[uint16]bool
}

// target lets a run talk to the fake broker over pipes, whose time is the bubble's.
func (f *fake) target(v packet.Version) bench.Target {
	return bench.Target{Version: v, Dial: func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		c := &fakeClient{nc: far, out: make(chan []byte, 1<<17), filters: map[string]packet.QoS{}, open: map[uint16]bool{}}
		go f.read(c)
		go func() {
			for b := range c.out {
				if _, err := far.Write(b); err != nil {
					return
				}
			}
		}()
		return near, nil
	}}
}

func (c *fakeClient) send(p packet.Packet) { c.out <- p.Append(nil, c.version) }

func (f *fake) read(c *fakeClient) {
	defer func() {
		f.mu.Lock() // nobody sends to out from now on
		c.filters = nil
		close(c.out)
		f.mu.Unlock()
		c.nc.Close()
	}()
	var d packet.Decoder
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			p, n, _, err := d.Next(buf)
			if err != nil {
				panic(err) // the generator sent what is no MQTT
			}
			if p == nil {
				break
			}
			f.mu.Lock()
			on := f.handleLocked(c, p)
			f.mu.Unlock()
			if !on {
				return
			}
			buf = buf[n:]
		}
		f.mu.Lock()
		f.acknowledgeLocked(c)
		f.mu.Unlock()
	}
}

func (f *fake) acknowledgeLocked(c *fakeClient) {
	if len(c.owed) < f.holdAcks {
		return
	}
	for _, a := range slices.Backward(c.owed) {
		c.out <- a
		if packet.Type(a[0]>>4) == packet.PUBACK || f.code >= 0x80 {
			f.landLocked(c, binary.BigEndian.Uint16(a[2:]))
		}
	}
	c.owed = nil
}

func (f *fake) handleLocked(c *fakeClient, p packet.Packet) (on bool) {
	switch p := p.(type) {
	case *packet.Connect:
		c.version = p.Version
		ack := &packet.Connack{}
		if p.Version == packet.V5 {
			ack.ReceiveMaximum = f.receive
		}
		c.send(ack)
		f.clients = append(f.clients, c)
		return true
	case *packet.Subscribe:
		ack := &packet.Suback{ID: p.ID}
		for _, s := range p.Subscriptions {
			c.filters[s.Filter] = s.QoS
			ack.Codes = append(ack.Codes, packet.ReasonCode(s.QoS))
		}
		c.send(ack)
		return true
	case *packet.Disconnect:
		return false
	}
	if f.mute {
		return true
	}
	switch p := p.(type) {
	case *packet.Pingreq:
		c.send(&packet.Pingresp{})
	case *packet.Publish:
		return f.publishLocked(c, p)
	case *packet.Ack:
		switch p.Kind {
		case packet.PUBREC:
			c.send(&packet.Ack{Kind: packet.PUBREL, ID: p.ID})
		case packet.PUBREL:
			f.landLocked(c, p.ID)
			c.send(&packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
		}
	}
	return true
}

func (f *fake) publishLocked(c *fakeClient, p *packet.Publish) bool {
	i := f.messages
	f.messages++
	if f.dieAt > 0 && f.messages == f.dieAt {
		return false
	}
	if p.QoS > 0 {
		if c.open[p.ID] {
			f.reused++
		}
		c.open[p.ID] = true
		f.underway++
		f.most = max(f.most, f.underway)
		ack := &packet.Ack{Kind: packet.PUBACK - 1 + packet.Type(p.QoS), ID: p.ID, Code: f.code}
		c.owed = append(c.owed, ack.Append(nil, c.version))
	}
	deliver := []*packet.Publish{p}
	if f.twist != nil {
		deliver = f.twist(i, p)
	}
	for _, m := range deliver {
		for _, s := range f.clients {
			for filter, qos := range s.filters {
				prefix, wild := strings.CutSuffix(filter, "+")
				if filter != string(m.Topic) && !(wild && strings.HasPrefix(string(m.Topic), prefix)) {
					continue
				}
				copied := m.Clone()
				copied.QoS, copied.ID, copied.Retain = min(qos, m.QoS), 0, false
				if copied.QoS > 0 {
					s.id = s.id%0xffff + 1
					copied.ID = s.id
				}
				s.send(copied)
			}
		}
	}
	return true
}

func (f *fake) landLocked(c *fakeClient, id uint16) {
	if c.open[id] {
		delete(c.open, id)
		f.underway--
	}
}

// number is a message's own, from 0 in its stream.
func number(m *packet.Publish) uint64 { return binary.BigEndian.Uint64(m.Payload[4:]) }

// small is a run of count messages between two clients.
func small(t bench.Target, qos packet.QoS, count int64) bench.Messages {
	return bench.Messages{
		Target: t, Publishers: 1, Subscribers: 1, Topics: 1, QoS: qos,
		Payload: 100, Window: 10, Ahead: 1000, Count: count,
	}
}

func run(t *testing.T, c bench.Messages) *bench.Result {
	t.Helper()
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
