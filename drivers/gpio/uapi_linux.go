package gpio

import (
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
)

// Version 2 of the kernel's interface to GPIO lines, since Linux 5.10: linux/gpio.h
// and Documentation/userspace-api/gpio/chardev.rst. The layouts of the structures
// are those of golang.org/x/sys/unix.

// Of enum gpio_v2_line_flag.
const (
	flagUsed        uint64 = 1 << 0
	flagInput       uint64 = 1 << 2
	flagOutput      uint64 = 1 << 3
	flagEdgeRising  uint64 = 1 << 4
	flagEdgeFalling uint64 = 1 << 5
	flagPullUp      uint64 = 1 << 8
	flagPullDown    uint64 = 1 << 9
	flagNoPull      uint64 = 1 << 10
)

// consumer is who has our lines, for tools such as gpioinfo.
const consumer = "gateway"

func ioctl(fd uintptr, number uint, arg unsafe.Pointer) error {
	for {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(number), uintptr(arg)); errno == 0 {
			return nil
		} else if errno != unix.EINTR {
			return errno
		}
	}
}

// chipFile is the character device of a chip. Closing it leaves the lines that were
// requested through it alone.
type chipFile struct{ *os.File }

func openChip(path string) (chipFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	return chipFile{f}, err
}

func (c chipFile) info() (info unix.GPIOChipInfo, err error) {
	return info, ioctl(c.Fd(), unix.GPIO_GET_CHIPINFO_IOCTL, unsafe.Pointer(&info))
}

func (c chipFile) line(offset uint32) (unix.GPIOV2LineInfo, error) {
	info := unix.GPIOV2LineInfo{Offset: offset}
	return info, ioctl(c.Fd(), unix.GPIO_V2_GET_LINEINFO_IOCTL, unsafe.Pointer(&info))
}

// request asks the kernel for a line.
func (c chipFile) request(offset uint32, flags uint64, attributes ...unix.GPIOV2LineAttribute) (*request, error) {
	r := unix.GPIOV2LineRequest{Num_lines: 1}
	r.Offsets[0] = offset
	copy(r.Consumer[:], consumer)
	r.Config.Flags = flags
	r.Config.Num_attrs = uint32(len(attributes))
	for i, a := range attributes {
		r.Config.Attrs[i] = unix.GPIOV2LineConfigAttribute{Attr: a, Mask: 1}
	}
	if err := ioctl(c.Fd(), unix.GPIO_V2_GET_LINE_IOCTL, unsafe.Pointer(&r)); err != nil {
		return nil, err
	}
	fd := int(r.Fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &request{fd: fd}, nil
}

// outputLevel is the level that an output has from its first moment on.
func outputLevel(high bool) unix.GPIOV2LineAttribute {
	return unix.GPIOV2LineAttribute{Id: unix.GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES, Flags: bit(high)}
}

// debouncePeriod is in µs. The union of the attribute has 64 bits of which this one
// takes the first 32 in memory, wherever these are in a number.
func debouncePeriod(d time.Duration) (a unix.GPIOV2LineAttribute) {
	a.Id = unix.GPIO_V2_LINE_ATTR_ID_DEBOUNCE
	*(*uint32)(unsafe.Pointer(&a.Flags)) = uint32(d.Microseconds())
	return a
}

func bit(high bool) uint64 {
	if high {
		return 1
	}
	return 0
}

// A request is a line that the kernel has given to this process.
type request struct {
	fd      int           // does not block
	file    *os.File      // the same, watched by the runtime's poller; nil until somebody waits
	settles time.Duration // the period of the kernel's debouncer
}

func (r *request) level() (bool, error) {
	v := unix.GPIOV2LineValues{Mask: 1}
	err := ioctl(uintptr(r.fd), unix.GPIO_V2_LINE_GET_VALUES_IOCTL, unsafe.Pointer(&v))
	return v.Bits&1 != 0, err
}

func (r *request) setLevel(high bool) error {
	v := unix.GPIOV2LineValues{Mask: 1, Bits: bit(high)}
	return ioctl(uintptr(r.fd), unix.GPIO_V2_LINE_SET_VALUES_IOCTL, unsafe.Pointer(&v))
}

// edges reads what has come, or waits for it. Who never waits costs nobody a wake-up:
// the poller learns of the line with the first wait.
func (r *request) edges(into []Edge, patience time.Duration) (int, error) {
	var events [Kept]unix.GPIOV2LineEvent
	size := int(unsafe.Sizeof(events[0]))
	buffer := unsafe.Slice((*byte)(unsafe.Pointer(&events)), size*min(len(into), len(events)))
	n, err := r.read(buffer, patience)
	if err != nil || n == 0 {
		return 0, err
	}
	if n%size != 0 {
		return 0, fmt.Errorf("the kernel gave %d bytes of edges, which are %d each", n, size)
	}
	// The difference of the two clocks holds for this moment: the wall clock may be
	// set at any time, so the one behind an edge of earlier is not known better.
	var monotonic unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic); err != nil {
		return 0, err
	}
	now, clock := time.Now(), time.Duration(monotonic.Nano())
	for i, e := range events[:n/size] {
		// The debouncer stamps an edge when the line has been quiet for its period
		// (debounce_work_func in drivers/gpio/gpiolib-cdev.c).
		at := time.Duration(e.Timestamp_ns) - r.settles
		into[i] = Edge{At: now.Add(at - clock), Clock: at, Seq: e.Line_seqno, Level: e.Id == unix.GPIO_V2_LINE_EVENT_RISING_EDGE}
	}
	return n / size, nil
}

// read returns no bytes and no error when there is nothing.
func (r *request) read(buffer []byte, patience time.Duration) (int, error) {
	if patience > 0 {
		return r.wait(buffer, patience)
	}
	for {
		n, err := unix.Read(r.fd, buffer)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, unix.ENODEV
		}
		return n, nil
	}
}

func (r *request) wait(buffer []byte, patience time.Duration) (int, error) {
	if r.file == nil {
		r.file = os.NewFile(uintptr(r.fd), "GPIO line")
	}
	if err := r.file.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := r.file.Read(buffer)
	switch {
	case os.IsTimeout(err):
		return 0, nil
	case err == io.EOF:
		return 0, unix.ENODEV
	}
	return n, err
}

// close gives the line back to the kernel.
func (r *request) close() error {
	if r.file != nil {
		return r.file.Close()
	}
	return unix.Close(r.fd)
}

// flags are those of an input.
func (l Listening) flags() uint64 {
	flags := flagInput
	switch l.Pull {
	case gpio.Float:
		flags |= flagNoPull
	case gpio.PullUp:
		flags |= flagPullUp
	case gpio.PullDown:
		flags |= flagPullDown
	}
	switch l.Edge {
	case gpio.RisingEdge:
		flags |= flagEdgeRising
	case gpio.FallingEdge:
		flags |= flagEdgeFalling
	case gpio.BothEdges:
		flags |= flagEdgeRising | flagEdgeFalling
	}
	return flags
}
