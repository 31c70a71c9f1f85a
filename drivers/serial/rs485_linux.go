package serial

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// rs485 is struct serial_rs485 of include/uapi/linux/serial.h: 32 bytes, and the same
// ones on every machine, since all its members are __u32. Later kernels have given
// two bytes of the padding a meaning with flags that are not set here.
type rs485 struct {
	flags         uint32
	before, after uint32 // delay_rts_before_send, delay_rts_after_send: ms
	padding       [5]uint32
}

// SER_RS485_... of the same header.
const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1 // RTS is high while sending
	rs485RTSAfterSend = 1 << 2 // RTS is high while not
)

// structOf says it as the kernel does. The receiver is off while sending
// (SER_RS485_RX_DURING_TX is not set), where the hardware can do that.
func structOf(o drivers.RS485) rs485 {
	s := rs485{flags: rs485Enabled | rs485RTSOnSend, before: uint32(o.Before.Milliseconds()), after: uint32(o.After.Milliseconds())}
	if o.ActiveLow {
		s.flags = rs485Enabled | rs485RTSAfterSend
	}
	return s
}

// turnRound lets the kernel turn the line round, as Documentation/driver-api/serial/
// serial-rs485.rst describes it, and returns what was set before: perhaps nothing,
// perhaps what the device tree says.
func turnRound(hold *os.File, o drivers.RS485) (before rs485, err error) {
	path := hold.Name()
	if err := rs485ioctl(hold, unix.TIOCGRS485, &before); err != nil {
		return before, explainRS485(err, path)
	}
	asked := structOf(o)
	got := asked
	if err := rs485ioctl(hold, unix.TIOCSRS485, &got); err != nil {
		return before, explainRS485(err, path)
	}
	if lacks := asked.lacks(got); lacks != "" {
		rs485ioctl(hold, unix.TIOCSRS485, &before) // the error that matters is there
		return before, fmt.Errorf("open %s: the driver of this port cannot do %s", path, lacks)
	}
	return before, nil
}

// lacks says what of a setting the kernel has taken off: it answers with what the
// port can do of it.
func (s rs485) lacks(got rs485) string {
	var lacks []string
	const polarity = rs485RTSOnSend | rs485RTSAfterSend
	switch {
	case got.flags&rs485Enabled == 0:
		return "RS-485; leave rs485 out if the adapter turns the line round by itself"
	case s.flags&rs485RTSOnSend != 0 && got.flags&polarity != s.flags&polarity:
		lacks = append(lacks, "RTS that is high while sending; try rs485_rts_active_low = true")
	case got.flags&polarity != s.flags&polarity:
		lacks = append(lacks, "RTS that is low while sending; leave rs485_rts_active_low out")
	}
	delay := func(key string, asked, got uint32) {
		if asked != got {
			lacks = append(lacks, fmt.Sprintf("%s = \"%v\"; it can do %v", key, time.Duration(asked)*time.Millisecond, time.Duration(got)*time.Millisecond))
		}
	}
	delay("rs485_delay_before", s.before, got.before)
	delay("rs485_delay_after", s.after, got.after)
	return strings.Join(lacks, ", nor ")
}

// A driver that knows nothing of RS-485 answers ENOTTY, as the serial core and the
// terminals do, or, an older one, EINVAL.
func explainRS485(err error, path string) error {
	if errors.Is(err, syscall.ENOTTY) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("open %s: the driver of this port does not turn an RS-485 line round; leave rs485 out: most USB adapters do that by themselves: %w", path, err)
	}
	return drivers.Explain(err, path, "dialout", "check the cable")
}

func rs485ioctl(f *os.File, request uintptr, s *rs485) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(s))); errno != 0 {
		return errno
	}
	return nil
}
