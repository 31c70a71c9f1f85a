package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgegateway/bridge/field"
	"edgegateway/config/strict"
)

// channelDoubts finds tables of [devices.channels] for channels that the options of the device do not
// make. A device whose options make none has those of its chip, or what comes over its line: only the
// running gateway knows them, and its log tells the same.
func channelDoubts(d field.DeviceConfig) (doubts []error) {
	names := madeChannels(d)
	if len(names) == 0 || d.Fault == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(d.Channels)) {
		if slices.Contains(names, name) {
			continue
		}
		hint := "it has " + strings.Join(names, ", ")
		if near := strict.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		doubts = append(doubts, d.Fault("channels."+name, fmt.Sprintf("the device has no channel %q, so this does nothing (%s)", name, hint)))
	}
	return doubts
}

// madeChannels are the names in the lists of tables of the options: whatever the kind, these are its
// channels, points or fields. A field without a name is called as it comes.
func madeChannels(d field.DeviceConfig) (names []string) {
	var options map[string]any
	if d.Options == nil || d.Options(&options) != nil {
		return nil
	}
	for _, key := range []string{"channels", "points", "fields"} {
		list, _ := options[key].([]any)
		for _, item := range list {
			table, _ := item.(map[string]any)
			name, named := table["name"].(string)
			if !named {
				name, named = table["from"].(string)
			}
			if !named {
				return nil
			}
			names = append(names, name)
		}
	}
	return names
}
