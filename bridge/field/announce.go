package field

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"edgegateway/bridge/homeassistant"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// announcerName is the origin of what tells Home Assistant of the devices. By it
// the messages are known again after a restart.
const announcerName = "homeassistant"

// What we chose.
const (
	gather     = time.Second     // channels of a new device are waited for, so that it is told of once
	birthFirst = time.Second     // Home Assistant subscribes before it says that it is there; a moment is polite
	birthMost  = 5 * time.Second // it then hears from every gateway at once, but for this

	// How long what goes away is kept for a Home Assistant that has not said that it is
	// there. At the broker of the gateway it is away whenever the gateway starts, and
	// back after 10 s, or when it has started itself.
	unborn = 5 * time.Minute
)

// An announcer tells Home Assistant of the devices.
type announcer struct {
	b       *Bridge
	cfg     homeassistant.Config
	site    homeassistant.Site
	gateway homeassistant.Gateway
	broker  *broker.Broker
	local   *broker.Local

	changed chan struct{} // holds a token when a device has something new
	born    chan struct{} // holds a token when Home Assistant has started

	// What follows belongs to run.
	told     map[string][]byte // payloads by topic
	deaf     map[string]bool   // devices of which commands have no way, that was logged
	leaves   bool              // something of them goes away
	reported string            // the last error
}

func newAnnouncer(b *Bridge, br *broker.Broker) (*announcer, error) {
	a := &announcer{
		b: b, cfg: b.cfg.HomeAssistant, site: b.cfg.Site, broker: br,
		gateway: homeassistant.Gateway{ID: b.cfg.ID, Version: b.cfg.Version, Status: b.cfg.Prefix + "/status"},
		local:   br.Local(announcerName, broker.Rights{}),
		changed: make(chan struct{}, 1), born: make(chan struct{}, 1),
		told: make(map[string][]byte), deaf: make(map[string]bool),
	}
	if birth, ok := a.site.Receives(a.cfg.Birth()); ok {
		return a, a.local.Subscribe(birth, broker.SubscribeOptions{QoS: 1, RetainHandling: packet.NoRetained}, a)
	}
	return a, nil
}

// look says that a device has something new.
func (a *announcer) look() {
	if a != nil {
		signal(a.changed)
	}
}

// Deliver implements broker.Sink for the birth of Home Assistant.
func (a *announcer) Deliver(d *broker.Delivery) {
	if string(d.Message.Payload) == "online" {
		signal(a.born)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run tells and takes back until ctx ends. What was told stays: the devices come
// back.
func (a *announcer) run(ctx context.Context) {
	a.tellGateway()
	late := time.After(unborn)
	var due, again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
			if due == nil {
				due = time.After(gather)
			}
		case <-a.born:
			if again == nil {
				again = time.After(birthFirst + rand.N(birthMost-birthFirst))
			}
		case <-due:
			due = nil
			a.tellDevices(false)
		case <-again:
			again = nil
			clear(a.told)
			a.settle()
		case <-late:
			late = nil
			a.settle()
		}
		if a.leaves && late == nil {
			late = time.After(unborn)
		}
	}
}

// settle tells all, and clears what has gone away: Home Assistant has heard of it.
func (a *announcer) settle() {
	a.takeBack()
	a.tellGateway()
	a.leaves = false
	a.tellDevices(true)
}

func (a *announcer) tellGateway() {
	if a.cfg.Discovery {
		m, err := a.cfg.OfGateway(a.gateway, a.site)
		a.tell(m, err)
	}
}

// takeBack clears what was told of devices that are not there any more, or under
// another prefix.
func (a *announcer) takeBack() {
	var keep []string
	if a.cfg.Discovery {
		names := []string{""}
		for _, d := range a.b.devices {
			names = append(names, d.cfg.Name)
		}
		for _, name := range names {
			if topic, ok := a.cfg.Topic(a.gateway.ID, name, a.site); ok {
				keep = append(keep, topic)
			}
		}
	}
	filter := "device/+/config"
	for range deepest {
		filter = "+/" + filter
		for _, m := range a.broker.Retained(filter, 0) {
			if m.Origin == announcerName && !slices.Contains(keep, m.Topic) {
				a.publish(m.Topic, nil)
			}
		}
	}
}

// tellDevices tells what is new of them. forget leaves out what was told to go away.
func (a *announcer) tellDevices(forget bool) {
	if !a.cfg.Discovery {
		return
	}
	for _, d := range a.b.devices {
		channels, complete := d.announced()
		if len(channels) == 0 {
			continue // what was told in an earlier run stays until more is known
		}
		topic, _ := a.cfg.Topic(a.gateway.ID, d.cfg.Name, a.site)
		one := homeassistant.Device{
			Name: d.cfg.Name, Title: d.cfg.Title, Kind: d.cfg.Kind, Base: d.base, QoS: d.cfg.QoS,
			Channels: channels, Complete: complete, Earlier: a.before(topic),
		}
		m, readOnly, err := a.cfg.OfDevice(a.gateway, one, a.site)
		if len(readOnly) > 0 && !a.deaf[d.cfg.Name] {
			a.deaf[d.cfg.Name] = true
			a.b.log.Warn("Home Assistant can look at these channels, and not set them: the cloud has no route down for their commands",
				"device", d.cfg.Name, "channels", readOnly, "cloud", a.site.Name)
		}
		if err == nil {
			var leaves bool
			m.Payload, leaves = homeassistant.Farewell(one.Earlier, m.Payload, forget)
			a.leaves = a.leaves || leaves
		}
		a.tell(m, err)
	}
}

// tell publishes a message that is new.
func (a *announcer) tell(m homeassistant.Message, err error) {
	if err != nil {
		if a.reported != err.Error() {
			a.reported = err.Error()
			a.b.log.Warn("Home Assistant is not told of a device", "err", err)
		}
		return
	}
	if string(a.told[m.Topic]) == string(m.Payload) {
		return
	}
	a.told[m.Topic] = m.Payload
	a.publish(m.Topic, m.Payload)
}

// before is what is retained on a topic.
func (a *announcer) before(topic string) []byte {
	if kept := a.broker.Retained(topic, 1); len(kept) > 0 && kept[0].Origin == announcerName {
		return kept[0].Payload
	}
	return nil
}

// publish is not lazy: what is told has to be known again after a power cut, to be
// taken back. An unchanged message is not written.
func (a *announcer) publish(topic string, payload []byte) {
	a.local.Publish(broker.Message{Topic: topic, Payload: payload, QoS: 1, Retain: true}).Done(func(err error) {
		if err != nil {
			a.b.log.Warn("a message for Home Assistant was not taken", "topic", topic, "err", err)
		}
	})
}

// announced lists the channels with a known type; complete says that these are all that
// the device has, by its own list.
func (d *device) announced() (channels []homeassistant.Channel, complete bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	add := func(c drivers.Channel) {
		if c.Type != "" && c.Name != tsKey {
			one := homeassistant.Channel{Channel: c, Decimals: -1}
			if t := d.traits[c.Name]; t != nil {
				one.Title, one.Decimals = t.cfg.Title, t.cfg.Round
			}
			channels = append(channels, one)
		}
	}
	complete = len(d.channels) > 0
	for _, c := range d.channels {
		if c.Type == "" {
			c.Type = d.typeOf(c.Name)
		}
		complete = complete && c.Type != ""
		add(c)
	}
	for _, v := range d.values {
		if d.rank(v.Channel) == len(d.channels) {
			c := drivers.Channel{Name: v.Channel, Type: d.typeOf(v.Channel)}
			if t := d.traits[c.Name]; t != nil {
				c = t.cfg.describe(c)
			}
			add(c)
		}
	}
	return channels, complete
}

// typeOf is the type of the last value of a channel, "" without one.
func (d *device) typeOf(channel string) drivers.Type {
	for _, v := range d.values {
		if v.Channel != channel {
			continue
		}
		switch v.V.(type) {
		case bool:
			return drivers.Bool
		case string:
			return drivers.Text
		case nil: // bad so far
			return ""
		}
		return drivers.Float
	}
	return ""
}
