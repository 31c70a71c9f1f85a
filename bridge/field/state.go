package field

import (
	"slices"
	"time"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// A trait is what the configuration wants of one channel, and where that is.
type trait struct {
	cfg    ChannelConfig
	window window

	wordy bool // that it gives text was logged

	published any // value in the state that was published last
	known     bool
}

// What a value is worth. Good ones are not mentioned in the state.
const (
	stale = "stale" // older than stale_after, or the device was asked again and gave nothing
	bad   = "bad"   // measured, and no value that there can be: null
)

// A state is what a device has said last, on its way to its topic. It belongs to
// device.mu.
type state struct {
	values  []drivers.Value // last value of each channel, in the order of the state
	at      time.Time       // of the last reading
	arrived time.Time       // when that came, by the wall clock
	age     time.Duration   // and by the monotonic one, since the device was made

	// What follows is for a device whose configuration asks for it; see device.paced.
	quality map[string]string    // of channels that are not good
	seen    map[string]time.Time // when the value of a channel came
	due     bool                 // something has changed enough to be published
	held    bool                 // something has changed, and was not published yet
	sent    time.Time            // when the last state was published; zero: never
	timer   *time.Timer
}

// paced tells whether readings go another way than straight into the state.
func (c DeviceConfig) paced() bool {
	return len(c.Channels) > 0 || c.MinInterval > 0 || c.MaxInterval > 0 || c.StaleAfter > 0
}

// banded tells whether an unchanged state is not published.
func (c DeviceConfig) banded() bool {
	for _, ch := range c.Channels {
		if ch.Deadband.set {
			return true
		}
	}
	return false
}

// Reading implements drivers.Events.
func (d *device) Reading(r drivers.Reading) {
	d.out.Lock() // two states leave in the order in which they were made
	defer d.out.Unlock()
	d.mu.Lock()
	now := time.Now()
	if r.Missed {
		d.outdate()
		d.flow(now)
		return
	}
	d.at, d.arrived, d.age = rebased(r.At, now), now, now.Sub(d.made)
	d.meter.note(r.Values)
	d.spoil(r.Bad, now)
	if !d.paces {
		for i := 0; i < len(r.Values) && len(d.quality) > 0; i++ {
			d.mark(r.Values[i].Channel, "")
		}
		d.merge(r.Values)
		d.due = true
	} else {
		for _, v := range r.Values {
			d.process(v, now)
		}
	}
	d.flow(now)
}

// spoil notes channels that a reading had no usable value of.
func (d *device) spoil(channels []string, now time.Time) {
	for _, name := range channels {
		if t := d.traits[name]; t != nil && t.cfg.Aggregate != "" {
			d.collect(drivers.Value{Channel: name}, t, now)
		} else {
			d.ruin(name)
		}
	}
}

// ruin notes that there is no value of a channel.
func (d *device) ruin(name string) {
	d.merge([]drivers.Value{{Channel: name}})
	d.mark(name, bad)
}

// outdate notes that everything is older than it should be, but for what is made of many
// values.
func (d *device) outdate() {
	for _, v := range d.values {
		if t := d.traits[v.Channel]; d.quality[v.Channel] == "" && (t == nil || t.cfg.Aggregate == "") {
			d.mark(v.Channel, stale)
		}
	}
}

// has tells whether a channel is in the state.
func (d *device) has(name string) bool {
	return slices.ContainsFunc(d.values, func(v drivers.Value) bool { return v.Channel == name })
}

// fresh tells whether a channel is in the state, as one that will get old.
func (d *device) fresh(name string) bool { return d.quality[name] == "" && d.has(name) }

// mark notes the quality of a channel of the state, "" for good.
func (d *device) mark(name, quality string) {
	if d.quality[name] == quality || quality != "" && !d.has(name) {
		return
	}
	d.due, d.held = true, true
	if quality == "" {
		delete(d.quality, name)
		return
	}
	if d.quality == nil {
		d.quality = make(map[string]string)
	}
	d.quality[name] = quality
}

// process leads a value through what the configuration wants of its channel.
func (d *device) process(v drivers.Value, now time.Time) {
	if d.cfg.StaleAfter > 0 {
		if d.seen == nil {
			d.seen = make(map[string]time.Time)
		}
		if len(d.seen) < mostChannels || !d.seen[v.Channel].IsZero() {
			d.seen[v.Channel] = now
		}
	}
	t := d.traits[v.Channel]
	if t == nil {
		d.settle(v, nil)
		return
	}
	if v.V = t.cfg.convert(v.V); !t.cfg.usable(v.V) {
		if text, is := v.V.(string); is && !t.wordy {
			t.wordy = true
			d.log.Warn("a channel that the configuration calls measured gives text, which is bad; this is said once", "channel", v.Channel, "text", text[:min(len(text), 40)])
		}
		d.spoil([]string{v.Channel}, now)
		return
	}
	if t.cfg.Aggregate == "" {
		d.settle(v, t)
		return
	}
	d.collect(v, t, now)
}

// collect puts a value into the window of its channel, nil for one that cannot be used.
func (d *device) collect(v drivers.Value, t *trait, now time.Time) {
	for t.window.over(now) {
		d.conclude(v.Channel, t)
	}
	t.window.add(v.V, now, t.cfg.Window)
}

// conclude ends the window of a channel. Behind a count the next one begins at once: when
// nothing comes in it, the count is none, and not for ever what it was.
func (d *device) conclude(name string, t *trait) {
	ends := t.window.ends
	v := t.window.take(t.cfg.Aggregate)
	if n, ok := v.(int64); ok && n > 0 && t.cfg.Aggregate == "count" {
		t.window.ends = ends.Add(t.cfg.Window)
	}
	if x, ok := number(v); v == nil || ok && !finite(x) { // a sum can be beyond all numbers
		d.ruin(name)
		return
	}
	d.settle(drivers.Value{Channel: name, V: v}, t)
}

// settle puts a value into the state, and sees whether it is due.
func (d *device) settle(v drivers.Value, t *trait) {
	if t != nil {
		v.V = t.cfg.rounded(v.V)
	}
	d.mark(v.Channel, "")
	switch {
	case !d.bands:
		d.due = true
	case t != nil && t.known && t.cfg.Deadband.set:
		d.due = d.due || t.cfg.Deadband.passes(t.published, v.V)
	default:
		at := slices.IndexFunc(d.values, func(old drivers.Value) bool { return old.Channel == v.Channel })
		d.due = d.due || at < 0 || d.values[at].V != v.V
	}
	d.merge([]drivers.Value{v})
}

// tick is what the timer does: windows end, values get old, a state that had to wait
// is published, and one that nothing has changed as well after max_interval.
func (d *device) tick() {
	d.out.Lock()
	defer d.out.Unlock()
	d.mu.Lock()
	if !d.online || d.stopped {
		d.mu.Unlock()
		return
	}
	now := time.Now()
	for name, t := range d.traits {
		for t.window.over(now) {
			d.conclude(name, t)
		}
	}
	for name, at := range d.seen {
		if now.Sub(at) >= d.cfg.StaleAfter && d.fresh(name) {
			d.mark(name, stale)
		}
	}
	if d.cfg.MaxInterval > 0 && len(d.values) > 0 && now.Sub(d.sent) >= d.cfg.MaxInterval {
		d.due = true
	}
	d.flow(now)
}

// flow publishes the state if it is due and may leave, and sets the timer. It is
// called with both locks held and gives d.mu back.
func (d *device) flow(now time.Time) {
	var payload []byte
	how := broker.Lazy()
	if d.due && (d.sent.IsZero() || now.Sub(d.sent) >= d.cfg.MinInterval) && len(d.values) > 0 {
		payload = d.renderLocked()
		d.due, d.held, d.sent = false, false, now
		if d.meter.keep(now.Sub(d.made), d.waiting > 0) {
			how = broker.Soon()
		}
		for name, t := range d.traits {
			if at := slices.IndexFunc(d.values, func(v drivers.Value) bool { return v.Channel == name }); at >= 0 {
				t.published, t.known = d.values[at].V, true
			}
		}
	}
	if d.paces {
		d.wind(now)
	}
	d.mu.Unlock()
	if payload != nil {
		d.send(d.retained("state", payload), how)
	}
}

// wind sets the timer to what comes next.
func (d *device) wind(now time.Time) {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if d.due && len(d.values) > 0 {
		sooner(d.sent.Add(d.cfg.MinInterval))
	}
	if d.cfg.MaxInterval > 0 && len(d.values) > 0 {
		sooner(d.sent.Add(d.cfg.MaxInterval))
	}
	for _, t := range d.traits {
		if !t.window.ends.IsZero() {
			sooner(t.window.ends)
		}
	}
	for name, at := range d.seen {
		if d.fresh(name) {
			sooner(at.Add(d.cfg.StaleAfter))
		}
	}
	switch {
	case next.IsZero():
		if d.timer != nil {
			d.timer.Stop()
		}
	case d.timer == nil:
		d.timer = time.AfterFunc(next.Sub(now), d.tick)
	default:
		d.timer.Reset(next.Sub(now))
	}
}

// renderLocked writes the state.
func (d *device) renderLocked() []byte {
	at := d.at
	if d.clockMoved {
		now := time.Now()
		at = corrected(at, d.arrived, now, now.Sub(d.made)-d.age)
	}
	return appendState(nil, d.values, at, d.quality, d.bridge.unsynced.Load())
}

// resetState forgets what was true before the device was opened again.
func (d *device) resetState() {
	d.values, d.quality, d.seen, d.due, d.held = nil, nil, nil, false, false
	for _, t := range d.traits {
		t.window, t.known = window{}, false
	}
}

// releaseState publishes what a deadband or min_interval has held back: nothing follows that
// could take it along, and a meter goes on from what was published.
func (d *device) releaseState() {
	d.out.Lock()
	defer d.out.Unlock()
	d.mu.Lock()
	var payload []byte
	if d.held && len(d.values) > 0 {
		payload = d.renderLocked()
		d.due, d.held, d.sent = false, false, time.Now()
	}
	d.mu.Unlock()
	if payload != nil {
		d.publish("state", payload)
	}
}

// endState ends the timer; nothing is published after it.
func (d *device) endState() {
	d.out.Lock()
	defer d.out.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
	for _, l := range d.lines {
		l.timer.Stop()
	}
}
