package serial

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"edgegateway/drivers"
)

// include/uapi/linux/serial.h, and include/uapi/asm-generic/ioctls.h for the requests.
func TestLayoutIsThatOfTheKernel(t *testing.T) {
	var s rs485
	if size := unsafe.Sizeof(s); size != 32 {
		t.Errorf("%d bytes, want 32", size)
	}
	for name, c := range map[string][2]uintptr{
		"flags":                 {unsafe.Offsetof(s.flags), 0},
		"delay_rts_before_send": {unsafe.Offsetof(s.before), 4},
		"delay_rts_after_send":  {unsafe.Offsetof(s.after), 8},
		"padding":               {unsafe.Offsetof(s.padding), 12},
		"TIOCGRS485":            {unix.TIOCGRS485, 0x542E},
		"TIOCSRS485":            {unix.TIOCSRS485, 0x542F},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %#x, want %#x", name, c[0], c[1])
		}
	}
}

func TestRS485AsTheKernelSaysIt(t *testing.T) {
	for _, c := range []struct {
		o    drivers.RS485
		want rs485
	}{
		{drivers.RS485{On: true}, rs485{flags: 0b011}},
		{drivers.RS485{On: true, ActiveLow: true}, rs485{flags: 0b101}},
		{drivers.RS485{On: true, Before: 2 * time.Millisecond, After: 100 * time.Millisecond}, rs485{flags: 0b011, before: 2, after: 100}},
	} {
		if got := structOf(c.o); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.o, got, c.want)
		}
	}
}

// The kernel answers with what the port can do; it may do more than was asked.
func TestWhatAPortCannotDoIsSaid(t *testing.T) {
	asked := rs485{flags: rs485Enabled | rs485RTSOnSend, before: 5, after: 1}
	low := rs485{flags: rs485Enabled | rs485RTSAfterSend}
	for _, c := range []struct {
		asked, got rs485
		want       string
	}{
		{asked, asked, ""},
		{asked, rs485{flags: asked.flags | 1<<4, before: 5, after: 1}, ""}, // it hears itself
		{asked, rs485{}, "RS-485; leave rs485 out if the adapter turns the line round by itself"},
		{asked, rs485{flags: asked.flags, before: 5}, `rs485_delay_after = "1ms"; it can do 0s`},
		{asked, rs485{flags: asked.flags}, `rs485_delay_before = "5ms"; it can do 0s, nor rs485_delay_after = "1ms"; it can do 0s`},
		{asked, rs485{flags: low.flags, before: 5, after: 1}, "RTS that is high while sending; try rs485_rts_active_low = true"},
		{low, rs485{flags: asked.flags}, "RTS that is low while sending; leave rs485_rts_active_low out"},
	} {
		if got := c.asked.lacks(c.got); got != c.want {
			t.Errorf("%+v became %+v: %q, want %q", c.asked, c.got, got, c.want)
		}
	}
}

func TestErrorsOfRS485SayWhatToDo(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOTTY: "leave rs485 out: most USB adapters do that by themselves",
		syscall.EINVAL: "leave rs485 out: most USB adapters do that by themselves",
		syscall.EIO:    "the device is gone",
	} {
		if err := explainRS485(errno, "/dev/x"); !strings.Contains(err.Error(), want) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
