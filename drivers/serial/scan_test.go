package serial_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/drivers/serial"
)

// A machine is a tree of files: /dev, /proc and /sys as a kernel shows them.
type machine struct {
	t    *testing.T
	root string
}

func (m machine) file(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) link(path, to string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		m.t.Fatal(err)
	}
}

// tty makes a terminal of a device, which lies in up directories above tty/NAME.
func (m machine) tty(device, name string, attributes map[string]string) {
	m.t.Helper()
	class := filepath.Join("sys/devices", device, "tty", name)
	m.file(filepath.Join(class, "dev"), "1:1\n")
	for key, text := range attributes {
		m.file(filepath.Join(class, key), text+"\n")
	}
	m.link(filepath.Join(class, "device"), "../../../"+filepath.Base(device))
	m.link("sys/class/tty/"+name, filepath.Join("../../devices", device, "tty", name))
}

// board is a machine with two adapters, a modem, and ports of its own. The tree of
// ttyS0 is that of a Linux 6.18 on a PC, those on the USB follow what `udevadm info -a`
// prints of such adapters.
func board(t *testing.T) machine {
	m := machine{t, t.TempDir()}
	m.tty("pnp0/00:00/00:00:0/00:00:0.0", "ttyS0", map[string]string{"type": "4", "port": "0x3F8"})
	m.tty("platform/serial8250/serial8250:0/serial8250:0.1", "ttyS1", map[string]string{"type": "0", "port": "0x2F8"})
	m.tty("platform/soc/fe201000.serial/fe201000.serial:0/fe201000.serial:0.0", "ttyAMA0", map[string]string{"type": "32"})
	m.tty("platform/scb/usb1/1-1/1-1.3/1-1.3:1.0/ttyUSB0", "ttyUSB0", nil)
	m.tty("platform/scb/usb1/1-1/1-1.4/1-1.4:1.0/ttyUSB1", "ttyUSB1", nil)
	m.tty("platform/scb/usb1/1-1/1-1.2/1-1.2:1.0", "ttyACM0", nil)
	for path, text := range map[string]string{
		"idVendor": "0403", "idProduct": "6001", "manufacturer": "FTDI", "product": "FT232R USB UART", "serial": "A50285BI",
	} {
		m.file("sys/devices/platform/scb/usb1/1-1/1-1.3/"+path, text+"\n")
	}
	for path, text := range map[string]string{"idVendor": "1a86", "idProduct": "7523", "product": "USB Serial"} {
		m.file("sys/devices/platform/scb/usb1/1-1/1-1.4/"+path, text+"\n")
	}
	for path, text := range map[string]string{"idVendor": "2341", "idProduct": "0043"} {
		m.file("sys/devices/platform/scb/usb1/1-1/1-1.2/"+path, text+"\n")
	}
	m.file("sys/devices/platform/scb/usb1/idVendor", "1d6b\n") // the hub of the machine
	m.file("sys/devices/virtual/tty/tty0/dev", "4:0\n")        // no port
	m.link("sys/class/tty/tty0", "../../devices/virtual/tty/tty0")
	m.file("sys/class/tty/console/active", "tty0 ttyAMA0\n")
	for _, name := range []string{"ttyS0", "ttyS1", "ttyAMA0", "ttyUSB0", "ttyUSB1"} {
		m.file("dev/"+name, "")
	}
	m.link("dev/serial0", "ttyAMA0")
	m.link("dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0", "../../ttyUSB0")
	m.link("dev/serial/by-path/platform-fd500000.pcie-usb-0:1.3:1.0-port0", "../../ttyUSB0")
	m.link("dev/serial/by-path/platform-fd500000.pcie-usb-0:1.4:1.0-port0", "../../ttyUSB1")
	m.file("proc/612/comm", "agetty\n")
	m.link("proc/612/fd/0", "/dev/ttyAMA0")
	m.link("proc/612/fd/1", "/dev/ttyAMA0")
	m.file("proc/801/comm", "gateway\n")
	m.link("proc/801/fd/0", "/dev/ttyAMA0")
	m.link("proc/self", "801")
	m.file("proc/700/comm", "minicom\n")
	m.link("proc/700/fd/3", "/dev/ttyUSB0")
	m.link("proc/700/fd/4", "socket:[123]")
	m.file("proc/uptime", "1 1\n")
	return m
}

func TestAScanShowsPortsByTheNameThatStays(t *testing.T) {
	m := board(t)
	found, err := serial.Scan(t.Context(), m.root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%s | %s | %s | %s | %v", f.Path, f.Node, f.What, strings.Join(f.Users, "; "), f.Err))
	}
	want := []string{
		"/dev/ttyACM0 | /dev/ttyACM0 | USB device 2341:0043 |  | /dev/ttyACM0 is not there; its driver is there; is udev running?",
		"/dev/serial0 | /dev/ttyAMA0 | built in | the login console is on it: remove console=serial0,115200 from /boot/firmware/cmdline.txt " +
			"(without a Raspberry Pi: console=ttyAMA0 from the kernel's command line) and restart the machine; agetty (process 612) has it open | <nil>",
		"/dev/ttyS0 | /dev/ttyS0 | built in |  | <nil>",
		"/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0 | /dev/ttyUSB0 | FTDI FT232R USB UART, serial number A50285BI | minicom (process 700) has it open | <nil>",
		"/dev/serial/by-path/platform-fd500000.pcie-usb-0:1.4:1.0-port0 | /dev/ttyUSB1 | USB Serial |  | <nil>",
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := serial.Scan(ended, m.root); !errors.Is(err, context.Canceled) {
		t.Errorf("a scan that is ended: %v", err)
	}
	if found, err := serial.Scan(t.Context(), t.TempDir()); len(found) > 0 || err != nil {
		t.Errorf("a machine without ports: %v, %v", found, err)
	}
}

func TestAPortIsReachedWithoutOpeningIt(t *testing.T) {
	m := board(t)
	if err := (serial.PortOptions{Path: "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"}).Reach(m.root); err != nil {
		t.Error(err)
	}
	if err := (serial.PortOptions{Path: "/dev/ttyUSB7"}).Reach(m.root); err == nil || !strings.Contains(err.Error(), "/dev/ttyUSB7 is not there; check the cable") {
		t.Errorf("a port that is not there: %v", err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(filepath.Join(m.root, "dev/ttyS0"), 0); err != nil {
			t.Fatal(err)
		}
		if err := (serial.PortOptions{Path: "/dev/ttyS0"}).Reach(m.root); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("a port of somebody else: %v", err)
		}
	}
}
