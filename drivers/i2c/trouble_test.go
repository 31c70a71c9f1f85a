package i2c_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/i2c/i2ctest"
)

func good() i2ctest.Chip { return i2ctest.Words{0: 0x1900, 1: 0x60a0} }

// unreliable is a chip that does not acknowledge every second transfer.
func unreliable(c i2ctest.Chip, errno syscall.Errno) i2ctest.Chip {
	n := 0
	return i2ctest.Func(func(w, r []byte) error {
		if n++; n%2 == 1 {
			return errno
		}
		return c.Tx(w, r)
	})
}

func TestAChipThatDoesNotAcknowledgeEverySecondTransferGivesAllItsReadings(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EREMOTEIO, syscall.ENXIO, syscall.EAGAIN} {
		synctest.Test(t, func(t *testing.T) {
			bus := new(i2ctest.Bus).Attach(0x48, unreliable(good(), errno)).Attach(0x49, good())
			p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			var log logged
			sick, healthy := runDevice(ctx, &running, p, 1, 0x48, &log), runDevice(ctx, &running, p, 1, 0x49, &log)
			time.Sleep(99*time.Second + 500*time.Millisecond)
			stop()
			running.Wait()
			regular(t, "the neighbour", healthy.times, 100)
			regular(t, "the chip", sick.times, 100)
			if got := sick.stats.Snapshot().Errors; got != 100 {
				t.Errorf("%v: %d faults counted, want one for each reading", errno, got)
			}
			const said = "the TMP102 at address 0x48 on I2C bus 1: 2 of 2 transfers had no answer at the first try; check its wiring and power"
			if got := strings.Count(log.text.String(), "at the first try"); got != 1 || !strings.Contains(log.text.String(), said) {
				t.Errorf("%v: the log says it %d times:\n%s", errno, got, log.text.String())
			}
		})
	}
}

func TestAChipThatNeverAcknowledgesIsOfflineAndIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(i2ctest.Bus).Attach(0x48, good()).Attach(0x49, good())
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		sick, healthy := runDevice(ctx, &running, p, 1, 0x48, new(logged)), runDevice(ctx, &running, p, 1, 0x49, new(logged))
		time.Sleep(9*time.Second + 500*time.Millisecond)
		bus.Attach(0x48, nil)
		time.Sleep(60 * time.Second)
		before := len(sick.given())
		bus.Attach(0x48, good())
		time.Sleep(2 * time.Minute)
		stop()
		running.Wait()
		regular(t, "the neighbour", healthy.times, 190)
		const silent = "no answer from the TMP102 at address 0x48 on I2C bus 1; check its address, wiring and power; `gateway devices -scan` shows who is on bus 1"
		want(t, sick.lines, "online", "offline: 3 times in a row: "+silent, "online", "offline: the gateway is stopping")
		if before != 10 || len(sick.times) < 50 {
			t.Errorf("%d readings before, %d in all", before, len(sick.times))
		}
	})
}

func TestOnlyATransferThatWasNotTakenIsRepeated(t *testing.T) {
	for errno, repeats := range map[syscall.Errno]int{
		syscall.ENXIO: 2, syscall.EREMOTEIO: 2, syscall.EAGAIN: 2,
		syscall.ETIMEDOUT: 1, syscall.EIO: 1, syscall.EBUSY: 1, syscall.ENODEV: 1, syscall.EPROTO: 1, syscall.EOPNOTSUPP: 1,
	} {
		n := 0
		chip := i2ctest.Func(func(_, _ []byte) error { n++; return errno })
		measured(t, i2c.TMP102Kind(), 0x48, chip, "", 1)
		if n != repeats {
			t.Errorf("%v: %d transfers, want %d", errno, n, repeats)
		}
	}
}

func TestATransferIsNotRepeatedWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, refuses := 0, false
		chip := i2ctest.Func(func(w, r []byte) error {
			if n++; refuses {
				return syscall.ENXIO
			}
			return good().Tx(w, r)
		})
		dev, err := i2c.TMP102Kind().Open(t.Context(), with(""), i2ctest.Ports(map[int]*i2ctest.Bus{1: new(i2ctest.Bus).Attach(0x48, chip)}))
		if err != nil {
			t.Fatal(err)
		}
		n, refuses = 0, true
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Microsecond)
		defer cancel()
		_, err = dev.(drivers.Sampler).Sample(ctx)
		if silent := new(drivers.NoAnswerError); !errors.As(err, &silent) || n != 1 {
			t.Errorf("%d transfers, %v", n, err)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A chip of Sensirion does not acknowledge a read as long as it has nothing to tell:
// what it has is still there at the second try.
func TestAMeasurementIsNotLostByARepeatedRead(t *testing.T) {
	got := measured(t, i2c.SCD4xKind(), 0x62, i2ctest.Recorded(`
		36 f6 > nack      # once: nobody expects an answer
		3f 86 > nack
		3f 86
		36 82
		> f8 96 31 9f 07 c2 3b be 89
		24 27 00 00 81
		21 b1
		e4 b8
		> 80 06 04
		ec 05
		> nack
		> 01 f4 33 66 67 a2 5e b9 3c
		3f 86
	`), "", 1)
	want(t, got, "co2=500 temperature=25 humidity=37 the SCD4x at address 0x62 on I2C bus 1: 2 of 9 transfers had no answer at the first try...")
}

// A chip that holds the clock low: the controller gives up after a second (adap->timeout
// of i2c-core-base.c), and whoever comes next finds the line as it is.
func TestABusThatIsHeldLowIsToldWithTheChipThatBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var low bool
		var mu sync.Mutex
		line := func(c i2ctest.Chip, holds func() bool) i2ctest.Chip {
			return i2ctest.Func(func(w, r []byte) error {
				mu.Lock()
				low = low || holds()
				is := low
				mu.Unlock()
				if is {
					time.Sleep(time.Second)
					return syscall.ETIMEDOUT
				}
				return c.Tx(w, r)
			})
		}
		n := 0
		neighbour := false
		one := new(i2ctest.Bus).
			Attach(0x48, line(good(), func() bool { n++; return n == 12 })).
			Attach(0x49, line(good(), func() bool { return neighbour }))
		two := new(i2ctest.Bus).Attach(0x48, good())
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: one, 2: two})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		culprit, victim := runDevice(ctx, &running, p, 1, 0x48, new(logged)), runDevice(ctx, &running, p, 1, 0x49, new(logged))
		other := runDevice(ctx, &running, p, 2, 0x48, new(logged))
		time.Sleep(99*time.Second + 500*time.Millisecond)
		mu.Lock()
		low = false // somebody has power-cycled it
		mu.Unlock()
		time.Sleep(100 * time.Second)
		regular(t, "the other bus", other.given(), 200)
		mu.Lock()
		neighbour = true // another time, another chip
		mu.Unlock()
		time.Sleep(8 * time.Second)
		stop()
		running.Wait()
		const its = "the TMP102 at address 0x48 on I2C bus 1: connection timed out: it holds SDA or SCL low, or the pull-up resistors are missing; power-cycle the chip, check its wiring"
		want(t, culprit.lines[:min(4, len(culprit.lines))], "online", "offline: 3 times in a row: "+its, "online",
			"offline: 3 times in a row: the TMP102 at address 0x48 on I2C bus 1: connection timed out: SDA or SCL is held low since the transfer with address 0x49; power-cycle that chip, check its wiring")
		const theirs = "the TMP102 at address 0x49 on I2C bus 1: connection timed out: SDA or SCL is held low since the transfer with address 0x48; power-cycle that chip, check its wiring"
		want(t, victim.lines[:min(4, len(victim.lines))], "online", "offline: 3 times in a row: "+theirs, "online",
			"offline: 3 times in a row: the TMP102 at address 0x49 on I2C bus 1: connection timed out: it holds SDA or SCL low, or the pull-up resistors are missing; power-cycle the chip, check its wiring")
	})
}

// A chip that measures for 700 ms, and is silent meanwhile, holds up nobody.
func TestAChipThatMeasuresForLongHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ready time.Time
		slow := i2ctest.Func(func(w, r []byte) error {
			switch {
			case time.Now().Before(ready):
				return syscall.EREMOTEIO
			case len(r) == 0:
				ready = time.Now().Add(700 * time.Millisecond)
			default:
				r[0] = 42
			}
			return nil
		})
		bus := new(i2ctest.Bus).Attach(0x20, slow).Attach(0x49, good())
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		var log logged
		measuring := runKind(ctx, &running, p, i2c.RegisterKind(), `address = 0x20
			start = [[1]]
			wait = "700ms"
			channels = [{ name = "a", register = 0 }]`, &log)
		healthy := runDevice(ctx, &running, p, 1, 0x49, &log)
		time.Sleep(99*time.Second + 800*time.Millisecond)
		stop()
		running.Wait()
		regular(t, "the chip", measuring.times, 100)
		regular(t, "the neighbour", healthy.times, 100)
		if text := log.text.String(); strings.Contains(text, "WARN") && !strings.Contains(text, "stopping") {
			t.Errorf("log:\n%s", text)
		}
	})
}

// A chip that stretches the clock for 700 ms of each transfer has the bus for so long.
// Its neighbours wait for their turn, each time as long: they keep their interval.
func TestAChipThatStretchesTheClockLeavesTheIntervalsAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := i2ctest.Func(func(w, r []byte) error { time.Sleep(700 * time.Millisecond); return good().Tx(w, r) })
		one := new(i2ctest.Bus).Attach(0x48, slow).Attach(0x49, good()).Attach(0x4a, good())
		two := new(i2ctest.Bus).Attach(0x48, good())
		p := i2ctest.Ports(map[int]*i2ctest.Bus{1: one, 2: two})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		far := runDevice(ctx, &running, p, 2, 0x48, new(logged))
		var near []*listener
		for _, address := range []uint16{0x48, 0x49, 0x4a} {
			near = append(near, runDevice(ctx, &running, p, 1, address, new(logged)))
		}
		time.Sleep(299*time.Second + 500*time.Millisecond)
		stop()
		running.Wait()
		regular(t, "the other bus", far.times, 300)
		for i, l := range near {
			const begin = 5 // they open beside each other
			regular(t, fmt.Sprint("on the same bus, ", i), l.times[begin:], len(l.times)-begin)
			if len(l.times) < 295 || len(l.lines) != 2 {
				t.Errorf("%d: %d readings in 300 s, %q", i, len(l.times), l.lines)
			}
		}
	})
}

// Chance lets a neighbour that asks together with such a chip be now before it and now
// behind it, and then its readings go to and fro by 700 ms. So the chip gets out of its
// way, once by 50 or 100 ms, also if the wire of the neighbour is loose.
func TestAChipThatStretchesTheClockDoesNotComeTogetherWithItsNeighbours(t *testing.T) {
	// It asks at 0.75 of its second.
	for phase := 600 * time.Millisecond; phase < 900*time.Millisecond; phase += 4 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			slow := i2ctest.Func(func(w, r []byte) error { time.Sleep(700 * time.Millisecond); return good().Tx(w, r) })
			bus := new(i2ctest.Bus).Attach(0x48, slow).Attach(0x49, good()).Attach(0x4a, unreliable(good(), syscall.EREMOTEIO))
			p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
			chip := p.I2C
			p.I2C = func(c drivers.I2CConfig) (drivers.I2CChip, error) {
				inner, err := chip(c)
				return &late{I2CChip: inner, random: rand.New(rand.NewPCG(uint64(phase), uint64(c.Address)))}, err
			}
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			near := []*listener{runDevice(ctx, &running, p, 1, 0x48, new(logged))}
			time.Sleep(5*time.Second + phase)
			for _, address := range []uint16{0x49, 0x4a} {
				near = append(near, runDevice(ctx, &running, p, 1, address, new(logged)))
				time.Sleep(30 * time.Millisecond)
			}
			time.Sleep(40 * time.Second)
			stop()
			running.Wait()
			for i, l := range near {
				for j := len(l.times) - 30; j < len(l.times); j++ {
					if gap := l.times[j] - l.times[j-1]; gap < 850*time.Millisecond || gap > 1150*time.Millisecond {
						t.Errorf("with %v between them, %d: %v between two readings", phase, i, gap)
					}
				}
			}
		})
	}
}

// A late chip is asked some milliseconds later than it should be, as on a busy machine.
type late struct {
	drivers.I2CChip
	random *rand.Rand
}

func (l *late) Tx(ctx context.Context, w, r []byte) error {
	time.Sleep(time.Duration(l.random.Int64N(int64(12 * time.Millisecond))))
	return l.I2CChip.Tx(ctx, w, r)
}

// A BME280 takes six transfers for a reading: the last one compares its calibration.
func TestABME280ThatDoesNotAcknowledgeEverySecondTransferGivesAllItsReadings(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EREMOTEIO, syscall.EAGAIN} {
		const reading = bmeStart + "f3 > 00\nf7 > 4a 52 c0 80 96 c0 7a 76\n" + bmeTrim
		got := measured(t, i2c.BME280Kind(), 0x76, unreliable(i2ctest.Recorded(bmeOpened+strings.Repeat(reading, 3)), errno), "", 3)
		for i, line := range got {
			if !strings.HasPrefix(line, "temperature=23.72 humidity=65.31 pressure=1009.43 ") || !strings.Contains(line, "transfers had no answer at the first try") {
				t.Errorf("%v, reading %d: %s", errno, i, line)
			}
		}
		if len(got) != 3 {
			t.Errorf("%v: %q", errno, got)
		}
	}
}

// Zero is also what the registers hold before the first conversion: a true one takes the
// time of another conversion, and comes with every sample.
func TestFreezingWaterIsToldByEverySample(t *testing.T) {
	for _, c := range []struct {
		kind    drivers.Kind
		address uint16
		chip    i2ctest.Words
	}{
		{i2c.TMP102Kind(), 0x48, i2ctest.Words{0: 0, 1: 0x60a0}},
		{i2c.MCP9808Kind(), 0x18, i2ctest.Words{5: 0, 6: 0x0054, 7: 0x0400}},
		{i2c.MCP9808Kind(), 0x18, i2ctest.Words{5: 0xc000, 6: 0x0054, 7: 0x0400}}, // with alarms
	} {
		want(t, measured(t, c.kind, c.address, c.chip, "", 2), "temperature=0", "temperature=0")
		synctest.Test(t, func(t *testing.T) {
			// Also by a loose wire, beside a chip that holds the bus for most of the time.
			slow := i2ctest.Func(func(w, r []byte) error { time.Sleep(700 * time.Millisecond); return good().Tx(w, r) })
			bus := new(i2ctest.Bus).Attach(c.address, unreliable(c.chip, syscall.EREMOTEIO)).Attach(0x4a, slow)
			p := i2ctest.Ports(map[int]*i2ctest.Bus{1: bus})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			runDevice(ctx, &running, p, 1, 0x4a, new(logged))
			l := runKind(ctx, &running, p, c.kind, fmt.Sprintf("address = %#x", c.address), new(logged))
			time.Sleep(59*time.Second + 900*time.Millisecond)
			stop()
			running.Wait()
			regular(t, c.kind.Name, l.times, 59) // the first one waits for the other chip
		})
	}
}
