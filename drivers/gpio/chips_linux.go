package gpio

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	// Driver by driver: all of periph's host drivers together would map /dev/mem
	// when they find no other way, at addresses that are another board's.
	"periph.io/x/host/v3/gpioioctl"
)

// A chip is a set of lines, as it was when somebody looked.
type chip struct {
	path  string   // /dev/gpiochip0
	name  string   // gpiochip0, what the kernel counts
	label string   // pinctrl-bcm2711, what its driver says
	lines []string // names by offset, "" = none
}

// A place is where a line is.
type place struct {
	path   string
	chip   string
	offset uint32
}

func (p place) key() string { return fmt.Sprintf("%s:%d", p.chip, p.offset) }

// used tells whether somebody has the line.
func (p place) used(c chipFile) bool {
	info, err := c.line(p.offset)
	return err == nil && info.Flags&flagUsed != 0
}

// user says who has the line.
func (p place) user(c chipFile) string {
	info, err := c.line(p.offset)
	if name := text(info.Consumer[:]); err == nil && name != "" {
		return strconv.Quote(name)
	}
	return "the kernel or a program that gives no name"
}

// text is a C string.
func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// lookup finds a line by its name, or by chip and offset.
func lookup(chips []chip, name string) (chip, place, bool) {
	of, offset, byOffset := strings.Cut(name, ":")
	if number, err := strconv.ParseUint(offset, 10, 32); byOffset && err == nil {
		if to, err := filepath.EvalSymlinks("/dev/" + of); err == nil && filepath.Dir(to) == "/dev" {
			of = filepath.Base(to) // gpiochip4 is gpiochip0 on a Raspberry Pi 5
		}
		if found := called(chips, of); len(found) == 1 && number < uint64(len(found[0].lines)) {
			return found[0], place{found[0].path, found[0].name, uint32(number)}, true
		}
	}
	for _, c := range chips {
		if at := slices.Index(c.lines, name); at >= 0 && name != "" {
			return c, place{c.path, c.name, uint32(at)}, true
		}
	}
	return chip{}, place{}, false
}

// called is the chips that a name means: one by the kernel's count, or all that have it
// as their label, as two expanders of a type do.
func called(chips []chip, name string) (found []chip) {
	for _, c := range chips {
		if c.name == name {
			return []chip{c}
		}
		if c.label == name {
			found = append(found, c)
		}
	}
	return found
}

// there tells whether the chip is still where it was: expanders come and go, and
// the next one may get the number of the last.
func (c chip) there() bool {
	f, err := openChip(c.path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.info()
	return err == nil && text(info.Name[:]) == c.name && (text(info.Label[:]) == c.label || c.label == c.name) && int(info.Lines) == len(c.lines)
}

// listed is the chips that the library found at the start.
func listed() (chips []chip) {
	for _, known := range gpioioctl.Chips {
		c := chip{path: known.Path(), name: known.Name(), label: known.Label()}
		if len(called(chips, c.name)) > 0 {
			continue // a second name of it
		}
		for _, l := range known.Lines() {
			c.lines = append(c.lines, l.Name())
		}
		chips = append(chips, c)
	}
	return chips
}

// present is the chips that are there now, in the order of a scan, so that a name that
// two chips have means the same line. Those that can not be looked at are left out.
func present() []chip {
	found, _ := scan(context.Background(), chipPaths(""), openReader)
	return chipsOf(found)
}

// chipsOf is what a scan has found, to look a line up in.
func chipsOf(found []FoundChip) (chips []chip) {
	for _, f := range found {
		c := chip{path: "/dev/" + f.Name, name: f.Name, label: cmp.Or(f.Label, f.Name)} // as the library does
		for _, l := range f.Lines {
			c.lines = append(c.lines, l.Name)
		}
		chips = append(chips, c)
	}
	return chips
}

// ofProcessorFirst is the order of the library.
func ofProcessorFirst(a, b string) int {
	if x, y := strings.HasPrefix(a, "pinctrl-"), strings.HasPrefix(b, "pinctrl-"); x != y {
		if x {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// chipPaths is the device files of chips. root stands before /dev.
func chipPaths(root string) []string {
	paths, _ := filepath.Glob(filepath.Join(root, "/", "dev/gpiochip*")) // the pattern is ours and well formed
	return paths
}
