package cloud

import (
	"strings"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// Limits are those of the queue. c must be valid.
func (c Config) Limits() buffer.Limits {
	policy, _ := parsePolicy(c.WhenFull) // checked by Validate
	l := buffer.Limits{
		Messages: c.MaxQueuedMessages, Bytes: c.MaxQueuedBytes, Age: c.MaxQueuedAge,
		WhenFull: policy,
	}
	for _, m := range newRoutes(c.Up, c.WhenFull) {
		l.Values = l.Values || m.plan.Last
	}
	return l
}

// wants is what becomes of the messages of a topic. What speaks of this gateway itself
// never goes up, whatever the routes say.
func (b *Bridge) wants(topic string) (p broker.Plan, ok bool) {
	if isOwn(b.env.Prefix, topic) {
		return p, false
	}
	_, route := b.up.find(topic)
	if route == nil {
		return p, false
	}
	return route.plan, true
}

// hears reports whether what a client of this process has published may go up. What
// came from this cloud never goes back to it, and what came from another one only in
// transit.
func (b *Bridge) hears(origin string) bool {
	from, foreign := strings.CutPrefix(origin, localPrefix)
	return !foreign || from != b.cfg.Name && b.cfg.Transit
}

// retains is the RETAIN flag for a message that had this one.
func (m *mapping) retains(published bool) bool {
	if m.retain != nil {
		return *m.retain
	}
	return published
}
