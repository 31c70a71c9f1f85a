package field

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// mostChannels bounds what a device keeps of readings whose channels are named by
// what it receives.
const mostChannels = 256

// longestReason bounds what is told of why a device is offline, in bytes.
const longestReason = 1024

// DeviceStatus tells about one device at one moment.
type DeviceStatus struct {
	Name, Kind, Topic string

	Online bool
	Reason string    // why it is offline; "" while online
	Lost   []string  // what it must not be without and is, for how long, and whether it was made safe
	Since  time.Time // of Online or of Reason

	LastReading time.Time       // when it was taken; zero before the first
	Values      []drivers.Value // the last value of every channel, in the order of State; nil: it was bad

	Quality map[string]string // of channels that are not good: stale, bad

	Channels []drivers.Channel // of the device as it was opened last; nil before

	Accepted int64 // commands
	Refused  int64 // commands
	Waiting  int   // commands that were accepted and have no outcome yet
	Unsent   int64 // messages of the device that the broker did not take
	Counts   drivers.Counts
}

// A device is one configured device: drivers.Events towards the driver,
// broker.Sink towards the broker.
type device struct {
	bridge *Bridge
	cfg    DeviceConfig
	spec   drivers.Spec
	base   string // of its topics
	log    *slog.Logger
	stats  drivers.Stats
	jobs   chan drivers.Job // as deep as the commands that are let in, and the lifelines: sending never blocks
	lines  []*lifeline
	paces  bool  // the configuration wants something of the way into the state
	bands  bool  // and there is a deadband
	meter  meter // for a device that goes on from its last values
	made   time.Time

	out sync.Mutex // held while a state is made and published; taken before mu

	mu       sync.Mutex // guards what follows
	state               // what it has said
	traits   map[string]*trait
	online   bool
	reason   error
	since    time.Time
	channels []drivers.Channel
	check    func(drivers.Command) (drivers.Command, error) // nil: takes no commands
	stopped  bool
	rate     rate // of commands
	waiting  int  // accepted, no outcome yet
	accepted int64
	refusals int64

	complained time.Time // when a command that was not carried out was logged last
	unreported int64     // those since then

	unsent  int64
	sendErr string // why the last message was not taken
	crowded bool   // the limit of channels was logged
	listed  bool   // what the configuration says wrong of the channels was logged
	alarmed bool   // that it could not be made safe

	clockMoved bool // the wall clock was set since the gateway started
}

var errNotOpened = errors.New("not opened yet")

func newDevice(b *Bridge, c DeviceConfig, kind drivers.Kind, ports drivers.Ports) *device {
	d := &device{
		bridge: b,
		cfg:    c,
		base:   c.Base(b.cfg.Prefix),
		log:    b.log.With("device", c.Name),
		reason: errNotOpened,
		since:  time.Now(),
		made:   time.Now(),
		paces:  c.paced(),
		bands:  c.banded(),
		traits: make(map[string]*trait, len(c.Channels)),
	}
	d.lines = d.lifelines(b.cfg.Prefix)
	d.jobs = make(chan drivers.Job, mailbox+len(d.lines))
	for name, ch := range c.Channels {
		d.traits[name] = &trait{cfg: ch}
	}
	d.spec = drivers.Spec{
		Name:   c.Name,
		Kind:   kind,
		Decode: c.options(),
		Ports:  ports,
		Every:  c.Every,
		Jobs:   d.jobs,
		Log:    b.log,
		Stats:  &d.stats,
	}
	return d
}

// moments is in how many moments of a second, or of a shorter interval, devices are sampled.
// Each of its own would cost the processor three times as much for twenty devices: it wakes
// for each (scripts/devices.sh).
const moments = 4

// phaseOf spreads the samples of devices that are opened together: else all of them would want
// the buses and the network in the same moment of each interval.
func phaseOf(nth int, every time.Duration) time.Duration {
	return time.Duration(nth%moments) * min(every, time.Second) / moments
}

// run runs the device until ctx ends.
func (d *device) run(ctx context.Context) {
	// After a power cut the retained value may still say online.
	d.publish("availability", []byte("offline"))
	d.startLife()
	// Its error, a driver that hangs, is logged by drivers.Run.
	_ = drivers.Run(ctx, d.spec, d)

	d.endState()
	for { // nobody puts a job in any more
		select {
		case job := <-d.jobs:
			d.Result(job, drivers.Reading{}, drivers.ErrStopped)
			continue
		default:
		}
		return
	}
}

// Online implements drivers.Events.
func (d *device) Online(channels []drivers.Channel, check func(drivers.Command) (drivers.Command, error)) {
	d.mu.Lock()
	d.online, d.reason, d.since = true, nil, time.Now()
	d.describe(channels)
	d.check = check
	d.resetState()
	d.reopened()
	strays, relabelled := d.strays(), d.relabelled(channels)
	d.listed = d.listed || len(channels) > 0
	d.mu.Unlock()
	for _, c := range relabelled {
		next := "write scale and offset, or points, too"
		if c.Writable {
			next = "leave unit out; commands are in that of the device, too"
		}
		d.log.Warn("the configuration gives a channel another unit, and the values stay what they are",
			"channel", c.Name, "unit", d.cfg.Channels[c.Name].Unit, "values_are_in", c.Unit, "next", next)
	}
	if len(strays) > 0 {
		d.log.Warn("the configuration has [devices.channels] that the device does not have; they do nothing", "channels", strays, "device_has", namesOf(channels))
	}
	d.calm() // opening has set it
	d.bridge.tells.look()
	d.publish("availability", []byte("online"))
}

// strays are the configured channels that the device does not list, told once; none of a
// device that lists nothing, because what it receives names them.
func (d *device) strays() (names []string) {
	if d.listed || len(d.channels) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(d.traits)) {
		if d.rank(name) == len(d.channels) {
			names = append(names, name)
		}
	}
	return names
}

// relabelled are the channels that have a unit of the configuration in the place of another
// one, and values that nothing converts, told once.
func (d *device) relabelled(channels []drivers.Channel) (found []drivers.Channel) {
	if d.listed {
		return nil
	}
	for _, c := range channels {
		if t := d.traits[c.Name]; t != nil && t.cfg.relabels(c.Unit) {
			found = append(found, c)
		}
	}
	return found
}

func namesOf(channels []drivers.Channel) (names []string) {
	for _, c := range channels {
		names = append(names, c.Name)
	}
	return names
}

// describe notes the channels as their readers see them.
func (d *device) describe(channels []drivers.Channel) {
	d.channels = slices.Clone(channels) // the driver's own
	for i, c := range d.channels {
		if t := d.traits[c.Name]; t != nil {
			d.channels[i] = t.cfg.describe(c)
		}
	}
}

// Offline implements drivers.Events.
func (d *device) Offline(reason error) {
	d.mu.Lock()
	was := d.online
	d.online, d.reason, d.since = false, reason, time.Now()
	d.mu.Unlock()
	if was {
		d.releaseState()
	}
	m := d.retained("availability", []byte("offline"))
	m.Properties = because(reason)
	d.send(m, broker.Lazy())
}

// propertyText is a text that every receiver takes in a property: one may end the
// connection over a control character or a code point that is none [MQTT-1.5.4-2], §1.5.4.
func propertyText(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	for len(text) > longestReason {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// merge notes the newest value of each channel. New channels take their place in
// the order in which the device lists them, unlisted ones behind, in the order of
// their appearance.
func (d *device) merge(values []drivers.Value) {
	for _, v := range values {
		at := slices.IndexFunc(d.values, func(old drivers.Value) bool { return old.Channel == v.Channel })
		switch {
		case at >= 0:
			d.held = d.held || d.values[at].V != v.V
			if d.values[at].V == nil && v.V != nil && !d.typed(v.Channel) {
				d.bridge.tells.look() // its type may be known only now
			}
			d.values[at] = v
		case len(d.values) < mostChannels:
			rank := d.rank(v.Channel)
			at = slices.IndexFunc(d.values, func(old drivers.Value) bool { return d.rank(old.Channel) > rank })
			if at < 0 {
				at = len(d.values)
			}
			d.values = slices.Insert(d.values, at, v)
			d.held = true
			d.bridge.tells.look()
		case !d.crowded:
			d.crowded = true
			d.log.Warn("device names too many channels; further ones are left out of its state", "limit", mostChannels, "channel", v.Channel)
		}
	}
}

// typed tells whether the device lists a channel with its type.
func (d *device) typed(channel string) bool {
	at := d.rank(channel)
	return at < len(d.channels) && d.channels[at].Type != ""
}

func (d *device) rank(channel string) int {
	at := slices.IndexFunc(d.channels, func(c drivers.Channel) bool { return c.Name == channel })
	if at < 0 {
		return len(d.channels)
	}
	return at
}

// publish sends one retained message of the device. Nobody waits for it.
func (d *device) publish(leaf string, payload []byte) {
	d.send(d.retained(leaf, payload), broker.Lazy())
}

func (d *device) retained(leaf string, payload []byte) broker.Message {
	return broker.Message{Topic: d.base + "/" + leaf, Payload: payload, QoS: d.cfg.QoS, Retain: true}
}

func (d *device) send(m broker.Message, options ...broker.PublishOption) {
	topic := m.Topic
	d.bridge.local.Publish(m, options...).Done(func(err error) {
		if err != nil {
			d.notSent(topic, err)
		}
	})
}

// notSent counts, and logs the first of equal reasons.
func (d *device) notSent(topic string, err error) {
	d.mu.Lock()
	d.unsent++
	repeated := d.sendErr == err.Error()
	d.sendErr = err.Error()
	d.mu.Unlock()
	if !repeated {
		d.log.Warn("the broker did not take a message of the device; more of this reason are only counted", "topic", topic, "err", err)
	}
}

func (d *device) status() DeviceStatus {
	counts := d.stats.Snapshot()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := DeviceStatus{
		Name: d.cfg.Name, Kind: d.cfg.Kind, Topic: d.base,
		Online: d.online, Since: d.since,
		LastReading: d.at, Values: slices.Clone(d.values), Channels: slices.Clone(d.channels), Quality: maps.Clone(d.quality),
		Accepted: d.accepted, Refused: d.refusals, Waiting: d.waiting,
		Unsent: d.unsent,
		Counts: counts,
	}
	if d.reason != nil {
		s.Reason = d.reason.Error()
	}
	for _, l := range d.lines {
		if l.lost {
			s.Lost = append(s.Lost, l.story(time.Now()))
		}
	}
	return s
}
