package cloud

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"edgegateway/broker/packet"
)

func TestWireMakesOneWriteOfAPacket(t *testing.T) {
	c := &countingConn{}
	w := newWire(c, 1000)
	w.Lock()
	for _, piece := range []string{"a", "bc", "", "def"} {
		w.Write([]byte(piece))
	}
	w.Unlock()
	if len(c.writes) != 1 || c.writes[0] != "abcdef" {
		t.Errorf("writes = %q, want one of abcdef", c.writes)
	}
	c.err = io.ErrShortWrite
	if err := w.send([]byte("x")); !errors.Is(err, io.ErrShortWrite) || !c.ending {
		t.Errorf("send = %v, ending = %v; want the connection's error and an end for the reader", err, c.ending)
	}
	c.err = nil
	if err := w.send([]byte("y")); !errors.Is(err, io.ErrShortWrite) || len(c.writes) != 1 {
		t.Errorf("after an error send = %v and writes = %q; want the first error and no more bytes", err, c.writes)
	}
}

type countingConn struct {
	net.Conn
	writes []string
	err    error
	ending bool
}

func (c *countingConn) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	c.writes = append(c.writes, string(p))
	return len(p), nil
}
func (c *countingConn) SetReadDeadline(time.Time) error  { c.ending = true; return nil }
func (c *countingConn) SetWriteDeadline(time.Time) error { return nil }

func TestWireRefusesHeadersBeforeTheBody(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		max   int
		taken int
		err   error
	}{
		{"two small packets", []byte{0xd0, 0, 0x40, 2, 0, 1}, 4, 6, io.EOF},
		{"as large as may be", []byte{0x30, 3, 0, 1, 'a'}, 5, 5, io.EOF},
		{"one byte too large", []byte{0x30, 3, 0, 1, 'a'}, 4, 1, errTooLarge},
		{"256 MB promised", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 1 << 20, 4, errTooLarge},
		{"length of five bytes", []byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, 1 << 20, 4, errLongVarint},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, client := net.Pipe()
			defer client.Close()
			go func() {
				server.Write(c.bytes)
				server.Close()
			}()
			got, err := io.ReadAll(newWire(client, c.max))
			if len(got) != c.taken || c.err == io.EOF && err != nil || c.err != io.EOF && !errors.Is(err, c.err) {
				t.Errorf("read %d bytes and %v; want %d and %v", len(got), err, c.taken, c.err)
			}
		})
	}
}

func TestAcknowledgementsLeaveInTurn(t *testing.T) {
	k := turns{kind: packet.PUBACK}
	a, b, c := k.take(1), k.take(2), k.take(3)
	b.ready = true
	if out := k.release(nil); len(out) != 0 {
		t.Errorf("the second one left before the first: % x", out)
	}
	a.ready, a.code = true, packet.QuotaExceeded
	if out, want := k.release(nil), "\x40\x03\x00\x01\x97\x40\x02\x00\x02"; string(out) != want {
		t.Errorf("released % x; want % x", out, want)
	}
	c.ready = true
	if out, want := k.release(nil), "\x40\x02\x00\x03"; string(out) != want {
		t.Errorf("the last one: % x; want % x", out, want)
	}
}

func TestBackoffStaysBelowItsCeiling(t *testing.T) {
	b := backoff{first: time.Second, most: time.Minute}
	var sum time.Duration
	for i := range 200 {
		ceiling := time.Minute
		if i < 6 {
			ceiling = time.Second << i
		}
		d := b.next()
		if d < 0 || d > ceiling {
			t.Fatalf("wait %d is %v, ceiling %v", i, d, ceiling)
		}
		if i >= 6 {
			sum += d
		}
	}
	if mean := sum / 194; mean < 20*time.Second || mean > 40*time.Second {
		t.Errorf("the mean of the long waits is %v, want about half a minute: jitter over the full range", mean)
	}
	b.reset()
	if d := b.next(); d > time.Second {
		t.Errorf("after reset the wait is %v", d)
	}
}
