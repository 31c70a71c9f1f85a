package i2c

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"edgegateway/drivers"
)

// A link speaks with a chip in the ways that chips have in common, and counts how
// well the chip answers.
type link struct {
	chip drivers.I2CChip
	name string // "the BME280 at address 0x76 on I2C bus 1"

	transfers, repeated int // since answers was called
}

// repeatAfter is the pause before the second try: longer than a disturbance lasts,
// short beside the interval of any chip.
const repeatAfter = time.Millisecond

// Tx makes one transfer, and makes it a second time if the chip did not acknowledge
// it or another controller came first: with a loose wire or a long cable, and from a
// chip that was busy for a moment, the second try usually is a reading.
//
// A chip that did not acknowledge a byte has not taken it (I2C-bus specification, NXP
// UM10204, section 3.1.6), so at worst the transfer is made twice. That is safe for
// all that is sent here: registers are written with what they hold; a command that
// starts a measurement starts it anew, and it is waited for from then on; a chip of
// Sensirion does not acknowledge a read as long as it has nothing to tell, and has
// given nothing away by that (SCD4x, version 1.3, section 3.5.2; SHT3x-DIS, version
// 5, section 4.6), while a measurement that went to nobody is missed and not mistaken:
// its words have checksums. A transfer that timed out is not repeated: the chip is
// slow, or the bus is stuck, and either would only be held up for longer.
func (c *link) Tx(ctx context.Context, w, r []byte) error {
	c.transfers++
	err := c.chip.Tx(ctx, w, r)
	if !unanswered(err) && !errors.Is(err, syscall.EAGAIN) || pause(ctx, repeatAfter) != nil {
		return err
	}
	c.repeated++
	return c.chip.Tx(ctx, w, r)
}

// answers tells of transfers that took two tries, and begins to count anew.
func (c *link) answers() (fault error) {
	if c.repeated > 0 {
		fault = c.faulty("%d of %d transfers had no answer at the first try; check its wiring and power, the length of the cable and the pull-up resistors",
			c.repeated, c.transfers)
	}
	c.transfers, c.repeated = 0, 0
	return fault
}

// faulty makes an error of what the chip said. Those of the bus name the chip already.
func (c *link) faulty(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{c.name}, args...)...)
}

// stranger makes the error of a chip that is not the one it is configured as.
func (c *link) stranger(format string, args ...any) error {
	return c.faulty("another chip is there: "+format, args...)
}

// read reads n bytes behind the number of a register.
func (c *link) read(ctx context.Context, register byte, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, c.Tx(ctx, []byte{register}, b)
}

// word reads a register of 16 bits, the high byte first.
func (c *link) word(ctx context.Context, register byte) (uint16, error) {
	b, err := c.read(ctx, register, 2)
	return uint16(b[0])<<8 | uint16(b[1]), err
}

// setWord writes a register of 16 bits, the high byte first.
func (c *link) setWord(ctx context.Context, register byte, value uint16) error {
	return c.write(ctx, register, byte(value>>8), byte(value))
}

func (c *link) write(ctx context.Context, b ...byte) error { return c.Tx(ctx, b, nil) }

// pause waits for a chip that is measuring. The bus is free meanwhile.
func (c *link) pause(ctx context.Context, d time.Duration) error {
	if err := pause(ctx, d); err != nil {
		return c.faulty("the time was over before the measurement was: %w", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits as long as a measurement takes, and then asks at shorter intervals
// whether it is ready, for seven times as long. Some counterfeits, and chips of
// another kind, never say that they are.
func (c *link) until(ctx context.Context, takes time.Duration, ready func() (bool, error)) error {
	const times = 50
	wait := takes
	for range times {
		if err := c.pause(ctx, wait); err != nil {
			return err
		}
		if ok, err := ready(); ok || err != nil {
			return err
		}
		wait = max(takes/8, time.Millisecond)
	}
	return c.faulty("it says without an end that it is busy; is it another kind of chip? power-cycle it")
}

// within refuses what the chip cannot have measured: what is read from a bus with a
// bad contact is often all ones or all zeros.
func (c *link) within(name string, value, low, high float64) error {
	if value >= low && value <= high {
		return nil
	}
	return c.faulty("%s of %.4g is outside of what it measures, %v to %v; check its wiring and power", name, value, low, high)
}

// celsius is the value of a chip that measures a temperature and nothing else.
func (c *link) celsius(t, low, high float64) ([]any, error) {
	if err := c.within("a temperature", t, low, high); err != nil {
		return nil, err
	}
	return []any{t}, nil
}
