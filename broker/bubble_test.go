package broker_test

import (
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// A broker, its store on disk, and its clients inside of synctest: time is virtual
// there and goes on only when all of them wait for it, so every moment is exact,
// and hours cost nothing. Connections are pipes, which synctest can see through;
// sockets it can not.

// timed runs fn in a bubble with a broker.
func timed(t *testing.T, cfg broker.Config, fn func(t *testing.T, h *house)) {
	t.Helper()
	inBubble(t, func(t *testing.T, dir string) { fn(t, openTimed(t, dir, cfg)) })
}

// inBubble runs fn in a bubble with a directory for openTimed.
func inBubble(t *testing.T, fn func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { fn(t, dir) })
}

// openTimed starts a broker on the store in dir. It is called inside of a bubble.
func openTimed(t *testing.T, dir string, cfg broker.Config) *house {
	t.Helper()
	ln := newPipes()
	h := openOn(t, dir, cfg, storeConfig(), ln)
	h.pipes = ln
	synctest.Wait() // what is done at the start is done
	return h
}

// dial connects a script to the broker.
func (h *house) dial(t testing.TB, v packet.Version) *brokertest.Client {
	t.Helper()
	if h.pipes == nil {
		return brokertest.Dial(t, h.addr, v)
	}
	return brokertest.Over(t, h.pipes.dial(t), v).WaitFor(100 * time.Hour)
}

// join connects a client, and returns what its CONNACK said.
func (h *house) join(t testing.TB, v packet.Version, p *packet.Connect) (*brokertest.Client, *packet.Connack) {
	t.Helper()
	c := h.dial(t, v)
	return c, c.Connect(p)
}

// powerCut stops a broker, and returns a directory with what was on the disk of its
// store, in dir, before it could.
func (h *house) powerCut(dir string) string {
	h.t.Helper()
	synctest.Wait()
	cut := dir + "-cut"
	if err := os.CopyFS(cut, os.DirFS(dir)); err != nil {
		h.t.Fatal(err)
	}
	h.stop()
	return cut
}

// sleepUntil waits until so much time has passed since start.
func sleepUntil(start time.Time, passed time.Duration) {
	time.Sleep(time.Until(start.Add(passed)))
}

// passed fails the test unless it is now that much after start. Only commits of the
// store take time: a few milliseconds each.
func passed(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got < want || got > want+20*time.Millisecond {
		t.Errorf("it came after %v, want %v", got, want)
	}
}

// pipes is a listener without a socket.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-p.conns:
		return nc, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is on loopback, where nobody is asked for a name.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1883} }

// dial returns the client's end of a new connection, which is closed at the end of
// the test.
func (p *pipes) dial(t testing.TB) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	select {
	case p.conns <- far:
	case <-p.closed:
		t.Fatal("dial: the listener is closed")
	}
	t.Cleanup(func() { near.Close() })
	return near
}

var versions = []packet.Version{packet.V31, packet.V311, packet.V5}
