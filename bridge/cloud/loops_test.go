package cloud_test

import (
	"strings"
	"testing"

	"edgegateway/bridge/cloud"
)

// pair is a cloud with one route down and one up, written "from > to".
func pair(name, server string, transit bool, down, up string) cloud.Config {
	c := cloud.Config{Name: name, Servers: []string{server}, Transit: transit}
	route := func(s string) []cloud.Route {
		from, to, ok := strings.Cut(s, " > ")
		if !ok {
			return nil
		}
		return []cloud.Route{{From: from, To: to}}
	}
	c.Down, c.Up = route(down), route(up)
	return c
}

func TestLoops(t *testing.T) {
	const x, y = "mqtt://x:1883", "mqtt://y:1883"
	for _, c := range []struct {
		name   string
		clouds []cloud.Config
		want   string // "" none; else what the sentence has, split at |
		maybe  bool   // it takes two gateways
	}{
		{"one cloud in both directions", []cloud.Config{pair("a", x, true, "s/# > g/#", "g/# > s/#")}, "", false},
		{"two entries for one server", []cloud.Config{
			pair("a", x, false, "s/# > g/#", ""), pair("b", x, true, "", "g/# > s/#"),
		}, `up[0] of cloud "b" sends "g/#" to "s/#"|down[0] of cloud "a" brings "s/#" to "g/#"|clouds "b" and "a" have a server in common`, false},
		{"the same without transit", []cloud.Config{
			pair("a", x, false, "s/# > g/#", ""), pair("b", x, false, "", "g/# > s/#"),
		}, "", false},
		{"the same at two servers", []cloud.Config{
			pair("a", x, false, "s/# > g/#", ""), pair("b", y, true, "", "g/# > s/#"),
		}, "", false},
		{"topics that get longer", []cloud.Config{
			pair("a", x, false, "# > g/#", ""), pair("b", x, true, "", "g/# > again/#"),
		}, `up[0] of cloud "b"|down[0] of cloud "a"`, false},
		{"topics that get longer in front", []cloud.Config{
			pair("a", x, false, "s/# > g/down/#", ""), pair("b", x, true, "", "g/# > s/up/#"),
		}, `up[0] of cloud "b"`, false},
		{"wide filters whose topics do not meet", []cloud.Config{
			pair("a", x, false, "s/in/# > g/down/#", ""), pair("b", x, true, "", "g/# > s/out/#"),
		}, "", false},
		{"wildcards that are carried over apart", []cloud.Config{
			pair("a", x, false, "s/other/# > g/a/#", ""), pair("b", x, true, "", "g/# > s/#"),
		}, "", false},
		{"a level less each time", []cloud.Config{
			pair("a", x, false, "s/down/# > g/#", ""), pair("b", x, true, "", "g/# > s/#"),
		}, "", false},
		{"some topics of a wide route", []cloud.Config{
			pair("a", x, false, "s/# > g/#", ""), pair("b", x, true, "", "g/some/# > s/some/#"),
		}, `up[0] of cloud "b"`, false},
		{"one name for another", []cloud.Config{
			pair("a", x, false, "s/b > g/a", ""), pair("b", x, true, "", "g/+ > s/+"),
		}, "", false},
		{"one gateway between two clouds", []cloud.Config{
			pair("a", x, true, "s/# > g/#", "g/# > s/#"), pair("b", y, true, "s/# > g/#", "g/# > s/#"),
		}, `between two gateways|up[0] of cloud "a" sends|up[0] of cloud "b" sends|down[0] of cloud "a" brings|down[0] of cloud "b" brings`, true},
		{"between two clouds one way", []cloud.Config{
			pair("a", x, false, "s/# > g/#", "g/# > s/#"), pair("b", y, true, "s/# > g/#", "g/# > s/#"),
		}, "", false},
		{"the gateway itself", []cloud.Config{pair("a", "mqtt://127.0.0.1:1883", false, "", "# > up/#")},
			`up[0] of cloud "a" sends "#" to "up/#"|a server of cloud "a" is this gateway itself`, false},
		{"the gateway itself, to other topics", []cloud.Config{pair("a", "mqtt://127.0.0.1:1883", false, "", "g/# > up/#")}, "", false},
		{"$ topics are no others", []cloud.Config{
			pair("a", x, false, "$x/# > $y/#", ""), pair("b", x, true, "", "# > #"),
		}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			loops := cloud.Loops(c.clouds, []string{"127.0.0.1:1883"})
			if c.want == "" {
				if len(loops) > 0 {
					t.Errorf("found %+v", loops)
				}
				return
			}
			if len(loops) == 0 {
				t.Fatal("nothing was found")
			}
			for _, part := range strings.Split(c.want, "|") {
				if !strings.Contains(loops[0].Sentence, part) || loops[0].Certain == c.maybe {
					t.Errorf("got %+v, want it to say %q, and certain %v", loops[0], part, !c.maybe)
				}
			}
		})
	}
}

func TestManyWideRoutesAreLookedThroughInTime(t *testing.T) {
	var all []cloud.Config
	for range 12 {
		c := pair("c", "mqtt://x:1883", true, "# > #", "# > #")
		for range 3 {
			c.Up, c.Down = append(c.Up, c.Up...), append(c.Down, c.Down...)
		}
		all = append(all, c)
	}
	if len(cloud.Loops(all, nil)) == 0 {
		t.Error("nothing was found")
	}
}
