package cloud

// Above is the topic on the server that a message of the gateway goes to; ok is
// false if no route up takes it. The gateway's own status goes to StatusAt.
func (c Config) Above(prefix, topic string) (to string, ok bool) {
	if isOwn(prefix, topic) {
		return "", false
	}
	to, by := newRoutes(c.Up, c.WhenFull).find(topic)
	return to, by != nil
}

// Retains tells whether a message of the gateway that is to be retained is so on the
// server too.
func (c Config) Retains(topic string) bool {
	_, by := newRoutes(c.Up, c.WhenFull).find(topic)
	return by != nil && (by.retain == nil || *by.retain)
}

// Below is the topic of the gateway that a message on the server goes to; ok is
// false if no route down takes it.
func (c Config) Below(topic string) (to string, ok bool) {
	to, by := newRoutes(c.Down, "").find(topic)
	return to, by != nil
}

// LeadsUp is the topic of the gateway whose messages go to the given one on the
// server, by the first route that leads there.
func (c Config) LeadsUp(prefix, topic string) (from string, ok bool) {
	return inverse(c.Up, topic, func(name string) (string, bool) { return c.Above(prefix, name) })
}

// LeadsDown is the topic on the server whose messages go to the given one of the
// gateway, by the first route that leads there.
func (c Config) LeadsDown(topic string) (from string, ok bool) {
	return inverse(c.Down, topic, c.Below)
}

// StatusAt is the topic of the gateway's status on the server.
func (c Config) StatusAt(gatewayID string) string {
	if c.StatusTopic != "" {
		return c.StatusTopic
	}
	return "gateways/" + gatewayID + "/status"
}

// inverse follows the routes backwards. A topic that an earlier route takes
// elsewhere does not count.
func inverse(list []Route, topic string, forth func(string) (string, bool)) (from string, ok bool) {
	for _, r := range list {
		back := newMapping(Route{From: r.To, To: r.From}, "")
		if from, ok := back.apply(topic); ok {
			if to, ok := forth(from); ok && to == topic {
				return from, true
			}
		}
	}
	return "", false
}
