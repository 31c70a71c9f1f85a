package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// layers remembers what was opened and started, to close it in reverse. Used by one goroutine.
type layers struct {
	log    *slog.Logger
	stack  []layer
	failed chan error

	// panicked runs before a panic of a worker ends the process; may be nil.
	panicked func()
}

type layer struct {
	name  string
	close func() error
}

// stopSlow is when a stop has taken so long that the log says what is being waited for.
const stopSlow = 5 * time.Second

// onClose has close called when this layer's turn comes.
func (l *layers) onClose(name string, close func() error) {
	l.stack = append(l.stack, layer{name, close})
}

// start runs a worker until this layer's turn to close comes. A worker that ends before is a failure.
func (l *layers) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	failures := l.failures()
	ended := make(chan error, 1)
	go func() {
		if l.panicked != nil {
			defer func() {
				if p := recover(); p != nil {
					l.panicked()
					panic(p)
				}
			}()
		}
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			err = fmt.Errorf("%s: %w", name, err)
			select {
			case failures <- err:
			default: // one is enough to stop
			}
			ended <- nil // it is told already
			return
		}
		ended <- err
	}()
	l.onClose(name, func() error {
		cancel()
		return <-ended
	})
}

// failures delivers the error of the first worker that ended by itself.
func (l *layers) failures() chan error {
	if l.failed == nil {
		l.failed = make(chan error, 1)
	}
	return l.failed
}

// close closes all layers, the last one first, and joins what went wrong.
func (l *layers) close() error {
	begun := time.Now()
	var errs []error
	for len(l.stack) > 0 {
		last := l.stack[len(l.stack)-1]
		l.stack = l.stack[:len(l.stack)-1]
		slow := time.AfterFunc(max(stopSlow-time.Since(begun), time.Second), func() {
			l.log.Warn("stopping takes long", "waiting_for", last.name, "since", time.Since(begun).Round(time.Millisecond))
		})
		err := last.close()
		slow.Stop()
		if err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, fmt.Errorf("close %s: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}
