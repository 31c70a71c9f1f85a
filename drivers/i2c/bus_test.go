package i2c_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

func chip(t *testing.T, p drivers.Ports, bus int, address uint16) drivers.I2CChip {
	t.Helper()
	c, err := p.I2C(drivers.I2CConfig{Bus: bus, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for errno, wants := range map[syscall.Errno]string{
		syscall.ENXIO:      "no answer from address 0x48 on I2C bus 1; check its address, wiring and power; `gateway devices -scan` shows who is on bus 1",
		syscall.EREMOTEIO:  "no answer from address 0x48 on I2C bus 1; check its address, wiring and power; `gateway devices -scan` shows who is on bus 1",
		syscall.ETIMEDOUT:  "address 0x48 on I2C bus 1: connection timed out: it holds SDA or SCL low, or the pull-up resistors are missing; power-cycle the chip, check its wiring",
		syscall.EBUSY:      "address 0x48 on I2C bus 1: device or resource busy: it holds SDA or SCL low, or the pull-up resistors are missing; power-cycle the chip, check its wiring",
		syscall.EAGAIN:     "address 0x48 on I2C bus 1: resource temporarily unavailable: another controller on the bus came first (arbitration lost); one controller is all that this bus can have",
		syscall.EPROTO:     "address 0x48 on I2C bus 1: protocol error: the transfer failed; check its wiring and power",
		syscall.ENODEV:     "I2C bus 1: the device is gone: no such device",
		syscall.EOPNOTSUPP: "address 0x48 on I2C bus 1: operation not supported: the controller of the bus, made for SMBus, cannot make this transfer; use another bus",
		syscall.EIO:        "address 0x48 on I2C bus 1: input/output error: the transfer was broken off; the chip refused a byte or held the clock for too long: check its wiring, the pull-up resistors and the length of the cable",
	} {
		bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Func(func(_, _ []byte) error { return errno }))
		c := chip(t, i2ctest.Ports(map[int]*i2ctest.Bus{1: bus}), 1, 0x48)
		err := c.Tx(t.Context(), []byte{0}, nil)
		if err == nil || err.Error() != wants || !errors.Is(err, errno) {
			t.Errorf("%v: %v, want %s", errno, err, wants)
		}
		if errors.Is(err, drivers.ErrGone) != (errno == syscall.ENODEV) {
			t.Errorf("%v: gone or not is wrong", errno)
		}
	}
}

func TestAnAddressHasOneUser(t *testing.T) {
	bus := new(i2ctest.Bus)
	bus.Take(0x50)
	p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus, 2: new(i2ctest.Bus)})
	first := chip(t, p, 1, 0x48)
	for address, wants := range map[uint16]string{
		0x48: "address 0x48 on I2C bus 1 is used by another device of this gateway",
		0x50: "address 0x50 on I2C bus 1 belongs to the kernel's driver rtc-ds1307 (ds3231); take it from there: echo 1-0050 > /sys/bus/i2c/drivers/rtc-ds1307/unbind: device or resource busy",
	} {
		if _, err := p.I2C(drivers.I2CConfig{Bus: 1, Address: address}); err == nil || err.Error() != wants {
			t.Errorf("%v, want %s", err, wants)
		}
	}
	chip(t, p, 2, 0x48)
	other := chip(t, p, 1, 0x49)
	first.Close()
	first = chip(t, p, 1, 0x48)
	if bus.Open() != 1 {
		t.Errorf("the bus is open %d times", bus.Open())
	}
	first.Close()
	other.Close()
	if bus.Open() != 0 {
		t.Error("the bus is open without a user")
	}
	if _, err := p.I2C(drivers.I2CConfig{Bus: 1, Address: 0x50}); err == nil || bus.Open() != 0 {
		t.Errorf("an address of the kernel was given, or the bus stays open: %v", err)
	}
}

func TestTransfersOfOneBusDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := i2ctest.Func(func(_, _ []byte) error { time.Sleep(10 * time.Millisecond); return nil })
		bus := new(i2ctest.Bus).Attach(0x48, slow).Attach(0x49, slow).Attach(0x4a, slow)
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		var all sync.WaitGroup
		for _, address := range []uint16{0x48, 0x49, 0x4a} {
			c := chip(t, p, 1, address)
			all.Go(func() {
				for range 20 {
					if err := c.Tx(t.Context(), []byte{0}, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		began := time.Now()
		all.Wait()
		if bus.Overlapped() || time.Since(began) != 600*time.Millisecond {
			t.Errorf("overlapped: %v, after %v", bus.Overlapped(), time.Since(began))
		}
	})
}

// The kernel waits for the file of an adapter that was pulled out, and with it everything
// behind the same USB hub.
func TestABusThatHasLeftIsClosedBeforeItsNextTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(i2ctest.Bus).Attach(0x48, good()).Attach(0x49, i2ctest.Func(func(_, _ []byte) error {
			time.Sleep(3 * time.Second)
			return nil
		}))
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		first, slow := chip(t, p, 1, 0x48), chip(t, p, 1, 0x49)
		time.Sleep(time.Hour)
		if err := first.Tx(t.Context(), []byte{0}, nil); err != nil || bus.Open() != 1 {
			t.Fatalf("%v, open %d times", err, bus.Open())
		}
		go slow.Tx(t.Context(), []byte{0}, nil)
		synctest.Wait()
		bus.Unplug()
		time.Sleep(2500 * time.Millisecond)
		if bus.Open() != 1 {
			t.Error("the file was closed during a transfer")
		}
		time.Sleep(2500 * time.Millisecond)
		if bus.Open() != 0 {
			t.Error("the file is open as before")
		}
		bus.Plug()
		if err := first.Tx(t.Context(), []byte{0}, nil); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%v, but whoever has set the chip up must do it again", err)
		}
		again := chip(t, p, 1, 0x48)
		if err := again.Tx(t.Context(), []byte{0}, nil); err != nil {
			t.Error(err)
		}
		for _, c := range []drivers.I2CChip{first, slow, again} {
			c.Close()
		}
		if bus.Open() != 0 {
			t.Errorf("the bus is open %d times", bus.Open())
		}
	})
}

// listener is the Events of a device under test.
type listener struct {
	start time.Time
	stats drivers.Stats
	mu    sync.Mutex
	lines []string
	times []time.Duration
}

func (l *listener) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}
func (l *listener) Online([]drivers.Channel, func(drivers.Command) (drivers.Command, error)) {
	l.add("online")
}
func (l *listener) Offline(reason error) { l.add("offline: %v", reason) }
func (l *listener) Reading(r drivers.Reading) {
	if r.Missed {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, time.Since(l.start))
}
func (l *listener) Result(drivers.Job, drivers.Reading, error) {}

// given are the times of the readings so far.
func (l *listener) given() []time.Duration {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.times)
}

type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// runDevice runs a TMP102 at an address until the test's context ends.
func runDevice(ctx context.Context, running *sync.WaitGroup, p drivers.Ports, bus int, address uint16, log *logged) *listener {
	return runKind(ctx, running, p, i2c.TMP102Kind(), fmt.Sprintf("bus = %d\naddress = %#x", bus, address), log)
}

// runKind runs a device once a second until the test's context ends.
func runKind(ctx context.Context, running *sync.WaitGroup, p drivers.Ports, kind drivers.Kind, options string, log *logged) *listener {
	l := &listener{start: time.Now()}
	spec := drivers.Spec{
		Name: "dut", Kind: kind, Every: time.Second, Ports: p, Decode: with(options), Stats: &l.stats,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	running.Go(func() { drivers.Run(ctx, spec, l) })
	return l
}

// regular says whether a device gave its readings each second, with 5 % to spare.
func regular(t *testing.T, name string, times []time.Duration, n int) {
	t.Helper()
	if len(times) != n {
		t.Errorf("%s gave %d readings, want %d", name, len(times), n)
	}
	for i := 1; i < len(times); i++ {
		if gap := times[i] - times[i-1]; gap < 950*time.Millisecond || gap > 1050*time.Millisecond {
			t.Errorf("%s: %v between two readings", name, gap)
		}
	}
}

func TestAStuckChipHoldsUpItsBusAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hangs atomic.Bool
		stuck := i2ctest.Func(func(w, r []byte) error {
			if hangs.Load() {
				<-release
			}
			return i2ctest.Words{0: 0x1900, 1: 0x60a0}.Tx(w, r)
		})
		good := func() i2ctest.Chip { return i2ctest.Words{0: 0x1900, 1: 0x60a0} }
		one := new(i2ctest.Bus).Attach(0x48, stuck).Attach(0x49, good())
		two := new(i2ctest.Bus).Attach(0x48, good())
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: one, 2: two})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var log logged
		sick, same, other := runDevice(ctx, &running, p, 1, 0x48, &log), runDevice(ctx, &running, p, 1, 0x49, &log), runDevice(ctx, &running, p, 2, 0x48, &log)
		time.Sleep(9*time.Second + 500*time.Millisecond)
		hangs.Store(true)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		regular(t, "the other bus", other.times, 100)
		if len(sick.lines) != 2 || sick.lines[1] != "offline: stuck: sample has not returned after 5.5s; check the wiring, power-cycle the device" {
			t.Errorf("the stuck chip: %q", sick.lines)
		}
		const held = "the TMP102 at address 0x49 on I2C bus 1: its bus is held up by the transfer with address 0x48, which does not return; check the wiring of that chip, power-cycle it"
		if len(same.lines) != 2 || same.lines[1] != "offline: 3 times in a row: "+held {
			t.Errorf("the chip beside it: %q", same.lines)
		}
		close(release)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(sick.times) < 30 || len(same.times) < 30 {
			t.Errorf("after the bus came free: %d and %d readings", len(sick.times), len(same.times))
		}
		stop()
		running.Wait()
		if one.Overlapped() || one.Open() != 0 || two.Open() != 0 {
			t.Errorf("overlapped: %v, open: %d, %d", one.Overlapped(), one.Open(), two.Open())
		}
	})
}

func TestABusThatWasUnpluggedIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Words{0: 0x1900, 1: 0x60a0}).Attach(0x49, i2ctest.Words{0: 0x1900, 1: 0x60a0})
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		// A user that rests keeps the old file open meanwhile.
		resting := chip(t, p, 1, 0x49)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		l := runDevice(ctx, &running, p, 1, 0x48, new(logged))
		time.Sleep(10*time.Second + 500*time.Millisecond)
		bus.Unplug()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if bus.Open() != 0 {
			t.Error("the file of a bus that has left is still open")
		}
		bus.Plug()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(l.lines) != 4 || l.lines[1] != "offline: I2C bus 1: the device is gone: no such device" || !strings.HasPrefix(l.lines[2], "offline: /dev/i2c-1 is not there") || l.lines[3] != "online" {
			t.Errorf("got %q", l.lines)
		}
		if err := resting.Tx(t.Context(), []byte{0}, nil); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("the old bus: %v", err)
		}
		stop()
		running.Wait()
		resting.Close()
		if bus.Open() != 0 {
			t.Errorf("%d files of the bus are open", bus.Open())
		}
	})
}

func TestSystemWithoutTheBusSaysWhatToCheck(t *testing.T) {
	_, err := i2c.System(987)
	var missing *drivers.MissingError
	if !errors.As(err, &missing) || !strings.HasPrefix(err.Error(), "/dev/i2c-987 is not there; switch the bus on in the device tree") {
		t.Errorf("got %v", err)
	}
}
