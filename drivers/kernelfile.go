package drivers

import (
	"bytes"
	"io/fs"
	"syscall"
)

// ReadKernelFile reads a file of /proc or /sys whole, without the blanks around its
// text. For an attribute that measures, it returns when the kernel's driver has
// measured; nothing ends it earlier. Its errors are *fs.PathError. It is safe for
// concurrent use.
//
// os.ReadFile would hand the file to the runtime's poller. To that, EAGAIN from a
// driver (dht11 and some hwmon chips give it) means to wait until the file becomes
// readable, and nobody ever says that it has.
func ReadKernelFile(path string) (string, error) {
	fd, err := again(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd) // nothing was written that could be lost
	var text []byte
	for page := make([]byte, 4096); ; {
		n, err := again(func() (int, error) { return syscall.Read(fd, page) })
		if err != nil {
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return string(bytes.TrimSpace(text)), nil
		}
		text = append(text, page[:n]...)
	}
}

// again repeats a system call that a signal has interrupted.
func again(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != syscall.EINTR {
			return n, err
		}
	}
}
