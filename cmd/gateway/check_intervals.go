package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"edgegateway/bridge/field"
)

// intervalDoubts finds times of a device that do what they say and are of no use together
// with the time between two samples. A device that tells by itself has no such time.
func intervalDoubts(d field.DeviceConfig) (doubts []error) {
	if watches := kindOf(d).Watches; watches != nil && watches(optionsOf(d)) {
		return nil
	}
	doubt := func(key, format string, args ...any) {
		doubts = append(doubts, doubtAt(d, key, fmt.Sprintf(format, args...)))
	}
	// The second sample may come a second late, as those of other devices.
	if room := min(d.Every, time.Second); d.StaleAfter != 0 && d.StaleAfter < d.Every+room {
		doubt("stale_after", "stale_after (%v) should be longer than every (%v) by %v or more, else values are stale before the next sample comes", d.StaleAfter, d.Every, room)
	}
	if d.MaxInterval != 0 && d.MaxInterval <= d.Every {
		doubt("max_interval", "max_interval (%v) is not longer than every (%v): between two samples the same state is published once more", d.MaxInterval, d.Every)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Channels)) {
		if c := d.Channels[name]; c.Aggregate != "" && c.Window <= d.Every {
			doubt("channels."+name+".window", "window (%v) is not longer than every (%v): there is one value in it, so that aggregate = %q makes nothing of many", c.Window, d.Every, c.Aggregate)
		}
	}
	return doubts
}
