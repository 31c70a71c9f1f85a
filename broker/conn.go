package broker

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgegateway/broker/packet"
)

// We chose these.
const (
	maxBatch     = 512                    // PUBLISH packets that are routed under one lock
	closeGrace   = time.Second            // for the last bytes to a client
	lingerGrace  = 200 * time.Millisecond // for a client to read why it is sent away
	maxConnect   = 1 << 20                // bytes of a CONNECT: from anybody, and so less than of a client
	aliasMaximum = 64                     // topic aliases of one client, each way
	busyGap      = 10 * time.Second       // at most, between two reads of a busy connection
	busyFrom     = 8                      // such reads in a row make it busy
)

// conn is one network connection. Its goroutine reads, and owns all fields that
// say nothing else.
type conn struct {
	b    *Broker
	door *door
	nc   net.Conn
	raw  syscall.RawConn // nil: only nc can be used, as with TLS
	web  *webSocket      // nil: the bytes of MQTT travel as they are
	log  *slog.Logger

	crowded bool // beyond a limit, and only here to be told so

	// Set by CONNECT, before anyone else knows the connection.
	version       packet.Version
	session       *Session
	username      string
	verified      bool          // username is proven
	keepAlive     time.Duration // 1.5 times what the client said; 0: no limit
	maxPacket     int           // bytes that the client takes; 0: any
	noProblemInfo bool

	in      *chunk // what was read and not decoded; nil while there is nothing
	readErr error
	readFn  func(uintptr) bool
	heard   time.Time // when the last packet came
	streak  uint8     // how many reads in a row came within busyGap; not above busyFrom
	aliases map[uint16][]byte
	batch   *batch // lent while packets are handled
	acked   bool   // the queue may go on

	unacked atomic.Int32 // QoS 1 and 2 messages that the client has under way to us

	replays []*replay // the first one is being sent; guarded by the mutex of session

	out     outbox
	writers sync.WaitGroup // goroutines that write

	// Of the one who writes: see tryWrite.
	tryBuf []byte
	tryN   int
	tryErr error
	tryFn  func(uintptr) bool

	ended atomic.Pointer[ending] // why the connection ends; set once
}

// ending is why a connection ends.
type ending struct {
	code   packet.ReasonCode // 0x80 and above: an MQTT 5 client is told
	reason string
	err    error
	said   *packet.ReasonCode // by the client in DISCONNECT; nil: it sent none
	clean  bool               // by DISCONNECT: the will is not published
	expiry *uint32            // the new session expiry of a DISCONNECT
	bad    bool               // worth a line in the log though there was no session
}

// stopping reports whether the connection ends because the server does.
func (e *ending) stopping() bool { return e.code == packet.ServerShuttingDown }

func newConn(b *Broker, d *door, nc net.Conn) *conn {
	c := &conn{b: b, door: d, nc: nc, log: b.log}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
			c.readFn = c.readOnce
			c.tryFn = c.tryOnce
		}
	}
	return c
}

// serve is the life of the connection.
func (c *conn) serve() {
	c.heard = time.Now()
	timeout := c.door.connectTimeout
	if c.crowded {
		timeout = min(timeout, crowdedTimeout)
	}
	_ = c.nc.SetReadDeadline(c.heard.Add(timeout)) // if it fails, so does the read
	c.read()
}

// read reads until the connection ends. Handling packets makes the stack of a
// goroutine grow, and it never gets small again; so a long wait is left to a new
// goroutine, with a small one: most connections wait most of the time, and the
// stack is the largest thing that they own.
func (c *conn) read() {
	if c.readOn() {
		c.door.readers.Go(c.read)
		return
	}
	c.close()
}

// readOn reads until the connection ends, or a long wait is likely: then it
// returns true.
func (c *conn) readOn() (waits bool) {
	defer c.recoverPanic("read")
	if c.door.web != nil && c.web == nil && c.ended.Load() == nil {
		c.upgrade()
	}
	for c.ended.Load() == nil {
		err := c.fill()
		switch {
		case err == nil:
			first := c.session == nil // CONNECT: mostly another packet follows at once
			c.consume()
			if !first && c.calm() {
				return true
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && c.stillAlive():
		default:
			c.readEnded(err)
			return false
		}
	}
	return false
}

// calm reports whether the next packet is likely to take its time.
func (c *conn) calm() bool {
	begun := c.in != nil && len(c.in.b) > 0 // the packet is on its way
	return !begun && c.streak < busyFrom && c.ended.Load() == nil
}

// recoverPanic ends the connection if its goroutine panics: a fault that one
// client can cause must not reach the others.
func (c *conn) recoverPanic(doing string) {
	if r := recover(); r != nil {
		c.b.counters.panics.Add(1)
		c.log.Error("panic in a connection, which is closed", "address", c.address(), "doing", doing,
			"panic", r, "stack", string(debug.Stack()))
		c.fail(packet.UnspecifiedError, "an error inside the broker", nil)
	}
}

// readEnded says why reading has ended.
func (c *conn) readEnded(err error) {
	switch {
	case c.ended.Load() != nil: // woken
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.session == nil {
			c.endWith(&ending{reason: "no CONNECT in time", bad: true})
			return
		}
		// [MQTT-3.1.2-22] [v3 MQTT-3.1.2-24]
		c.fail(packet.KeepAliveTimeout, "nothing heard for one and a half times the keep alive", nil)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		c.endWith(&ending{reason: "the client closed the connection"})
	default:
		c.endWith(&ending{reason: "the connection broke", err: err})
	}
}

// stillAlive judges a deadline that has passed. It was set long ago, because
// moving it with every packet costs more than reading one: if packets came since,
// it is moved now.
func (c *conn) stillAlive() bool {
	if c.session == nil || c.ended.Load() != nil {
		return false
	}
	if c.keepAlive > 0 && time.Since(c.heard) >= c.keepAlive {
		return false
	}
	c.arm()
	return true
}

// arm sets the deadline of the keep alive.
func (c *conn) arm() {
	var deadline time.Time
	if c.keepAlive > 0 {
		deadline = c.heard.Add(c.keepAlive)
	}
	_ = c.nc.SetReadDeadline(deadline) // if it fails, so does the read
	if c.ended.Load() != nil {
		c.wake() // somebody wanted to be heard in between
	}
}

// refuse ends the connection because of a packet that can not be accepted.
func (c *conn) refuse(err error) {
	var e *packet.Error
	if !errors.As(err, &e) {
		c.fail(packet.UnspecifiedError, err.Error(), nil)
		return
	}
	c.b.counters.protocolErrors.Add(1)
	if c.session != nil {
		c.fail(e.Code, e.Reason, nil) // [MQTT-4.13.1-1] [v3 MQTT-4.8.0-1]
		return
	}
	// CONNECT is refused, or what came is not MQTT at all.
	if e.Packet == packet.CONNECT && e.Version != 0 {
		c.version = e.Version
		c.refuseConnect(e.Code, e.Reason)
		return
	}
	c.b.counters.notMQTT.Add(1)
	c.endWith(&ending{reason: "not an MQTT client: " + e.Reason, bad: true})
}

// tooLarge reports whether the client does not take a packet of n bytes.
func (c *conn) tooLarge(n int) bool { return c.maxPacket > 0 && n > c.maxPacket }

// credit notes that an acknowledgement ends a message that the client had under
// way (4.9). Messages of an earlier connection were never counted.
func (c *conn) credit(kind packet.Type, code packet.ReasonCode) {
	if kind == packet.PUBACK || kind == packet.PUBCOMP || kind == packet.PUBREC && code.IsError() {
		if c.unacked.Add(-1) < 0 {
			c.unacked.Add(1)
		}
	}
}

// fail ends the connection and tells an MQTT 5 client why. It may be called from
// any goroutine, with locks of broker and session held or not.
func (c *conn) fail(code packet.ReasonCode, reason string, err error) {
	c.endWith(&ending{code: code, reason: reason, err: err})
}

// endWith notes why the connection ends; only the first reason counts.
func (c *conn) endWith(e *ending) {
	if c.ended.CompareAndSwap(nil, e) {
		c.wake()
	}
}

// wake makes the reading goroutine look up.
func (c *conn) wake() {
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // if it fails, the connection is closed and reading ends
}

// close ends the connection: the session first, then what is still to be sent,
// then the socket.
func (c *conn) close() {
	c.ended.CompareAndSwap(nil, &ending{reason: "the connection broke"})
	e := c.ended.Load()
	var last packet.Packet
	if c.session != nil {
		c.b.endConnection(c, e)
		if c.version == packet.V5 && e.code.IsError() {
			last = c.farewell(e)
		}
	}
	c.finishWriting(closeGrace, e, last)
	if e.code.IsError() || e.bad || c.web != nil {
		c.linger()
	}
	c.nc.Close() // everything is sent, or will never be
	if c.in != nil {
		c.b.chunks.put(c.in)
		c.in = nil
	}
	c.b.connectionClosed(c, e)
}

// farewell is the DISCONNECT that says why.
func (c *conn) farewell(e *ending) packet.Packet {
	d := &packet.Disconnect{Code: e.code}
	if !c.noProblemInfo {
		d.ReasonString = e.reason
	}
	if c.tooLarge(d.Size(c.version)) {
		d.ReasonString = "" // [MQTT-3.14.2-3]
	}
	return d
}

// linger reads on for a moment: a socket that is closed with bytes unread resets
// the connection, and the client would not see what it was told.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.nc.SetReadDeadline(time.Now().Add(lingerGrace)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 1<<20))
	}
}

func (c *conn) address() string {
	if a := c.nc.RemoteAddr(); a != nil && a.String() != "" {
		return a.String()
	}
	return c.nc.LocalAddr().Network()
}
