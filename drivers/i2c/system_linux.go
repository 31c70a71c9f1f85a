package i2c

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// System opens a bus of this machine through its character device
// (Documentation/i2c/dev-interface.rst). The library's own way was not taken: it
// tells errors by text alone, so that a chip that does not answer cannot be told
// from a bus that has left, and gives the kernel addresses of buffers that may have
// moved meanwhile.
func System(number int) (Wire, error) {
	path := pathOf(number)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, notOpened(err, "/", number)
	}
	w := wire{File: f, number: number}
	if w.functions, err = w.asked(); err != nil {
		f.Close() // nothing was written
		return nil, fmt.Errorf("%s: %w; is it a bus?", path, err)
	}
	return w, nil
}

func pathOf(number int) string { return fmt.Sprintf("/dev/i2c-%d", number) }

// Reach looks at the bus and whether the kernel has the address, and asks no chip.
func (p Place) Reach(root string) error {
	root = filepath.Join(root, "/")
	number, err := p.Bus.find(root)
	if err != nil {
		return err
	}
	if err := unix.Access(filepath.Join(root, pathOf(number)), unix.R_OK|unix.W_OK); err != nil {
		return notOpened(err, root, number)
	}
	if e := taken(root, number, uint16(p.Address)); e.Driver != "" {
		return explain(e, drivers.I2CConfig{Bus: number, Address: uint16(p.Address)}, 0)
	}
	return nil
}

// notOpened says what to do about a bus that can not be opened.
func notOpened(err error, root string, number int) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &drivers.MissingError{What: pathOf(number), Check: missing(root, number), Err: err}
	}
	return drivers.Explain(err, pathOf(number), "i2c", "")
}

// missing says how a bus comes to be.
func missing(root string, number int) string {
	if _, err := os.Stat(filepath.Join(root, fmt.Sprintf("sys/bus/i2c/devices/i2c-%d", number))); err == nil {
		return "the kernel has the bus: load the module i2c-dev (`modprobe i2c-dev`, and its name in /etc/modules-load.d)"
	}
	how := "put dtparam=i2c_arm=on into /boot/firmware/config.txt and restart the machine (Raspberry Pi), or switch the bus on in the device tree"
	if number != 1 {
		how = "switch the bus on in the device tree: on a Raspberry Pi by an overlay in /boot/firmware/config.txt, such as dtoverlay=i2c3; or plug its USB adapter in"
	}
	if found, _ := filepath.Glob(filepath.Join(root, "dev/i2c-*")); len(found) > 0 { // the pattern is ours and well formed
		return how + "; there is " + strings.Join(found[:min(len(found), 8)], ", ")
	}
	return how
}

// wire is the file of a bus.
type wire struct {
	*os.File
	number    int
	functions uintptr // what the controller can do
}

// Numbers and layouts of linux/i2c-dev.h and linux/i2c.h.
const (
	ioctlSlave     = 0x0703 // I2C_SLAVE: EBUSY if a driver of the kernel has the address
	ioctlFunctions = 0x0705 // I2C_FUNCS: into an unsigned long
	ioctlRDWR      = 0x0707 // I2C_RDWR: one transfer of several messages
	flagRead       = 0x0001 // I2C_M_RD

	canI2C   = 0x00000001 // I2C_FUNC_I2C: any transfer
	canQuick = 0x00010000 // I2C_FUNC_SMBUS_QUICK
)

type message struct {
	address, flags, length uint16
	buffer                 *byte
}

type transfer struct {
	messages *message
	count    uint32
}

// asked asks the controller what it can do.
func (w wire) asked() (functions uintptr, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, w.Fd(), ioctlFunctions, uintptr(unsafe.Pointer(&functions)))
	if errno != 0 {
		err = errno
	}
	return functions, err
}

func (w wire) Claim(address uint16) error {
	err := unix.IoctlSetInt(int(w.Fd()), ioctlSlave, int(address))
	if err == unix.EBUSY {
		return taken("/", w.number, address)
	}
	return err
}

// taken finds the driver that has an address in sysfs.
func taken(root string, bus int, address uint16) *TakenError {
	dir := filepath.Join(root, fmt.Sprintf("sys/bus/i2c/devices/%d-%04x", bus, address))
	name, _ := os.ReadFile(filepath.Join(dir, "name")) // what cannot be read is left out
	e := &TakenError{Chip: strings.TrimSpace(string(name))}
	if driver, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
		e.Driver = filepath.Base(driver)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "iio:device*")); len(found) > 0 {
		e.Class = "iio"
	} else if found, _ := filepath.Glob(filepath.Join(dir, "hwmon/hwmon*")); len(found) > 0 {
		e.Class = "hwmon"
	}
	return e
}

// Left looks for the file: the driver of a USB adapter that was pulled out may go on with
// EIO, as if the wires were bad.
func (w wire) Left() bool {
	_, err := os.Stat(w.Name())
	return errors.Is(err, fs.ErrNotExist)
}

// Tx makes one transfer.
func (w wire) Tx(address uint16, out, in []byte) error {
	if w.functions&canI2C == 0 {
		return w.smbus(address, out, in)
	}
	var messages [2]message
	t := transfer{messages: &messages[0]}
	for _, m := range []message{{address, 0, 0, unsafe.SliceData(out)}, {address, flagRead, 0, unsafe.SliceData(in)}} {
		n := len(out)
		if m.flags == flagRead {
			n = len(in)
		}
		if n > 0xffff {
			return fmt.Errorf("a transfer of %d bytes: %w", n, syscall.EMSGSIZE)
		}
		if n > 0 {
			m.length = uint16(n)
			messages[t.count] = m
			t.count++
		}
	}
	if t.count == 0 {
		return nil
	}
	return w.transfer(&t)
}

// Probe writes nothing, or reads a byte where that is safer or all that there is.
func (w wire) Probe(address uint16) error {
	if byRead(address) || w.functions&canQuick == 0 {
		return w.Tx(address, nil, make([]byte, 1))
	}
	err := w.quick(address)
	if err == syscall.EOPNOTSUPP { // some can not although they say so
		return w.Tx(address, nil, make([]byte, 1))
	}
	return err
}

func (w wire) transfer(t *transfer) error {
	done, _, errno := unix.Syscall(unix.SYS_IOCTL, w.Fd(), ioctlRDWR, uintptr(unsafe.Pointer(t)))
	switch {
	case errno != 0 && w.Left():
		return syscall.ENODEV
	case errno != 0:
		return errno
	case done != uintptr(t.count):
		return fmt.Errorf("only %d of %d messages were sent: %w", done, t.count, syscall.EIO)
	}
	return nil
}
