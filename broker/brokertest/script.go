// Package brokertest talks MQTT to a broker packet by packet, so that a test reads
// as the exchange that it is about, and holds a suite that every broker has to
// pass: ours, and as a test of the suite, somebody else's.
//
//	c := brokertest.Dial(t, addr, packet.V311)
//	c.Send(&packet.Connect{ClientID: "a", CleanStart: true}).
//		Expect(&packet.Connack{})
//	c.Send(&packet.Pingreq{}).Expect(&packet.Pingresp{})
package brokertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// Patience is how long a script waits for what it expects.
const Patience = need.Patience

// Client is one end of a script. Every method ends the test when the broker does
// not do what is expected. It is for one goroutine.
type Client struct {
	t       testing.TB
	nc      net.Conn
	below   net.Conn // the TCP connection below a WebSocket; nil: nc is it
	version packet.Version
	decoder packet.Decoder
	buf     []byte
	ids     []uint16

	patience time.Duration
}

// Dial connects to host:port, to a socket file by unix:///path, or to a WebSocket
// by its URL. The connection is closed at the end of the test.
func Dial(t testing.TB, addr string, v packet.Version) *Client {
	t.Helper()
	if strings.HasPrefix(addr, "ws://") || strings.HasPrefix(addr, "wss://") {
		nc, below := dialWeb(t, addr, "mqtt")
		c := Over(t, nc, v)
		c.below = below
		return c
	}
	network, addr := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		network, addr = "unix", path
	}
	nc, err := net.DialTimeout(network, addr, Patience)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { nc.Close() })
	return Over(t, nc, v)
}

// Over talks over a connection that is there already.
func Over(t testing.TB, nc net.Conn, v packet.Version) *Client {
	return &Client{t: t, nc: nc, version: v, decoder: packet.Decoder{Role: packet.Client, Version: v}, patience: Patience}
}

// Connect dials and connects, and returns the script with what the CONNACK said.
func Connect(t testing.TB, addr string, v packet.Version, p *packet.Connect) (*Client, *packet.Connack) {
	t.Helper()
	c := Dial(t, addr, v)
	return c, c.Connect(p)
}

// Connect sends CONNECT and returns what the CONNACK said.
func (c *Client) Connect(p *packet.Connect) *packet.Connack {
	c.t.Helper()
	got := c.Send(p).Receive()
	ack, ok := got.(*packet.Connack)
	if !ok || ack.Code != packet.Success {
		c.t.Fatalf("connect %q: got %s, want a CONNACK of success", p.ClientID, show(got))
	}
	return ack
}

// WaitFor makes the script wait longer than Patience, which costs nothing where
// time is virtual.
func (c *Client) WaitFor(patience time.Duration) *Client {
	c.patience = patience
	return c
}

// Send sends packets with one write.
func (c *Client) Send(packets ...packet.Packet) *Client {
	c.t.Helper()
	var b []byte
	for _, p := range packets {
		b = p.Append(b, c.version)
	}
	return c.SendBytes(b)
}

// SendBytes sends bytes as they are.
func (c *Client) SendBytes(b []byte) *Client {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("send %d bytes: %v", len(b), err)
	}
	return c
}

// TrySend is Send for a broker that may have closed already.
func (c *Client) TrySend(b []byte) *Client {
	_, _ = c.nc.Write(b) // what the broker does is seen by what is received
	return c
}

// Receive returns the next packet.
func (c *Client) Receive() packet.Packet {
	c.t.Helper()
	p, err := c.next()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return p
}

func (c *Client) next() (packet.Packet, error) {
	for {
		p, n, _, err := c.decoder.Next(c.buf)
		if err != nil {
			return nil, fmt.Errorf("the broker sent what is not a packet: %w", err)
		}
		if p != nil {
			switch q := p.(type) { // the decoder uses these again
			case *packet.Publish:
				p = q.Clone()
			case *packet.Ack:
				a := *q
				p = &a
			}
			c.buf = c.buf[n:]
			return p, nil
		}
		if err := c.nc.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return nil, err
		}
		more := make([]byte, 64<<10)
		n, err = c.nc.Read(more)
		_ = c.nc.SetReadDeadline(time.Time{}) // for whoever uses the connection besides the script
		c.buf = append(c.buf, more[:n]...)
		if n == 0 && err != nil {
			return nil, err
		}
	}
}

// Expect receives one packet after the other and compares them. Only what is
// essential has to be equal: not the properties of a CONNACK, apart from an
// assigned client identifier, nor reason strings and user properties of answers.
// A PUBLISH with QoS above 0 that is expected with packet identifier 0 may have
// any; IDs returns them.
func (c *Client) Expect(want ...packet.Packet) *Client {
	c.t.Helper()
	for _, w := range want {
		got := c.Receive()
		if p, ok := got.(*packet.Publish); ok && p.QoS > 0 {
			c.ids = append(c.ids, p.ID)
		}
		if !Same(w, got, c.version) {
			c.t.Fatalf("received %s\n    want %s", show(got), show(w))
		}
	}
	return c
}

// ExpectInAnyOrder receives as many packets as are wanted, in whatever order they
// come.
func (c *Client) ExpectInAnyOrder(want ...packet.Packet) *Client {
	c.t.Helper()
	left := append([]packet.Packet(nil), want...)
	for range want {
		got := c.Receive()
		if p, ok := got.(*packet.Publish); ok && p.QoS > 0 {
			c.ids = append(c.ids, p.ID)
		}
		found := false
		for i, w := range left {
			if Same(w, got, c.version) {
				left = append(left[:i], left[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			c.t.Fatalf("received %s, which is none of the %d packets left to come", show(got), len(left))
		}
	}
	return c
}

// ExpectNothing has a PINGREQ answered: what the broker sent before would come
// before.
func (c *Client) ExpectNothing() *Client {
	c.t.Helper()
	return c.Send(&packet.Pingreq{}).Expect(&packet.Pingresp{})
}

// ExpectClosed waits for the end of the connection. A DISCONNECT before it is
// read; with codes given, it has to be one of them.
func (c *Client) ExpectClosed(codes ...packet.ReasonCode) {
	c.t.Helper()
	for {
		p, err := c.next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, syscall.ECONNRESET) && websocket.CloseStatus(err) == -1 {
				c.t.Fatalf("wait for the end of the connection: %v", err)
			}
			if len(codes) > 0 && c.version == packet.V5 {
				c.t.Fatalf("the connection ended without DISCONNECT, want one with %v", codes)
			}
			return
		}
		d, ok := p.(*packet.Disconnect)
		if !ok {
			c.t.Fatalf("received %s, want the end of the connection", show(p))
		}
		if len(codes) == 0 {
			continue
		}
		for _, code := range codes {
			if d.Code == code {
				codes = nil
				break
			}
		}
		if codes != nil {
			c.t.Fatalf("received DISCONNECT with %v, want one of %v", d.Code, codes)
		}
	}
}

// IDs returns the packet identifiers of the PUBLISH packets that were expected
// since the last call.
func (c *Client) IDs() []uint16 {
	ids := c.ids
	c.ids = nil
	return ids
}

// Drop ends the connection without DISCONNECT.
func (c *Client) Drop() {
	nc := c.nc
	if c.below != nil {
		nc = c.below // no close frame either
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // then it is a plain close
	}
	nc.Close()
}

// Leave ends the connection with DISCONNECT, and waits until the broker has seen
// it.
func (c *Client) Leave() {
	c.t.Helper()
	c.Send(&packet.Disconnect{}).ExpectClosed()
	c.nc.Close()
}

// Same reports whether two packets say the same, as Expect sees it.
func Same(want, got packet.Packet, v packet.Version) bool {
	if want.Type() != got.Type() {
		return false
	}
	switch w := want.(type) {
	case *packet.Connack:
		g := got.(*packet.Connack)
		return w.Code == g.Code && w.SessionPresent == g.SessionPresent &&
			(w.AssignedClientID == "" || w.AssignedClientID == g.AssignedClientID)
	case *packet.Publish:
		x := *w
		if g := got.(*packet.Publish); x.QoS > 0 && x.ID == 0 {
			x.ID = g.ID
		}
		want = &x
	case *packet.Ack:
		g := got.(*packet.Ack)
		code := g.Code
		if code == packet.NoMatchingSubscribers && w.Code == packet.Success {
			code = w.Code // a server may say it or not (3.4.2.1)
		}
		return w.ID == g.ID && w.Code == code
	case *packet.Suback:
		g := got.(*packet.Suback)
		return bytes.Equal((&packet.Suback{ID: w.ID, Codes: w.Codes}).Append(nil, v), (&packet.Suback{ID: g.ID, Codes: g.Codes}).Append(nil, v))
	case *packet.Unsuback:
		g := got.(*packet.Unsuback)
		return bytes.Equal((&packet.Unsuback{ID: w.ID, Codes: w.Codes}).Append(nil, v), (&packet.Unsuback{ID: g.ID, Codes: g.Codes}).Append(nil, v))
	case *packet.Disconnect:
		return w.Code == got.(*packet.Disconnect).Code
	}
	return bytes.Equal(want.Append(nil, v), got.Append(nil, v))
}

func show(p packet.Packet) string {
	switch p := p.(type) {
	case *packet.Publish:
		payload := p.Payload
		if len(payload) > 60 {
			payload = payload[:60]
		}
		return fmt.Sprintf("PUBLISH{topic %q, payload %q, QoS %d, id %d, dup %v, retain %v, properties %+v}",
			p.Topic, payload, p.QoS, p.ID, p.DUP, p.Retain, p.Properties)
	case *packet.Ack:
		return fmt.Sprintf("%v{id %d, %v}", p.Kind, p.ID, p.Code)
	}
	return fmt.Sprintf("%v%+v", p.Type(), p)
}
