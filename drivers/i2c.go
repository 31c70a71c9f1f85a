package drivers

import "context"

// I2CConfig says which chip on which bus.
type I2CConfig struct {
	Bus     int    // 1 is /dev/i2c-1
	Address uint16 // 7 bits, 0x08 to 0x77
	Chip    string // what it should be, for messages: "BME280"; "" = not known
}

// An I2CChip is one address on a bus. One goroutine at a time may use it.
type I2CChip interface {
	// Tx writes w and then reads into all of r, as one transfer with a repeated start
	// in between; an empty w or r leaves its half out. No other transfer of this
	// gateway falls into it. Tx waits for its turn on the bus until ctx ends; a
	// transfer that has begun cannot be ended, the kernel's own limit is about a
	// second. Its errors name the chip and say what to check: NoAnswerError, one that
	// wraps ErrGone when the bus itself has left, or one that wraps the error of the
	// kernel (syscall.Errno).
	Tx(ctx context.Context, w, r []byte) error

	// Close lets go of the address.
	Close() error
}
