package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// SafeWithout says what a device must not be without. It goes to its safe state once, at
// the moment of the loss, and goes on to obey commands.
type SafeWithout struct {
	// Cloud is the name of a [[cloud]]: the device goes to its safe state when the link
	// to it has been down for After. A link that never came up is down since the start.
	Cloud string `toml:"cloud"`

	// Heartbeat is a topic on which somebody must publish at least every After, not
	// retained. A command that is accepted for the device counts as well.
	Heartbeat string `toml:"heartbeat"`

	// After is how long the device may be without it, at least 1s.
	After time.Duration `toml:"after"`
}

const (
	defaultAfter  = time.Minute
	shortestAfter = time.Second // a cloud link tells of itself at most once a second
)

// wanted tells whether there is anything that the device must not be without.
func (s SafeWithout) wanted() bool { return s.Cloud != "" || s.Heartbeat != "" }

// Validate says what is wrong, in sentences that start with the key.
func (s SafeWithout) Validate() error {
	var errs []error
	if s.After < shortestAfter && (s.wanted() || s.After != 0) {
		errs = append(errs, fmt.Errorf("after must be at least %v, not %v", shortestAfter, s.After))
	}
	if s.After != defaultAfter && s.After != 0 && !s.wanted() {
		errs = append(errs, errors.New("after needs a cloud or a heartbeat beside it, that the device must not be without so long"))
	}
	if h := s.Heartbeat; h != "" && (len(h) > longestTopic || strings.ContainsAny(h, "+#\x00") || h[0] == '$') {
		errs = append(errs, fmt.Errorf("heartbeat %q must be a topic without + and #, not start with $, and have at most %d bytes", h, longestTopic))
	}
	return errors.Join(errs...)
}

// A lifeline is one thing that a device must not be without. The fields from up on
// belong to device.mu.
type lifeline struct {
	device *device
	after  time.Duration
	what   string // is missing: "no link to cloud acme"
	reason string // of the loss, as it is told at that moment
	topic  string // on which life is seen
	cloud  string // name; "" = a heartbeat

	ignored atomic.Bool // something came that is no heartbeat, because it is retained

	up    bool      // the link to the cloud is there: no time runs
	since time.Time // of the last sign of life
	lost  bool      // and too long ago: the device was to go to its safe state
	timer *time.Timer

	waits  bool // a job to make the device safe is under way
	again  bool // and another one is wanted behind it
	failed bool // the device could not be made safe since the loss

	safe   time.Time // when it was made safe after the loss; zero: it was not
	obeyed bool      // it has carried out a command since
}

// lifelines are what a device must not be without, none for most.
func (d *device) lifelines(prefix string) []*lifeline {
	var all []*lifeline
	s := d.cfg.SafeWithout
	if s.Cloud != "" {
		all = append(all, &lifeline{
			device: d, after: s.After, topic: prefix + "/cloud/" + s.Cloud + "/state", cloud: s.Cloud,
			what: "no link to cloud " + s.Cloud,
		})
	}
	if s.Heartbeat != "" {
		all = append(all, &lifeline{
			device: d, after: s.After, topic: s.Heartbeat,
			what: "no heartbeat on " + s.Heartbeat,
		})
	}
	for _, l := range all {
		l.reason = fmt.Sprintf("%s for %v", l.what, l.after)
	}
	return all
}

// listenForLife subscribes to what the devices must not be without. It has a client of
// its own, which sees what devices of this gateway say.
func (b *Bridge) listenForLife(br *broker.Broker) error {
	ears := make(map[string]ear)
	for _, d := range b.devices {
		d.alarmed = len(br.Retained(d.alarmTopic(), 1)) > 0 // in an earlier run
		for _, l := range d.lines {
			ears[l.topic] = append(ears[l.topic], l)
		}
	}
	local := br.Local("field/life", broker.Rights{})
	for topic, e := range ears {
		// What is retained is of an earlier time, or of an earlier run: after a kill it
		// says that a link is up that is not.
		o := broker.SubscribeOptions{RetainAsPublished: true, RetainHandling: packet.NoRetained}
		if err := local.Subscribe(topic, o, e); err != nil {
			return fmt.Errorf("subscribe to %s, which devices must not be without: %w", topic, err)
		}
	}
	return nil
}

// An ear is the lifelines of one topic.
type ear []*lifeline

// Deliver implements broker.Sink.
func (e ear) Deliver(dl *broker.Delivery) {
	m := dl.Message
	now := time.Now()
	for _, l := range e {
		if l.cloud == "" {
			if !m.Retain { // a server that comes back sends what it retains, whoever is alive
				l.seen(now)
			} else {
				l.ignored.Store(true)
			}
			continue
		}
		if m.Origin != "cloud/"+l.cloud {
			continue // only the bridge itself knows
		}
		var state struct {
			Connected bool `json:"connected"`
		}
		_ = json.Unmarshal(m.Payload, &state) // what cannot be read says of no link
		l.link(state.Connected, now)
	}
}

// seen notes a sign of life.
func (l *lifeline) seen(now time.Time) {
	l.device.mu.Lock()
	defer l.device.mu.Unlock()
	l.seenLocked(now)
}

func (l *lifeline) seenLocked(now time.Time) {
	l.since = now
	if l.lost { // else the timer runs, and finds out
		l.lost, l.failed = false, false
		l.wind(l.after)
	}
}

// link notes whether the link to the cloud is up.
func (l *lifeline) link(up bool, now time.Time) {
	l.device.mu.Lock()
	defer l.device.mu.Unlock()
	switch {
	case up == l.up: // something else has changed
	case up:
		l.up, l.lost, l.failed = true, false, false // the timer, if it runs, finds that out
	default:
		l.up, l.since = false, now
		l.wind(l.after)
	}
}

// lose notes that life has been away for too long.
func (l *lifeline) lose() { l.lost, l.safe, l.obeyed = true, time.Time{}, false }

// story says of a loss what is missing since when, and what has become of the device.
func (l *lifeline) story(now time.Time) string {
	ago := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	s := fmt.Sprintf("%s for %v; ", l.what, ago(l.since))
	if l.safe.IsZero() {
		return s + "not made safe yet"
	}
	s += fmt.Sprintf("made safe %v ago", ago(l.safe))
	if l.obeyed {
		s += ", and commanded since"
	}
	return s
}

// wind sets the timer. Before Run there is none: the time runs from there.
func (l *lifeline) wind(after time.Duration) {
	if l.timer != nil && !l.device.stopped {
		l.timer.Reset(after)
	}
}
