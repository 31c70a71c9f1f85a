package e2e_test

import (
	"fmt"
	"net"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// conn is one MQTT connection of a test client.
type conn struct {
	net.Conn
	version packet.Version
	dec     packet.Decoder
	buf     []byte // received and not yet decoded
	used    int    // of buf, by the packet that read returned last
}

// dial connects with MQTT 3.1.1 and a session that outlives the connection, and
// returns what CONNACK says of it.
func dial(addr, clientID string) (c *conn, sessionPresent bool, err error) {
	return dialAs(addr, packet.Connect{Version: packet.V311, ClientID: clientID, KeepAlive: 60})
}

// lasting is the CONNECT of a client whose session never ends.
func lasting(v packet.Version, clientID string) packet.Connect {
	return packet.Connect{Version: v, ClientID: clientID, KeepAlive: 60, SessionExpiry: 0xFFFFFFFF}
}

func dialAs(addr string, p packet.Connect) (c *conn, sessionPresent bool, err error) {
	nc, err := net.DialTimeout("tcp", addr, need.Patience)
	if err != nil {
		return nil, false, err
	}
	c = &conn{Conn: nc, version: p.Version, dec: packet.Decoder{Role: packet.Client, Version: p.Version}}
	if err := c.send(&p); err != nil {
		nc.Close()
		return nil, false, err
	}
	nc.SetReadDeadline(time.Now().Add(need.Patience))
	answer, err := c.read()
	if err != nil {
		nc.Close()
		return nil, false, err
	}
	ack, ok := answer.(*packet.Connack)
	if !ok || ack.Code != packet.Success {
		nc.Close()
		return nil, false, fmt.Errorf("connect to %s as %s: answered with %+v", addr, p.ClientID, answer)
	}
	nc.SetReadDeadline(time.Time{})
	return c, ack.SessionPresent, nil
}

// send writes all packets with one call.
func (c *conn) send(packets ...packet.Packet) error {
	var out []byte
	for _, p := range packets {
		out = p.Append(out, c.version)
	}
	if len(out) == 0 {
		return nil
	}
	_, err := c.Write(out)
	return err
}

// read returns the next packet, which is valid until the next call.
func (c *conn) read() (packet.Packet, error) {
	c.buf = c.buf[c.used:]
	c.used = 0
	for {
		p, n, _, err := c.dec.Next(c.buf)
		if err != nil {
			return nil, err
		}
		if p != nil {
			c.used = n
			return p, nil
		}
		chunk := make([]byte, 16<<10)
		k, err := c.Read(chunk)
		if err != nil {
			return nil, err
		}
		c.buf = append(c.buf, chunk[:k]...)
	}
}

// buffered reports whether read has bytes that it has not looked at.
func (c *conn) buffered() bool { return len(c.buf) > c.used }
