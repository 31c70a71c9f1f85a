package iio

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/drivers"
)

// A channel is one value of a device and the files that it is made of.
type channel struct {
	drivers.Channel
	meaning meaning
	base    string // as the kernel names it, without the direction: "temp", "voltage0-voltage1"
	file    string // what is measured: in_temp_input or in_voltage0_raw
	offset  string // "" = none
	scale   string // "" = none: for a raw number without one nobody knows the unit
}

// channelsIn finds the channels of a device by the names of its files: linux:
// drivers/iio/industrialio-core.c, __iio_device_attr_init.
func channelsIn(dir string) ([]channel, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]bool)
	for _, e := range entries { // ReadDir sorts
		files[e.Name()] = true
	}
	var channels []channel
	for _, e := range entries {
		base, ok := strings.CutPrefix(e.Name(), "in_")
		if !ok {
			continue
		}
		if base, ok := strings.CutSuffix(base, "_input"); ok {
			channels = append(channels, newChannel(base, e.Name(), files))
		} else if base, ok := strings.CutSuffix(base, "_raw"); ok && !files["in_"+base+"_input"] && measures(base) {
			channels = append(channels, newChannel(base, e.Name(), files))
		}
	}
	return channels, nil
}

// measures tells whether a raw number is a measurement of its own: not the highest,
// lowest or mean one since some start, not a correction, not several numbers in one.
func measures(base string) bool {
	for _, end := range []string{"_peak", "_trough", "_mean", "_quadrature_correction", "_quaternion"} {
		if strings.HasSuffix(base, end) {
			return false
		}
	}
	return true
}

func newChannel(base, file string, files map[string]bool) channel {
	kind := base
	if end := strings.IndexAny(base, "_-0123456789"); end >= 0 {
		kind = base[:end]
	}
	rest := base[len(kind):]
	c := channel{base: base, file: file, meaning: meaningOf(kind, strings.TrimLeft(rest, "0123456789"))}
	if strings.HasSuffix(file, "_raw") {
		c.offset = shared("offset", base, kind, files)
		if c.scale = shared("scale", base, kind, files); c.scale == "" {
			c.meaning = meaning{name: c.meaning.name, finest: c.meaning.finest}
		}
	}
	name := kind
	if c.meaning.name != "" {
		name = c.meaning.name
	}
	c.Channel = drivers.Channel{Name: plain(name + rest), Quantity: c.meaning.quantity, Unit: c.meaning.unit, Type: drivers.Float}
	return c
}

// shared finds the file of an attribute that is the channel's own ("in_voltage0_scale"),
// or shared by those of its type ("in_voltage_scale", "in_voltage-voltage_scale"), by all
// inputs ("in_scale") or by all channels ("scale").
func shared(attribute, base, kind string, files map[string]bool) string {
	unnumbered := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, base)
	for _, name := range []string{"in_" + base + "_", "in_" + unnumbered + "_", "in_" + kind + "_", "in_", ""} {
		if files[name+attribute] {
			return name + attribute
		}
	}
	return ""
}

// plain makes a name of [a-z0-9_]+.
func plain(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name)), "_")
}

// only keeps the channels of a list, which has our names or the kernel's; an empty one
// keeps all.
func only(list []string, channels []channel) ([]channel, error) {
	if len(list) == 0 {
		return channels, nil
	}
	var kept []channel
	for _, name := range list {
		i := slices.IndexFunc(channels, func(c channel) bool { return c.Name == name || c.base == name })
		if i < 0 {
			var names []string
			for _, c := range channels {
				names = append(names, c.Name)
			}
			return nil, &drivers.MissingError{What: fmt.Sprintf("the channel %q", name), Check: "the device has " + strings.Join(names, ", ")}
		}
		if slices.ContainsFunc(kept, func(c channel) bool { return c.base == channels[i].base }) {
			return nil, fmt.Errorf("channels names %s twice, as %q the second time", channels[i].Name, name)
		}
		kept = append(kept, channels[i])
	}
	return kept, nil
}

// read measures.
func (c channel) read(dir string) (float64, error) {
	raw, err := number(dir, c.file, 0)
	if err != nil || strings.HasSuffix(c.file, "_input") {
		return c.meaning.processed(raw), err
	}
	// The scale may be changed by others while the gateway runs.
	scale, err := number(dir, c.scale, 1)
	if err != nil {
		return 0, err
	}
	offset, err := number(dir, c.offset, 0)
	return c.meaning.scaled(raw, offset, scale), err
}

// number reads one file; without one the number is known.
func number(dir, file string, otherwise float64) (decimal, error) {
	if file == "" {
		return decimal{value: otherwise}, nil
	}
	text, err := drivers.ReadKernelFile(filepath.Join(dir, file))
	if err != nil {
		return decimal{}, err
	}
	d, err := parse(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return d, err
}
