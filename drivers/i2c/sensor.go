package i2c

import (
	"context"
	"errors"
	"time"

	"edgegateway/drivers"
)

// A sensor is a chip that is asked for its values.
type sensor struct {
	link     *link
	channels []drivers.Channel

	// measure returns one value per channel; nil is one that could not be had, for
	// the reason in the error.
	measure func(ctx context.Context) ([]any, error)

	// rest, if there is one, puts the chip to sleep at the end.
	rest func(ctx context.Context) error
}

var _ drivers.Sampler = (*sensor)(nil)

// attach opens a sensor: it finds the chip, lets setUp prepare it, and gives the
// address back when that fails. chip is the name of the chip in messages.
func attach(ctx context.Context, chip string, p Place, ports drivers.Ports, setUp func(ctx context.Context, c *link) (*sensor, error)) (drivers.Device, error) {
	if ports.I2C == nil {
		return nil, errors.New("this gateway has no I2C buses")
	}
	number, err := p.Bus.find(ports.Root)
	if err != nil {
		return nil, err
	}
	config := drivers.I2CConfig{Bus: number, Address: uint16(p.Address), Chip: chip}
	tx, err := ports.I2C(config)
	if err != nil {
		return nil, err
	}
	c := &link{chip: tx, name: who(config)}
	s, err := setUp(ctx, c)
	if err != nil {
		tx.Close() // the error that matters is the first
		return nil, err
	}
	s.link = c
	return s, nil
}

func (s *sensor) Channels() []drivers.Channel { return s.channels }

// Sample measures once. The time is that of the end of the measurement.
func (s *sensor) Sample(ctx context.Context) (drivers.Reading, error) {
	values, err := s.measure(ctx)
	r := drivers.Reading{At: time.Now()}
	for i, v := range values {
		if v != nil {
			r.Values = append(r.Values, drivers.Value{Channel: s.channels[i].Name, V: v})
		} else {
			r.Bad = append(r.Bad, s.channels[i].Name)
		}
	}
	if len(r.Values) == 0 { // trouble, or nothing new
		return drivers.Reading{}, err
	}
	r.Fault = errors.Join(err, s.link.answers())
	return r, nil
}

// restTime is how long a chip has for being put to sleep: Close is waited for.
const restTime = 900 * time.Millisecond

// Close puts the chip to sleep. One that does not answer any more is none to save
// power with, and no error.
func (s *sensor) Close() error {
	if s.rest != nil {
		ctx, cancel := context.WithTimeout(context.Background(), restTime)
		defer cancel()
		_ = s.rest(ctx)
	}
	return s.link.chip.Close()
}

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
