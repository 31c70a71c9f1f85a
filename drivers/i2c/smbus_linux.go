package i2c

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers and layouts of linux/i2c-dev.h and linux/i2c.h. A controller that was made
// for SMBus, as on the main boards of PCs, can make some forms of transfers only;
// Documentation/i2c/smbus-protocol.rst has them.
const (
	ioctlSMBus = 0x0720 // I2C_SMBUS

	smbusWrite, smbusRead = 0, 1

	smbusQuick    = 0 // the address alone
	smbusByte     = 1 // a byte behind it
	smbusByteData = 2 // a register and a byte
	smbusWordData = 3 // a register and two bytes
	smbusI2CBlock = 8 // a register and up to 32 bytes, without their number on the bus

	smbusBlockMost = 32
)

type smbusRequest struct {
	direction, command uint8
	size               uint32
	data               *[smbusBlockMost + 2]byte
}

// quick writes nothing to an address. The kernel makes it of what the controller has.
func (w wire) quick(address uint16) error {
	return w.ask(address, &smbusRequest{direction: smbusWrite, size: smbusQuick})
}

// smbus makes a transfer of the forms that SMBus has.
func (w wire) smbus(address uint16, out, in []byte) error {
	if len(out)+len(in) == 0 {
		return nil
	}
	r, err := smbusForm(out, in)
	if err == nil {
		err = w.ask(address, r)
	}
	if err == nil && r.direction == smbusRead {
		err = r.answer(in)
	}
	return err
}

// smbusForm puts a transfer into the form that SMBus has for it. Others end with
// EOPNOTSUPP.
func smbusForm(out, in []byte) (*smbusRequest, error) {
	data := new([smbusBlockMost + 2]byte)
	r := &smbusRequest{data: data, direction: smbusWrite}
	if len(out) > 0 {
		r.command = out[0]
	}
	switch n, m := len(out), len(in); {
	case n == 0 && m == 1:
		r.direction, r.size = smbusRead, smbusByte
	case n == 1 && m == 0:
		r.size = smbusByte
	case n == 1 && m == 1:
		r.direction, r.size = smbusRead, smbusByteData
	case n == 1 && m == 2:
		r.direction, r.size = smbusRead, smbusWordData
	case n == 1 && m <= smbusBlockMost:
		r.direction, r.size = smbusRead, smbusI2CBlock
		data[0] = byte(m)
	case n == 2 && m == 0:
		r.size = smbusByteData
		data[0] = out[1]
	case n == 3 && m == 0:
		r.size = smbusWordData
		// A word is a number to the kernel, its low byte first on the bus.
		binary.NativeEndian.PutUint16(data[:], binary.LittleEndian.Uint16(out[1:]))
	case n > 3 && n <= smbusBlockMost+1 && m == 0:
		r.size = smbusI2CBlock
		data[0] = byte(copy(data[1:], out[1:]))
	default:
		return nil, syscall.EOPNOTSUPP
	}
	return r, nil
}

// answer takes out what was read.
func (r *smbusRequest) answer(in []byte) error {
	switch r.size {
	case smbusWordData:
		binary.LittleEndian.PutUint16(in, binary.NativeEndian.Uint16(r.data[:]))
	case smbusI2CBlock:
		if int(r.data[0]) != len(in) {
			return fmt.Errorf("%d bytes came instead of %d: %w", r.data[0], len(in), syscall.EIO)
		}
		copy(in, r.data[1:])
	default:
		in[0] = r.data[0]
	}
	return nil
}

// ask makes one transfer with the address of the file, which other chips on the bus
// use as well: it is called by one goroutine at a time.
func (w wire) ask(address uint16, r *smbusRequest) error {
	if err := w.Claim(address); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, w.Fd(), ioctlSMBus, uintptr(unsafe.Pointer(r)))
	runtime.KeepAlive(r)
	switch {
	case errno == 0:
		return nil
	case w.Left():
		return syscall.ENODEV
	case errno == syscall.ENODEV:
		return syscall.ENXIO // i2c-stub.c says so of an address without a chip
	}
	return errno
}
