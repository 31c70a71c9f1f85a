// Package host reads the machine that the gateway runs on: temperature, load,
// memory, disk, network, uptime.
package host

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"edgegateway/drivers"
)

//go:embed example.toml
var example string

// Options are the keys of the kind host.
type Options struct {
	Disk       string   `toml:"disk"`       // a path on the file system to watch; "" = none
	Interfaces []string `toml:"interfaces"` // network interfaces to add up; empty = all that are hardware
	Sensor     string   `toml:"sensor"`     // type of a thermal zone or name of a hwmon chip; "" = the processor's
}

// Validate checks what can be checked without the machine.
func (o Options) Validate() error {
	var m drivers.Mistakes
	m.If(o.Disk != "" && !filepath.IsAbs(o.Disk), "disk must be an absolute path, like \"/\", not %q", o.Disk)
	for i, name := range o.Interfaces {
		m.If(name == "" || strings.ContainsAny(name, "/: "), "interfaces[%d] holds %q, which is no name of a network interface", i, name)
	}
	return m.Err()
}

// Reach says what was asked for and is not there. The device works without it.
func (o Options) Reach(root string) (missing error) {
	m := machine(root)
	for _, find := range []func() (source, error){
		func() (source, error) { return m.temperature(o.Sensor) },
		func() (source, error) { return m.disk(o.Disk) },
		func() (source, error) { return m.network(o.Interfaces) },
	} {
		src, err := find()
		if err == nil {
			_, err = src.read()
		}
		if err != nil && !errors.Is(err, errNone) {
			missing = both(missing, err)
		}
	}
	return missing
}

// both joins two errors on one line; the first may be nil.
func both(a, b error) error {
	if a == nil {
		return b
	}
	return fmt.Errorf("%w; %w", a, b)
}

// Kind returns the kind host. Its channels are those that this machine has.
func Kind() drivers.Kind {
	return drivers.KindOf("host", "This machine itself: temperature, load, memory, disk, network, uptime.",
		example, func() Options { return Options{Disk: "/"} }, open)
}

// A source reads a few channels that belong together.
type source struct {
	channels []drivers.Channel
	read     func() ([]any, error) // one value per channel
}

// errNone says that this machine does not have what a source reads.
var errNone = errors.New("this machine has none")

type device struct {
	sources  []source
	channels []drivers.Channel
}

var _ drivers.Sampler = (*device)(nil)

func open(_ context.Context, o Options, p drivers.Ports) (drivers.Device, error) {
	root := machine(p.Root)
	d := new(device)
	for _, find := range []func() (source, error){
		func() (source, error) { return root.temperature(o.Sensor) },
		root.load,
		root.memory,
		func() (source, error) { return root.disk(o.Disk) },
		root.uptime,
		func() (source, error) { return root.network(o.Interfaces) },
		root.process,
	} {
		src, err := find()
		if err == nil {
			_, err = src.read()
		}
		var missing *drivers.MissingError
		switch {
		case errors.Is(err, errNone):
			continue
		case src.read != nil && errors.As(err, &missing):
			// A modem, a disk or a sensor that was asked for may come later.
		case err != nil:
			return nil, err
		}
		d.sources = append(d.sources, src)
		d.channels = append(d.channels, src.channels...)
	}
	if len(d.sources) == 0 {
		return nil, &drivers.MissingError{What: root.path("proc"), Check: "mount the proc file system"}
	}
	return d, nil
}

func (d *device) Channels() []drivers.Channel { return d.channels }
func (d *device) Close() error                { return nil }

// Sample reads all sources. One that fails is the Fault of the reading, and its channels
// are bad; the others are in it.
func (d *device) Sample(context.Context) (drivers.Reading, error) {
	r := drivers.Reading{At: time.Now()}
	for _, s := range d.sources {
		values, err := s.read()
		if err != nil {
			r.Fault = both(r.Fault, err)
			for _, c := range s.channels {
				r.Bad = append(r.Bad, c.Name)
			}
			continue
		}
		for i, v := range values {
			r.Values = append(r.Values, drivers.Value{Channel: s.channels[i].Name, V: v})
		}
	}
	return r, nil
}
