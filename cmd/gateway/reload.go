package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"edgegateway/config"
	"edgegateway/status"
)

// A tenure is the time from one start of the gateway to its stop. A process has one, and one more for each
// reload.
type tenure struct {
	p      *process
	read   func() (config.Config, error) // the configuration as it is in the file now
	reload <-chan struct{}               // somebody wants that
}

// runGateway runs a gateway until ctx ends or a part of it fails. At SIGHUP it reads the configuration; with
// a mistake in it nothing changes, else the gateway stops as always and starts with the new one. One that
// does not start, as with a port that is taken, is given up for the old one: nobody may be near the board.
func runGateway(ctx context.Context, p *process, read func() (config.Config, error)) error {
	reload := make(chan struct{}, 1)
	defer p.onHangup(func() {
		select {
		case reload <- struct{}{}:
		default: // it has not begun with the last one
		}
	})()
	return tenure{p, read, reload}.andNext(ctx)
}

// andNext runs one tenure after the other.
func (t tenure) andNext(ctx context.Context) error {
	started := time.Now()
	cfg, err := t.read()
	if err != nil {
		return err
	}
	var old *config.Config
	for {
		next, err := t.run(ctx, cfg, started)
		var refused *startError
		switch {
		case errors.As(err, &refused) && old != nil && ctx.Err() == nil:
			refused.notify.log.Error("the gateway does not start with the new configuration, and goes on with the old one", "err", refused.err)
			refused.notify.unheard(refused.notify.Status(oldConfiguration), "has an old configuration")
			cfg, old = *old, nil
		case err != nil || next == nil || ctx.Err() != nil: // a stop while it was between two tenures
			return err
		default:
			last := cfg
			cfg, old = *next, &last
		}
		started = time.Now()
	}
}

const oldConfiguration = "goes on with its old configuration; the journal says why"

// A startError is why a gateway could not be opened.
type startError struct {
	err    error
	notify *notifier
}

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// next is the configuration as it is now, if there is no mistake in it or in what its listeners read: the old
// one may name the same files, so there would be nothing to go back to.
func (t tenure) next() (config.Config, error) {
	cfg, err := t.read()
	if err != nil {
		return cfg, err
	}
	for _, l := range cfg.Broker.Listeners {
		if wrong := l.CheckFiles(); wrong != nil {
			err = errors.Join(err, fmt.Errorf("listener %s: %w", l.Address, wrong))
		}
	}
	return cfg, err
}

// run opens a gateway and closes it again; next is the configuration to go on with, nil to end.
func (t tenure) run(ctx context.Context, cfg config.Config, started time.Time) (next *config.Config, err error) {
	p := t.p
	journal := toJournal(p.getenv, p.stderr)
	log := newLog(p.stderr, cfg.Log.Threshold(), cfg.Log.Format == "json", journal)
	notify, err := newNotifier(p.getenv, os.Getpid(), log)
	if err != nil {
		return nil, err
	}
	g, err := open(cfg, surroundings{
		log: log, started: started, ports: p.ports(),
		synced:  clockSynced,
		store:   storeOptions(notify),
		control: status.ControlPath(p.getenv, cfg.DataDir),
	})
	if err != nil {
		return nil, &startError{err, notify}
	}
	g.layers.start("watchdog", func(ctx context.Context) error { return notify.Run(ctx, g.health.check) })
	g.announce(p, journal || cfg.Log.Format == "json")
	notify.unheard(notify.Ready(), "is ready")

	failure := g.wait(ctx, t.reload, func() (over bool) {
		read, err := t.next()
		if err != nil {
			for mistake := range strings.Lines(err.Error()) {
				log.Error("the configuration is not taken: the gateway goes on with the one that it has", "err", strings.TrimSpace(mistake))
			}
			notify.unheard(notify.Status(oldConfiguration), "has an old configuration")
			return false
		}
		next = &read
		return true
	})
	if ctx.Err() != nil {
		next = nil // a stop at the same time
	}
	if next != nil {
		log.Info("stopping, to start with the configuration as it is now")
		notify.unheard(notify.Status(""), "has its new configuration") // what an earlier one left there
		notify.unheard(notify.Reloading(), "reloads")
		defer func() { notify.unheard(notify.Reloading(), "reloads") }()
	} else {
		log.Info("stopping")
		notify.unheard(notify.Stopping(), "stops")
	}
	begun := time.Now()
	err = errors.Join(failure, g.close())
	if err != nil {
		return nil, err
	}
	log.Info("stopped", "took", time.Since(begun).Round(time.Millisecond))
	return next, nil
}
