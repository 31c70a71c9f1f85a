package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"edgegateway/broker/packet"
)

// door is a listener that is open: its rules for those who come in.
type door struct {
	config    ListenerConfig
	anonymous bool
	passwords *passwords      // nil: no file
	acl       *acl            // nil: no file, everything is allowed
	closing   <-chan struct{} // closed when the listener is to end
	web       *webRules       // nil: not a WebSocket listener

	maxConnections int
	connectTimeout time.Duration
	conns          int            // that came in and are still there, guarded by the broker's lock
	readers        sync.WaitGroup // their goroutines
}

func newDoor(l ListenerConfig, at net.Addr, cfg Config) (*door, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Address, err)
	}
	d := &door{config: l, maxConnections: cfg.MaxConnections, connectTimeout: cfg.ConnectTimeout}
	if l.MaxConnections > 0 {
		d.maxConnections = l.MaxConnections
	}
	if l.ConnectTimeout > 0 {
		d.connectTimeout = l.ConnectTimeout
	}
	if l.PasswordFile != "" {
		var err error
		if d.passwords, err = readPasswords(l.PasswordFile); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Address, err)
		}
	}
	if l.ACLFile != "" {
		var err error
		if d.acl, err = readACL(l.ACLFile); err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Address, err)
		}
	}
	d.anonymous = l.anonymous(at)
	if l.web() {
		d.web = newWebRules(l, d.anonymous)
	}
	return d, nil
}

// anonymous tells whether clients without a user name are let in at an address.
func (l ListenerConfig) anonymous(at net.Addr) bool {
	if l.AllowAnonymous != nil {
		return *l.AllowAnonymous
	}
	return !l.verifies() && local(at)
}

// verifies tells whether there is anything that a user name is held against.
func (l ListenerConfig) verifies() bool { return l.PasswordFile != "" || l.TLS.Identity != "" }

// LetsNobodyIn reports whether no client can come in at an address: it would have to have a user
// name, and nothing verifies one.
func (l ListenerConfig) LetsNobodyIn(at net.Addr) bool { return !l.verifies() && !l.anonymous(at) }

// CheckFiles reads the files that the listener is opened with, and reports the first
// that it can not be opened with.
func (l ListenerConfig) CheckFiles() error {
	if l.PasswordFile != "" {
		if _, err := readPasswords(l.PasswordFile); err != nil {
			return err
		}
	}
	if l.ACLFile != "" {
		if _, err := readACL(l.ACLFile); err != nil {
			return err
		}
	}
	if l.secure() {
		if _, err := tlsConfig(l.TLS); err != nil {
			return err
		}
	}
	return nil
}

// local reports whether only this machine can reach an address.
func local(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}

// Serve lets clients in until ctx ends or the listener fails. It closes ln. When
// ctx ends, MQTT 5 clients are told that the server is shutting down, and all
// connections of this listener are closed; Serve returns when they have ended.
//
// Wills of these clients are not published then, because subscribers are on their
// way out as well: they stay in the store, and are published after the next start
// unless their client is back within 30 seconds.
//
// ln is what Listen returned for l, or any other that suits.
func (b *Broker) Serve(ctx context.Context, ln net.Listener, l ListenerConfig) error {
	defer ln.Close() // a second time does no harm
	d, err := newDoor(l, ln.Addr(), b.cfg)
	if err != nil {
		return err
	}
	d.closing = ctx.Done()
	if d.acl != nil && len(d.acl.users) > 0 && d.passwords == nil && l.TLS.Identity == "" {
		b.log.Warn("acl_file has rules for users, but nothing verifies names here: all clients are anonymous (set password_file or tls.identity)",
			"listener", l.Address)
	}
	defer d.readers.Wait()
	stop := context.AfterFunc(ctx, func() {
		ln.Close() // ends Accept
		b.stopServing(d)
	})
	defer stop()
	defer b.stopServing(d)
	for pause := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close() // it came too late
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %s: %w", l.Address, err)
		case err != nil:
			// Too many open files, most likely. It passes as connections end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			b.log.Warn("accept fails", "listener", l.Address, "err", err, "again_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		c := newConn(b, d, nc)
		if !b.enter(c) {
			continue
		}
		d.readers.Go(c.serve)
	}
}

// maxCrowded is how many connections beyond a limit may be there at once, to be
// told in a CONNACK; the next ones are closed without a word. They have
// crowdedTimeout for their CONNECT. We chose both.
const (
	maxCrowded     = 16
	crowdedTimeout = 2 * time.Second
)

// enter counts a new connection, or refuses it.
func (b *Broker) enter(c *conn) bool {
	b.mu.Lock()
	limit := b.cfg.MaxConnections
	full := len(b.conns)-b.crowded >= limit
	if !full && c.door.conns >= c.door.maxConnections {
		full, limit = true, c.door.maxConnections
	}
	c.crowded = full
	closed := full && b.crowded >= maxCrowded
	switch {
	case closed:
	case full:
		b.crowded++
		b.conns[c] = struct{}{}
	default:
		c.door.conns++
		b.conns[c] = struct{}{}
		b.stats.Sockets++
	}
	b.mu.Unlock()
	if full {
		b.counters.refused.Add(1)
		if n, ok := b.refused.allow(host(c.address()), time.Now()); ok {
			b.log.Warn("client refused: too many connections", "address", c.address(), "listener", c.door.config.Address, "limit", limit, "unreported", n)
		}
	}
	if closed {
		c.nc.Close()
	}
	return !closed
}

// leave is the opposite of enter.
func (b *Broker) leave(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	if c.crowded {
		b.crowded--
	} else {
		c.door.conns--
	}
}

// stopServing ends the connections that came through a door.
func (b *Broker) stopServing(d *door) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if c.door == d {
			c.fail(packet.ServerShuttingDown, "the server is shutting down", nil)
		}
	}
}

// connectionClosed is the last thing that a connection does.
func (b *Broker) connectionClosed(c *conn, e *ending) {
	b.leave(c)
	c.out.mu.Lock()
	packets, bytes, _, _ := c.out.countLocked()
	b.counters.packetsOut.Add(packets)
	b.counters.bytesOut.Add(bytes)
	c.out.mu.Unlock()
	id := ""
	if c.session != nil {
		id = c.session.id
	}
	switch {
	case e.bad || e.code.IsError() && e.code != packet.ServerShuttingDown:
		if n, ok := b.refused.allow(host(c.address()), time.Now()); ok {
			attrs := []any{"client", id, "address", c.address(), "reason", e.reason, "unreported", n}
			if e.err != nil {
				attrs = append(attrs, "err", e.err)
			}
			b.log.Warn("connection closed", attrs...)
		}
	case b.log.Enabled(context.Background(), slog.LevelDebug):
		b.log.Debug("connection closed", "client", id, "address", c.address(), "reason", e.reason, "err", e.err)
	}
}

// host is an address without the port: what counts for the rate of log lines.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// refusals limits log lines to one per address and minute.
type refusals struct {
	mu   sync.Mutex
	last map[string]refusal
}

type refusal struct {
	at     time.Time
	silent int
}

const (
	refusalEvery = time.Minute
	maxRefusals  = 1024 // addresses that are remembered
)

// allow reports whether a line may be written now, and how many were not since the
// last one.
func (r *refusals) allow(address string, now time.Time) (silent int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.last[address]
	if known && now.Sub(last.at) < refusalEvery {
		last.silent++
		r.last[address] = last
		return 0, false
	}
	if len(r.last) >= maxRefusals {
		for a, l := range r.last {
			if now.Sub(l.at) >= refusalEvery {
				delete(r.last, a)
			}
		}
		if len(r.last) >= maxRefusals {
			return 0, false // a flood from everywhere: the counters tell
		}
	}
	if r.last == nil {
		r.last = make(map[string]refusal)
	}
	r.last[strings.Clone(address)] = refusal{at: now}
	return last.silent, true
}
