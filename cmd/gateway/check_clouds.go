package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/field"
	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/config"
)

// probeTimeout is how long a server may take to answer, with name lookup, TLS and CONNACK.
const probeTimeout = 8 * time.Second

// clouds tries to reach every server, all at the same time, under another client identifier than the gateway's:
// a second client of the same name would throw a running gateway out.
func (c *checker) clouds(ctx context.Context, id string, clouds []cloud.Config) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	type attempt struct {
		cloud, name string
		found       cloud.Found
		err         error
	}
	var all []*attempt
	var probes sync.WaitGroup
	for _, one := range clouds {
		for _, server := range one.Servers {
			a := &attempt{cloud: one.Name, name: id + "-check"}
			if one.ClientID != "" {
				a.name = one.ClientID + "-check"
			}
			all = append(all, a)
			probes.Go(func() { a.found, a.err = one.Probe(ctx, server, a.name) })
		}
	}
	probes.Wait()
	if len(all) == 0 {
		c.ok("clouds", "none configured")
	}
	for _, a := range all {
		c.server("cloud "+a.cloud, a.name, a.found, a.err)
	}
	for _, one := range clouds {
		if len(one.Servers) > 1 && !one.ServersShareSession {
			c.ok("cloud "+one.Name, "exactly once holds at one server: what is under way when the link moves to another may come twice, unless they are a cluster (servers_share_session)")
		}
	}
}

// loops prints the ways between clouds that this gateway alone does not close; others are mistakes of the
// configuration.
func (c *checker) loops(cfg config.Config) {
	for _, l := range cfg.Loops() {
		if !l.Certain {
			c.ok("cloud "+cfg.Cloud[l.Cloud].Name, "with one gateway; %s", l.Sentence)
		}
	}
}

// routes doubts those that lead nowhere. A route may be for topics of clients, which nobody knows before; but
// one that ends like a topic of a device is probably meant for devices.
func (c *checker) routes(cfg config.Config) {
	nobodys := func(filter, end string) bool {
		device, isOne := strings.CutSuffix(filter, end)
		above, _ := path.Split(device) // of a channel's command
		ofLink := func(one cloud.Config) bool { return topic.Match(device, cfg.Prefix+"/cloud/"+one.Name) }
		if strings.HasPrefix(filter, "$") || end == "/state" && slices.ContainsFunc(cfg.Cloud, ofLink) {
			return false
		}
		return isOne && len(cfg.Devices) > 0 && !slices.ContainsFunc(cfg.Devices, func(d field.DeviceConfig) bool {
			base := d.Base(cfg.Prefix)
			return topic.Match(device, base) || end == "/set" && topic.Match(strings.TrimSuffix(above, "/"), base)
		})
	}
	for i, one := range cfg.Cloud {
		what := "cloud " + one.Name
		if len(one.Up)+len(one.Down) == 0 {
			c.warning(what, "it has no route, so nothing goes up and nothing comes down: set up = [{ from = %q, to = %q }]", cfg.Prefix+"/+/state", cfg.Prefix+"/+/state")
		}
		for j, r := range one.Up {
			if nobodys(r.From, "/state") {
				c.warning(what, "%v", cfg.Fault(fmt.Sprintf("cloud[%d].up[%d].from", i, j), "no device here has its state at %q, maybe a client does: the topics of this gateway begin with %q", r.From, cfg.Prefix+"/"))
			}
		}
		for j, r := range one.Down {
			if nobodys(r.To, "/set") {
				c.warning(what, "%v", cfg.Fault(fmt.Sprintf("cloud[%d].down[%d].to", i, j), "no device here takes commands at %q, maybe a client does: the topics of this gateway begin with %q", r.To, cfg.Prefix+"/"))
			}
		}
	}
}

// server prints what was found out about one.
func (c *checker) server(what, name string, f cloud.Found, err error) {
	if err != nil {
		c.problem(what, "%v", err)
		return
	}
	c.certificate(what, f.Server+": its certificate", f.Expires)
	c.certificate(what, "tls.cert: our certificate", f.Ours)
	at := f.Server + " answers at " + f.Address
	if f.TLS != "" {
		at += fmt.Sprintf(" with %s, certificate good for %s", f.TLS, plural(days(f.Expires), "day"))
	}
	scheme, _, _ := strings.Cut(f.Server, "//")
	tried := fmt.Sprintf("tried as %s, so as not to end the gateway's own connection", name)
	switch {
	case !f.Answered:
		c.warning(what, "%s; it ended the connection without an answer to CONNECT: is it a port for MQTT, and for %s//? Some do so to names that they do not know (%s)", at, scheme, tried)
	case f.Code == packet.NotAuthorized: // also what Mosquitto says to a wrong password
		c.warning(what, "%s; it says %v: check username and password_file; if they are right, maybe it lets in the gateway's own client_id alone (%s)", at, f.Code, tried)
	case f.Code == packet.ClientIdentifierNotValid:
		c.warning(what, "%s; it says %v: maybe it lets in the gateway's own client_id alone (%s)", at, f.Code, tried)
	case f.Code.IsError():
		c.problem(what, "%s and refuses: %v (0x%02X): %s", at, f.Code, byte(f.Code), f.Means)
	default:
		c.ok(what, "%s and lets us in", at)
	}
	for _, limit := range f.Limits {
		c.ok(what, "%s", limit)
	}
}

// certificate complains of one that ends soon.
func (c *checker) certificate(what, which string, ends time.Time) {
	if !ends.IsZero() && days(ends) < 14 {
		c.problem(what, "%s ends on %s, in %s: renew it", which, ends.UTC().Format(time.DateOnly), plural(days(ends), "day"))
	}
}

func days(until time.Time) int64 { return int64(time.Until(until) / (24 * time.Hour)) }
