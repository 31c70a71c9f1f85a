package main_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// A client speaks as much MQTT 3.1.1 as the tests need, written out byte by byte: a codec of our own on both
// sides would agree with itself.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	got  []message // arrived while another packet was waited for
}

type message struct {
	topic, payload string
	retained       bool
}

// connect opens a connection that lasts until the test ends.
func connect(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(tooLong))
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	// Protocol name and level, clean session, no keep alive, an empty client identifier [v3 MQTT-3.1.3-6].
	c.send(0x10, []byte("\x00\x04MQTT\x04\x02\x00\x00\x00\x00"))
	if ack := c.wait(0x20); ack[1] != 0 {
		t.Fatalf("CONNACK refuses with %d", ack[1])
	}
	return c
}

func (c *client) send(first byte, body []byte) {
	c.t.Helper()
	if len(body) > 127 {
		c.t.Fatal("the test client sends short packets only")
	}
	if _, err := c.conn.Write(append([]byte{first, byte(len(body))}, body...)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next packet.
func (c *client) read() (first byte, body []byte) {
	c.t.Helper()
	first, err := c.r.ReadByte()
	if err != nil {
		c.t.Fatal(err)
	}
	length, err := binary.ReadUvarint(c.r) // the Remaining Length is encoded like that (2.2.3)
	if err != nil {
		c.t.Fatal(err)
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal(err)
	}
	return first, body
}

// wait returns the next packet of a type, and keeps the messages before it.
func (c *client) wait(first byte) []byte {
	c.t.Helper()
	for {
		f, body := c.read()
		if f == first {
			return body
		}
		if f&0xF6 == 0x30 { // PUBLISH of QoS 0
			c.got = append(c.got, parse(f, body))
		}
	}
}

func parse(first byte, body []byte) message {
	n := int(binary.BigEndian.Uint16(body))
	return message{topic: string(body[2 : 2+n]), payload: string(body[2+n:]), retained: first&1 != 0}
}

// subscribe asks for a filter at QoS 0.
func (c *client) subscribe(filter string) {
	c.t.Helper()
	c.send(0x82, append(append([]byte{0, 1, 0, byte(len(filter))}, filter...), 0))
	if ack := c.wait(0x90); ack[2] != 0 {
		c.t.Fatalf("SUBACK refuses %s with %#x", filter, ack[2])
	}
}

// next is the next message that a subscription brings.
func (c *client) next() message {
	c.t.Helper()
	if len(c.got) > 0 {
		m := c.got[0]
		c.got = c.got[1:]
		return m
	}
	for {
		if f, body := c.read(); f&0xF6 == 0x30 {
			return parse(f, body)
		}
	}
}

// first subscribes and returns the first message.
func (c *client) first(filter string) message {
	c.t.Helper()
	c.subscribe(filter)
	return c.next()
}

// keep publishes a retained message at QoS 1 and waits until it is safe.
func (c *client) keep(topic, payload string) {
	c.t.Helper()
	body := append([]byte{0, byte(len(topic))}, topic...)
	body = append(body, 0, 7) // packet identifier
	c.send(0x33, append(body, payload...))
	if ack := c.wait(0x40); ack[1] != 7 {
		c.t.Fatalf("PUBACK for packet %d", ack[1])
	}
}
