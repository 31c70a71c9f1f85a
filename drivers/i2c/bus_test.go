package i2c_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		syscall.ENXIO:      "no answer from address 0x48 on I2C bus 1; check its address, wiring and power; `i2cdetect -y 1` shows who answers",
		syscall.EREMOTEIO:  "no answer from address 0x48 on I2C bus 1; check its address, wiring and power; `i2cdetect -y 1` shows who answers",
		syscall.ETIMEDOUT:  "address 0x48 on I2C bus 1: the bus did not come free: connection timed out; a chip may hold SDA or SCL low: check wiring and pull-up resistors, power-cycle the chips",
		syscall.ENODEV:     "I2C bus 1: the device is gone: no such device",
		syscall.EOPNOTSUPP: "I2C bus 1 is an SMBus controller that cannot make plain transfers; use another bus: operation not supported",
		syscall.EIO:        "address 0x48 on I2C bus 1: the transfer failed: input/output error",
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
		0x50: "address 0x50 on I2C bus 1 belongs to a driver of the kernel: use the kind iio for it, or take its overlay out of config.txt: device or resource busy",
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

// listener is the Events of a device under test.
type listener struct {
	start time.Time
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
	l := &listener{start: time.Now()}
	spec := drivers.Spec{
		Name: fmt.Sprintf("%d-%02x", bus, address), Kind: i2c.TMP102Kind(), Every: time.Second, Ports: p,
		Decode: with(fmt.Sprintf("bus = %d\naddress = %#x", bus, address)),
		Log:    slog.New(slog.NewTextHandler(log, nil)),
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

func TestAChipThatDoesNotAnswerEverySecondTimeDisturbsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		bad := i2ctest.Func(func(w, r []byte) error {
			if n++; n%3 == 0 { // a sample takes two transfers: every second one fails
				return syscall.EREMOTEIO
			}
			return i2ctest.Words{0: 0x1900, 1: 0x60a0}.Tx(w, r)
		})
		bus := new(i2ctest.Bus).Attach(0x48, bad).Attach(0x49, i2ctest.Words{0: 0x1900, 1: 0x60a0})
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var log logged
		sick, healthy := runDevice(ctx, &running, p, 1, 0x48, &log), runDevice(ctx, &running, p, 1, 0x49, &log)
		time.Sleep(99*time.Second + 500*time.Millisecond)
		stop()
		running.Wait()
		regular(t, "the neighbour", healthy.times, 100)
		if len(sick.times) < 40 {
			t.Errorf("the sick chip gave %d readings", len(sick.times))
		}
		if got := strings.Count(log.text.String(), "no answer from address 0x48 on I2C bus 1"); got != 1 {
			t.Errorf("the log says it %d times:\n%s", got, log.text.String())
		}
	})
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
		const held = "I2C bus 1 is held up by the transfer with address 0x48, which does not return; check the wiring of that chip, power-cycle it"
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

func TestScanTellsWhoIsOnTheBus(t *testing.T) {
	bus := new(i2ctest.Bus).Attach(0x48, i2ctest.Words{}).Attach(0x76, new(i2ctest.Memory)).Attach(0x0b, i2ctest.Words{})
	bus.Take(0x68)
	found, err := i2c.Scan(t.Context(), bus.Wire(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.String())
	}
	want(t, got, "0x0b  unknown; the kind i2c-register can read it", "0x48  ads1115, ads1015, tmp102, ina219",
		"0x68  in use by a driver of the kernel: kind iio", "0x76  bme280, bmp280, multiplexer (TCA9548A)")
	bus.Unplug()
	if found, err := i2c.Scan(t.Context(), bus.Wire(), 1); !errors.Is(err, drivers.ErrGone) || len(found) != 0 {
		t.Errorf("a bus that is gone: %v, %v", found, err)
	}
}
