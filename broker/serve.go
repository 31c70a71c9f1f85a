package broker

import (
	"context"
	"errors"
	"fmt"
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
}

func newDoor(l ListenerConfig, at net.Addr) (*door, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Address, err)
	}
	d := &door{config: l}
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
	d.anonymous = l.PasswordFile == "" && l.TLS.Identity == "" && local(at)
	if l.AllowAnonymous != nil {
		d.anonymous = *l.AllowAnonymous
	}
	return d, nil
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
	d, err := newDoor(l, ln.Addr())
	if err != nil {
		return err
	}
	d.closing = ctx.Done()
	if d.acl != nil && len(d.acl.users) > 0 && d.passwords == nil && l.TLS.Identity == "" {
		b.log.Warn("acl_file has rules for users, but nothing verifies names here: all clients are anonymous (set password_file or tls.identity)",
			"listener", l.Address)
	}
	var conns sync.WaitGroup
	defer conns.Wait()
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
		conns.Go(c.serve)
	}
}

// enter counts a new connection, or refuses it.
func (b *Broker) enter(c *conn) bool {
	b.mu.Lock()
	full := len(b.conns) >= b.cfg.MaxConnections
	if !full {
		b.conns[c] = struct{}{}
	}
	b.mu.Unlock()
	if full {
		b.counters.refused.Add(1)
		if n, ok := b.refused.allow(host(c.address()), time.Now()); ok {
			b.log.Warn("client refused: too many connections", "address", c.address(), "limit", b.cfg.MaxConnections, "unreported", n)
		}
		c.nc.Close() // without a word: its CONNECT would have to be read first
	}
	return !full
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
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	c.out.mu.Lock()
	b.counters.packetsOut.Add(c.out.packets)
	b.counters.bytesOut.Add(c.out.bytes)
	c.out.packets, c.out.bytes = 0, 0
	c.out.mu.Unlock()
	id := ""
	if c.session != nil {
		id = c.session.id
	}
	switch {
	case e.bad || e.code.IsError() && e.code != packet.ServerShuttingDown:
		if n, ok := b.refused.allow(host(c.address()), time.Now()); ok {
			b.log.Warn("connection closed", "client", id, "address", c.address(), "reason", e.reason, "err", e.err, "unreported", n)
		}
	default:
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
