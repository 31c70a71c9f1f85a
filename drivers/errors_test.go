package drivers_test

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"edgegateway/drivers"
)

func TestExplainSaysWhatToDo(t *testing.T) {
	path := func(errno syscall.Errno) error { return &fs.PathError{Op: "open", Path: "/dev/x", Err: errno} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{path(syscall.EACCES), "open /dev/x: permission denied; add the gateway's user to the group dialout and start it again"},
		{path(syscall.EPERM), "open /dev/x: permission denied; add the gateway's user to the group dialout and start it again"},
		{path(syscall.ENOENT), "/dev/x is not there; plug it in"},
		{syscall.ENXIO, "no answer from /dev/x; check its address, wiring and power"},
		{syscall.EREMOTEIO, "no answer from /dev/x; check its address, wiring and power"},
		{os.ErrClosed, "/dev/x: the device is gone: file already closed"},
		{syscall.EBUSY, "/dev/x: device or resource busy"},
	} {
		err := drivers.Explain(c.err, "/dev/x", "dialout", "plug it in")
		if err.Error() != c.want {
			t.Errorf("Explain(%v) = %q, want %q", c.err, err, c.want)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("Explain(%v) does not wrap it", c.err)
		}
	}
	if drivers.Explain(nil, "", "", "") != nil {
		t.Error("no error was explained")
	}
	if !errors.Is(drivers.Explain(syscall.ENODEV, "", "", ""), drivers.ErrGone) {
		t.Error("ENODEV is not gone")
	}
}
