package gpio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"
	// Driver by driver: all of periph's host drivers together would map /dev/mem
	// when they find no other way, at addresses that are another board's.
	"periph.io/x/host/v3/gpioioctl"

	"edgegateway/drivers"
)

// System is the GPIO lines of this machine, through the kernel's character devices
// (Documentation/userspace-api/gpio/chardev.rst, version 2 of the interface, Linux
// 5.10). A process makes one. It is safe for concurrent use.
type System struct {
	start sync.Once

	mu   sync.Mutex // guards what follows
	used map[*gpioioctl.GPIOLine]bool
}

// NewSystem touches no chip before the first line is asked for, with one exception:
// where two names lead to one chip (gpiochip4 on a Raspberry Pi 5) the library
// closes a file twice, and what another goroutine opens in between would be closed
// for it. So call this first thing in a process.
func NewSystem() *System {
	s := &System{used: make(map[*gpioioctl.GPIOLine]bool)}
	for _, path := range chipPaths() {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			s.start.Do(start)
		}
	}
	return s
}

func chipPaths() []string {
	paths, _ := filepath.Glob("/dev/gpiochip*") // the pattern is ours and well formed
	return paths
}

// start lets the library look for chips. A driver of its that fails is one that this
// machine does not need; what is missing shows when a line is asked for.
func start() {
	// For a chip with two names the library also closes file 0, whatever that is.
	stdin, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	driverreg.Init()
	if err != nil {
		return // there was none
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err == unix.EBADF {
		unix.Dup3(stdin, 0, 0)
	}
	unix.Close(stdin)
}

// Pin finds a line by the name that the board gives it, or by chip and offset. The
// chip is named as the kernel does ("gpiochip0") or by its label
// ("pinctrl-bcm2711:17"), which does not depend on the order of drivers. The line
// belongs to the caller until its Close.
func (s *System) Pin(name string) (gpio.PinIO, error) {
	s.start.Do(start)
	l, err := lookup(gpioioctl.Chips, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[l] {
		return nil, fmt.Errorf("the GPIO line %s is used by another device of this gateway", name)
	}
	s.used[l] = true
	return &line{GPIOLine: l, system: s}, nil
}

func lookup(chips []*gpioioctl.GPIOChip, name string) (*gpioioctl.GPIOLine, error) {
	if len(chips) == 0 {
		return nil, noChips()
	}
	chip, offset, byOffset := strings.Cut(name, ":")
	number, err := strconv.Atoi(offset)
	for _, c := range chips {
		if !byOffset {
			if l := c.ByName(name); l != nil {
				return l, nil
			}
			continue
		}
		if err == nil && (c.Name() == chip || c.Label() == chip) && number >= 0 && number < c.LineCount() {
			return c.ByNumber(number), nil
		}
	}
	var have []string
	for _, c := range chips {
		have = append(have, fmt.Sprintf("%s (%s, %d lines)", c.Name(), c.Label(), c.LineCount()))
	}
	return nil, &drivers.MissingError{
		What:  fmt.Sprintf("the GPIO line %q", name),
		Check: "`gpioinfo` lists the lines of " + strings.Join(have, ", "),
	}
}

// noChips says why the library found no chip.
func noChips() error {
	paths := chipPaths()
	if len(paths) == 0 {
		return &drivers.MissingError{What: "/dev/gpiochip0", Check: "this machine has no GPIO that the kernel knows; an expander that was plugged in later needs a restart of the gateway"}
	}
	f, err := os.Open(paths[0])
	if err == nil {
		f.Close()
		err = errors.New("its lines cannot be listed; is the kernel older than 5.10?")
	}
	return drivers.Explain(err, paths[0], "gpio", "start the gateway again")
}

// A line is in use by one device.
type line struct {
	*gpioioctl.GPIOLine
	system *System
	out    bool
}

func (l *line) In(pull gpio.Pull, edge gpio.Edge) error {
	l.out = false
	return l.explain(l.GPIOLine.In(pull, edge))
}

func (l *line) Out(level gpio.Level) error {
	l.out = true
	return l.explain(l.GPIOLine.Out(level))
}

// explain says who has a line that cannot be had. After an error the library would
// believe the line to be set up, and use file 0 for it; letting go ends that.
func (l *line) explain(err error) error {
	if err == nil {
		return nil
	}
	consumer := l.Consumer()
	l.GPIOLine.Close()
	if errors.Is(err, syscall.EBUSY) && consumer != "" {
		return fmt.Errorf("it is used by %q: %w", consumer, err)
	}
	return err
}

// Close gives the line back. An output is kept as it is: if the kernel let go of it,
// its level would be up to the board.
func (l *line) Close() error {
	if !l.out {
		l.GPIOLine.Close()
	}
	l.system.mu.Lock()
	defer l.system.mu.Unlock()
	delete(l.system.used, l.GPIOLine)
	return nil
}
