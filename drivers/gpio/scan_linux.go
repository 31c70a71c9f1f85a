package gpio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// FoundChip is a chip with its lines.
type FoundChip struct {
	Name  string // gpiochip0
	Label string // pinctrl-bcm2711, what its driver says
	Lines []FoundLine
}

// FoundLine is a line as it was when somebody looked.
type FoundLine struct {
	Pin    string // what the option pin says to mean it
	Offset int
	Name   string // that the board gives it; "" = none
	Output bool
	Used   bool
	User   string // who has it, as far as that says so
}

// String is what there is to say of it.
func (l FoundLine) String() string {
	s := "input"
	if l.Output {
		s = "output"
	}
	switch {
	case l.User != "":
		s += fmt.Sprintf(", used by %q", l.User)
	case l.Used:
		s += ", used by the kernel or a program that gives no name"
	}
	return s
}

// reader is what is asked of a chip.
type reader interface {
	info() (unix.GPIOChipInfo, error)
	line(offset uint32) (unix.GPIOV2LineInfo, error)
	Close() error
}

// Scan lists the lines of all chips, and changes nothing. root stands before /dev; ""
// is the machine itself. A chip that cannot be looked at is left out; the error, of
// one of the types of drivers.Explain, says why.
func Scan(ctx context.Context, root string) ([]FoundChip, error) {
	paths := chipPaths(root)
	if len(paths) == 0 {
		return nil, &drivers.MissingError{What: "/dev/gpiochip0", Check: "this machine has no GPIO that the kernel knows"}
	}
	return scan(ctx, paths, openReader)
}

func openReader(path string) (reader, error) { return openChip(path) }

func scan(ctx context.Context, paths []string, open func(path string) (reader, error)) (chips []FoundChip, _ error) {
	var errs []error
	for _, path := range paths {
		c, err := list(ctx, path, open)
		switch {
		case errors.Is(err, syscall.ENOTTY), errors.Is(err, syscall.EINVAL):
			errs = append(errs, fmt.Errorf("%s: its lines cannot be listed; is the kernel older than 5.10? %w", path, err))
		case err != nil:
			errs = append(errs, drivers.Explain(err, path, "gpio", "it was there a moment ago: look again"))
		case !slices.ContainsFunc(chips, func(o FoundChip) bool { return o.Name == c.Name }): // gpiochip4 is gpiochip0 on a Raspberry Pi 5
			chips = append(chips, c)
		}
	}
	slices.SortStableFunc(chips, func(a, b FoundChip) int { return ofProcessorFirst(a.Label, b.Label) })
	met := make(map[string]bool)
	for _, c := range chips {
		of := c.Label // which stays when the kernel counts its chips anew
		others := slices.ContainsFunc(chips, func(o FoundChip) bool { return o.Label == c.Label && o.Name != c.Name })
		if of == "" || strings.Contains(of, ":") || others {
			of = c.Name
		}
		for i, l := range c.Lines {
			c.Lines[i].Pin = fmt.Sprintf("%s:%d", of, l.Offset)
			if !met[l.Name] && checkPin(l.Name) == nil && !strings.Contains(l.Name, ":") {
				c.Lines[i].Pin = l.Name // the first of a name is the one that it means
			}
			met[l.Name] = true
		}
	}
	return chips, errors.Join(errs...)
}

// Reach looks for the line without asking for it.
func (o InOptions) Reach(root string) error { return reach(root, o.Pin) }

// Reach looks for the line without asking for it.
func (o CounterOptions) Reach(root string) error { return reach(root, o.Pin) }

// Reach looks for the line without asking for it.
func (o OutOptions) Reach(root string) error { return reach(root, o.Pin) }

func reach(root, name string) error {
	found, err := Scan(context.Background(), root)
	return have(found, err, name)
}

// have says why a line can not be had, as far as a scan has told.
func have(found []FoundChip, err error, name string) error {
	chips := chipsOf(found)
	c, at, ok := lookup(chips, name)
	switch {
	case !ok && err != nil:
		return err
	case !ok:
		return noLine(chips, name, nil)
	}
	for _, f := range found {
		if f.Name != c.name {
			continue
		}
		if l := f.Lines[at.offset]; l.Used && l.User != consumer {
			return fmt.Errorf("%s cannot be had now: it is an %v", lineName(name), l)
		}
	}
	return nil
}

func list(ctx context.Context, path string, open func(path string) (reader, error)) (FoundChip, error) {
	f, err := open(path)
	if err != nil {
		return FoundChip{}, err
	}
	defer f.Close()
	info, err := f.info()
	c := FoundChip{Name: text(info.Name[:]), Label: text(info.Label[:])}
	for offset := uint32(0); err == nil && offset < info.Lines; offset++ {
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
		var l unix.GPIOV2LineInfo
		l, err = f.line(offset)
		c.Lines = append(c.Lines, FoundLine{
			Offset: int(offset), Name: text(l.Name[:]),
			Output: l.Flags&flagOutput != 0, Used: l.Flags&flagUsed != 0, User: text(l.Consumer[:]),
		})
	}
	return c, err
}
