package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/status"
)

// A whereabouts is where a device is to be had.
type whereabouts struct {
	running *status.Device      // the running gateway has it
	here    *field.DeviceConfig // or it is in the configuration, and nobody has it
	next    bool                // a gateway runs, and will have it with its next start
}

// whereIs finds a device in the running gateway, or else in the configuration.
func (c *socketChoice) whereIs(ctx context.Context, p *process, name string) (w whereabouts, err error) {
	report, err := c.status(ctx, p)
	switch {
	case err == nil:
		if at := slices.IndexFunc(report.Devices, func(d status.Device) bool { return d.Name == name }); at >= 0 {
			w.running = &report.Devices[at]
			return w, nil
		}
		w.next = true
	case !notRunning(err) || c.socket != "":
		return w, err
	}
	var names []string
	if err == nil {
		for _, d := range report.Devices {
			names = append(names, d.Name)
		}
		if c.config == "" || c.socket != "" {
			return w, noDevice(name, names)
		}
	}
	cfg, wrong := checkedConfig(c.config, p.getenv)
	if wrong != nil {
		return w, wrong
	}
	for _, d := range cfg.Devices {
		if d.Name == name {
			w.here = &d
			return w, nil
		}
		if !slices.Contains(names, d.Name) {
			names = append(names, d.Name)
		}
	}
	wrong = noDevice(name, names)
	if c.config == "" {
		wrong = fmt.Errorf("no gateway is running, and in the default configuration %w. Name the file with -config", wrong)
	}
	return w, wrong
}

// mayMove says why this process must not open a device that moves.
func (w whereabouts) mayMove() error {
	if w.next && moves(*w.here) {
		return fmt.Errorf("the running gateway does not have %s yet, and only it knows what must not be on together: start it again with this configuration first", w.here.Name)
	}
	return nil
}

// A visit is a device that is opened in this process alone, by the same way as in a
// gateway: with its timeouts, and with what a driver does wrong caught.
type visit struct {
	events chan visitEvent
	jobs   chan drivers.Job
	holds  atomic.Bool // it was opened, and closing it brings it into its safe state
	meter  atomic.Bool // it goes on from what a gateway keeps of it

	stop  context.CancelFunc
	ended chan error
}

// A visitEvent is one thing that the device said.
type visitEvent struct {
	online   bool
	channels []drivers.Channel
	check    func(drivers.Command) (drivers.Command, error)

	offline error
	reading *drivers.Reading

	result *drivers.Reading // of a command
	set    drivers.Command  // which was this one
	err    error            // or why it was not carried out
}

// kindOf is the kind of a device whose configuration was checked.
func kindOf(d field.DeviceConfig) drivers.Kind {
	kinds := all.Kinds()
	return kinds[slices.IndexFunc(kinds, func(k drivers.Kind) bool { return k.Name == d.Kind })]
}

// optionsOf decodes the options of a device, which may have none.
func optionsOf(d field.DeviceConfig) func(dst any) error {
	if d.Options == nil {
		return func(any) error { return nil }
	}
	return d.Options
}

// moves tells whether something moves when a device is opened.
func moves(d field.DeviceConfig) bool {
	kind := kindOf(d)
	return kind.Moves != nil && kind.Moves(optionsOf(d))
}

// visitDevice opens a device; its events begin to come. The caller ends it.
func visitDevice(ctx context.Context, p *process, d field.DeviceConfig) *visit {
	v := &visit{events: make(chan visitEvent), jobs: make(chan drivers.Job, 1), ended: make(chan error, 1)}
	kind := kindOf(d)
	open := kind.Open
	kind.Open = func(ctx context.Context, decode func(any) error, ports drivers.Ports) (drivers.Device, error) {
		dev, err := open(ctx, decode, ports)
		if _, ok := dev.(drivers.Failsafe); ok && err == nil {
			v.holds.Store(true)
		}
		if _, ok := dev.(drivers.Resumer); ok && err == nil {
			v.meter.Store(true)
		}
		return dev, err
	}
	ctx, v.stop = context.WithCancel(ctx)
	spec := drivers.Spec{Name: d.Name, Kind: kind, Decode: optionsOf(d), Ports: p.ports(), Every: d.Every, Jobs: v.jobs, Log: slog.New(slog.DiscardHandler)}
	go func() { v.ended <- drivers.Run(ctx, spec, visitor{ctx, v.events}) }()
	return v
}

// close closes the device, which brings it into its safe state.
func (v *visit) close() error {
	v.stop()
	if err := <-v.ended; err != nil {
		return fmt.Errorf("the device could not be closed; it may not be in its safe state: %w", err)
	}
	return nil
}

// A visitor is drivers.Events. What nobody waits for any more is not told.
type visitor struct {
	ctx context.Context
	to  chan<- visitEvent
}

func (v visitor) tell(e visitEvent) {
	select {
	case v.to <- e:
	case <-v.ctx.Done():
	}
}

func (v visitor) Online(channels []drivers.Channel, check func(drivers.Command) (drivers.Command, error)) {
	v.tell(visitEvent{online: true, channels: slices.Clone(channels), check: check})
}

func (v visitor) Offline(reason error) { v.tell(visitEvent{offline: reason}) }

func (v visitor) Reading(r drivers.Reading) {
	if !r.Missed {
		v.tell(visitEvent{reading: &r})
	}
}

func (v visitor) Result(j drivers.Job, state drivers.Reading, err error) {
	v.tell(visitEvent{result: &state, set: j.Command, err: err})
}

// deviceHere is what a report would say of a device that is opened here.
func deviceHere(d field.DeviceConfig, channels []drivers.Channel, r drivers.Reading) status.Device {
	s := d.Single(channels, r)
	s.Name, s.Kind, s.Online = d.Name, d.Kind, true
	return status.DeviceReport(s, time.Now())
}
