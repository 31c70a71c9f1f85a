// Package iio reads sensors and converters that have a driver in the kernel's
// Industrial I/O, through /sys: linux: Documentation/ABI/testing/sysfs-bus-iio.
package iio

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edgegateway/drivers"
)

//go:embed example.toml
var example string

// Options are the keys of the kind iio.
type Options struct {
	Device   string   `toml:"device"`   // name, label, place or number; "" = the only one
	Channels []string `toml:"channels"` // by our names or the kernel's; empty = all
}

// Validate checks what can be checked without the device.
func (o Options) Validate() error {
	var m drivers.Mistakes
	m.If(strings.ContainsAny(o.Device, "/\n"), "device must be the name of an iio device, like \"bme280\", its label or its place, like \"1-0076\", not %q", o.Device)
	for i, name := range o.Channels {
		m.If(name == "" || strings.ContainsAny(name, "/ \n"), "channels[%d] holds %q, which is no name of a channel; they are like \"temperature\" and \"voltage0\"", i, name)
	}
	return m.Err()
}

// Reach looks whether the kernel has the device.
func (o Options) Reach(root string) error {
	found, err := Scan(root)
	if err == nil {
		_, err = choose(o.Device, found)
	}
	return err
}

// Kind returns the kind iio. Its channels are those that the kernel's driver offers.
// Two devices may read one chip, each its own channels.
func Kind() drivers.Kind {
	k := drivers.KindOf("iio", "Any sensor or converter with a driver in the kernel's Industrial I/O: BME280, DHT11, DHT22, ADS1015 and many more.",
		example, func() Options { return Options{} }, open)
	k.Timeout = 30 * time.Second // an SCD30 measures anew for each of three channels, 2.5 s
	return k
}

type device struct {
	name     string // for errors
	dir      string // without symbolic links, so that it is never another device's
	channels []channel
}

var _ drivers.Sampler = (*device)(nil)

func open(_ context.Context, o Options, p drivers.Ports) (drivers.Device, error) {
	found, err := Scan(p.Root)
	if err != nil {
		return nil, err
	}
	f, err := choose(o.Device, found)
	if err != nil {
		return nil, err
	}
	d := &device{name: "iio device " + f.String()}
	d.dir, err = filepath.EvalSymlinks(filepath.Join("/", p.Root, devices, f.Number))
	if err != nil {
		return nil, d.explain(err)
	}
	all, err := channelsIn(d.dir)
	if err != nil {
		return nil, d.explain(err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no inputs that can be read (in_*_input, in_*_raw)", d.name)
	}
	if d.channels, err = only(o.Channels, all); err != nil {
		return nil, err
	}
	return d, nil
}

// Channels lists those that were chosen.
func (d *device) Channels() (list []drivers.Channel) {
	for _, c := range d.channels {
		list = append(list, c.Channel)
	}
	return list
}

// Close has nothing to do: the kernel's driver is at rest between two reads.
func (d *device) Close() error { return nil }

// Sample reads one channel after the other; one that cannot be read leaves the others
// alone. How long the read of a channel takes is the driver's affair, and it cannot be
// ended: a DHT11 that does not answer takes a second, an SCD30 2.5 s.
func (d *device) Sample(ctx context.Context) (drivers.Reading, error) {
	r := drivers.Reading{At: time.Now()}
	for _, c := range d.channels {
		if err := ctx.Err(); err != nil {
			return drivers.Reading{}, fmt.Errorf("%s was not read to the end: %w", d.name, err)
		}
		value, err := c.read(d.dir)
		if err == nil {
			r.Values = append(r.Values, drivers.Value{Channel: c.Name, V: value})
			continue
		}
		if err = d.explain(err); errors.Is(err, drivers.ErrGone) {
			return drivers.Reading{}, err
		}
		r.Bad = append(r.Bad, c.Name)
		if r.Fault == nil { // the others have most likely the same
			r.Fault = err
		}
	}
	return r, nil
}

// explain says what to do about an error. EIO is one bad transfer here, and does not
// mean, as with a device file, that the device has gone.
func (d *device) explain(err error) error {
	_, away := os.Stat(d.dir)
	file := d.dir
	var at *fs.PathError
	if errors.As(err, &at) {
		file = at.Path
	}
	switch {
	case errors.Is(err, syscall.ENODEV), away != nil:
		return fmt.Errorf("%s: %w: %w", d.name, drivers.ErrGone, err)
	case errors.Is(err, fs.ErrPermission):
		return drivers.Explain(err, file, "", "")
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EREMOTEIO), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("%s: %s gave nothing; if that stays so, check its wiring and power: %w", d.name, filepath.Base(file), err)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("%s: another program reads its buffer; end that: %w", d.name, err)
	}
	return fmt.Errorf("%s: %w", d.name, err)
}
