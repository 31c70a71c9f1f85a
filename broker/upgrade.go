package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// We chose these.
const (
	maxRequest  = 16 << 10 // bytes of an upgrade request: cookies of other services on the host come along
	webBuffer   = 2 << 10  // that frames are read through
	controlRoom = 256      // for the largest control frame, of 129 bytes
)

// subprotocols are what a client may ask for, the preferred one first
// [MQTT-6.0.0-4] [v3 MQTT-6.0.0-4]. Clients of MQTT 3.1 know the old name.
var subprotocols = []string{"mqtt", "mqttv3.1"}

// upgrade makes a WebSocket of the connection, within the time that it has for
// CONNECT. If that can not be, it ends the connection with an answer that a person
// understands. There is no HTTP server behind it: one request, read by the
// goroutine of the connection, is all that ever comes.
func (c *conn) upgrade() {
	u := &upgrade{c: c, left: io.LimitedReader{R: c.nc, N: maxRequest}, header: make(http.Header)}
	u.in = bufio.NewReaderSize(&u.left, webBuffer)
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.door.connectTimeout)) // if it fails, so does the write
	err := u.accept()
	var refused *httpError
	switch {
	case err == nil:
		_ = c.nc.SetWriteDeadline(time.Time{})
	case errors.As(err, &refused):
		c.b.counters.refused.Add(1)
		u.refuse(refused)
		c.endWith(&ending{reason: "WebSocket refused: " + refused.text, bad: true})
	case c.ended.Load() == nil:
		c.readEnded(err)
	}
}

// httpError is why there will be no WebSocket, for the client to read.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return e.text }

// upgrade is the answer to one request, in the shape in which the library wants to
// give it.
type upgrade struct {
	c      *conn
	left   io.LimitedReader // of what a request may be
	in     *bufio.Reader    // over left, later over the wire
	header http.Header
	status int
	body   bytes.Buffer
	wire   *wire
}

func (u *upgrade) accept() error {
	r, err := u.request()
	if err != nil {
		return err
	}
	if err := u.c.door.web.admit(r); err != nil {
		return err
	}
	frames, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols:       subprotocols,
		InsecureSkipVerify: true, // admit has judged the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	switch {
	case err == nil:
		frames.SetReadLimit(-1) // see fillWeb
		u.c.web = &webSocket{frames: frames, wire: u.wire}
		return nil
	case u.status >= http.StatusBadRequest:
		return &httpError{u.status, strings.TrimSpace(u.body.String())}
	}
	return err
}

// request reads the request.
func (u *upgrade) request() (*http.Request, error) {
	first, err := u.in.Peek(1)
	if err != nil {
		return nil, err
	}
	if first[0] < 'A' || first[0] > 'Z' { // every method begins so; a CONNECT of MQTT has no line end to wait for
		u.c.b.counters.notMQTT.Add(1)
		u.c.endWith(&ending{reason: "not HTTP: this listener is for MQTT over WebSocket; plain MQTT needs one of tcp or tls", bad: true})
		return nil, net.ErrClosed
	}
	r, err := http.ReadRequest(u.in)
	switch {
	case err == nil:
		return r, nil
	case u.left.N <= 0:
		return nil, &httpError{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("The request is larger than %d bytes.", maxRequest)}
	case broken(err):
		return nil, err
	}
	return nil, &httpError{http.StatusBadRequest, "This is not an HTTP request: " + err.Error()}
}

func (u *upgrade) Header() http.Header         { return u.header }
func (u *upgrade) WriteHeader(status int)      { u.status = status }
func (u *upgrade) Write(b []byte) (int, error) { return u.body.Write(b) }

// Hijack sends the answer that the library has prepared, and hands it the wire.
// What was read ahead stays in the buffer: the library puts the wire below it.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := u.send(nil, false); err != nil {
		return nil, nil, err
	}
	u.wire = &wire{Conn: u.c.nc, c: u.c, in: u.in}
	return u.wire, bufio.NewReadWriter(u.in, bufio.NewWriterSize(u.wire, controlRoom)), nil
}

// refuse sends an answer after which nothing follows.
func (u *upgrade) refuse(e *httpError) {
	u.status = e.status
	u.header.Set("Content-Type", "text/plain; charset=utf-8")
	if e.status == http.StatusUpgradeRequired {
		u.header.Set("Upgrade", "websocket") // RFC 9110, 15.5.22
	}
	_ = u.send([]byte(e.text+"\n"), true) // it was a courtesy
}

func (u *upgrade) send(body []byte, last bool) error {
	var b bytes.Buffer
	answer := http.Response{
		StatusCode: u.status, ProtoMajor: 1, ProtoMinor: 1, Header: u.header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Close: last,
	}
	if err := answer.Write(&b); err != nil {
		return err
	}
	_, err := u.c.nc.Write(b.Bytes())
	return err
}
