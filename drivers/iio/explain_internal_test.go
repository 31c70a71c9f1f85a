package iio

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"edgegateway/drivers"
)

// What drivers of the kernel answer and a plain file does not.
func TestErrorsOfTheKernelSayWhatToDo(t *testing.T) {
	d := &device{name: "iio device dht11@4", dir: t.TempDir()}
	for _, c := range []struct {
		err  syscall.Errno
		want string
		gone bool
	}{
		{syscall.ETIMEDOUT, "in_temp_input gave nothing; if that stays so, check its wiring", false},
		{syscall.EREMOTEIO, "in_temp_input gave nothing; if that stays so, check its wiring", false},
		{syscall.EAGAIN, "in_temp_input gave nothing", false},
		{syscall.EBUSY, "another program reads its buffer", false},
		{syscall.EACCES, "permission denied; allow it to the user", false},
		{syscall.EINVAL, "invalid argument", false},
		{syscall.ENODEV, "the device is gone", true},
	} {
		err := d.explain(&fs.PathError{Op: "read", Path: d.dir + "/in_temp_input", Err: c.err})
		if !strings.Contains(err.Error(), c.want) || errors.Is(err, drivers.ErrGone) != c.gone || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
