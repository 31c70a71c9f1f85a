package iio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/drivers"
)

// Found is a device of the kernel's Industrial I/O.
type Found struct {
	Number string // "iio:device0"; from boot to boot it may be another one
	Name   string // of the chip: "bme280"; "" = none
	Label  string // from the device tree; "" = none
	Place  string // what it hangs on: "1-0076" for address 0x76 on I2C bus 1, "dht11@4"; "" = nothing
}

// String is a line for a person.
func (f Found) String() string {
	s := f.Number + "  " + f.Name
	if f.Label != "" {
		s += fmt.Sprintf(" %q", f.Label)
	}
	if f.Place != "" && f.Place != f.Name {
		s += " at " + f.Place
	}
	return s
}

// is tells whether a name in a configuration means this device.
func (f Found) is(name string) bool {
	return name != "" && (name == f.Name || name == f.Label || name == f.Place || name == f.Number)
}

// devices is where the kernel lists them: linux: Documentation/ABI/testing/sysfs-bus-iio.
const devices = "sys/bus/iio/devices"

// Scan lists the devices of a machine, by number as the kernel sorts it. root stands
// before /sys; "" is the machine itself. A machine without any gives none.
func Scan(root string) ([]Found, error) {
	dir := filepath.Join("/", root, devices)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, drivers.Explain(err, dir, "", "")
	}
	var found []Found
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "iio:device") {
			continue // triggers are here, too
		}
		path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // it has just gone
		}
		f := Found{Number: e.Name()}
		if place := filepath.Base(filepath.Dir(path)); place != "devices" { // it is made up
			f.Place = place
		}
		f.Name, _ = drivers.ReadKernelFile(filepath.Join(path, "name")) // both are optional
		f.Label, _ = drivers.ReadKernelFile(filepath.Join(path, "label"))
		found = append(found, f)
	}
	return found, nil
}

// choose finds the device that is meant; "" means the only one.
func choose(name string, found []Found) (Found, error) {
	var list []string
	for _, f := range found {
		list = append(list, f.String())
	}
	all := strings.Join(list, ", ")
	what := fmt.Sprintf("the iio device %q", name)
	fits := found
	if name != "" {
		fits = slices.DeleteFunc(slices.Clone(found), func(f Found) bool { return !f.is(name) })
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(found) == 0:
		if name == "" {
			what = "an iio device"
		}
		return Found{}, &drivers.MissingError{What: what,
			Check: "the kernel has none: put a line for its driver into /boot/firmware/config.txt and restart, such as dtoverlay=i2c-sensor,bme280 or dtoverlay=dht11,gpiopin=4"}
	case len(fits) == 0:
		return Found{}, &drivers.MissingError{What: what, Check: "the kernel has " + all}
	}
	return Found{}, fmt.Errorf("which iio device is not clear; choose one by what is unique to it in device, best by its place: %s", all)
}
