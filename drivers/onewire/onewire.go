// Package onewire reads thermometers on a 1-wire bus, DS18B20 and its relatives,
// through the kernel's drivers w1-gpio and w1_therm.
package onewire

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"edgegateway/drivers"
)

//go:embed example.toml
var example string

// Options are the keys of the kind ds18b20.
type Options struct {
	ID string `toml:"id"` // "28-0316a2794ab5"; "" = the only thermometer on the buses
}

// Validate checks what can be checked without the bus.
func (o Options) Validate() error {
	if o.ID == "" {
		return nil
	}
	family, serial, _ := strings.Cut(o.ID, "-")
	code, err := hex.DecodeString(family)
	number, err2 := hex.DecodeString(serial)
	if err != nil || err2 != nil || len(code) != 1 || len(number) != 6 || o.ID != strings.ToLower(o.ID) {
		return fmt.Errorf("id must be the name of a directory in /%s, like \"28-0316a2794ab5\", not %q", devices, o.ID)
	}
	if !thermometer(code[0]) {
		return fmt.Errorf("id %s does not belong to a thermometer; those begin with 28, 10, 22, 3b or 42", o.ID)
	}
	return nil
}

// Uses names the thermometer. Two devices that read one would do no harm: they would
// measure twice as often, and one of them is most likely not the one that was meant.
func (o Options) Uses() []drivers.Use {
	if o.ID == "" {
		return []drivers.Use{{What: "the only 1-wire thermometer", Key: "id"}}
	}
	return []drivers.Use{{What: "the 1-wire device " + o.ID, Key: "id"}}
}

// Reach looks whether the kernel has found the thermometer.
func (o Options) Reach(root string) error {
	found, err := Scan(root)
	if err == nil {
		_, err = choose(o.ID, found)
	}
	return err
}

func thermometer(family byte) bool {
	switch family {
	case ds18b20, ds18s20, ds1822, ds1825, ds28ea00:
		return true
	}
	return false
}

// Kind returns the kind ds18b20. Its devices are read only: the resolution is the one
// that the sensor has stored, because to change it takes root, and a write to an EEPROM
// that wears out.
func Kind() drivers.Kind {
	k := drivers.KindOf("ds18b20", "Temperature by a DS18B20 or one of its relatives (DS18S20, DS1822, DS1825, DS28EA00, MAX31850) on a 1-wire bus.",
		example, func() Options { return Options{} }, open)
	k.Timeout = time.Minute // for the turn: some seventy thermometers on one bus
	return k
}

type device struct {
	id     string
	family byte
	file   string // w1_slave
	bus    string // "w1_bus_master1"
	turns  *drivers.Turns
	last   float64 // °C, NaN before the first measurement
}

var _ drivers.Sampler = (*device)(nil)

func open(_ context.Context, o Options, p drivers.Ports) (drivers.Device, error) {
	found, err := Scan(p.Root)
	if err != nil {
		return nil, err
	}
	id, err := choose(o.ID, found)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join("/", p.Root, devices, id)
	d := &device{id: id, family: familyOf(id), file: filepath.Join(dir, "w1_slave"), turns: p.Turns, last: math.NaN()}
	if place, err := filepath.EvalSymlinks(dir); err == nil {
		d.bus = filepath.Base(filepath.Dir(place))
	}
	f, err := os.Open(d.file) // starts no measurement yet
	if err != nil {
		return nil, drivers.Explain(err, d.file, "", "load the driver of the thermometers: modprobe w1_therm")
	}
	return d, f.Close()
}

// choose finds the thermometer that is meant.
func choose(id string, found []Found) (string, error) {
	var ids []string
	noisy := false
	for _, f := range found {
		if f.ID == id {
			return id, nil
		}
		if thermometer(familyOf(f.ID)) {
			ids = append(ids, f.ID)
		}
		noisy = noisy || familyOf(f.ID) == noise
	}
	list := strings.Join(ids, ", ")
	missing := &drivers.MissingError{What: "the 1-wire thermometer " + id}
	switch {
	case id == "" && len(ids) == 1:
		return ids[0], nil
	case id == "" && len(ids) > 1:
		return "", fmt.Errorf("there are %d thermometers; choose one by id: %s", len(ids), list)
	case len(ids) > 0:
		missing.Check = "the kernel has found " + list + "; check the id and the cable"
	case noisy:
		missing.Check = "the data wire carries noise only; it needs a pull-up resistor of 4.7 kΩ to 3.3 V"
	default:
		missing.Check = "check its power, ground and data wire, and the pull-up resistor of 4.7 kΩ from that to 3.3 V; a new one is found within a minute"
	}
	if id == "" {
		missing.What = "a 1-wire thermometer"
	}
	return "", missing
}

// familyOf is the family in an id that Scan or Validate has passed.
func familyOf(id string) byte {
	code, _ := hex.DecodeString(id[:2])
	return code[0]
}

// Channels lists the temperature.
func (d *device) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "temperature", Quantity: drivers.Temperature, Unit: "°C", Type: drivers.Float}}
}

// Close has nothing to do: the kernel's driver is at rest between two reads.
func (d *device) Close() error { return nil }

// Sample lets the sensor measure, and reads it. In the kernel that takes 0.1 s (9 bits)
// to 0.75 s (12 bits) and cannot be ended. The kernel lets one sensor of a bus measure at
// a time; so that one that waits for that can be ended, it waits here.
func (d *device) Sample(ctx context.Context) (drivers.Reading, error) {
	release, err := d.turns.Take(ctx, d.bus)
	if err != nil {
		return drivers.Reading{}, fmt.Errorf("thermometer %s did not get its turn on %s: %w", d.id, d.bus, err)
	}
	defer release()
	text, err := drivers.ReadKernelFile(d.file)
	if err != nil {
		return drivers.Reading{}, d.explain(err)
	}
	pad, err := parse(text)
	if err != nil {
		return drivers.Reading{}, d.explain(err)
	}
	t, err := pad.celsius(d.family)
	if err != nil {
		return drivers.Reading{}, d.explain(err)
	}
	// From a sensor that was about as warm before, it is right, or wrong by little. One that
	// has said nothing else yet is not believed, however often it says so: nothing in its
	// answer differs from that of one that loses its supply at each measurement, and a DS18S20
	// at 85 °C soon gives a sixteenth of a degree more or less.
	if pad.fresh(d.family) && !(math.Abs(d.last-t) <= 5) {
		return drivers.Reading{}, fmt.Errorf("thermometer %s gives 85 °C, its value after power-on, most likely without having measured; check its supply and the contacts. One that is at 85 °C indeed is believed when it has given another value once", d.id)
	}
	d.last = t
	return drivers.Reading{Values: []drivers.Value{{Channel: "temperature", V: t}}}, nil
}

// explain says what to do about an error of a sample.
func (d *device) explain(err error) error {
	name := "thermometer " + d.id
	const cable = "; check the contacts, the length of the cable and its pull-up resistor: 4.7 kΩ, on long cables 2.2 kΩ"
	switch {
	case errors.Is(err, errSilent):
		return &drivers.NoAnswerError{What: name, Hint: "a long cable wants a pull-up resistor of 2.2 kΩ in place of 4.7 kΩ", Err: err}
	case errors.Is(err, errChecksum):
		return fmt.Errorf("%s: %w%s", name, err, cable)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("%s: %w, the kernel does not find it any more; plug it in again: %w", name, drivers.ErrGone, err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%s: the measurement failed%s: %w", name, cable, err)
	case errors.Is(err, fs.ErrPermission):
		return drivers.Explain(err, d.file, "", "")
	}
	return fmt.Errorf("%s: %w", name, err)
}
