package main

import (
	"context"
	"sync"
	"time"

	"edgegateway/bridge/cloud"
)

// probeTimeout is how long a server may take to answer, with name lookup and TLS.
const probeTimeout = 8 * time.Second

// clouds tries to reach every server, all at the same time. Nothing of MQTT is sent: a second client of the
// same name would throw a running gateway out.
func (c *checker) clouds(ctx context.Context, clouds []cloud.Config) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	type attempt struct {
		cloud, server string
		err           error
	}
	var all []*attempt
	var probes sync.WaitGroup
	for _, one := range clouds {
		for _, server := range one.Servers {
			a := &attempt{cloud: one.Name, server: server}
			all = append(all, a)
			probes.Go(func() { a.err = one.Probe(ctx, server) })
		}
	}
	probes.Wait()
	if len(all) == 0 {
		c.ok("clouds", "none configured")
	}
	for _, a := range all {
		if a.err != nil {
			c.problem("cloud "+a.cloud, "%v", a.err)
			continue
		}
		c.ok("cloud "+a.cloud, "%s answers; user name and password are not tried here", a.server)
	}
}
