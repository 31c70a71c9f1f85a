package broker

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"edgegateway/broker/packet"
)

// outboxLimit is how many bytes may wait for a socket that takes none. Beyond it
// QoS 0 messages are dropped, and QoS 1 and 2 stay in their queue.
const outboxLimit = 1 << 20

// A client that makes the broker answer without reading the answers is closed when
// this many bytes of them wait, or this many acknowledgements of one kind: more than
// there are packet identifiers. We chose these.
const (
	answersLimit = 1 << 20
	slotsLimit   = 1 << 16
)

// outbox is what is to be sent on a connection: whole packets, in order. Its lock
// is the last one taken.
//
// Whoever appends also flushes, after he has let go of all locks. One goroutine
// at a time writes; if the socket does not take everything at once, a goroutine
// is started that writes until the outbox is empty, and ends.
type outbox struct {
	mu      sync.Mutex
	pending *chunk // nil while there is nothing to send
	answers int    // bytes of pending that are no messages
	control *chunk // a WebSocket's own frames, which go first
	goodbye []byte // the frame that ends a WebSocket, after everything else
	order   ackOrder
	aliases *aliases // nil: the client takes none
	writing bool     // somebody writes
	closed  bool     // nothing is added any more; what is pending is still written
	stalled bool     // somebody waits for room

	progress chan struct{} // a token when there may be room; closed at the end. nil until somebody waits
	quiet    chan struct{} // closed when writing ends, for the one who waits for that

	packets int64 // added, since the last count
	taken   int64 // of these, taken to be written; negative: more were there at the last count
	bytes   int64 // written, since the last count
}

func (o *outbox) roomLocked() bool { return o.pending == nil || len(o.pending.b) < outboxLimit }

// room reports whether messages may be added. If not, drained is called later.
func (c *conn) room() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.roomLocked() {
		c.out.stalled = true
		return false
	}
	return !c.out.closed
}

// add appends a packet, unless it is larger than the client takes; then it counts
// as sent [MQTT-3.1.2-24] [MQTT-3.1.2-25].
func (c *conn) add(p packet.Packet) {
	c.out.mu.Lock()
	c.addLocked(p)
	c.out.mu.Unlock()
}

func (c *conn) addLocked(p packet.Packet) {
	size := p.Size(c.version)
	if c.tooLarge(size) {
		return
	}
	if buf := c.answerLocked(size); buf != nil {
		buf.b = p.Append(buf.b, c.version)
		c.out.packets++
	}
}

// answerLocked is bufferLocked for what is no message, which no queue holds back.
func (c *conn) answerLocked(n int) *chunk {
	if c.out.answers > answersLimit {
		c.fail(packet.QuotaExceeded, "the client does not read the answers that it asks for", nil)
		return nil
	}
	c.out.answers += n
	return c.bufferLocked(n)
}

// bufferLocked returns where to append n bytes, nil if the connection has ended.
func (c *conn) bufferLocked(n int) *chunk {
	o := &c.out
	switch {
	case o.closed:
		return nil
	case o.pending == nil && n <= smallChunk:
		o.pending = c.b.chunks.get(smallChunk)
	case o.pending == nil:
		o.pending = c.b.chunks.get(readChunk)
	case cap(o.pending.b)-len(o.pending.b) < n && cap(o.pending.b) < readChunk:
		large := c.b.chunks.get(readChunk)
		large.b = append(large.b, o.pending.b...)
		c.b.chunks.put(o.pending)
		o.pending = large
	}
	if c.web != nil && len(o.pending.b) == 0 {
		o.pending.b = o.pending.b[:frameRoom]
	}
	return o.pending
}

// addControl appends a control frame of a WebSocket. Of several pongs that wait,
// only the last has to be sent (RFC 6455, 5.5.3), so a client that pings and does
// not read fills nothing.
func (c *conn) addControl(frame []byte) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.closed {
		return
	}
	if c.out.control == nil {
		c.out.control = c.b.chunks.get(smallChunk)
	}
	c.out.control.b = append(c.out.control.b[:0], frame...)
}

// countLocked returns how many packets were added, and how many bytes written, since
// the last call, and what is pending now.
func (o *outbox) countLocked() (packets, bytes, waiting, waitingBytes int64) {
	if o.pending != nil {
		waiting, waitingBytes = o.packets-o.taken, int64(len(o.pending.b))
	}
	packets, bytes = o.packets, o.bytes
	o.packets, o.bytes, o.taken = 0, 0, -waiting
	return packets, bytes, waiting, waitingBytes
}

func (o *outbox) emptyLocked() bool { return o.pending == nil && o.control == nil }

// takeLocked takes what is to be written next, from an offset on; nil if that is
// nothing.
func (c *conn) takeLocked() (buf *chunk, from int) {
	o := &c.out
	switch {
	case o.control != nil:
		buf, o.control = o.control, nil
	case o.pending != nil:
		buf, o.pending, o.answers, o.taken = o.pending, nil, 0, o.packets
		if c.web == nil {
			break
		}
		if len(buf.b) > frameRoom {
			return buf, frame(buf.b)
		}
		c.b.chunks.put(buf) // what was to be added was not
		return c.takeLocked()
	case o.closed && o.goodbye != nil:
		buf, o.goodbye = &chunk{o.goodbye}, nil
	}
	return buf, 0
}

// addMessage appends an encoded QoS 0 PUBLISH unless there is no room. The
// standard allows to lose it then: at most once.
func (c *conn) addMessage(encoded []byte) bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if !c.out.roomLocked() {
		return false
	}
	if buf := c.bufferLocked(len(encoded)); buf != nil {
		start := len(buf.b)
		buf.b = append(buf.b, encoded...)
		if c.out.aliases != nil {
			buf.b = c.out.aliases.shorten(buf.b, start)
		}
		c.out.packets++
	}
	return true
}

// acknowledge sends an acknowledgement as soon as those of its kind that were
// expected before it have left. With ready false it only takes its place, which
// is then completed.
func (c *conn) acknowledge(a answer, ready bool) *ackSlot {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	slot := c.out.order.expect(a, ready)
	switch {
	case slot == nil:
		c.leaveLocked(&a)
	case len(c.out.order.waiting[a.kind]) > slotsLimit:
		c.fail(packet.QuotaExceeded, "more packets wait for an acknowledgement than there are identifiers", nil)
	}
	return slot
}

// complete lets an expected acknowledgement leave with what it says by now. The
// caller flushes.
func (c *conn) complete(slot *ackSlot, code packet.ReasonCode, reason string) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	slot.code, slot.reason = code, reason
	c.out.order.complete(slot, c.leaveLocked)
}

// leaveLocked appends an acknowledgement.
func (c *conn) leaveLocked(a *answer) {
	if a.reason != "" && (c.noProblemInfo || c.tooLarge(a.packet().Size(c.version))) {
		a.reason = "" // [MQTT-3.1.2-29] [MQTT-3.4.2-2] [MQTT-3.5.2-2]
	}
	if buf := c.answerLocked(8 + len(a.reason)); buf != nil {
		buf.b = a.append(buf.b, c.version)
		c.out.packets++
	}
	c.credit(a.kind, a.code)
}

// addEntry appends the message of a queue entry, and returns the size of the
// packet, -1 if it is larger than the receiver takes.
func (c *conn) addEntry(v *recordView, id uint16, dup bool, left uint32) (size int, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	buf := c.bufferLocked(len(v.packet))
	if buf == nil {
		return 0, nil // the connection ends, and the queue will hand it out again
	}
	start := len(buf.b)
	buf.b, err = v.appendPublish(buf.b, c.version, id, dup, left)
	if err == nil && c.out.aliases != nil {
		buf.b = c.out.aliases.shorten(buf.b, start)
	}
	if err == nil && c.tooLarge(len(buf.b)-start) {
		size = -1
	}
	if err != nil || size < 0 {
		buf.b = buf.b[:start]
		return size, err
	}
	c.out.packets++
	return len(buf.b) - start, nil
}

// flush sends what the socket takes at once, and leaves the rest to a goroutine.
// No lock is held.
func (c *conn) flush() {
	if c.flushNow() {
		c.drained()
	}
}

func (c *conn) flushNow() (stalled bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.emptyLocked() || o.closed {
		return false
	}
	o.writing = true
	for rounds := 0; ; rounds++ {
		buf, from := c.takeLocked()
		if buf == nil {
			break
		}
		// TLS may block; and nobody sends for others for ever, nor after the end.
		if c.raw == nil || rounds > 3 || o.closed {
			c.writeOn(buf, from)
			return false
		}
		o.mu.Unlock()
		n, err := c.tryWrite(buf.b[from:])
		o.mu.Lock()
		o.bytes += int64(n)
		if err != nil {
			o.failLocked()
			c.endWith(&ending{reason: "writing failed", err: err})
			return false
		}
		if n < len(buf.b)-from {
			c.writeOn(buf, from+n)
			return false
		}
		c.b.chunks.put(buf)
	}
	o.stopLocked()
	stalled, o.stalled = o.stalled, false
	return stalled
}

// failLocked gives up: the socket takes nothing any more.
func (o *outbox) failLocked() {
	o.closeLocked()
	o.pending, o.control, o.goodbye = nil, nil, nil
	o.stopLocked()
}

// closeLocked ends adding.
func (o *outbox) closeLocked() {
	if !o.closed && o.progress != nil {
		close(o.progress)
	}
	o.closed = true
}

// stopLocked ends writing.
func (o *outbox) stopLocked() {
	o.writing = false
	if o.quiet != nil {
		close(o.quiet)
		o.quiet = nil
	}
}

// drained is called without locks when those who were stalled may go on.
func (c *conn) drained() {
	if c.session != nil {
		c.session.pump(c)
	}
	c.progressed()
	c.flush()
}

// progressed wakes whoever waits for room.
func (c *conn) progressed() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.progress != nil && !c.out.closed {
		select {
		case c.out.progress <- struct{}{}:
		default:
		}
	}
}

// finishWriting lets what is pending leave, and last behind it if that is not nil,
// for as long as grace. It returns when no goroutine of the connection writes any
// more.
func (c *conn) finishWriting(grace time.Duration, e *ending, last packet.Packet) {
	o := &c.out
	o.mu.Lock()
	if last != nil { // under the lock that closes: nothing follows it [MQTT-3.14.4-1]
		c.addLocked(last)
	}
	if c.web != nil && !o.closed {
		o.goodbye = c.web.goodbye(e)
	}
	o.closeLocked()
	if !o.writing {
		if buf, from := c.takeLocked(); buf != nil {
			o.writing = true
			c.writeOn(buf, from)
		}
	}
	var quiet chan struct{}
	if o.writing {
		quiet = make(chan struct{})
		o.quiet = quiet
	}
	o.mu.Unlock()
	if quiet != nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(grace)) // if it fails, so does the write
		<-quiet
	}
	c.writers.Wait()
}

// flushLater sends from another goroutine: for callbacks of the store, which
// must not wait for sockets. What comes meanwhile goes along.
func (c *conn) flushLater() {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || o.closed {
		return
	}
	if buf, from := c.takeLocked(); buf != nil {
		o.writing = true
		c.writeOn(buf, from)
	}
}

// writeOn starts the goroutine that writes buf from an offset on, and then what
// has come. o.writing is set, and the lock is held.
func (c *conn) writeOn(buf *chunk, from int) {
	c.writers.Add(1)
	go func() {
		defer c.writers.Done()
		defer c.recoverPanic("write")
		if c.writeAll(buf, from) {
			c.drained()
		}
	}()
}

func (c *conn) writeAll(buf *chunk, from int) (stalled bool) {
	o := &c.out
	for {
		n, err := c.nc.Write(buf.b[from:])
		o.mu.Lock()
		o.bytes += int64(n)
		if err != nil {
			o.failLocked()
			o.mu.Unlock()
			c.endWith(&ending{reason: "writing failed", err: err})
			return false
		}
		c.b.chunks.put(buf)
		if buf, from = c.takeLocked(); buf == nil {
			o.stopLocked()
			stalled, o.stalled = o.stalled, false
			o.mu.Unlock()
			return stalled
		}
		o.mu.Unlock()
	}
}

// tryWrite writes what the socket takes without waiting.
func (c *conn) tryWrite(b []byte) (n int, err error) {
	c.tryBuf, c.tryN, c.tryErr = b, 0, nil
	if err = c.raw.Write(c.tryFn); err == nil {
		err = c.tryErr
	}
	c.tryBuf = nil
	return c.tryN, err
}

// tryOnce is what raw.Write calls; it never asks to be called again.
func (c *conn) tryOnce(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), c.tryBuf)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			c.tryErr = err
		default:
			c.tryN = n
		}
		return true
	}
}
