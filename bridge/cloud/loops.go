package cloud

import (
	"fmt"
	"slices"
	"strings"
)

// A Loop is a way on which a message comes back to where it was, again and again.
type Loop struct {
	Cloud, Up int // a route up on it, by its places in the configuration

	// Certain says that this gateway alone closes it. Else it takes another one with the
	// same configuration: no server gives a message back to the client that sent it, and
	// no gateway gives one back to the cloud that it came from, but two do.
	Certain bool

	Sentence string
}

// Loops finds them among the routes of the clouds of one gateway. own are the addresses
// of its listeners, host:port, where a cloud would be the gateway itself.
func Loops(clouds []Config, own []string) []Loop {
	f := loopFinder{clouds: clouds, budget: 20_000}
	for _, c := range clouds {
		f.servers = append(f.servers, addresses(c, own))
		f.up = append(f.up, newRoutes(c.Up, ""))
		f.down = append(f.down, newRoutes(c.Down, ""))
	}
	for i, c := range clouds {
		for _, r := range c.Down {
			f.local(r.To, i, nil)
		}
		if slices.Contains(f.servers[i], itself) {
			for _, r := range c.Up {
				f.local(r.From, nobody, nil)
			}
		}
	}
	return f.found
}

// addresses are the servers of a cloud, host:port.
func addresses(c Config, own []string) (list []string) {
	for _, s := range c.Servers {
		srv, err := parseServer(s)
		switch {
		case err != nil: // Validate says so
		case slices.Contains(own, srv.address):
			list = append(list, itself)
		default:
			list = append(list, srv.address)
		}
	}
	return list
}

const (
	itself = "this gateway"
	nobody = -1 // no cloud: a client of this gateway
)

// hop is a way up, and from there back down.
type hop struct{ upCloud, up, downCloud, down int }

// loopFinder follows sets of topics, which are filters, on their ways.
type loopFinder struct {
	clouds   []Config
	servers  [][]string
	up, down []routes
	budget   int // steps: many clouds with wide routes have very many ways
	found    []Loop
}

// rounds is how often a way has to be gone to be a loop: topics that become longer, or
// are others, end it.
const rounds = 3

// local follows what is published on the local broker and came from a cloud.
func (f *loopFinder) local(topics string, from int, way []hop) {
	for b, c := range f.clouds {
		if from != nobody && (b == from || !c.Transit) {
			continue
		}
		for j := range f.up[b] {
			there, ok := f.up[b][j].carry(topics)
			if !ok {
				continue
			}
			f.remote(there, b, j, way)
			if covers(f.up[b][j].from, topics) {
				break // the first route that takes a topic counts
			}
		}
	}
}

// remote follows what a route up has sent to its server.
func (f *loopFinder) remote(topics string, b, j int, way []hop) {
	if slices.Contains(f.servers[b], itself) {
		f.step(topics, nobody, hop{b, j, nobody, 0}, way)
	}
	for c := range f.clouds {
		if c != b && !slices.ContainsFunc(f.servers[c], func(s string) bool { return s != itself && slices.Contains(f.servers[b], s) }) {
			continue
		}
		for k := range f.down[c] {
			if here, ok := f.down[c][k].carry(topics); ok {
				f.step(here, c, hop{b, j, c, k}, way)
			}
		}
	}
}

func (f *loopFinder) step(topics string, from int, h hop, way []hop) {
	if f.budget--; f.budget < 0 {
		return
	}
	first, seen := -1, 0
	for i, earlier := range way {
		if earlier == h {
			if seen++; first < 0 {
				first = i
			}
		}
	}
	way = append(slices.Clone(way), h)
	if seen < rounds {
		if seen == 0 || f.repeats(way[first:]) {
			f.local(topics, from, way)
		}
		return
	}
	if circle := way[first : first+1+slices.Index(way[first+1:], h)]; f.holds(topics, circle) {
		f.report(circle)
	}
}

// holds follows one message of a set behind the first hop of a circle. Where each
// round takes away a level there is always one that goes another round, and each ends.
func (f *loopFinder) holds(topics string, circle []hop) bool {
	levels := strings.Split(topics, "/")
	for i, level := range levels {
		if wild(level) {
			levels[i] = "\x01" // is in no route
		}
	}
	name, ok := strings.Join(levels, "/"), true
	for i := range rounds * len(circle) {
		h := circle[(i+1)%len(circle)]
		if name, ok = f.up[h.upCloud][h.up].apply(name); ok && h.downCloud != nobody {
			name, ok = f.down[h.downCloud][h.down].apply(name)
		}
		if !ok {
			return false
		}
	}
	return true
}

// repeats reports whether a way that has come back to its first hop goes on as before.
func (f *loopFinder) repeats(way []hop) bool {
	length := slices.Index(way[1:], way[0]) + 1
	for i := length; length > 0 && i < len(way); i++ {
		if way[i] != way[i-length] {
			return false
		}
	}
	return true
}

// report adds a loop, unless one with the same hops is known.
func (f *loopFinder) report(way []hop) {
	l := Loop{Certain: true}
	var parts, shared []string
	for _, h := range way {
		up := f.clouds[h.upCloud].Up[h.up]
		parts = append(parts, fmt.Sprintf("up[%d] of cloud %q sends %q to %q", h.up, f.clouds[h.upCloud].Name, up.From, up.To))
		switch {
		case h.downCloud == nobody:
			shared = append(shared, fmt.Sprintf("a server of cloud %q is this gateway itself", f.clouds[h.upCloud].Name))
			continue
		case h.downCloud == h.upCloud:
			l.Certain = false
		default:
			shared = append(shared, fmt.Sprintf("clouds %q and %q have a server in common", f.clouds[h.upCloud].Name, f.clouds[h.downCloud].Name))
		}
		down := f.clouds[h.downCloud].Down[h.down]
		parts = append(parts, fmt.Sprintf("down[%d] of cloud %q brings %q to %q", h.down, f.clouds[h.downCloud].Name, down.From, down.To))
	}
	last := slices.MaxFunc(way, func(a, b hop) int { return a.upCloud - b.upCloud })
	l.Cloud, l.Up = last.upCloud, last.up
	if slices.ContainsFunc(f.found, func(o Loop) bool { return o.Cloud == l.Cloud && o.Up == l.Up && o.Certain == l.Certain }) {
		return
	}
	verdict := "a message would go round for ever"
	if !l.Certain {
		verdict = "a message would go round for ever between two gateways with this configuration"
	}
	l.Sentence = verdict + ": " + strings.Join(parts, ", ")
	if len(shared) > 0 {
		slices.Sort(shared)
		l.Sentence += "; " + strings.Join(slices.Compact(shared), ", ")
	}
	f.found = append(f.found, l)
}

// carry is apply for all topics of a filter.
func (m mapping) carry(topics string) (to string, ok bool) {
	levels, ok := meet(strings.Split(m.from, "/"), strings.Split(topics, "/"))
	if !ok {
		return "", false
	}
	var out []string
	from := 0 // of m.from, and so of levels: the next that can be a wildcard there
	list := strings.Split(m.from, "/")
	for _, level := range m.to {
		if !wild(level) {
			out = append(out, level)
			continue
		}
		for list[from] != level {
			from++
		}
		if level == "#" {
			out = append(out, levels[min(from, len(levels)):]...)
			break
		}
		out = append(out, levels[from])
		from++
	}
	return strings.Join(out, "/"), true
}

// meet is the filter of what matches both.
func meet(a, b []string) (both []string, ok bool) {
	if strings.HasPrefix(a[0], "$") && wild(b[0]) || strings.HasPrefix(b[0], "$") && wild(a[0]) {
		return nil, false // [MQTT-4.7.2-1]
	}
	for i := 0; ; i++ {
		switch {
		case i < len(a) && a[i] == "#":
			return append(both, b[min(i, len(b)):]...), true
		case i < len(b) && b[i] == "#":
			return append(both, a[min(i, len(a)):]...), true
		case i == len(a) && i == len(b):
			return both, true
		case i == len(a) || i == len(b):
			return nil, false
		case a[i] == "+":
			both = append(both, b[i])
		case b[i] == "+" || a[i] == b[i]:
			both = append(both, a[i])
		default:
			return nil, false
		}
	}
}
