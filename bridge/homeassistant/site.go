package homeassistant

import "fmt"

// A Site is where Home Assistant is, as seen from the gateway: how topics of the
// gateway are called on its broker. The zero value is the gateway's own broker.
type Site struct {
	Name string // of the cloud, for sentences; "" is the gateway's own broker

	// Up is where a message of the gateway arrives there; Origin is what the gateway
	// publishes so that it arrives there on a topic.
	Up, Origin func(topic string) (string, bool)

	// Keeps tells whether a message of the gateway stays retained there.
	Keeps func(topic string) bool

	// Down is where a message from there arrives in the gateway; Source is what to
	// publish there so that it arrives here on a topic.
	Down, Source func(topic string) (string, bool)

	Status string // topic of the gateway's status there
}

func via(route func(string) (string, bool), topic string) (string, bool) {
	if route == nil {
		return topic, true
	}
	return route(topic)
}

// Publishes is the topic of the gateway from which a message reaches the given
// topic at Home Assistant.
func (s Site) Publishes(topic string) (string, bool) { return via(s.Origin, topic) }

// Receives is the topic of the gateway on which it gets what is published on the
// given one at Home Assistant.
func (s Site) Receives(topic string) (string, bool) { return via(s.Down, topic) }

func (s Site) keeps(topic string) bool { return s.Keeps == nil || s.Keeps(topic) }

// Check says which routes are missing for a device whose topics begin with base.
func (s Site) Check(c Config, base string) error {
	if s.Name == "" || !c.Discovery {
		return nil
	}
	lost := func(topic string) error {
		return fmt.Errorf("via %q: the route up that takes %s says retain = false, so Home Assistant would know nothing of it after its restart; leave retain out", s.Name, topic)
	}
	discovery, ok := s.Publishes(c.Prefix + "/device/x/config")
	switch {
	case ok && !s.keeps(discovery):
		return lost(discovery)
	case !ok:
		return fmt.Errorf("via %q: no route up of this cloud leads to %s/device/+/config there, so Home Assistant would not hear of any device; add { from = %[3]q, to = %[3]q } to its up",
			s.Name, c.Prefix, c.Prefix+"/#")
	}
	for _, leaf := range []string{"state", "availability"} {
		if _, ok := via(s.Up, base+"/"+leaf); ok {
			if !s.keeps(base + "/" + leaf) {
				return lost(base + "/" + leaf)
			}
		} else {
			return fmt.Errorf("via %q: no route up of this cloud takes %s, which Home Assistant needs of every device; add one such as { from = %q, to = %q }",
				s.Name, base+"/"+leaf, base+"/"+leaf, base+"/"+leaf)
		}
	}
	return nil
}
