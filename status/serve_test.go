package status_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"edgegateway/internal/need"
	"edgegateway/status"
)

func TestServeEndsWithItsContextAlsoWhileAClientIsSlow(t *testing.T) {
	ln, err := status.Listen(status.Config{Address: need.Port(t)})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, busy())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()

	res, err := http.Get("http://" + ln.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(body), "<main") {
		t.Errorf("page: %v, %.60q", err, body)
	}
	slow, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("GET / HTTP/1.1\r\nHost: loc")); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the address is still open")
	}
}

func TestPortInUseIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := status.Listen(status.Config{Address: ln.Addr().String()}); err == nil {
		t.Error("the address was opened twice")
	}
}

// More connections than are answered at a time wait; they are not lost.
func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	ln, err := status.Listen(status.Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, quiet())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	var idle []net.Conn
	for range 64 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	answered := make(chan error, 1)
	go func() {
		res, err := http.Get("http://" + ln.Addr().String() + "/healthz")
		if err == nil {
			res.Body.Close()
		}
		answered <- err
	}()
	idle[0].Close() // makes room for one
	if err := <-answered; err != nil {
		t.Error(err)
	}
	for _, c := range idle[1:] {
		c.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
