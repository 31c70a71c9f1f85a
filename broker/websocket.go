package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/coder/websocket"
)

// webSocket is the WebSocket (RFC 6455) of a connection that came through a ws or
// wss listener. The library answers the upgrade and reads frames; what leaves is
// written by the outbox, as on any other connection, in one binary frame per
// write. The goroutine that reads owns it.
type webSocket struct {
	frames  *websocket.Conn
	wire    *wire
	message io.Reader // of the message that is being read; nil between two
	err     error     // to be returned by the next read
}

// wire is the network connection as the library sees it.
type wire struct {
	net.Conn
	c    *conn
	in   *bufio.Reader // over the wire itself
	shut atomic.Bool   // the library wants no more
	bye  []byte        // the close frame that the library wrote
}

// Read waits as long as the keep alive allows. The deadline of the connection is
// judged here, below the library, because a read that fails in the middle of a
// frame can not be taken up again.
func (w *wire) Read(p []byte) (int, error) {
	for {
		n, err := w.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || w.shut.Load() || !w.c.stillAlive() {
			return n, err
		}
	}
}

// Write takes the control frames that the library makes, each in one call, to the
// outbox: they must not land in the middle of a frame that is being written.
func (w *wire) Write(frame []byte) (int, error) {
	if frame[0]&0x0f == opClose {
		w.bye = append(w.bye[:0], frame...) // leaves last
	} else {
		w.c.addControl(frame)
		w.c.flush()
	}
	return len(frame), nil
}

// Close ends reading; the connection closes its socket itself.
func (w *wire) Close() error {
	w.shut.Store(true)
	w.c.wake()
	return nil
}

// Opcodes and close codes of RFC 6455, 5.2 and 7.4.1.
const (
	opBinary = 0x2
	opClose  = 0x8

	closeNormal      = 1000
	closeGoingAway   = 1001
	closeProtocol    = 1002
	closeUnsupported = 1003
	closePolicy      = 1008
)

// fillWeb reads what has arrived in frames, and waits if that is nothing. Packets
// may begin and end anywhere in frames [MQTT-6.0.0-2] [v3 MQTT-6.0.0-2], so frames
// have no limit of their own: the decoder refuses a packet that is too large by
// its header, and no more of a frame is ever held than a buffer's worth.
func (c *conn) fillWeb() error {
	w := c.web
	for got := 0; ; {
		if w.err != nil {
			return w.err
		}
		n, err := 0, error(nil)
		if w.message == nil {
			if got == 0 && c.in != nil {
				c.giveBack()
			}
			w.message, err = c.nextMessage()
		}
		if w.message != nil {
			c.makeRoom(smallChunk)
			n, err = w.message.Read(c.in.b[len(c.in.b):cap(c.in.b)])
			c.in.b = c.in.b[:len(c.in.b)+n]
			c.b.counters.bytesIn.Add(int64(n))
			got += n
		}
		switch {
		case err == io.EOF: // as a Reader says it: the end of the message
			w.message = nil
		case err != nil && got == 0:
			return c.webEnded(err)
		case err != nil:
			w.err = c.webEnded(err) // what came before counts
			return nil
		}
		if got > 0 && (len(c.in.b) == cap(c.in.b) || !w.wire.whole()) {
			return nil
		}
	}
}

// nextMessage waits for the next message, and answers pings meanwhile.
func (c *conn) nextMessage() (io.Reader, error) {
	// Waiting here takes half of the stack that it takes inside of the library.
	if _, err := c.web.wire.in.Peek(1); err != nil {
		return nil, fmt.Errorf("wait for a frame: %w", err) // never the io.EOF that ends a message
	}
	// No context: it would close the connection when it ends.
	kind, message, err := c.web.frames.Reader(context.Background())
	if err == nil && kind != websocket.MessageBinary { // [MQTT-6.0.0-1] [v3 MQTT-6.0.0-1]
		c.web.wire.bye = closeFrame(closeUnsupported)
		return nil, errors.New("a text frame came, and MQTT travels in binary frames")
	}
	return message, err
}

// webEnded says why there is nothing more to read.
func (c *conn) webEnded(err error) error {
	if websocket.CloseStatus(err) != -1 { // with whatever code: it is gone
		return io.EOF
	}
	if broken(err) || c.ended.Load() != nil {
		return err
	}
	if c.web.wire.bye == nil {
		c.web.wire.bye = closeFrame(closeProtocol)
	}
	c.b.counters.protocolErrors.Add(1)
	c.endWith(&ending{reason: "not as WebSocket demands", err: err, bad: true})
	return err
}

// broken reports whether err is of the network, and not about what came over it.
func broken(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// whole reports whether a small frame has arrived completely, at the end of
// another one: reading on does not wait then. Packets that were sent together are
// so handled together.
func (w *wire) whole() bool {
	const head = 2 + 4 // with the mask
	n := w.in.Buffered()
	if n < head {
		return false
	}
	b, _ := w.in.Peek(n)
	size := int(b[1] & 0x7f)
	return b[0]&0x0f <= opBinary && size < 126 && n >= head+size
}

// frameRoom is what a chunk keeps free at its beginning for the frame header.
const frameRoom = 10

// frame writes the header of a binary frame into the room at the beginning of b,
// and returns where the frame begins. A server does not mask (RFC 6455, 5.1).
func frame(b []byte) (from int) {
	const fin = 0x80
	switch n := len(b) - frameRoom; {
	case n < 126:
		from = frameRoom - 2
		b[from+1] = byte(n)
	case n <= 0xffff:
		from = frameRoom - 4
		b[from+1] = 126
		binary.BigEndian.PutUint16(b[from+2:], uint16(n))
	default:
		b[1] = 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
	}
	b[from] = fin | opBinary
	return from
}

func closeFrame(code uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0x80 | opClose, 2}, code)
}

// goodbye is the last frame to the client.
func (w *webSocket) goodbye(e *ending) []byte {
	switch {
	case w.wire.bye != nil:
		return w.wire.bye
	case e.stopping():
		return closeFrame(closeGoingAway)
	case e.bad || e.code.IsError():
		return closeFrame(closePolicy)
	}
	return closeFrame(closeNormal)
}
