// Package serial reads devices that talk over a serial port, and opens the ports of
// this machine.
package serial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	tarm "github.com/tarm/serial"
	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// Open opens a serial port of this machine for the caller alone: programs that ask
// for a lock with flock(2) are kept out, and, unless they are root, all others too
// (TIOCEXCL, ioctl_tty(2)). It takes the lines DTR and RTS up, as the kernel does at
// every open; boards that reset with DTR start anew.
func Open(c drivers.SerialConfig) (drivers.SerialPort, error) {
	if !slices.Contains(bauds(), c.Baud) {
		return nil, fmt.Errorf("open %s: %d baud is not a rate that this system knows", c.Path, c.Baud)
	}
	hold, err := claim(c.Path)
	if err != nil {
		return nil, err
	}
	tty, err := tarm.OpenPort(&tarm.Config{
		Name: c.Path, Baud: c.Baud, Size: byte(c.DataBits), Parity: parity(c.Parity), StopBits: tarm.StopBits(c.StopBits),
		// Never zero: without a timeout Close would wait for ever for a pending Read.
		ReadTimeout: drivers.SerialPatience,
	})
	if err != nil {
		hold.Close()
		return nil, explain(err, c.Path)
	}
	if c.Parity == "odd" || c.Parity == "even" {
		if err := checkParity(int(hold.Fd())); err != nil {
			tty.Close()
			hold.Close()
			return nil, fmt.Errorf("have the parity checked on %s: %w", c.Path, err)
		}
	}
	// Not before the port is open: this would keep out ourselves.
	if err := unix.IoctlSetInt(int(hold.Fd()), unix.TIOCEXCL, 0); err != nil {
		tty.Close()
		hold.Close()
		return nil, fmt.Errorf("keep %s for the gateway alone: %w", c.Path, err)
	}
	p := &port{path: c.Path, tty: tty, hold: hold}
	if c.RS485.On {
		before, err := turnRound(hold, c.RS485)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.before = &before
	}
	return p, nil
}

// checkParity makes a byte with wrong parity a zero, which no line of text and no checksum
// lets pass; as the library leaves the port, such a byte is a good one. See INPCK and
// IGNPAR in termios(3).
func checkParity(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag = t.Iflag&^unix.IGNPAR | unix.INPCK
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// claim opens a second way to the port, which holds the lock and can be polled: the
// library keeps its own file to itself.
func claim(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, explain(err, path)
	}
	hold := os.NewFile(uintptr(fd), path)
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		hold.Close()
		return nil, fmt.Errorf("open %s: this is not a serial port: %w", path, err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		hold.Close()
		return nil, explain(syscall.EBUSY, path)
	}
	return hold, nil
}

// explain makes an error that says what to do.
func explain(err error, path string) error {
	if errors.Is(err, syscall.EBUSY) {
		switch pid := lockedBy(path); pid {
		case 0:
			return fmt.Errorf("open %s: another program uses it; `fuser -v %s` tells which: %w", path, path, err)
		case os.Getpid():
			return fmt.Errorf("open %s: another device of this gateway uses this port; give each device its own, or the same path to Modbus units that share one: %w", path, err)
		default:
			return fmt.Errorf("open %s: another program uses it, %s (process %d): %w", path, programOf(pid), pid, err)
		}
	}
	check, found := "check the cable; this machine has no serial adapter plugged in", plugged()
	if onBoard(path) {
		check = "it is a port on the board: on a Raspberry Pi put enable_uart=1 into /boot/firmware/config.txt and restart the machine"
	} else if len(found) > 0 {
		check = "check the cable; there is " + strings.Join(found, ", ")
	}
	return drivers.Explain(err, path, "dialout", check)
}

// onBoard reports whether a port has a name that no adapter gets.
func onBoard(path string) bool {
	name := strings.TrimRight(filepath.Base(path), "0123456789")
	return filepath.Dir(path) == "/dev" && (name == "serial" || name == "ttyAMA" || name == "ttyS")
}

// programOf is the name of a process.
func programOf(pid int) string {
	if name := read(fmt.Sprintf("/proc/%d", pid), "comm"); name != "" {
		return name
	}
	return "which has ended meanwhile"
}

// lockedBy returns the process that has locked a port, under whatever name; 0 if that
// is not known. See proc_locks(5).
func lockedBy(path string) (pid int) {
	var st unix.Stat_t
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &st) != nil {
		return 0
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 4711 00:17:5 0 EOF
		if f := strings.Fields(line); len(f) >= 6 && f[1] == "FLOCK" && f[5] == inode {
			pid, _ = strconv.Atoi(f[4])
		}
	}
	return pid
}

// plugged lists the ports that a path could have meant.
func plugged() (found []string) {
	for _, pattern := range []string{"/dev/serial/by-id/*", "/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyAMA*"} {
		paths, _ := filepath.Glob(pattern) // the pattern is ours and well formed
		found = append(found, paths...)
		if len(found) > 0 {
			break
		}
	}
	return found[:min(len(found), 8)]
}

func parity(name string) tarm.Parity {
	switch name {
	case "odd":
		return tarm.ParityOdd
	case "even":
		return tarm.ParityEven
	}
	return tarm.ParityNone
}

// bauds are the rates that termios(3) has names for.
func bauds() []int {
	return []int{50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600,
		115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000}
}

// A port is an open port of this machine.
type port struct {
	path  string
	tty   *tarm.Port
	hold  *os.File
	early int // reads in a row that brought nothing and took no time

	before *rs485 // how the line was turned round before; nil if that was not changed
}

const (
	// A read that brings nothing sooner than this did not wait.
	notWaited = drivers.SerialPatience / 3
	// So many of them in a row are no accident.
	mostEarly = 20
)

// Read tells a timeout from a port that is gone. Both are an end of file for the
// library; a port that is gone has hung up, and does not wait.
func (p *port) Read(b []byte) (int, error) {
	began := time.Now()
	n, err := p.tty.Read(b)
	if n > 0 {
		p.early = 0
		return n, nil
	}
	if err != nil && err != io.EOF {
		return 0, p.gone(err)
	}
	if time.Since(began) < notWaited {
		p.early++
	} else {
		p.early = 0
	}
	if p.early == mostEarly || p.hungUp() {
		return 0, p.gone(syscall.ENODEV)
	}
	return 0, os.ErrDeadlineExceeded
}

// DiscardInput forgets what has come and was not read.
func (p *port) DiscardInput() error {
	if err := unix.IoctlSetInt(int(p.hold.Fd()), unix.TCFLSH, unix.TCIFLUSH); err != nil {
		return p.gone(err)
	}
	return nil
}

func (p *port) hungUp() bool {
	fds := []unix.PollFd{{Fd: int32(p.hold.Fd())}} // errors and hang-ups are always told
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}

func (p *port) Write(b []byte) (int, error) {
	n, err := p.tty.Write(b)
	if err != nil {
		err = p.gone(err)
	}
	return n, err
}

// gone says that the port cannot be used any more.
func (p *port) gone(err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err // it names the path again
	}
	return fmt.Errorf("%s was unplugged: %w: %w", p.path, drivers.ErrGone, err)
}

func (p *port) Close() error {
	fd := int(p.hold.Fd())
	// The kernel would wait up to 30 s for bytes that a device with flow control
	// does not take. Errors here mean that the port is gone, which is as good.
	unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
	unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	if p.before != nil {
		rs485ioctl(p.hold, unix.TIOCSRS485, p.before)
	}
	return errors.Join(p.tty.Close(), p.hold.Close())
}
