package field

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"edgegateway/drivers"
)

// A meter is what is remembered of a device that goes on from its last values.
type meter struct {
	names []string // of the channels; never changes

	asked bool // an earlier run was asked; belongs to last

	// Guarded by device.mu.
	values  []drivers.Value // the last of each, as the device gave it
	changed bool            // since the state was kept last
	minute  int64           // in which that was
}

// keptEvery is how often the state of a meter that moves goes to disk. All meters do so
// in the same seconds: a commit has the same cost for one as for many.
const keptEvery = time.Minute

// keep tells whether the state that is published now should go to disk soon, and not
// wait as long as other states of devices may: once a minute, and at once while the
// device has a command, which may have set it. age is that of the device.
func (m *meter) keep(age time.Duration, commanded bool) bool {
	minute := int64(age/keptEvery) + 1
	if !m.changed || m.minute == minute && !commanded {
		return false
	}
	m.changed, m.minute = false, minute
	return true
}

// note remembers the values that the device will go on from.
func (m *meter) note(values []drivers.Value) {
	for _, v := range values {
		if !slices.Contains(m.names, v.Channel) {
			continue
		}
		at := slices.IndexFunc(m.values, func(old drivers.Value) bool { return old.Channel == v.Channel })
		switch {
		case at < 0:
			m.values, m.changed = append(m.values, v), true
		case m.values[at].V != v.V:
			m.values[at], m.changed = v, true
		}
	}
}

// resume has the device go on from its last values, if its kind does.
func (d *device) resume() {
	// Its error is one of the options, which have been checked.
	if d.meter.names, _ = d.spec.Kind.Resumes(d.cfg.options()); len(d.meter.names) > 0 {
		d.spec.Last = d.last
	}
}

// last is drivers.Spec.Last: what the device said last in this run, and, until it has
// said something, in an earlier one.
func (d *device) last() []drivers.Value {
	var earlier []drivers.Value
	if !d.meter.asked {
		d.meter.asked = true
		earlier = d.earlier() // not under mu: the broker's lock comes before it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meter.note(earlier)
	return slices.Clone(d.meter.values)
}

// earlier reads what the device goes on from in the state that an earlier run has left.
func (d *device) earlier() []drivers.Value {
	topic := d.base + "/state"
	kept := d.bridge.broker.Retained(topic, 1)
	if len(kept) == 0 {
		d.log.Info("the device begins anew: there is no state of an earlier run", "topic", topic)
		return nil
	}
	if origin := kept[0].Origin; origin != localName {
		d.log.Warn("the state of the device was replaced by another publisher; the device does not go on from it, and begins anew", "topic", topic)
		return nil
	}
	state, err := parseState(kept[0].Payload)
	if err != nil {
		d.log.Warn("the last state of the device can not be read; the device begins anew", "topic", topic, "err", err)
		return nil
	}
	var values []drivers.Value
	for _, name := range d.meter.names {
		switch v := state[name].(type) {
		case bool, int64, float64, string:
			values = append(values, drivers.Value{Channel: name, V: v})
		}
	}
	return values
}

// parseState reads what appendState has written. Whole numbers become int64: a count
// beyond 2^53 would lose its last digits as a float64.
func parseState(payload []byte) (map[string]any, error) {
	var state map[string]any
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&state); err != nil {
		return nil, err
	}
	for name, v := range state {
		number, ok := v.(json.Number)
		if !ok {
			continue
		}
		if whole, err := strconv.ParseInt(number.String(), 10, 64); err == nil {
			state[name] = whole
		} else if x, err := number.Float64(); err == nil {
			state[name] = x
		} else {
			delete(state, name) // beyond all float64: none of ours
		}
	}
	return state, nil
}

// checkResumed refuses a configuration that changes the values that a device goes on
// from: the total would be another one after each restart.
func checkResumed(c DeviceConfig, kind drivers.Kind) error {
	names, err := kind.Resumes(c.options())
	if err != nil {
		return nil // said by the kind's Check
	}
	for _, name := range names {
		if ch, ok := c.Channels[name]; ok && ch.changes() {
			return c.fault("channels."+name, "channels.%s is what a %s goes on from after a restart, as it was counted: points, scale, offset, valid, aggregate and round would change it; use them on its other channels", name, kind.Name)
		}
	}
	return nil
}
