package cloud

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/broker/packet"
)

// wire is the connection under the client library. It makes one write of what
// was written between Lock and Unlock (the library writes a packet in up to four
// pieces, which would be four TLS records), reads ahead, and looks at the header
// of each packet that comes in, because the library believes every length.
//
// Writers hold the lock from Lock to Unlock, which is where the bytes leave. The
// library does so for each packet, as wire is a sync.Locker.
type wire struct {
	net.Conn
	in    *bufio.Reader
	frame frame
	acks  []packet.Ack
	lost  atomic.Pointer[error] // the first error of the reader

	onAcks func([]packet.Ack) // takes acknowledgements, valid until it returns; nil: the library does

	mu  sync.Mutex // guards what follows; held during the write itself
	out []byte
	err error // of the first write that failed; final
}

var errWriteTimeout = errors.New("the server did not take any bytes for too long")

// writeTimeout bounds one write: a peer that reads nothing for so long is gone,
// or might as well be.
const writeTimeout = 60 * time.Second

// lastWords is how long the reader goes on after a write that failed.
const lastWords = time.Second

func newWire(c net.Conn, maxPacket int) *wire {
	return &wire{Conn: c, in: bufio.NewReaderSize(c, 16<<10), frame: frame{max: maxPacket}, acks: make([]packet.Ack, 0, 256)}
}

func (w *wire) Lock() { w.mu.Lock() }

// Unlock sends what was written since Lock. After an error the reader ends soon.
func (w *wire) Unlock() {
	defer w.mu.Unlock()
	if len(w.out) == 0 || w.err != nil {
		w.out = w.out[:0]
		return
	}
	_ = w.SetWriteDeadline(time.Now().Add(writeTimeout)) // an error here is one of the write as well
	_, w.err = w.Conn.Write(w.out)
	if cap(w.out) > 128<<10 {
		w.out = nil // one large packet does not keep its memory
	}
	w.out = w.out[:0]
	if w.err != nil {
		var timeout net.Error
		if errors.As(w.err, &timeout) && timeout.Timeout() {
			w.err = errWriteTimeout
		}
		// The server may have said why before it ended the connection: the reader has
		// a moment to find that, and then ends.
		_ = w.SetReadDeadline(time.Now().Add(lastWords))
	}
}

// Write is for the holder of the lock.
func (w *wire) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// send writes whole packets at once.
func (w *wire) send(packets []byte) error {
	w.Lock()
	_, _ = w.Write(packets) // fails with the error that is returned below
	w.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Read is for one goroutine. It never returns bytes of two packets at once, so
// that the frame can refuse a header before the library sees it.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.read(p)
	if err != nil {
		w.lost.CompareAndSwap(nil, &err)
	}
	return n, err
}

var errCut = errors.New("the connection was cut")

// cause is why the connection ended, nil if nothing went wrong with it.
func (w *wire) cause() error {
	w.mu.Lock()
	err := w.err
	w.mu.Unlock()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	lost := w.lost.Load()
	switch {
	case lost != nil && !errors.Is(*lost, net.ErrClosed):
		return *lost
	case lost != nil || err != nil:
		return errCut
	}
	return nil
}

func (w *wire) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.frame.body > 0 {
		n, err := w.in.Read(p[:min(len(p), w.frame.body)])
		w.frame.body -= n
		return n, err
	}
	if w.onAcks != nil && w.frame.later && w.frame.width == 0 {
		if err := w.takeAcks(); err != nil {
			return 0, err
		}
	}
	b, err := w.in.ReadByte()
	if err != nil {
		return 0, err
	}
	if err := w.frame.header(b); err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// frame follows the fixed headers of a stream of packets.
type frame struct {
	max    int  // largest packet in bytes, header included
	later  bool // the first packet has come
	first  byte // of the header
	width  int  // bytes of the header so far
	length int  // remaining length so far
	body   int  // bytes of the body that are still to come
}

var (
	errOldServer  = errors.New("the server answers CONNECT in MQTT 3.1.1, which this bridge does not speak")
	errLongVarint = errors.New("the server sent a remaining length of more than four bytes")
	errTooLarge   = errors.New("the server sent a packet larger than the maximum packet size that it was told")
)

// header takes one byte of a fixed header.
func (f *frame) header(b byte) error {
	f.width++
	if f.width == 1 {
		f.first = b // type and flags
		return nil
	}
	f.length |= int(b&0x7f) << (7 * (f.width - 2))
	if b&0x80 != 0 {
		if f.width == 5 { // 1.5.5: at most four bytes
			return errLongVarint
		}
		return nil
	}
	if !f.later && f.first>>4 == byte(packet.CONNACK) && f.length == 2 {
		// In MQTT 5 it has properties, if only their length: three bytes or more.
		return errOldServer
	}
	f.later = true
	if f.width+f.length > f.max { // [MQTT-3.1.2-24]
		return errTooLarge
	}
	f.body, f.width, f.length = f.length, 0, 0
	return nil
}
