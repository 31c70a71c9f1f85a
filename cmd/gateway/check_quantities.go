package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgegateway/bridge/field"
	"edgegateway/bridge/homeassistant"
	"edgegateway/config/strict"
	"edgegateway/drivers"
)

// quantityDoubts finds what a device says of its channels and probably does not mean. Both
// quantities and units are open: it is a mistake only for who knows what was meant.
func quantityDoubts(d field.DeviceConfig) (doubts []error) {
	doubt := func(key, sentence string) { doubts = append(doubts, doubtAt(d, key, sentence)) }
	for _, name := range slices.Sorted(maps.Keys(d.Channels)) {
		ch := d.Channels[name]
		doubtChannel("channels."+name, ch.Quantity, ch.Unit, doubt)
	}
	if d.Options != nil {
		var options map[string]any
		if d.Options(&options) == nil { // the kind has decoded them before
			doubtTable("options", options, doubt)
		}
	}
	return doubts
}

// doubtAt makes a doubt about a key of a device, with its place in the file if there is one.
func doubtAt(d field.DeviceConfig, key, sentence string) error {
	if d.Fault != nil {
		return d.Fault(key, sentence)
	}
	return errors.New(sentence)
}

// doubtTable goes through a table and those in it. Whatever the kind, it calls a quantity
// and a unit that, and has them side by side.
func doubtTable(path string, table map[string]any, doubt func(key, sentence string)) {
	quantity, _ := table["quantity"].(string)
	unit, _ := table["unit"].(string)
	doubtChannel(path, quantity, unit, doubt)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		inner := path + "." + key
		switch x := table[key].(type) {
		case map[string]any:
			doubtTable(inner, x, doubt)
		case []any:
			for i, item := range x {
				if t, ok := item.(map[string]any); ok {
					doubtTable(fmt.Sprintf("%s[%d]", inner, i), t, doubt)
				}
			}
		}
	}
}

func doubtChannel(path, quantity, unit string, doubt func(key, sentence string)) {
	q := drivers.Quantity(quantity)
	if quantity != "" && !slices.Contains(drivers.Quantities(), q) {
		var names []string
		for _, known := range drivers.Quantities() {
			names = append(names, string(known))
		}
		if near := strict.Nearest(strings.ToLower(quantity), names); near != "" {
			doubt(path+".quantity", fmt.Sprintf("there is no quantity %q (did you mean %q?)", quantity, near))
		}
		return
	}
	if units := homeassistant.Units(q); unit != "" && len(units) > 0 && !slices.Contains(units, unit) {
		doubt(path+".unit", fmt.Sprintf("the unit %q is none that Home Assistant takes for %s; it would show a number without a device class. It takes %s", unit, quantity, strings.Join(units, ", ")))
	}
}
