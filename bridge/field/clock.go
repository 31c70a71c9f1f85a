package field

import "time"

// SetClock says whether the wall clock is set. As long as it is not, states say
// "clock":"unsynced", because a board without a battery starts in the past. When it is
// set, the last state of every device is published again with the right time.
func (b *Bridge) SetClock(synced bool) {
	if b.unsynced.Swap(!synced) == !synced || !synced {
		return
	}
	for _, d := range b.devices {
		d.republish()
	}
}

// republish corrects the state that stands on the topic.
func (d *device) republish() {
	d.out.Lock()
	defer d.out.Unlock()
	d.mu.Lock()
	d.clockMoved = true
	var payload []byte
	if d.online && !d.stopped && len(d.values) > 0 && !d.sent.IsZero() {
		payload = d.renderLocked()
	}
	d.mu.Unlock()
	if payload != nil {
		d.publish("state", payload)
	}
}

// rebased is a time on the wall clock of now. That of the driver may be from before the
// clock was set; both have the monotonic clock, unless the driver has one of its own.
func rebased(at, now time.Time) time.Time { return now.Add(at.Sub(now)) }

// near is how far a time may lie from that of its arrival to be of the same clock; a
// GPS receiver has one of its own, which is right.
const near = time.Minute

// corrected is a time that was taken when the wall clock stood elsewhere: it moves by
// what the wall clock was set since its arrival. elapsed is how long that is ago by the
// monotonic clock.
func corrected(at, arrived, now time.Time, elapsed time.Duration) time.Time {
	if at.Round(0).Sub(arrived.Round(0)).Abs() > near {
		return at
	}
	return at.Round(0).Add(moved(now.Round(0).Sub(arrived.Round(0)), elapsed))
}

// moved is by how much the wall clock was set, as it passed wall while mono went by. It
// is no step if the clocks only run a little apart.
func moved(wall, mono time.Duration) time.Duration {
	if step := wall - mono; step.Abs() >= 100*time.Millisecond {
		return step
	}
	return 0
}
