// Package ptytest gives tests a real serial line without hardware: a pair of
// pseudo-terminals, pty(7).
package ptytest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"edgegateway/internal/need"
)

// Open opens a pair. What the test writes to master arrives at the port with the
// path slavePath, and the other way round; closing master is pulling the plug.
// Both end with the test. A machine without pseudo-terminals skips the test.
func Open(t testing.TB) (master *os.File, slavePath string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	need.Met(t, err)
	// Not blocking, so that the runtime polls it and Close ends a pending Read.
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlock the pseudo-terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number of the pseudo-terminal: %v", err)
	}
	// A new pseudo-terminal echoes and edits lines, as for a person at a keyboard;
	// what is written before the port is opened would come back.
	raw, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatalf("settings of the pseudo-terminal: %v", err)
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, raw); err != nil {
		t.Fatalf("settings of the pseudo-terminal: %v", err)
	}
	slavePath = fmt.Sprintf("/dev/pts/%d", n)
	// A cable does not notice when the port is closed and opened again; the master would,
	// were there no other user.
	user, err := unix.Open(slavePath, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open the pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { unix.Close(user) })
	return master, slavePath
}
