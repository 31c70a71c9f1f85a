package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
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
	tried := fmt.Sprintf("tried as %s, so as not to end the gateway's own connection", name)
	switch {
	case !f.Answered:
		c.ok(what, "%s; it ended the connection without an answer to CONNECT: some do so to names that they do not know (%s)", at, tried)
	case f.Code == packet.ClientIdentifierNotValid, f.Code == packet.NotAuthorized:
		c.ok(what, "%s; it says %v: maybe it lets in the gateway's own client_id alone (%s)", at, f.Code, tried)
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
