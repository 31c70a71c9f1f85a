package cloud

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// promptConn has every segment acknowledged at once. A server without TCP_NODELAY,
// as Mosquitto is by default, holds back its second small packet until the first
// one is acknowledged, and we may have nothing to send that could carry that
// along: with QoS 2 each window would cost the 40 ms of a delayed acknowledgement
// (tcp(7), TCP_QUICKACK).
type promptConn struct {
	net.Conn
	raw syscall.RawConn
	set func(fd uintptr)
}

func prompt(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	return &promptConn{Conn: c, raw: raw, set: func(fd uintptr) {
		// A hint: what is not a TCP socket does not take it, and does not need it.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}}
}

func (c *promptConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil {
		_ = c.raw.Control(c.set) // the kernel forgets it after a while
	}
	return n, err
}
