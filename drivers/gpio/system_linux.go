package gpio

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/driver/driverreg"
	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

// System is the GPIO lines of this machine, through the kernel's character devices.
// A process makes one. It is safe for concurrent use.
type System struct {
	start sync.Once

	mu    sync.Mutex // guards what follows
	chips []chip
	meant labels              // of the chips that were named by the kernel's count
	used  map[string]bool     // by place
	kept  map[string]*request // outputs that no device uses, which stay as they are
}

// NewSystem touches no chip before the first line is asked for, with one exception:
// where two names lead to one chip (gpiochip4 on a Raspberry Pi 5) the library
// closes a file twice, and what another goroutine opens in between would be closed
// for it. So call this first thing in a process.
func NewSystem() *System {
	s := &System{meant: make(labels), used: make(map[string]bool), kept: make(map[string]*request)}
	for _, path := range chipPaths("") {
		if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			s.start.Do(s.list)
		}
	}
	return s
}

// list lets the library look for chips. A driver of its that fails is one that this
// machine does not need; what is missing shows when a line is asked for.
func (s *System) list() {
	// For a chip with two names the library also closes file 0, whatever that is.
	stdin, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	// What it can not open it writes to the standard log, which is not ours; noChips
	// says it where it is asked for.
	out := log.Writer()
	log.SetOutput(io.Discard)
	driverreg.Init()
	log.SetOutput(out)
	s.chips = listed()
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
// belongs to the caller until its Close; nothing is done to it before In, Listen or
// Out, and an output that was kept is still one. It is a Listener.
func (s *System) Pin(name string) (gpio.PinIO, error) {
	s.start.Do(s.list)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := s.locate(name)
	if err != nil {
		return nil, err
	}
	if s.used[at.key()] {
		return nil, fmt.Errorf("the GPIO line %s is used by another device of this gateway", name)
	}
	s.used[at.key()] = true
	kept := s.kept[at.key()]
	delete(s.kept, at.key())
	return &line{system: s, name: name, place: at, req: kept, out: kept != nil}, nil
}

// locate finds a line, also one of a chip that came after the start.
func (s *System) locate(name string) (place, error) {
	if c, at, ok := lookup(s.chips, name); ok && c.there() {
		return at, s.meant.check(c, name)
	}
	s.chips = present()
	s.forget()
	if c, at, ok := lookup(s.chips, name); ok {
		return at, s.meant.check(c, name)
	}
	return place{}, noLine(s.chips, name, s.meant)
}

// labels are those of chips by the kernel's count, as they were when a line was first asked
// for by that. A chip that is plugged in again may have another number, and its own may have
// gone to another chip: a relay that hangs there must not be driven in its place.
type labels map[string]string

// check notes which chip a line was found on, or says that the name meant another one.
func (l labels) check(c chip, name string) error {
	of, offset, _ := strings.Cut(name, ":")
	if of != c.name { // a label, the name of a line, or a link
		return nil
	}
	was, known := l[of]
	if known && was != c.label {
		return fmt.Errorf("the GPIO line %q was one of the chip %s, and %s is %s now: the kernel counts chips anew when they are plugged in; write %q", name, was, of, c.label, was+":"+offset)
	}
	l[of] = c.label
	return nil
}

// forget lets go of outputs whose chip has left: there is no level to keep any more.
func (s *System) forget() {
	for key, kept := range s.kept {
		if _, err := kept.level(); err == unix.ENODEV {
			kept.close() // nothing was written that could be lost
			delete(s.kept, key)
		}
	}
}

// noLine says why there is no line of a name. meant may be nil.
func noLine(chips []chip, name string, meant labels) error {
	if len(chips) == 0 {
		return noChips(name)
	}
	if of, offset, _ := strings.Cut(name, ":"); len(called(chips, of)) > 1 {
		var each []string
		for _, c := range called(chips, of) {
			each = append(each, c.name+":"+offset)
		}
		return fmt.Errorf("the GPIO line %q may be %s, because these chips have the same label; write which one it is", name, strings.Join(each, " or "))
	}
	check := "`gateway devices -scan` lists the lines of "
	if of, offset, byOffset := strings.Cut(name, ":"); byOffset && strings.HasPrefix(of, "gpiochip") && len(called(chips, of)) == 0 {
		label := cmp.Or(meant[of], "LABEL")
		check = fmt.Sprintf("the kernel counts chips anew when they are plugged in, so write %q; `gateway devices -scan` lists the lines of ", label+":"+offset)
	}
	var have []string
	for _, c := range chips {
		have = append(have, fmt.Sprintf("%s (%s, %d lines)", c.name, c.label, len(c.lines)))
	}
	return &drivers.MissingError{
		What:  fmt.Sprintf("the GPIO line %q", name),
		Check: check + strings.Join(have, ", "),
	}
}

// noChips says why there is no chip to look for a line on.
func noChips(name string) error {
	line := fmt.Sprintf("the GPIO line %q", name)
	for _, path := range chipPaths("") {
		f, err := openChip(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a second name of a chip that has left
		}
		if err == nil {
			f.Close()
			return fmt.Errorf("%s cannot be looked for, because the lines of %s cannot be listed; is the kernel older than 5.10?", line, path)
		}
		return drivers.Explain(err, path, "gpio", "start the gateway again")
	}
	return &drivers.MissingError{What: line, Check: "this machine has no GPIO chip that the kernel knows; is its driver loaded, its expander plugged in?"}
}
