package i2c

import (
	"errors"
	"fmt"
	"syscall"

	"edgegateway/drivers"
)

// A TakenError says that a driver of the kernel has an address. It wraps EBUSY.
type TakenError struct {
	Chip, Driver string // as the kernel names them: "tmp105", "lm75"; "" = not known
	Class        string // of sysfs, where its values are: "iio", "hwmon"; "" = not known
}

// holder names the driver.
func (e *TakenError) holder() string {
	switch {
	case e.Driver == "":
		return "a driver of the kernel"
	case e.Chip == "" || e.Chip == e.Driver:
		return "the kernel's driver " + e.Driver
	}
	return fmt.Sprintf("the kernel's driver %s (%s)", e.Driver, e.Chip)
}

// instead is what to do with an address that the kernel has.
func (e *TakenError) instead(c drivers.I2CConfig) string {
	free := "take its overlay out of /boot/firmware/config.txt"
	if e.Driver != "" {
		free = fmt.Sprintf("take it from there: echo %d-%04x > /sys/bus/i2c/drivers/%s/unbind", c.Bus, c.Address, e.Driver)
	}
	switch e.Class {
	case "iio":
		return "use the kind iio for it, or " + free
	case "hwmon":
		return fmt.Sprintf("the kind host can read its temperature (sensor = %q), or %s", e.Chip, free)
	}
	return free
}

func (e *TakenError) Error() string { return "taken by " + e.holder() }
func (e *TakenError) Unwrap() error { return syscall.EBUSY }

// who names a chip in messages.
func who(c drivers.I2CConfig) string {
	place := Place{Bus: Bus{number: c.Bus}, Address: Number(c.Address)}.String()
	if c.Chip == "" {
		return place
	}
	return "the " + c.Chip + " at " + place
}

// unanswered tells that nobody acknowledged the address. Controllers give it two
// numbers: EREMOTEIO that of the Raspberry Pi (i2c-bcm2835.c), ENXIO most others, as
// Documentation/i2c/fault-codes.rst has it.
func unanswered(err error) bool {
	return errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EREMOTEIO)
}

// heldLow tells that a line of the bus did not come high in time. EBUSY is what some
// SMBus controllers say instead (fault-codes.rst).
func heldLow(err error) bool {
	return errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EBUSY)
}

// explain says what to do about an error of the kernel. culprit is whose transfer was
// the first that found a line held low; 0 if nobody knows.
func explain(err error, c drivers.I2CConfig, culprit uint16) error {
	var taken *TakenError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &taken):
		return fmt.Errorf("%s belongs to %s; %s: %w", who(c), taken.holder(), taken.instead(c), syscall.EBUSY)
	case unanswered(err):
		return &drivers.NoAnswerError{What: who(c), Hint: fmt.Sprintf("`gateway devices -scan` shows who is on bus %d", c.Bus), Err: err}
	case errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("I2C bus %d: %w: %w", c.Bus, drivers.ErrGone, err)
	case heldLow(err) && culprit == 0:
		return fmt.Errorf("I2C bus %d: %w: SDA or SCL is held low, or the pull-up resistors are missing; power-cycle its chips, check their wiring", c.Bus, err)
	case heldLow(err) && culprit != c.Address:
		return fmt.Errorf("%s: %w: SDA or SCL is held low since the transfer with address %#02x; power-cycle that chip, check its wiring", who(c), err, culprit)
	case heldLow(err):
		return fmt.Errorf("%s: %w: it holds SDA or SCL low, or the pull-up resistors are missing; power-cycle the chip, check its wiring", who(c), err)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%s: %w: another controller on the bus came first (arbitration lost); one controller is all that this bus can have", who(c), err)
	case errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("%s: %w: the controller of the bus, made for SMBus, cannot make this transfer; use another bus", who(c), err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%s: %w: the transfer was broken off; the chip refused a byte or held the clock for too long: check its wiring, the pull-up resistors and the length of the cable", who(c), err)
	}
	return fmt.Errorf("%s: %w: the transfer failed; check its wiring and power", who(c), err)
}
