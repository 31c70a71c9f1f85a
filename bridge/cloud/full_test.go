package cloud_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// deafConn hears no PUBREC: when the first one comes it lets the server go on until
// nothing more comes, and ends.
type deafConn struct {
	net.Conn
	dec packet.Decoder
	buf []byte
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.buf = append(c.buf, p[:n]...)
	for {
		pk, used, _, decodeErr := c.dec.Next(c.buf)
		if pk == nil || decodeErr != nil {
			return n, err
		}
		c.buf = c.buf[used:]
		if pk.Type() != packet.PUBREC {
			continue
		}
		for err == nil {
			if err = c.Conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err == nil {
				_, err = c.Conn.Read(make([]byte, 4096))
			}
		}
		c.Conn.Close()
		return 0, os.ErrClosed
	}
}

// The link breaks when the server has as many messages of QoS 2 as it takes, and the
// gateway knows of none of them. Mosquitto goes on to count them in the next
// connection, and ends that at the first message too many, status or not: so it must
// never have got as many.
func TestALinkThatBrokeWithAFullWindowComesBack(t *testing.T) {
	up, s := breakWithAFullWindow(t, 10)
	if up.duplicates > 0 || up.late > 0 {
		t.Errorf("%d duplicates, %d overtaken", up.duplicates, up.late)
	}
	if s.Connects != 2 {
		t.Errorf("%d connects, want 2: one that breaks, one that lasts", s.Connects)
	}
}

// With room for one message there is none to keep free.
func TestALinkThatBrokeWithAWindowOfOneComesBack(t *testing.T) {
	up, s := breakWithAFullWindow(t, 1)
	if up.duplicates > 0 || up.late > 0 {
		t.Errorf("%d duplicates, %d overtaken", up.duplicates, up.late)
	}
	if s.Connects != 2 {
		t.Errorf("%d connects, want 2: one that breaks, one that lasts", s.Connects)
	}
}

func breakWithAFullWindow(t *testing.T, window int) (*tally, cloud.Status) {
	address := mosquitto(t, fmt.Sprintf("max_inflight_messages %d", window))
	cfg := testConfig("mqtt://" + address)
	dials := 0
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if dials++; err == nil && dials == 1 {
			conn = &deafConn{Conn: conn, dec: packet.Decoder{Role: packet.Client, Version: packet.V5}}
		}
		return conn, err
	}
	r := newRig(t, cfg, nil)
	upstream := observe(t, address, "acme/g/+/state")
	const n = 30
	for i := range n {
		r.publish("g/boiler/state", number(i), 2)
	}
	r.run()
	up := newTally("up")
	for len(up.seen) < n {
		up.take(string(upstream.message().Payload))
	}
	r.drained()
	r.until("connected", func(s cloud.Status) bool { return s.Connected })
	return up, r.bridge.Status()
}
