package field

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"edgegateway/drivers"
)

// asked is the Context of a job that somebody waits for; it holds one.
type asked chan error

// Sample has a device measured before its next tick, and returns when what it said is
// in its state. A device that tells by itself has told already. The error says why
// there is no reading; that of ctx, that nobody waits for it any more.
func (b *Bridge) Sample(ctx context.Context, name string) error {
	at := slices.IndexFunc(b.devices, func(d *device) bool { return d.cfg.Name == name })
	if at < 0 {
		return fmt.Errorf("there is no device %q", name)
	}
	d, done := b.devices[at], make(asked, 1)
	if err := d.seat(); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if !d.take(drivers.Job{Sample: true, Deadline: deadline, Context: done}) {
		return drivers.ErrStopped
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// seat takes a place among those that wait for the device.
func (d *device) seat() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.stopped:
		return drivers.ErrStopped
	case d.waiting == mailbox:
		return errFull
	}
	d.waiting++
	return nil
}

// Single is how the state would show one reading of a device that is opened outside of
// a bridge: calibrated, checked and rounded. What takes more than one reading, such as
// windows and deadbands, is left out.
func (c DeviceConfig) Single(channels []drivers.Channel, r drivers.Reading) DeviceStatus {
	d := device{bridge: new(Bridge), cfg: c, log: slog.New(slog.DiscardHandler), traits: make(map[string]*trait)}
	for name, ch := range c.Channels {
		ch.Aggregate = ""
		d.traits[name] = &trait{cfg: ch}
	}
	d.describe(channels)
	d.at = r.At
	d.spoil(r.Bad, r.At)
	for _, v := range r.Values {
		d.process(v, r.At)
	}
	return d.status()
}
