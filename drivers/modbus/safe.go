package modbus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edgegateway/drivers"
)

// What we chose.
const (
	closeTime     = 650 * time.Millisecond // for all safe values when the device is closed: at a stop there is a second, and a read ends up to drivers.SerialPatience late
	closePatience = 50 * time.Millisecond  // for an answer then, and up to drivers.SerialPatience more; a slower unit answers to the repetition, which says the same
	closeDelay    = 100 * time.Millisecond // before a request then: a second of it would leave no time for any
	mostSilences  = 3                      // requests in a row without a good answer, after which the unit is left alone
)

// Failsafe tells whether some point has a safe value. The device then has a safe state.
func (o UnitOptions) Failsafe() bool {
	for _, p := range o.Points {
		if p.Safe != nil {
			return true
		}
	}
	return false
}

// Moves tells whether something is written when the device is opened and closed.
func (o UnitOptions) Moves() bool { return o.Failsafe() }

// A failsafe is a unit of which some points have a safe value. They have it from the
// moment on that the device is open: what an earlier run has left nobody knows, and a unit
// that was away at the end of that run could not be told.
type failsafe struct{ *device }

var _ drivers.Failsafe = failsafe{}

// start makes the device of a unit. What has a safe value is set to it.
func start(ctx context.Context, d *device) (drivers.Device, error) {
	if !d.options.Failsafe() {
		return d, nil
	}
	f := failsafe{d}
	if err := f.secure(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return f, nil
}

// Close sets the safe values, as far as the unit answers.
func (f failsafe) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	f.options.Timeout = min(f.options.Timeout, closePatience)
	f.options.Delay = min(f.options.Delay, closeDelay)
	err := f.secure(ctx)
	return errors.Join(err, f.device.Close())
}

// Safe sets the safe values, and reads them back: a unit may take a value and hold another.
func (f failsafe) Safe(ctx context.Context) (drivers.Reading, error) {
	if err := f.secure(ctx); err != nil {
		return drivers.Reading{}, err
	}
	var which []int
	for i, p := range f.points {
		if p.Safe != nil && !p.NoRead {
			which = append(which, i)
		}
	}
	r := drivers.Reading{At: time.Now()}
	var others []string
	for _, s := range plan(f.points, which, f.options.CountFrom, 0, f.options.MaxCount) {
		data, err := f.ask(ctx, s.request())
		if err != nil {
			r.Fault = fmt.Errorf("the safe values are written, but cannot be read back: %w", err)
			continue
		}
		for _, i := range s.points {
			p := f.points[i]
			if !f.holds(p, s, data) {
				others = append(others, strconv.Quote(p.Name))
			}
			if v, err := f.value(p, s, data); err == nil && v != nil {
				r.Values = append(r.Values, drivers.Value{Channel: p.Name, V: v})
			}
		}
	}
	if len(others) > 0 {
		return drivers.Reading{}, fmt.Errorf("the unit took the safe value of %s and holds another one", strings.Join(others, ", "))
	}
	return r, nil
}

// secure writes all safe values, in the order of the points. What is refused keeps no
// other one from being set. Here a write is repeated, since it may be carried out twice; a
// unit that does not answer is not asked for all of them, and one that has not answered yet once.
func (f failsafe) secure(ctx context.Context) error {
	var unsafe []string
	var why error
	left := 1 // one that is off would take the time of its neighbours
	if f.answered {
		left = mostSilences
	}
	for _, p := range f.points {
		if p.Safe == nil {
			continue
		}
		err := why
		for tried := false; left > 0; left-- {
			next := f.write(ctx, p)
			if !tried || ctx.Err() == nil { // else it says no more than that
				err, tried = next, true
			}
			if !silent(next) || ctx.Err() != nil {
				break
			}
		}
		switch {
		case err == nil:
			left = mostSilences
			continue
		case ctx.Err() != nil, errors.Is(err, drivers.ErrGone):
			left = 0
		}
		unsafe, why = append(unsafe, strconv.Quote(p.Name)), err
	}
	if why == nil {
		return nil
	}
	return fmt.Errorf("%s may not have the safe value: %w", strings.Join(unsafe, ", "), why)
}

// write sets a point to its safe value.
func (f failsafe) write(ctx context.Context, p Point) error {
	r, err := f.safeRequest(p)
	if err == nil {
		_, err = f.ask(ctx, r)
	}
	return err
}

// silent tells whether after an error of a request the unit may have heard nothing.
func silent(err error) bool {
	var exception *ExceptionError
	if errors.As(err, &exception) {
		return exception.Code == pathUnavailable || exception.Code == targetSilent
	}
	return err != nil && !errors.Is(err, drivers.ErrGone)
}

// safeRequest is the request that sets a point to its safe value.
func (f failsafe) safeRequest(p Point) (request, error) {
	v, err := p.settle(p.Safe)
	if err != nil {
		return request{}, err // Validate has said so
	}
	return p.write(v, uint16(p.Address-f.options.CountFrom))
}

// holds tells whether a point has its safe value in the data of a span.
func (f failsafe) holds(p Point, s span, data []byte) bool {
	at := p.Address - f.options.CountFrom - s.at
	if p.bits() {
		on, err := drivers.ParseBool(p.Safe)
		return err == nil && data[at/8]>>(at%8)&1 == 1 == on
	}
	r, err := f.safeRequest(p)
	return err == nil && bytes.Equal(data[2*at:2*(at+p.width())], r.data)
}
