package i2c

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"edgegateway/drivers"
)

// A sensor is a chip that is asked for its values.
type sensor struct {
	link     link
	channels []drivers.Channel

	// measure returns one value per channel; nil is one that could not be had, for
	// the reason in the error.
	measure func(ctx context.Context) ([]any, error)

	// rest, if there is one, puts the chip to sleep at the end.
	rest func(ctx context.Context) error
}

var _ drivers.Sampler = (*sensor)(nil)

// attach opens a sensor: it finds the chip, lets setUp prepare it, and gives the
// chip back when that fails.
func attach(ctx context.Context, p Place, ports drivers.Ports, setUp func(ctx context.Context, c link) (*sensor, error)) (drivers.Device, error) {
	chip, err := p.chip(ports)
	if err != nil {
		return nil, err
	}
	s, err := setUp(ctx, link{chip})
	if err != nil {
		chip.Close()
		return nil, err
	}
	s.link = link{chip}
	return s, nil
}

func (s *sensor) Channels() []drivers.Channel { return s.channels }

// Sample measures once. The time is that of the end of the measurement.
func (s *sensor) Sample(ctx context.Context) (drivers.Reading, error) {
	values, err := s.measure(ctx)
	r := drivers.Reading{At: time.Now(), Fault: err}
	for i, v := range values {
		if v != nil {
			r.Values = append(r.Values, drivers.Value{Channel: s.channels[i].Name, V: v})
		}
	}
	if len(r.Values) == 0 {
		return drivers.Reading{}, err
	}
	return r, nil
}

// restTime is how long a chip has for being put to sleep: Close is waited for.
const restTime = 700 * time.Millisecond

// Close puts the chip to sleep. One that does not answer any more is none to save
// power with, and no error.
func (s *sensor) Close() error {
	if s.rest != nil {
		ctx, cancel := context.WithTimeout(context.Background(), restTime)
		defer cancel()
		_ = s.rest(ctx)
	}
	return s.link.Close()
}

// A link speaks with a chip in the ways that chips have in common.
type link struct{ drivers.I2CChip }

// read reads n bytes behind the number of a register.
func (c link) read(ctx context.Context, register byte, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, c.Tx(ctx, []byte{register}, b)
}

// word reads a register of 16 bits, the high byte first.
func (c link) word(ctx context.Context, register byte) (uint16, error) {
	b, err := c.read(ctx, register, 2)
	return uint16(b[0])<<8 | uint16(b[1]), err
}

// setWord writes a register of 16 bits, the high byte first.
func (c link) setWord(ctx context.Context, register byte, value uint16) error {
	return c.write(ctx, register, byte(value>>8), byte(value))
}

func (c link) write(ctx context.Context, b ...byte) error { return c.Tx(ctx, b, nil) }

// pause waits for a chip that is measuring. The bus is free meanwhile.
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
// whether it is ready, for seven times as long.
func until(ctx context.Context, takes time.Duration, ready func() (bool, error)) error {
	const times = 50
	wait := takes
	for range times {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if ok, err := ready(); ok || err != nil {
			return err
		}
		wait = max(takes/8, time.Millisecond)
	}
	return errBusy
}

// errBusy: some counterfeits, and chips of another kind, never say that they are ready.
var errBusy = errors.New("the chip says without an end that it is busy; is it another kind of chip? power-cycle it")

// within refuses what the chip cannot have measured: what is read from a bus with a
// bad contact is often all ones or all zeros.
func within(name string, value, low, high float64) error {
	if value >= low && value <= high {
		return nil
	}
	return fmt.Errorf("%s of %.4g is outside of what the chip measures, %v to %v; check its wiring and power", name, value, low, high)
}

// celsius is the value of a chip that measures a temperature and nothing else.
func celsius(t, low, high float64) ([]any, error) {
	if err := within("a temperature", t, low, high); err != nil {
		return nil, err
	}
	return []any{t}, nil
}

// round keeps so many decimals: more than the chip resolves is noise in a message.
func round(v float64, decimals int) float64 {
	scale := math.Pow10(decimals)
	return math.Round(v*scale) / scale
}

// errWrongChip says what is at the address instead of the chip.
func errWrongChip(p Place, chip, found string) error {
	return fmt.Errorf("%v is no %s: %s", p, chip, found)
}

// errChecksum says that bytes were changed on their way.
var errChecksum = errors.New("the checksum is wrong; the wires may be too long, the pull-up resistors too weak")

// The channels that several chips have.
func temperature() drivers.Channel {
	return drivers.Channel{Name: "temperature", Quantity: drivers.Temperature, Unit: "°C", Type: drivers.Float}
}

func humidity() drivers.Channel {
	return drivers.Channel{Name: "humidity", Quantity: drivers.Humidity, Unit: "%", Type: drivers.Float}
}

func pressure() drivers.Channel {
	return drivers.Channel{Name: "pressure", Quantity: drivers.Pressure, Unit: "hPa", Type: drivers.Float}
}
