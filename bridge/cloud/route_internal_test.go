package cloud

import (
	"strings"
	"testing"
)

func TestRouteCarriesWildcardsOver(t *testing.T) {
	for _, c := range []struct{ name, from, to, topic, want string }{
		{"one level", "g/+/state", "acme/g/+/state", "g/boiler/state", "acme/g/boiler/state"},
		{"an empty level", "g/+/state", "acme/+", "g//state", "acme/"},
		{"two levels in order", "+/x/+", "a/+/+/b", "1/x/2", "a/1/2/b"},
		{"the rest", "g/#", "acme/#", "g/a/b/c", "acme/a/b/c"},
		{"the rest is one empty level", "g/#", "acme/#", "g/", "acme/"},
		{"the parent", "g/#", "acme/x/#", "g", "acme/x"},
		{"level and rest", "+/g/#", "x/+/#", "1/g/2/3", "x/1/2/3"},
		{"all", "#", "acme/#", "a/b", "acme/a/b"},
		{"no wildcard", "a/b", "c", "a/b", "c"},
		{"leading empty level", "+/a", "b/+", "/a", "b/"},
		{"another topic", "g/+/state", "acme/+", "g/boiler/set", ""},
		{"too deep", "g/+", "acme/+", "g/a/b", ""},
		{"$ hides from wildcards", "#", "acme/#", "$SYS/broker/uptime", ""}, // [MQTT-4.7.2-1]
		{"$ by name", "$SYS/#", "acme/sys/#", "$SYS/broker/uptime", "acme/sys/broker/uptime"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Route{From: c.from, To: c.to}
			if err := r.validate(); err != nil {
				t.Fatalf("validate: %v", err)
			}
			got, ok := newMapping(r, "").apply(c.topic)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("%s -> %s of %q = %q, %v; want %q", c.from, c.to, c.topic, got, ok, c.want)
			}
		})
	}
}

func TestFirstRouteWins(t *testing.T) {
	rs := newRoutes([]Route{{From: "a/b", To: "first", QoS: 2}, {From: "a/#", To: "second/#", QoS: 1}}, "")
	if to, by := rs.find("a/b"); to != "first" || by != &rs[0] {
		t.Errorf("a/b goes to %q by %v", to, by)
	}
	if to, by := rs.find("a/c"); to != "second/c" || by != &rs[1] {
		t.Errorf("a/c goes to %q by %v", to, by)
	}
	if to, by := rs.find("b"); by != nil {
		t.Errorf("b goes to %q, want nowhere", to)
	}
}

func TestWrongRoutesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           string // begins with
	}{
		{"bad filter", "a/#/b", "c", "from: "},
		{"bad target", "a", "b+", "to: "},
		{"a wildcard is missing", "a/+/#", "b/#", "to "},
		{"wrong order", "+/#", "a/#/+", "to: "},
		{"one too many", "a", "b/+", "to "},
		{"shared", "$share/g/a", "b", "from "},
		{"could begin with $", "a/+", "+/b", "to "},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Route{From: c.from, To: c.to}.validate()
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("validate(%s -> %s) = %v, want an error that begins with %q", c.from, c.to, err, c.want)
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/+", "a/b", true}, {"a/+", "b/+", false},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/+/c", "a/b/+", true}, {"a/+/c", "a/b/d", false},
		{"a", "a/b", false}, {"a/+", "a", false}, {"#", "a/b", true}, {"#", "$SYS/a", false}, {"+/a", "$x/a", false},
		{"$SYS/#", "$SYS/a", true}, {"a/b/#", "a/+", true}, {"a/b/c/#", "a/+", false},
	} {
		if got := overlap(c.a, c.b); got != c.want {
			t.Errorf("overlap(%q, %q) = %v", c.a, c.b, got)
		}
		if got := overlap(c.b, c.a); got != c.want {
			t.Errorf("overlap(%q, %q) = %v", c.b, c.a, got)
		}
	}
}

func TestNoRouteTouchesTheGatewaysOwnTopics(t *testing.T) {
	up := func(from, to string) Config { return Config{Up: []Route{{From: from, To: to}}} }
	down := func(from, to string) Config { return Config{Down: []Route{{From: from, To: to}}} }
	for _, c := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"states go up", up("g/+/state", "x/+/state"), true},
		{"all goes up, but for its own", up("g/#", "x/#"), true},
		{"status up", up("g/status", "x"), false},
		{"cloud state up", up("g/cloud/a/state", "x"), false},
		{"alarms up", up("g/alarm/#", "x/#"), false},
		{"commands come down", down("x/+/set", "g/+/set"), true},
		{"states down", down("x/+/state", "g/+/state"), false},
		{"one state down", down("x", "g/boiler/state"), false},
		{"availability down", down("x/+", "g/+/availability"), false},
		{"status down", down("x", "g/status"), false},
		{"anything down", down("x/#", "g/#"), false},
		{"any level down", down("x/+", "g/boiler/+"), false},
		{"alarms down", down("x/#", "g/alarm/#"), false},
		{"another tree", down("x/#", "remote/#"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.cfg.validateFor("g")
			if (err == nil) != c.ok {
				t.Errorf("validateFor = %v, want ok = %v", err, c.ok)
			}
		})
	}
	for name, want := range map[string]bool{
		"g/status": true, "g/cloud": true, "g/cloud/a/state": true, "g/alarm/disk": true,
		"g/boiler/state": false, "g/cloudy/state": false, "h/status": false, "g": false,
	} {
		if got := isOwn("g", name); got != want {
			t.Errorf("isOwn(%q) = %v", name, got)
		}
	}
}
