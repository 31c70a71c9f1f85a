package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// A standIn is the demo's cloud: a second broker of the same kind, with a store and a port of its own. It
// shares nothing with the gateway but the process.
type standIn struct {
	address string // host:port
	broker  *broker.Broker
	local   *broker.Local
	layers  layers
}

// openStandIn starts a stand-in cloud with its data in dir.
func openStandIn(dir string, log *slog.Logger, panicked func()) (_ *standIn, err error) {
	c := &standIn{layers: layers{log: log, panicked: panicked}}
	defer func() {
		if err != nil {
			c.layers.close()
		}
	}()
	store, err := buffer.Open(filepath.Join(dir, "cloud.db"), buffer.DefaultConfig(), part(log, "cloud buffer"))
	if err != nil {
		return nil, fmt.Errorf("open the store of the stand-in cloud: %w", err)
	}
	c.layers.onClose("cloud store", store.Close)
	cfg := broker.DefaultConfig()
	cfg.SysInterval = 0
	listener := broker.ListenerConfig{Address: "tcp://127.0.0.1:0"}
	cfg.Listeners = []broker.ListenerConfig{listener}
	if c.broker, err = broker.New(cfg, store, part(log, "cloud broker")); err != nil {
		return nil, fmt.Errorf("start the stand-in cloud: %w", err)
	}
	c.local = c.broker.Local("application", broker.Rights{})
	var ln net.Listener
	if ln, err = broker.Listen(listener); err != nil {
		return nil, fmt.Errorf("start the stand-in cloud: %w", err)
	}
	c.address = ln.Addr().String()
	c.layers.start("cloud broker", c.broker.Run)
	c.layers.start("cloud listener", func(ctx context.Context) error { return c.broker.Serve(ctx, ln, listener) })
	return c, nil
}

func (c *standIn) close() error { return c.layers.close() }

// A sinkFunc is a broker.Sink of one function.
type sinkFunc func(*broker.Delivery)

// Deliver implements broker.Sink.
func (f sinkFunc) Deliver(d *broker.Delivery) { f(d) }
