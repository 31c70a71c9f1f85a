package need_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"edgegateway/internal/need"
)

func TestAPortIsKeptForWhoIsToldItsNumber(t *testing.T) {
	addr := need.Port(t)
	for range 3 {
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nobody listens: %v, %v; want that it is refused", c, err)
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("who knows the number: %v", err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		served, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		served.Close() // first: what is left of the connection is at the port
		c.Close()
		ln.Close()
		if err := bound(t, addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("who does not share: %v, want that the port is in use", err)
		}
	}
}

// bound binds a socket as the system does for those who ask for any port.
func bound(t *testing.T, addr string) error {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: a.Port})
}
