package serial

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// Found is a serial port of a machine.
type Found struct {
	Path  string   // what to write as path: the name that stays the same, where there is one
	Node  string   // /dev/ttyUSB0, as the kernel counts it now
	What  string   // "FTDI FT232R USB UART, serial number A50285BI", "built in"
	Users []string // who has it, sentences; those of other users are known to root alone
	Err   error    // why this process can not open it; nil: it may
}

// Scan lists the serial ports that have hardware behind them, and opens none of them.
// root stands before /dev, /proc and /sys; "" is the machine itself.
func Scan(ctx context.Context, root string) ([]Found, error) {
	root = filepath.Join(root, "/")
	classes, _ := filepath.Glob(filepath.Join(root, "sys/class/tty/*/device")) // of a terminal that is no port there is none
	if len(classes) == 0 {
		return nil, nil
	}
	users := usersOf(ctx, root)
	byID, byPath := linksIn(root, "dev/serial/by-id"), linksIn(root, "dev/serial/by-path")
	alias := linksIn(root, "dev") // serial0 of a Raspberry Pi: the port on its header, whatever that is called
	console, _ := os.ReadFile(filepath.Join(root, "sys/class/tty/console/active"))

	var all []Found
	for _, device := range classes {
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		class := filepath.Dir(device)
		if read(class, "type") == "0" { // PORT_UNKNOWN of linux/serial_core.h: a place for a port, without one
			continue
		}
		name := filepath.Base(class)
		f := Found{Node: "/dev/" + name, What: describe(root, device), Users: users["/dev/"+name]}
		f.Path = f.Node
		for _, links := range []map[string]string{byID, byPath, alias} {
			if link := links[name]; link != "" {
				f.Path = link
				break
			}
		}
		if slices.Contains(strings.Fields(string(console)), name) {
			f.Users = append([]string{fmt.Sprintf("the login console is on it: remove console=serial0,115200 from /boot/firmware/cmdline.txt "+
				"(without a Raspberry Pi: console=%s from the kernel's command line) and restart the machine", name)}, f.Users...)
		}
		if err := unix.Access(filepath.Join(root, f.Node), unix.R_OK|unix.W_OK); err != nil {
			f.Err = drivers.Explain(err, f.Node, "dialout", "its driver is there; is udev running?")
		}
		all = append(all, f)
	}
	return all, nil
}

// read is the content of an attribute, "" without one.
func read(dir, attribute string) string {
	b, _ := os.ReadFile(filepath.Join(dir, attribute))
	return strings.TrimSpace(string(b))
}

// describe walks up from a device to the one on the USB that it belongs to.
func describe(root, device string) string {
	dir, err := filepath.EvalSymlinks(device)
	if err != nil {
		return "unknown"
	}
	for ; len(dir) > len(root); dir = filepath.Dir(dir) {
		vendor := read(dir, "idVendor")
		if vendor == "" {
			continue
		}
		what := strings.TrimSpace(read(dir, "manufacturer") + " " + read(dir, "product"))
		if what == "" {
			what = "USB device " + vendor + ":" + read(dir, "idProduct")
		}
		if serial := read(dir, "serial"); serial != "" {
			what += ", serial number " + serial
		}
		return what
	}
	return "built in"
}

// linksIn are the links to terminals in a directory, by the name of the terminal.
func linksIn(root, dir string) map[string]string {
	links := make(map[string]string)
	entries, _ := os.ReadDir(filepath.Join(root, dir))
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink || dir == "dev" && !strings.HasPrefix(e.Name(), "serial") {
			continue
		}
		to, err := os.Readlink(filepath.Join(root, dir, e.Name()))
		name := filepath.Base(to)
		if err == nil && links[name] == "" {
			links[name] = filepath.Join("/", dir, e.Name())
		}
	}
	return links
}

// usersOf are the programs that have a terminal open, by its path.
func usersOf(ctx context.Context, root string) map[string][]string {
	users := make(map[string][]string)
	processes, _ := filepath.Glob(filepath.Join(root, "proc/[0-9]*"))
	self, _ := os.Readlink(filepath.Join(root, "proc/self"))
	for _, p := range processes {
		if filepath.Base(p) == self {
			continue // a scan on a console has that open
		}
		entries, err := os.ReadDir(filepath.Join(p, "fd"))
		if err != nil || ctx.Err() != nil {
			continue // another user's, or one that has ended
		}
		for _, e := range entries {
			path, err := os.Readlink(filepath.Join(p, "fd", e.Name()))
			if err != nil || !strings.HasPrefix(path, "/dev/tty") {
				continue
			}
			who := fmt.Sprintf("%s (process %s) has it open", read(p, "comm"), filepath.Base(p))
			if !slices.Contains(users[path], who) {
				users[path] = append(users[path], who)
			}
		}
	}
	return users
}

// Reach looks at the port without opening it, which would move its lines.
func (o PortOptions) Reach(root string) error {
	if err := unix.Access(filepath.Join(root, "/", o.Path), unix.R_OK|unix.W_OK); err != nil {
		return explain(err, o.Path)
	}
	return nil
}
