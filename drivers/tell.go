package drivers

import (
	"errors"
	"time"
)

// tell hands a clean reading to Events and its trouble to the log.
func (r *runner) tell(reading Reading) {
	if reading.Note != "" {
		r.Log.Info("device did something by itself", "what", reading.Note)
	}
	fault := reading.Fault
	reading.Fault, reading.Note = nil, ""
	if len(reading.Values)+len(reading.Bad) > 0 {
		r.Stats.add(func(c *Counts) { c.Readings++ })
		r.ev.Reading(reading)
	}
	if fault != nil {
		r.fault(fault)
	} else if !r.lastFault.IsZero() && time.Since(r.lastFault) > faultSpell {
		r.Log.Info("device works without faults again", "faults", r.faults)
		r.lastFault, r.faults = time.Time{}, 0
	}
}

// fault counts a trouble that the device survives.
func (r *runner) fault(err error) {
	r.Stats.failed(err)
	r.logFault(err)
}

// logFault logs the first trouble of a spell.
func (r *runner) logFault(err error) {
	r.faults++
	if r.lastFault.IsZero() {
		r.Log.Warn("device gave something faulty; it stays in use, more of it is only counted", "err", err)
	}
	r.lastFault = time.Now()
}

func (r *runner) goOnline(dev Device, channels []Channel) {
	if r.online {
		return
	}
	r.online, r.reason, r.trouble, r.unclosed = true, nil, "", ""
	r.Stats.add(func(c *Counts) { c.Online = true })
	r.Log.Info("device online", "kind", r.Kind.Name)
	var check func(Command) (Command, error)
	if act, ok := dev.(Actuator); ok {
		check = func(c Command) (checked Command, err error) {
			defer recovered("check", &err)
			return act.Check(c)
		}
	}
	r.ev.Online(channels, check)
}

// goOffline says why the device does not work, unless that has been said.
func (r *runner) goOffline(reason error) {
	if trouble := cause(reason).Error(); r.online || r.trouble != trouble {
		r.trouble = trouble
		r.offline(reason)
		return
	}
	r.Stats.failed(reason)
}

func (r *runner) offline(reason error) {
	r.Stats.failed(reason)
	r.online, r.reason = false, reason
	r.Stats.add(func(c *Counts) { c.Online = false })
	var panicked *PanicError
	if errors.As(reason, &panicked) {
		r.Log.Error("device offline", "reason", reason, "stack", string(panicked.Stack))
	} else {
		r.Log.Warn("device offline", "reason", reason)
	}
	r.ev.Offline(reason)
}
