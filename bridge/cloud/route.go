package cloud

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// A mapping is a route that is ready to be applied.
type mapping struct {
	from   string
	to     []string // levels
	qos    byte
	retain *bool       // nil: as published
	plan   broker.Plan // of a route up
}

func newMapping(r Route, whenFull string) mapping {
	if r.WhenFull != "" {
		whenFull = r.WhenFull
	}
	return mapping{
		from: r.From, to: strings.Split(r.To, "/"), qos: byte(r.QoS), retain: r.Retain,
		plan: broker.Plan{QoS: byte(r.QoS), Lane: uint8(r.Priority), TTL: r.TTL, Last: whenFull == keepLast},
	}
}

// apply is the topic on the other side; ok is false if the route does not take
// this topic.
func (m mapping) apply(name string) (to string, ok bool) {
	var space [8]string
	carried, ok := topic.Captures(m.from, name, space[:0])
	if !ok {
		return "", false
	}
	var b strings.Builder
	b.Grow(len(name) + 32)
	for i, level := range m.to {
		wildcard := level == "+" || level == "#"
		if wildcard && len(carried) == 0 {
			// The # of "a/#" takes "a" as well [MQTT-4.7.1-2]: there is no level to
			// carry, so there is none on the other side either.
			break
		}
		if i > 0 {
			b.WriteByte('/')
		}
		if wildcard {
			level, carried = carried[0], carried[1:]
		}
		b.WriteString(level)
	}
	return b.String(), true
}

// routes are the mappings of one direction, in the order of the configuration.
type routes []mapping

func newRoutes(list []Route, whenFull string) routes {
	var rs routes
	for _, r := range list {
		rs = append(rs, newMapping(r, whenFull))
	}
	return rs
}

// find applies the first route that takes the topic; nil: none does.
func (rs routes) find(name string) (to string, by *mapping) {
	for i := range rs {
		if to, ok := rs[i].apply(name); ok {
			return to, &rs[i]
		}
	}
	return "", nil
}

// validate checks one route by itself.
func (r Route) validate() error {
	if err := topic.ValidFilter(r.From); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if err := topic.ValidFilter(r.To); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if strings.HasPrefix(r.From, "$share/") {
		return fmt.Errorf("from %q must not be a shared subscription: the session of the gateway would not be alone to receive it", r.From)
	}
	if w, v := wildcards(r.From), wildcards(r.To); !slices.Equal(w, v) {
		return fmt.Errorf("to %q must have the same wildcards in the same order as from %q", r.To, r.From)
	}
	if strings.HasPrefix(r.To, "+") || strings.HasPrefix(r.To, "#") {
		// From may begin with one: it never stands for a level with $ in front.
		if !strings.HasPrefix(r.From, r.To[:1]) {
			return fmt.Errorf("to %q must not begin with a wildcard where from %q does not", r.To, r.From)
		}
	}
	if r.QoS < 0 || r.QoS > 2 {
		return fmt.Errorf("qos must be 0, 1 or 2, not %d", r.QoS)
	}
	return nil
}

// validateUp checks what only a route up has. whenFull is that of the cloud.
func (r Route) validateUp(whenFull string) error {
	if r.Priority < 0 || r.Priority >= buffer.Lanes {
		return fmt.Errorf("priority must be from 0 to %d, not %d", buffer.Lanes-1, r.Priority)
	}
	if r.TTL != 0 && r.TTL < time.Second {
		return fmt.Errorf("ttl must be 0s (no limit) or at least 1s, not %v", r.TTL)
	}
	switch r.WhenFull {
	case "", keepLast, whenFull:
		return nil
	case "drop-oldest":
		if whenFull == keepLast {
			return nil // which is that at the limits
		}
	}
	return fmt.Errorf("when_full of a route must be keep-last or that of the cloud (%s), not %q: all routes of a cloud share one queue, and at its limits one of them would drop what another must not lose", whenFull, r.WhenFull)
}

// validateDown refuses what a route down does not have.
func (r Route) validateDown() error {
	switch {
	case r.Priority != 0:
		return errors.New("priority is for routes up: what comes down comes in the server's order")
	case r.Retain != nil:
		return errors.New("retain is for routes up: a command that the server had retained has to be known as one")
	case r.TTL != 0:
		return errors.New("ttl is for routes up: what comes down does not wait here")
	case r.WhenFull != "":
		return errors.New("when_full is for routes up: what comes down does not wait here")
	}
	return nil
}

// wildcards are the levels that are wildcards, in order.
func wildcards(filter string) (w []string) {
	for level := range strings.SplitSeq(filter, "/") {
		if level == "+" || level == "#" {
			w = append(w, level)
		}
	}
	return w
}

// overlap reports whether some topic matches both filters.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if strings.HasPrefix(a, "$") != strings.HasPrefix(b, "$") && (wild(x[0]) || wild(y[0])) {
		return false // [MQTT-4.7.2-1]
	}
	for i := 0; ; i++ {
		switch {
		case i < len(x) && x[i] == "#", i < len(y) && y[i] == "#":
			// "a/#" takes "a" as well: whatever the other has from here on matches.
			return true
		case i == len(x) || i == len(y):
			if i == len(x) && i == len(y) {
				return true
			}
			// The longer one matches the end of the shorter one only through #.
			return i < len(x) && x[i] == "#" || i < len(y) && y[i] == "#"
		case x[i] != y[i] && !wild(x[i]) && !wild(y[i]):
			return false
		}
	}
}

func wild(level string) bool { return level == "+" || level == "#" }

// covers reports whether every topic that matches inner matches outer.
func covers(outer, inner string) bool {
	x, y := strings.Split(outer, "/"), strings.Split(inner, "/")
	for i, level := range x {
		if level == "#" {
			return true
		}
		if i >= len(y) || y[i] == "#" || level != "+" && level != y[i] {
			return false
		}
	}
	return len(x) == len(y)
}

// ownTopics are the filters below prefix that never enter a route: they speak of
// this gateway, and reach the server by the status alone.
func ownTopics(prefix string) []string {
	return []string{prefix + "/status", prefix + "/cloud/#", prefix + "/alarm/#"}
}

// isOwn reports whether a topic speaks of this gateway itself.
func isOwn(prefix, name string) bool {
	below, ok := strings.CutPrefix(name, prefix+"/")
	if !ok {
		return false
	}
	return below == "status" ||
		below == "cloud" || strings.HasPrefix(below, "cloud/") ||
		below == "alarm" || strings.HasPrefix(below, "alarm/")
}

// validateFor checks what depends on the gateway's prefix.
func (c Config) validateFor(prefix string) error {
	var errs []error
	for i, r := range c.Up {
		for _, own := range ownTopics(prefix) {
			if covers(own, r.From) {
				errs = append(errs, fmt.Errorf("up[%d].from %q would send the gateway's own %s: these topics never enter a route, the server sees the gateway's status at status_topic", i, r.From, own))
			}
		}
	}
	for i, r := range c.Down {
		for _, own := range ownTopics(prefix)[1:] {
			if covers(own, r.To) {
				errs = append(errs, fmt.Errorf("down[%d].to %q would write %s, which only the gateway itself may say", i, r.To, own))
			}
		}
		for _, said := range []string{prefix + "/status", prefix + "/+/state", prefix + "/+/availability"} {
			if overlap(said, r.To) {
				errs = append(errs, fmt.Errorf("down[%d].to %q could write %s, which only the gateway itself may say; name what comes down, such as %s/+/set", i, r.To, said, prefix))
			}
		}
	}
	return errors.Join(errs...)
}
