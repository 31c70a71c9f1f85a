package drivers_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// Where udev has given a device to nobody, no group helps.
func TestWhatIsRootsAloneWantsARule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "port")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := "open " + file + ": permission denied; root alone may use it: give it to the group dialout by a udev rule, as in systemd/gateway.rules, and add the gateway's user to that group"
	if err := drivers.Explain(syscall.EACCES, file, "dialout", ""); err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := drivers.Explain(syscall.EPERM, "/dev/null", "dialout", ""); !strings.Contains(err.Error(), "open /dev/null: the systemd unit does not allow devices of this driver; a line DeviceAllow= does") {
		t.Errorf("the control group: %q", err)
	}
	if err := drivers.Explain(syscall.EACCES, file, "", ""); strings.Contains(err.Error(), "udev") {
		t.Errorf("a rule for no group: %q", err)
	}
}
