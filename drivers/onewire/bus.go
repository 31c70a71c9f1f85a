package onewire

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// Found is a device on a 1-wire bus.
type Found struct {
	ID   string // family and serial number as the kernel writes them: "28-0316a2794ab5"
	Name string // of the family; "" if it is not known
}

// String is a line for a person.
func (f Found) String() string {
	if f.Name == "" {
		return f.ID + "  unknown family"
	}
	return f.ID + "  " + f.Name
}

// devices is where the kernel lists what is on all 1-wire buses:
// Documentation/w1/w1-generic.rst.
const devices = "sys/bus/w1/devices"

// Scan lists the devices that the kernel has found on the 1-wire buses of a machine, by
// id. root stands before /sys; "" is the machine itself. The kernel searches a bus every
// ten seconds, and forgets a device that ten searches have not found (linux:
// drivers/w1/w1.c, w1_timeout and w1_max_slave_ttl).
func Scan(root string) ([]Found, error) {
	dir := filepath.Join("/", root, devices)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, drivers.Explain(err, dir, "", "")
	}
	var found []Found
	masters := 0
	for _, e := range entries { // ReadDir sorts
		family, _, ok := strings.Cut(e.Name(), "-")
		code, err := strconv.ParseUint(family, 16, 8)
		switch {
		case strings.HasPrefix(e.Name(), "w1_bus_master"):
			masters++
		case ok && err == nil && len(family) == 2:
			found = append(found, Found{ID: e.Name(), Name: familyName(byte(code))})
		}
	}
	if masters == 0 {
		return nil, &drivers.MissingError{What: "a 1-wire bus in " + dir, Err: err,
			Check: "put the line dtoverlay=w1-gpio into /boot/firmware/config.txt and restart; the data wire is then at GPIO4"}
	}
	return found, nil
}

// noise is the family that a bus without a pull-up resistor seems to be full of.
const noise = 0x00

// familyName names the families that drivers of the kernel know: linux:
// drivers/w1/w1_family.h and drivers/w1/slaves.
func familyName(code byte) string {
	switch code {
	case noise:
		return "no device: the data wire has no pull-up resistor"
	case 0x01:
		return "DS2401, DS1990A (serial number)"
	case ds18s20:
		return "DS18S20"
	case 0x12:
		return "DS2406 (switch)"
	case 0x1c:
		return "DS28E04 (memory)"
	case 0x1d:
		return "DS2423 (counter)"
	case ds1822:
		return "DS1822"
	case 0x23:
		return "DS2433 (memory)"
	case 0x26:
		return "DS2438 (battery monitor)"
	case ds18b20:
		return "DS18B20"
	case 0x29:
		return "DS2408 (8 switches)"
	case 0x2d:
		return "DS2431 (memory)"
	case 0x30:
		return "DS2760 (battery monitor)"
	case 0x32:
		return "DS2780 (battery monitor)"
	case 0x3a:
		return "DS2413 (2 switches)"
	case ds1825:
		return "DS1825, MAX31850"
	case 0x3d:
		return "DS2781 (battery monitor)"
	case ds28ea00:
		return "DS28EA00"
	case 0x81:
		return "DS1420 (serial number)"
	case 0x85:
		return "DS2413 clone 2100H (2 switches)"
	}
	return ""
}
