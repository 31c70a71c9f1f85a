package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// oneConn is a listener with one connection to accept.
type oneConn struct {
	conns chan net.Conn
	ended chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error   { close(l.ended); return nil }
func (l oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }

// The limits of the server that answers the control socket are for short questions.
func TestAnAnswerMayTakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		s := &http.Server{ReadTimeout: limit, WriteTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			takeTime(w)
			select {
			case <-r.Context().Done():
				t.Errorf("the question was ended: %v", r.Context().Err())
			case <-time.After(4 * limit):
			}
			io.WriteString(w, "late")
		})}
		near, far := net.Pipe()
		ln := oneConn{make(chan net.Conn, 1), make(chan struct{})}
		ln.conns <- far
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		way := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
		defer func() {
			way.CloseIdleConnections()
			s.Close()
			<-served
		}()
		res, err := (&http.Client{Transport: way}).Post("http://gateway/", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != "late" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		res.Body.Close()
	})
}
