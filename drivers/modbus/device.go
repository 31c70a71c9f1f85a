package modbus

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"edgegateway/drivers"
)

//go:embed rtu.toml
var rtuExample string

//go:embed tcp.toml
var tcpExample string

// mostTime is for one sample or command: of a dozen units on a line of 2400 bit/s each has
// to wait for all others before each of its requests.
const mostTime = 30 * time.Second

// RTUKind returns the kind modbus-rtu. Devices that are opened by one Kind and name
// the same port share it.
func RTUKind() drivers.Kind {
	var shared lines
	k := drivers.KindOf("modbus-rtu", "A meter, inverter or controller on a serial line that speaks Modbus RTU.",
		rtuExample, rtuDefaults, func(ctx context.Context, o RTUOptions, p drivers.Ports) (drivers.Device, error) {
			if p.Serial == nil {
				return nil, errors.New("this gateway has no serial ports")
			}
			bits := o.bitsOfCharacter()
			ln, err := shared.join(filepath.Clean(o.Path), o.settings(), false, func(context.Context) (carrier, error) {
				port, err := p.Serial(o.Port())
				if err != nil {
					return nil, err
				}
				// Before the first request, too, the line must be silent: another
				// program may have asked something a moment ago.
				return &rtu{
					name: o.Path, port: port, echo: o.Echo, silence: silence(o.Baud, bits), lateComer: true, opened: time.Now(),
					hint:    fmt.Sprintf("are baud rate and parity right (%s)?", o.settings()),
					airtime: func(n int) time.Duration { return o.RS485Before + characters(n, o.Baud, bits) },
				}, nil
			})
			if err != nil {
				return nil, err
			}
			d := newDevice(ln, o.UnitOptions)
			// The port is opened now, so that what is wrong with it is said at once.
			if err := ln.use(ctx, func(carrier) error { return nil }); err != nil {
				return nil, errors.Join(err, d.Close())
			}
			return start(ctx, d)
		})
	k.Timeout = mostTime
	return k
}

// TCPKind returns the kind modbus-tcp. Devices that are opened by one Kind and name
// the same address share a connection: many a Modbus gateway has only one.
func TCPKind() drivers.Kind {
	var shared lines
	k := drivers.KindOf("modbus-tcp", "A meter, inverter or controller in the network that speaks Modbus TCP.",
		tcpExample, tcpDefaults, func(ctx context.Context, o TCPOptions, _ drivers.Ports) (drivers.Device, error) {
			address, opened := o.hostPort(), time.Now()
			ln, err := shared.join(address, o.settings(), true, func(ctx context.Context) (carrier, error) {
				conn, err := dial(ctx, address, o.Timeout)
				if err != nil {
					return nil, err
				}
				if o.Framing == "rtu" {
					return &rtu{name: address, port: conn, opened: opened}, nil
				}
				return &tcp{name: address, conn: conn}, nil
			})
			if err != nil {
				return nil, err
			}
			return start(ctx, newDevice(ln, o.UnitOptions))
		})
	k.Timeout = mostTime
	return k
}

// A device is one unit.
type device struct {
	line    *line
	options UnitOptions
	points  []Point   // normal
	whole   []span    // as planned
	spans   []span    // without what the unit refuses
	apart   time.Time // since when they are not the same

	answered bool // the unit has answered since it was opened
}

var (
	_ drivers.Sampler  = (*device)(nil)
	_ drivers.Actuator = (*device)(nil)
)

func newDevice(ln *line, o UnitOptions) *device {
	d := &device{line: ln, options: o}
	var wanted []int
	for i, p := range o.Points {
		d.points = append(d.points, p.normal())
		if !p.NoRead {
			wanted = append(wanted, i)
		}
	}
	d.whole = plan(d.points, wanted, o.CountFrom, o.MaxGap, o.MaxCount)
	d.spans = slices.Clone(d.whole)
	return d
}

// anew is how long what a unit refuses is not asked for again in one request: while it
// starts, one may refuse everything.
const anew = 10 * time.Minute

func (d *device) Channels() []drivers.Channel {
	var channels []drivers.Channel
	for _, p := range d.points {
		channels = append(channels, p.channel())
	}
	return channels
}

func (d *device) Close() error { return d.line.leave() }

// ask sends a request. A read without an answer is repeated, but not to a unit that
// has not answered yet: one that is off would take the time of its neighbours. A
// write is never repeated, since it may have been carried out.
func (d *device) ask(ctx context.Context, r request) ([]byte, error) {
	for try := 0; ; try++ {
		data, err := d.line.ask(ctx, byte(d.options.UnitID), r, waits{d.options.Timeout, d.options.Delay})
		var exception *ExceptionError
		refused := errors.As(err, &exception)
		if err == nil || refused && exception.Code != pathUnavailable && exception.Code != targetSilent {
			d.answered = true
		}
		if err == nil || refused || r.writes() || !d.answered || try == d.options.Retries ||
			errors.Is(err, drivers.ErrGone) || ctx.Err() != nil {
			if err != nil && errors.Is(err, ctx.Err()) {
				err = fmt.Errorf("%v: the time for all of it was up; other units on the line may take too much of it: %w", r, err)
			}
			return data, err
		}
	}
}

// Sample reads all points. What a unit refuses is a fault of the reading; a unit
// that does not answer is not asked for the rest.
func (d *device) Sample(ctx context.Context) (drivers.Reading, error) {
	if len(d.whole) == 0 { // all points are write_only
		return drivers.Reading{}, d.line.reach(ctx)
	}
	values := make([]any, len(d.points))
	var r drivers.Reading
	if !d.apart.IsZero() && time.Since(d.apart) > anew {
		d.spans, d.apart = slices.Clone(d.whole), time.Time{}
	}
	for i := 0; i < len(d.spans); i++ {
		s := d.spans[i]
		data, err := d.ask(ctx, s.request())
		var exception *ExceptionError
		switch {
		case err == nil:
			if r.At.IsZero() {
				r.At = time.Now()
			}
			for _, p := range s.points {
				var err error
				if values[p], err = d.value(d.points[p], s, data); err != nil {
					r.Fault = fmt.Errorf("channel %q: %w", d.points[p].Name, err)
				}
			}
		case errors.As(err, &exception) && exception.Code != pathUnavailable && exception.Code != targetSilent:
			if (exception.Code == illegalDataAddress || exception.Code == illegalDataValue) && len(s.points) > 1 {
				// One of them, or a register between them, is not there.
				d.apart = time.Now()
				d.spans = slices.Replace(d.spans, i, i+1, s.split(d.points, d.options.CountFrom)...)
				i--
				continue
			}
			r.Fault = fmt.Errorf("channel %q: %w", d.points[s.points[0]].Name, err)
		default:
			return drivers.Reading{}, err
		}
	}
	for i, p := range d.points {
		switch {
		case values[i] != nil:
			r.Values = append(r.Values, drivers.Value{Channel: p.Name, V: values[i]})
		case !p.NoRead: // what it was before is not true any more
			r.Bad = append(r.Bad, p.Name)
		}
	}
	return r, nil
}

// value finds a point in the data of its span; nil if there is no value now.
func (d *device) value(p Point, s span, data []byte) (any, error) {
	at := p.Address - d.options.CountFrom - s.at
	if p.bits() {
		return data[at/8]>>(at%8)&1 == 1, nil
	}
	v, ok, err := p.decode(data[2*at : 2*(at+p.width())])
	if err != nil || !ok {
		return nil, err
	}
	return v, nil
}

func (d *device) Check(c drivers.Command) (drivers.Command, error) {
	c, _, err := drivers.Resolve(c, d.Channels())
	if err != nil {
		return c, err
	}
	c.Value, err = d.points[d.index(c.Channel)].settle(c.Value)
	return c, err
}

// request makes the request of a command that has been resolved.
func (d *device) request(c drivers.Command) (request, error) {
	p := d.points[d.index(c.Channel)]
	return p.write(c.Value, uint16(p.Address-d.options.CountFrom))
}

func (d *device) index(channel string) int {
	return slices.IndexFunc(d.points, func(p Point) bool { return p.Name == channel })
}

// Actuate writes a point, and reads it back: what a unit took and what it made of it
// may differ.
func (d *device) Actuate(ctx context.Context, c drivers.Command) (drivers.Reading, error) {
	r, err := d.request(c)
	if err != nil {
		return drivers.Reading{}, err
	}
	if _, err := d.ask(ctx, r); err != nil {
		var exception *ExceptionError
		var unsent unsentError
		refused := errors.As(err, &exception) && !exception.unknown()
		if !refused && !errors.As(err, &unsent) {
			err = fmt.Errorf("nobody knows whether the unit did it: %w", err)
		}
		return drivers.Reading{}, err
	}
	i := d.index(c.Channel)
	if d.points[i].NoRead {
		return drivers.Reading{}, nil
	}
	s := plan(d.points, []int{i}, d.options.CountFrom, 0, mostRegisters)[0]
	data, err := d.ask(ctx, s.request())
	if err != nil {
		return drivers.Reading{Fault: fmt.Errorf("%q is written, but cannot be read back: %w", c.Channel, err)}, nil
	}
	v, err := d.value(d.points[i], s, data)
	if err != nil || v == nil {
		return drivers.Reading{Fault: err}, nil
	}
	return drivers.Reading{At: time.Now(), Values: []drivers.Value{{Channel: c.Channel, V: v}}}, nil
}
