package cloud_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// A gateway with its bridge inside of synctest: time is virtual there, and goes on
// only when everybody waits. A commit comes a second after it was asked for, so what
// leaves before was not on disk; and a copy of the files is what a kill would leave.
// The links are pipes, which synctest can see through; sockets it can not.

// bubble runs fn in a bubble, with a gateway that dials servers by their names.
func bubble(t *testing.T, cfg cloud.Config, tune func(*cloud.Bridge), fn func(t *testing.T, r *rig, servers servers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := servers{}
		cfg.Dial = s.dial
		for _, name := range cfg.Servers {
			s[name[len("mqtt://"):]] = &pipeServer{t: t, conns: make(chan net.Conn)}
			s[name[len("mqtt://"):]].up.Store(true)
		}
		fn(t, newRigSync(t, cfg, func(b *cloud.Bridge) {
			b.SetReport(time.Hour)
			if tune != nil {
				tune(b)
			}
		}, time.Second), s)
	})
}

// servers are what there is to be dialled, by host and port.
type servers map[string]*pipeServer

func (s servers) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p := s[address]
	if p == nil || !p.up.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipeServer is a server that does what the test says.
type pipeServer struct {
	t     *testing.T
	conns chan net.Conn
	up    atomic.Bool
}

// spool reads ahead without bound: a bridge that waits for its server to read holds
// a mutex, and synctest can not let time go on behind that.
type spool struct {
	net.Conn
	in       chan []byte // closed at the end
	rest     []byte
	deadline time.Time
}

func newSpool(c net.Conn) *spool {
	s := &spool{Conn: c, in: make(chan []byte, 10_000)}
	go func() {
		defer close(s.in)
		for {
			b := make([]byte, 16<<10)
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.in <- b[:n]
		}
	}()
	return s
}

func (s *spool) SetReadDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *spool) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case more, ok := <-s.in:
			if !ok {
				return 0, io.EOF
			}
			s.rest = more
		case <-time.After(time.Until(s.deadline)):
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// accept waits for a connection and takes its CONNECT.
func (s *pipeServer) accept() (*peer, *packet.Connect) {
	s.t.Helper()
	select {
	case c := <-s.conns:
		s.t.Cleanup(func() { c.Close() })
		p := &peer{t: s.t, conn: newSpool(c)}
		return p, expect[*packet.Connect](p)
	case <-time.After(time.Hour):
		s.t.Fatal("no connection within an hour")
		return nil, nil
	}
}

// welcome is accept and a CONNACK. It acknowledges the status as well.
func (s *pipeServer) welcome(present bool, more ...func(*packet.Connack)) *peer {
	s.t.Helper()
	p, _ := s.accept()
	p.connack(present, more...)
	p.status("online")
	return p
}

// settle lets everything happen that is to happen by itself, so that nothing waits
// for the disk any more.
func settle() {
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

// settle is the same for one who answers subscriptions meanwhile.
func (p *peer) settle() {
	p.t.Helper()
	if pk, err := p.read(10 * time.Second); err == nil {
		p.t.Fatalf("got %T %+v, want nothing", pk, pk)
	}
}

// crash kills the gateway: what follows is a new one on what is on disk now.
func (r *rig) crash() {
	r.t.Helper()
	to := r.copied()
	r.close()
	r.dir = to
	r.open()
}

// copied returns a directory with what is on disk now.
func (r *rig) copied() string {
	r.t.Helper()
	synctest.Wait()
	to := r.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(r.dir)); err != nil {
		r.t.Fatal(err)
	}
	return to
}
