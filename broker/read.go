package broker

import (
	"errors"
	"io"
	"syscall"
	"time"

	"edgegateway/broker/packet"
)

// fill reads what is there, and waits if that is nothing.
func (c *conn) fill() error {
	if c.web != nil {
		return c.fillWeb()
	}
	if c.raw == nil {
		c.makeRoom(smallChunk)
		n, err := c.nc.Read(c.in.b[len(c.in.b):cap(c.in.b)])
		c.in.b = c.in.b[:len(c.in.b)+n]
		if n > 0 {
			c.b.counters.bytesIn.Add(int64(n))
			return nil
		}
		return err
	}
	c.readErr = nil
	if err := c.raw.Read(c.readFn); err != nil {
		return err
	}
	return c.readErr
}

// readOnce is called when the socket may be readable. It lends a buffer only for
// the moment of reading.
func (c *conn) readOnce(fd uintptr) bool {
	for {
		c.makeRoom(readChunk)
		n, err := syscall.Read(int(fd), c.in.b[len(c.in.b):cap(c.in.b)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			c.giveBack()
			return false
		case err != nil:
			c.readErr = err
		case n == 0:
			c.readErr = io.EOF
		default:
			c.in.b = c.in.b[:len(c.in.b)+n]
			c.b.counters.bytesIn.Add(int64(n))
		}
		return true
	}
}

// makeRoom sees to it that bytes can be read behind those that are there.
func (c *conn) makeRoom(size int) {
	switch {
	case c.in == nil:
		c.in = c.b.chunks.get(size)
	case cap(c.in.b) < size: // a rest that was set aside
		big := c.b.chunks.get(size)
		big.b = append(big.b, c.in.b...)
		c.in = big
	case len(c.in.b) == cap(c.in.b): // as bytes arrive, not as a header promises
		grown := make([]byte, len(c.in.b), 2*cap(c.in.b))
		copy(grown, c.in.b)
		c.in.b = grown
	}
}

// giveBack returns the buffer before a wait, except for the rest of a packet.
func (c *conn) giveBack() {
	rest := c.in.b
	if len(rest) >= smallChunk {
		return
	}
	if len(rest) == 0 {
		c.b.chunks.put(c.in)
		c.in = nil
		return
	}
	if cap(rest) >= readChunk {
		small := &chunk{append(make([]byte, 0, len(rest)), rest...)}
		c.b.chunks.put(c.in)
		c.in = small
	}
}

// consume decodes and handles all packets that have arrived.
func (c *conn) consume() {
	c.batch = c.b.batches.get()
	d := &c.batch.decoder
	d.Role, d.Version, d.MaxPacketSize = packet.Server, c.version, int(c.b.cfg.MaxPacketSize)
	if c.session == nil {
		d.MaxPacketSize = min(d.MaxPacketSize, maxConnect)
	}
	buf := c.in.b
	for len(buf) > 0 && c.ended.Load() == nil {
		p, n, _, err := d.Next(buf)
		if err != nil {
			c.publishBatch() // what came before counts
			c.refuse(err)
			break
		}
		if p == nil {
			break // it grows as bytes arrive
		}
		buf = buf[n:]
		c.b.counters.packetsIn.Add(1)
		if publish, ok := p.(*packet.Publish); ok && c.session != nil {
			c.collect(publish)
			continue
		}
		c.publishBatch()
		c.handle(p)
	}
	c.publishBatch()
	c.b.batches.put(c.batch)
	c.batch = nil
	if len(buf) < len(c.in.b) {
		c.hear()
		c.rest(buf)
	}
	if c.acked {
		c.acked = false
		c.session.pump(c)
		c.progressed()
	}
	c.flush()
}

// rest keeps the bytes that are not a whole packet yet.
func (c *conn) rest(buf []byte) {
	n := copy(c.in.b, buf)
	c.in.b = c.in.b[:n]
	if n == 0 && c.raw != nil && cap(c.in.b) > keepChunk {
		c.in = nil
	}
}

// hear notes that packets came.
func (c *conn) hear() {
	now := time.Now()
	switch {
	case now.Sub(c.heard) > busyGap:
		c.streak = 0
	case c.streak < busyFrom:
		c.streak++
	}
	c.heard = now
}
