package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgegateway/broker/packet"
)

// Idle is a run of clients that connect, subscribe to one topic each and then
// keep still. It is plain data.
type Idle struct {
	Target      Target
	Connections int
	Persistent  bool          // ask for sessions that outlive the connection; they are ended afterwards
	QoS         packet.QoS    // of the subscriptions
	Hold        time.Duration // how long they keep still before the broker's memory is looked at
	BrokerPID   int           // 0: only connect and see who is alive afterwards
}

// IdleResult is what came of a run of Idle.
type IdleResult struct {
	Connections   int           `json:"connections"`
	Alive         int           `json:"alive"` // answered a PINGREQ after the hold
	Connecting    time.Duration `json:"connecting_ns"`
	Before        int64         `json:"rss_before_bytes"` // of the broker, before the first
	After         int64         `json:"rss_after_bytes"`  // and with all of them
	PerConnection float64       `json:"rss_per_connection_bytes"`
	Use           Uses          `json:"use"` // while they kept still
	Failures      []string      `json:"failures,omitempty"`
}

// Broken reports whether a connection was lost.
func (r *IdleResult) Broken() bool { return r.Alive < r.Connections || len(r.Failures) > 0 }

// Run connects, holds, looks, and asks everybody for a sign of life.
func (c Idle) Run(ctx context.Context) (_ *IdleResult, err error) {
	if c.Connections < 1 || c.Connections > 28000 {
		return nil, errors.New("connections must be 1 to 28,000: one address has no more free ports")
	}
	if c.Hold < 0 {
		return nil, errors.New("the hold must not be negative")
	}
	t := &IdleResult{Connections: c.Connections}
	if c.BrokerPID > 0 {
		if t.Before, err = ResidentSize(c.BrokerPID); err != nil {
			return nil, err
		}
	}
	plan := newRun(&Messages{Topics: c.Connections}, 0).plan
	conns := make([]*connection, c.Connections)
	id := func(i int) string { return fmt.Sprintf("bench-%s-i%d", plan.run, i) }
	defer func() { c.leave(conns, id) }()
	begun := time.Now()
	err = each(c.Connections, handshakes, func(i int) error {
		conn, err := c.Target.connect(ctx, id(i), c.Persistent)
		if err != nil {
			// Mostly a limit: open files, here or there, or the broker's connections.
			return fmt.Errorf("connection %d of %d (do open files, ulimit -n, and the broker's own limit allow as many?): %w", i+1, c.Connections, err)
		}
		conns[i] = conn
		return conn.subscribe(ctx, []string{plan.prefix() + plan.digits(i)}, c.QoS)
	})
	if err != nil {
		return nil, err
	}
	t.Connecting = time.Since(begun)

	meter, err := startMeter(c.BrokerPID)
	if err != nil {
		return nil, err
	}
	hold := time.NewTimer(c.Hold)
	defer hold.Stop()
	select {
	case <-hold.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.Use, err = meter.stop(); err != nil {
		return nil, err
	}
	if b := t.Use.Broker; b != nil {
		t.After = b.RSS
		t.PerConnection = float64(t.After-t.Before) / float64(c.Connections)
	}
	alive := make([]bool, len(conns))
	err = each(len(conns), handshakes, func(i int) error {
		p, err := conns[i].ask(ctx, &packet.Pingreq{})
		if err == nil {
			_, alive[i] = p.(*packet.Pingresp)
		}
		return ctx.Err() // a dead one is counted, not an end
	})
	for _, a := range alive {
		if a {
			t.Alive++
		}
	}
	return t, err
}

// leave ends all connections, and the sessions that would stay.
func (c Idle) leave(conns []*connection, id func(int) string) {
	each(len(conns), handshakes, func(i int) error {
		if conns[i] == nil {
			return nil
		}
		conns[i].leave()
		if c.Persistent {
			// A clean start ends the old session [MQTT-3.1.2-4]; a failure leaves it
			// to its expiry. Not with the run's context: it may have ended.
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if again, err := c.Target.connect(ctx, id(i), false); err == nil {
				again.leave()
			}
		}
		return nil
	})
}
