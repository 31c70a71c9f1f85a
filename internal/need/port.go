package need

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what must come. It is long, because it is only
// ever waited for when a test fails: a machine with a slow disk and other work stands
// still for many seconds now and then.
const Patience = time.Minute

// Port returns host:port of 127.0.0.1, for a program that has to be told its port or is
// to find it again after a restart. Until the end of the test the system gives the port
// to nobody else; who is told the number can listen there, one at a time and as often
// as wanted. As long as nobody does, connections are refused.
func Port(t testing.TB) string {
	t.Helper()
	// A socket that is bound and does not listen. With SO_REUSEADDR on both, which all
	// servers set, another one may be bound beside it by number: socket(7).
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("take a port: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) }) // nothing was written to it
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatalf("take a port: %v", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatalf("take a port: %v", err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatalf("take a port: %v", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
}
