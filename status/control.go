package status

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ControlPath is where the control socket of a gateway lies: below the runtime directory that systemd made
// for it, else in its data directory.
func ControlPath(getenv func(string) string, dataDir string) string {
	if dir := getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.Join(filepath.SplitList(dir)[0], "control.sock")
	}
	return filepath.Join(dataDir, "control.sock")
}

// ErrInUse means that a living process answers at the control socket.
var ErrInUse = errors.New("another process answers there")

// ListenControl opens the control socket with mode 0660. The file of a dead process is replaced; a living
// one is left alone and the error is ErrInUse. Closing the listener removes the file.
func ListenControl(path string) (net.Listener, error) {
	// Two gateways that start at once could both find the same dead file, and the second would remove the
	// living socket of the first: from the look to the bind only one of them may act.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("open control socket: lock %s: %w", dir.Name(), err)
	}
	if err := clearDead(path); err != nil {
		return nil, fmt.Errorf("open control socket %s: %w", path, err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, syscall.EINVAL) && len(path) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, fmt.Errorf("open control socket: its path has %d bytes and the kernel takes %d: set a shorter data_dir or RUNTIME_DIRECTORY", len(path), len(unix.RawSockaddrUnix{}.Path)-1)
	}
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	return ln, nil
}

// clearDead removes a socket file that nobody listens at. Anything else that lies there is not ours to remove.
func clearDead(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket lies there: move it away")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		// A full backlog (EAGAIN) or a refused permission is a sign of life.
		return fmt.Errorf("%w (%v)", ErrInUse, err)
	}
	return os.Remove(path)
}
