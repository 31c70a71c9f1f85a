package cloud_test

import (
	"testing"

	"edgegateway/bridge/cloud"
)

func TestRoutesAreFollowedBothWays(t *testing.T) {
	c := cloud.Config{
		Up: []cloud.Route{
			{From: "p/secret/#", To: "hidden/#"},
			{From: "p/+/state", To: "acme/+/now"},
			{From: "p/#", To: "acme/all/#"},
			{From: "p/secret/+", To: "acme/secret/+"},
		},
		Down: []cloud.Route{{From: "acme/+/do", To: "p/+/set"}},
	}
	for _, step := range []struct {
		name string
		way  func(string) (string, bool)
		in   string
		want string // "": no way
	}{
		{"above", func(s string) (string, bool) { return c.Above("p", s) }, "p/x/state", "acme/x/now"},
		{"above", func(s string) (string, bool) { return c.Above("p", s) }, "p/x/availability", "acme/all/x/availability"},
		{"above: the gateway's own", func(s string) (string, bool) { return c.Above("p", s) }, "p/status", ""},
		{"above", func(s string) (string, bool) { return c.Above("p", s) }, "q", ""},
		{"leads up", func(s string) (string, bool) { return c.LeadsUp("p", s) }, "acme/x/now", "p/x/state"},
		{"leads up: an earlier route takes it", func(s string) (string, bool) { return c.LeadsUp("p", s) }, "acme/secret/a", ""},
		{"below", c.Below, "acme/x/do", "p/x/set"},
		{"below", c.Below, "acme/x/y/do", ""},
		{"leads down", c.LeadsDown, "p/x/set", "acme/x/do"},
		{"leads down", c.LeadsDown, "p/x/y/set", ""},
	} {
		got, ok := step.way(step.in)
		if got != step.want && ok || ok != (step.want != "") {
			t.Errorf("%s of %s: got %q, %v, want %q", step.name, step.in, got, ok, step.want)
		}
	}
	if got := c.StatusAt("pi"); got != "gateways/pi/status" {
		t.Error(got)
	}
	c.StatusTopic = "s"
	if got := c.StatusAt("pi"); got != "s" {
		t.Error(got)
	}
}
