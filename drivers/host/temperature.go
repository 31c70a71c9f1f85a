package host

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgegateway/drivers"
)

// processorSensors are the names that kernels give to the processor's temperature,
// the best first: the type of a thermal zone or the name of a hwmon chip.
func processorSensors() []string {
	return []string{
		"cpu-thermal", "cpu_thermal", "cpu", "cpu0-thermal", "cpu-0-thermal", // Raspberry Pi, Allwinner, many others
		"soc-thermal", "soc_thermal", "soc", "bcm2835_thermal", "imx_thermal_zone", "aml_thermal",
		"x86_pkg_temp", "coretemp", "k10temp", "zenpower",
		"acpitz",
	}
}

// temperature reads one sensor of the kernel, in thousandths of a degree Celsius:
// /sys/class/thermal (Documentation/driver-api/thermal/sysfs-api.rst) or
// /sys/class/hwmon (Documentation/hwmon/sysfs-interface.rst). Numbers of zones and
// chips change from boot to boot, and when an adapter is plugged in again, so it is chosen
// by name, each time that it is not where it was. One that was asked for may come later.
func (m machine) temperature(name string) (source, error) {
	wanted := []string{name}
	if name == "" {
		wanted = processorSensors()
	}
	at, err := m.find(wanted)
	if err != nil && name == "" {
		return source{}, errNone
	}
	return source{
		channels: []drivers.Channel{{Name: "cpu_temperature", Quantity: drivers.Temperature, Unit: "°C", Type: drivers.Float}},
		read: func() ([]any, error) {
			if !at.there() {
				if at, err = m.find(wanted); err != nil {
					return nil, err
				}
			}
			t, err := degrees(at.file)
			return []any{t}, err
		},
	}, nil
}

// find returns the first of these sensors that there is.
func (m machine) find(wanted []string) (sensor, error) {
	found := m.sensors()
	for _, want := range wanted {
		for _, s := range found {
			if s.name == want {
				return s, nil
			}
		}
	}
	var names []string
	for _, s := range found {
		names = append(names, s.name)
	}
	check := "this machine has no temperature sensor"
	if len(names) > 0 {
		check = "this machine has " + strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
	}
	return sensor{}, &drivers.MissingError{What: fmt.Sprintf("the temperature sensor %q", wanted[0]), Check: check}
}

type sensor struct{ name, nameFile, file string }

// there tells whether the file is still that of the sensor.
func (s sensor) there() bool {
	name, err := machine("").text(s.nameFile)
	return err == nil && name == s.name
}

// sensors lists what can be read now; zones that are switched off cannot.
func (m machine) sensors() (found []sensor) {
	add := func(pattern, nameFile string, values ...string) {
		dirs, _ := filepath.Glob(m.path(pattern)) // the pattern is ours and well formed
		for _, dir := range dirs {
			name, err := machine(dir).text(nameFile)
			if err != nil {
				continue
			}
			for _, value := range values {
				file := filepath.Join(dir, value)
				if _, err := degrees(file); err == nil {
					found = append(found, sensor{name, filepath.Join(dir, nameFile), file})
					break
				}
			}
		}
	}
	add("sys/class/thermal/thermal_zone*", "type", "temp")
	add("sys/class/hwmon/hwmon*", "name", "temp1_input", "temp2_input")
	return found
}

func degrees(file string) (float64, error) {
	text, err := machine("").text(file)
	if err != nil {
		return 0, err
	}
	milli, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	// A sensor that is not connected gives its end stops.
	if milli < -60_000 || milli > 200_000 {
		return 0, fmt.Errorf("read %s: %d thousandths of a degree cannot be", file, milli)
	}
	return float64(milli) / 1000, nil
}
