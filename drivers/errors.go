package drivers

import (
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// ErrGone is wrapped by errors after which the opened device is of no more use:
// the adapter was pulled out, the file is closed. It is closed and opened again.
var ErrGone = errors.New("the device is gone")

// ErrStopped is the reason of Offline, and of the Result of a job that nobody
// started, when Run ends because its context has.
var ErrStopped = errors.New("the gateway is stopping")

// ErrExpired is the Result of a job whose deadline passed before its turn came.
var ErrExpired = errors.New("the command expired before its turn came")

// An OfflineError is the Result of a job for a device that cannot carry it out now.
type OfflineError struct{ Reason error }

func (e *OfflineError) Error() string { return "the device is offline: " + e.Reason.Error() }
func (e *OfflineError) Unwrap() error { return e.Reason }

// A RefusedError says that a command may not be carried out now, or at all: the device
// was not asked, and there is nothing wrong with it.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// A StuckError says that a driver's call has not returned although its time is up.
// It cannot be ended from outside; the device is not touched again before the call
// has returned.
type StuckError struct {
	Op    string // "open", "sample", "watch", "actuate", "close"
	After time.Duration
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("stuck: %s has not returned after %v; check the wiring, power-cycle the device", e.Op, e.After)
}

// A PanicError says that a driver panicked. It is an error in the driver.
type PanicError struct {
	Op    string
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("the driver panicked in %s: %v", e.Op, e.Value)
}

// An interruptedError is the Result of a job that was under way when Run's context ended.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string {
	return "unknown: the gateway stopped before the device had answered"
}
func (e *interruptedError) Unwrap() error { return e.err }

// A repeated error is the last of several in a row.
type repeated struct {
	times int
	err   error
}

func (e *repeated) Error() string { return fmt.Sprintf("%d times in a row: %v", e.times, e.err) }
func (e *repeated) Unwrap() error { return e.err }

// cause is an error without how often it came.
func cause(err error) error {
	if e, ok := err.(*repeated); ok {
		return e.err
	}
	return err
}

// A PermissionError says that the gateway's user may not use something, and which
// group may.
type PermissionError struct {
	Path  string
	Group string // "" if not known
	Rule  bool   // the group may not use it either, as long as no udev rule says so
	Unit  bool   // whoever asks: the control group of the process keeps it from the device
	Err   error
}

func (e *PermissionError) Error() string {
	if e.Group == "" {
		return fmt.Sprintf("open %s: permission denied; allow it to the user that the gateway runs as", e.Path)
	}
	if e.Unit {
		return fmt.Sprintf("open %s: the systemd unit does not allow devices of this driver; a line DeviceAllow= does, see docs/install.md", e.Path)
	}
	if e.Rule {
		return fmt.Sprintf("open %s: permission denied; root alone may use it: give it to the group %s by a udev rule, as in systemd/gateway.rules, and add the gateway's user to that group", e.Path, e.Group)
	}
	return fmt.Sprintf("open %s: permission denied; add the gateway's user to the group %s and start it again", e.Path, e.Group)
}
func (e *PermissionError) Unwrap() error { return e.Err }

// A MissingError says that something is not there, and what to check.
type MissingError struct {
	What  string // "/dev/ttyUSB0", "the GPIO line \"GPIO17\""
	Check string // what to look at, a clause without a full stop
	Err   error  // may be nil
}

func (e *MissingError) Error() string { return e.What + " is not there; " + e.Check }
func (e *MissingError) Unwrap() error { return e.Err }

// A NoAnswerError says that the bus works and the device did not answer.
type NoAnswerError struct {
	What string // "address 0x76 on I2C bus 1"
	Hint string // a clause of its own behind what to check; "" = none
	Err  error
}

func (e *NoAnswerError) Error() string {
	s := "no answer from " + e.What + "; check its address, wiring and power"
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}
func (e *NoAnswerError) Unwrap() error { return e.Err }

// keptFrom reports whether the control group refused a device: the mode of a file is
// EACCES (path_resolution(7)), DeviceAllow= is EPERM (Linux, security/device_cgroup.c).
func keptFrom(path string, err error) bool {
	var st syscall.Stat_t
	return errors.Is(err, syscall.EPERM) && syscall.Stat(path, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFCHR
}

// groupOf returns the group that a file belongs to, and whether its members may read and
// write it. It is otherwise if the file is root's, or nothing can be found out.
func groupOf(path, otherwise string) (group string, may bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return otherwise, true
	}
	if st.Gid == 0 || st.Mode&0o060 != 0o060 {
		return otherwise, false
	}
	g, err := user.LookupGroupId(strconv.FormatUint(uint64(st.Gid), 10))
	if err != nil {
		return otherwise, true
	}
	return g.Name, true
}

// Explain gives an error of the system that concerns what (a path, an address) the
// type that tells the user what to do: permission (the group that the path belongs
// to, else the given one), missing (what to check), no answer, gone. Other errors
// come back with what before them.
func Explain(err error, what, group, check string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		of, may := groupOf(what, group)
		return &PermissionError{Path: what, Group: of, Rule: !may, Unit: keptFrom(what, err), Err: err}
	case errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO):
		// A chip that does not acknowledge its address is EREMOTEIO on some I2C
		// controllers (the Raspberry Pi's) and ENXIO on others.
		return &NoAnswerError{What: what, Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &MissingError{What: what, Check: check, Err: err}
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.EIO), errors.Is(err, fs.ErrClosed):
		return fmt.Errorf("%s: %w: %w", what, ErrGone, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
