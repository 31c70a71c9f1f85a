package gpio

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
)

// The layouts of linux/gpio.h, which are the same on 32 and on 64 bits: a difference
// does not compile.
var (
	_ [68]byte  = [unsafe.Sizeof(unix.GPIOChipInfo{})]byte{}
	_ [256]byte = [unsafe.Sizeof(unix.GPIOV2LineInfo{})]byte{}
	_ [592]byte = [unsafe.Sizeof(unix.GPIOV2LineRequest{})]byte{}
	_ [288]byte = [unsafe.Offsetof(unix.GPIOV2LineRequest{}.Config)]byte{}
	_ [560]byte = [unsafe.Offsetof(unix.GPIOV2LineRequest{}.Num_lines)]byte{}
	_ [588]byte = [unsafe.Offsetof(unix.GPIOV2LineRequest{}.Fd)]byte{}
	_ [272]byte = [unsafe.Sizeof(unix.GPIOV2LineConfig{})]byte{}
	_ [32]byte  = [unsafe.Offsetof(unix.GPIOV2LineConfig{}.Attrs)]byte{}
	_ [24]byte  = [unsafe.Sizeof(unix.GPIOV2LineConfigAttribute{})]byte{}
	_ [16]byte  = [unsafe.Sizeof(unix.GPIOV2LineValues{})]byte{}
	_ [48]byte  = [unsafe.Sizeof(unix.GPIOV2LineEvent{})]byte{}
	_ [20]byte  = [unsafe.Offsetof(unix.GPIOV2LineEvent{}.Line_seqno)]byte{}
)

// The number of a request holds the size of its structure: _IOWR in asm-generic/ioctl.h.
func TestNumbersOfRequestsFitTheirStructures(t *testing.T) {
	for number, size := range map[uint]uintptr{
		unix.GPIO_GET_CHIPINFO_IOCTL:       unsafe.Sizeof(unix.GPIOChipInfo{}),
		unix.GPIO_V2_GET_LINEINFO_IOCTL:    unsafe.Sizeof(unix.GPIOV2LineInfo{}),
		unix.GPIO_V2_GET_LINE_IOCTL:        unsafe.Sizeof(unix.GPIOV2LineRequest{}),
		unix.GPIO_V2_LINE_GET_VALUES_IOCTL: unsafe.Sizeof(unix.GPIOV2LineValues{}),
		unix.GPIO_V2_LINE_SET_VALUES_IOCTL: unsafe.Sizeof(unix.GPIOV2LineValues{}),
	} {
		if got := uintptr(number >> 16 & 0x3fff); got != size || number>>8&0xff != 0xb4 {
			t.Errorf("%#x is for %d bytes, the structure has %d", number, got, size)
		}
	}
}

func TestDebouncePeriodIsTheFirstWordOfItsUnion(t *testing.T) {
	a := debouncePeriod(20 * time.Millisecond)
	words := *(*[4]uint32)(unsafe.Pointer(&a))
	if words != [4]uint32{3, 0, 20000, 0} { // GPIO_V2_LINE_ATTR_ID_DEBOUNCE, padding, µs
		t.Errorf("got %v", words)
	}
}

func TestFlagsOfAnInput(t *testing.T) {
	for how, want := range map[Listening]uint64{
		{}: 1 << 2,
		{Pull: gpio.PullUp, Edge: gpio.BothEdges}:      1<<2 | 1<<8 | 1<<4 | 1<<5,
		{Pull: gpio.PullDown, Edge: gpio.RisingEdge}:   1<<2 | 1<<9 | 1<<4,
		{Pull: gpio.Float, Edge: gpio.FallingEdge}:     1<<2 | 1<<10 | 1<<5,
		{Pull: gpio.PullNoChange, Debounce: time.Hour}: 1 << 2,
	} {
		if got := how.flags(); got != want {
			t.Errorf("%+v: %#x, want %#x", how, got, want)
		}
	}
}

// pipe is a request on the end of a pipe, which gives what is written to the other.
func pipe(t *testing.T) (*request, int) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r := &request{fd: fds[0]}
	t.Cleanup(func() { r.close() })
	return r, fds[1]
}

func put(t *testing.T, fd int, events ...unix.GPIOV2LineEvent) {
	t.Helper()
	for _, e := range events {
		if _, err := unix.Write(fd, unsafe.Slice((*byte)(unsafe.Pointer(&e)), unsafe.Sizeof(e))); err != nil {
			t.Fatal(err)
		}
	}
}

func monotonic() uint64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}

func TestEdgesCarryTimeNumberAndLevel(t *testing.T) {
	r, w := pipe(t)
	defer unix.Close(w)
	into := make([]Edge, 40)
	if n, err := r.edges(into, 0); n != 0 || err != nil {
		t.Errorf("nothing has come: %d, %v", n, err)
	}
	before := time.Now()
	clock := monotonic() - uint64(time.Minute)
	put(t, w,
		unix.GPIOV2LineEvent{Timestamp_ns: clock, Id: unix.GPIO_V2_LINE_EVENT_RISING_EDGE, Line_seqno: 7},
		unix.GPIOV2LineEvent{Timestamp_ns: clock + 1500, Id: unix.GPIO_V2_LINE_EVENT_FALLING_EDGE, Line_seqno: 8})
	r.settles = time.Second
	n, err := r.edges(into, 0)
	if n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if a, b := into[0], into[1]; a.Seq != 7 || b.Seq != 8 || !a.Level || b.Level || b.Clock-a.Clock != 1500 {
		t.Errorf("got %+v", into[:2])
	}
	if got := into[0].Clock; got != time.Duration(clock)-time.Second {
		t.Errorf("clock %v, want that of the kernel less the debouncer's period", got)
	}
	// Both clocks go on between the measurements, so only bounds can be said.
	low, high := before.Add(-61*time.Second), time.Now().Add(-61*time.Second)
	if at := into[0].At; at.Before(low) || at.After(high) {
		t.Errorf("at %v, want between %v and %v", at, low, high)
	}
	for range 20 {
		put(t, w, unix.GPIOV2LineEvent{})
	}
	for _, want := range []int{Kept, 20 - Kept, 0} {
		if n, err := r.edges(into, 0); n != want || err != nil {
			t.Errorf("%d, %v, want %d", n, err, want)
		}
	}
}

func TestWaitingEndsWithAnEdgeOrWithPatience(t *testing.T) {
	r, w := pipe(t)
	into := make([]Edge, 1)
	if n, err := r.edges(into, time.Millisecond); n != 0 || err != nil {
		t.Errorf("patience is over: %d, %v", n, err)
	}
	waited := make(chan error, 1)
	go func() {
		n, err := r.edges(into, time.Hour)
		if n != 1 {
			err = errors.Join(err, errors.New("no edge"))
		}
		waited <- err
	}()
	put(t, w, unix.GPIOV2LineEvent{Line_seqno: 1})
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if n, err := r.edges(into, 0); n != 0 || err != nil {
		t.Errorf("after a wait, without patience: %d, %v", n, err)
	}
	unix.Close(w) // the chip has left
	for _, patience := range []time.Duration{time.Hour, 0} {
		if _, err := r.edges(into, patience); !errors.Is(err, unix.ENODEV) {
			t.Errorf("a line that is gone: %v", err)
		}
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if err := r.close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}
