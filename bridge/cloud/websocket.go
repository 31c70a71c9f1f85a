package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// upgrade makes a WebSocket of a connection. The library asks and reads frames;
// the connection is ours from before to after it.
func upgrade(ctx context.Context, conn net.Conn, s server) (net.Conn, error) {
	c := &corked{Conn: conn}
	give := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	frames, answer, err := websocket.Dial(ctx, s.upgrade.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport: &http.Transport{DialContext: give, DialTLSContext: give},
			// Where it leads, and whether it is as safe there, is for the configuration.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Subprotocols: []string{"mqtt"}, // [MQTT-6.0.0-3]
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, explainDial(s.url, s.address, ctx.Err())
	case answer == nil:
		return nil, fmt.Errorf("WebSocket at %s: %w (is it a port for WebSocket?)", s.url, err)
	case answer.StatusCode/100 == 3:
		return nil, fmt.Errorf("WebSocket at %s: the server sends us to %q (%s): put that into servers", s.url, answer.Header.Get("Location"), answer.Status)
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("WebSocket at %s: the server answers %s (is the path right? often it is /mqtt)", s.url, answer.Status)
	default:
		return nil, fmt.Errorf("WebSocket at %s: %w", s.url, err)
	}
	if got := frames.Subprotocol(); got != "mqtt" { // [MQTT-6.0.0-4]
		_ = frames.CloseNow()
		return nil, fmt.Errorf("WebSocket at %s: the server does not say that it speaks MQTT there (subprotocol %q)", s.url, got)
	}
	frames.SetReadLimit(-1) // the wire refuses what is too large by its header
	return &webConn{corked: c, frames: frames}, nil
}

// webConn carries bytes in binary frames. Packets may begin and end anywhere in
// them [MQTT-6.0.0-2]. Deadlines are those of the connection below.
type webConn struct {
	*corked
	frames  *websocket.Conn
	message io.Reader // that is being read; nil between two
}

// Read is for one goroutine.
func (c *webConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.frames.Reader(context.Background()) // a context would close the connection
			if err != nil {
				return 0, c.ended(err)
			}
			if kind != websocket.MessageBinary { // [MQTT-6.0.0-1]
				return 0, errors.New("the server sent a text frame, and MQTT travels in binary frames")
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if err == io.EOF { // of the message
			c.message, err = nil, nil
		}
		if err != nil {
			err = c.ended(err)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// ended says why there is nothing more to read.
func (c *webConn) ended(err error) error {
	var bye websocket.CloseError
	switch {
	case errors.As(err, &bye) && bye.Code != websocket.StatusNormalClosure && bye.Code != websocket.StatusGoingAway:
		return fmt.Errorf("the server closed the WebSocket: %v %q", bye.Code, bye.Reason)
	case errors.As(err, &bye), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	}
	return err
}

// Write sends one message, in one write of the connection below.
func (c *webConn) Write(p []byte) (int, error) {
	c.cork()
	err := c.frames.Write(context.Background(), websocket.MessageBinary, p)
	if err := errors.Join(err, c.release()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close does not wait for the server, which may be gone.
func (c *webConn) Close() error {
	err := c.Conn.Close()
	_ = c.frames.CloseNow() // its connection is closed
	return err
}

// corked collects what is written between cork and release: the library writes a
// frame in pieces of 4 KiB, and each of them would be a TLS record.
type corked struct {
	net.Conn

	mu   sync.Mutex // guards what follows; held during the write itself
	held bool
	out  []byte
}

func (c *corked) cork() {
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
}

func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		return c.Conn.Write(p)
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *corked) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	_, err := c.Conn.Write(c.out)
	if cap(c.out) > 128<<10 {
		c.out = nil // one large packet does not keep its memory
	}
	c.out = c.out[:0]
	return err
}
