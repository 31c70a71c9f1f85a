package modbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edgegateway/drivers"
)

// lines are the ports and addresses that devices of one kind share. The zero value is
// ready; it is safe for concurrent use.
type lines struct {
	mu sync.Mutex // guards what follows, and of each line the users and what they agreed on
	by map[string]*line
}

// A line is one port or address. Its requests go one after the other: whoever has its
// turn owns carrier and doubts.
type line struct {
	of   *lines
	name string
	turn chan struct{} // holds a token while nobody has his turn

	// reconnects says that a carrier that brought no answer is opened anew: a
	// connection may have died unseen, and another one costs little.
	reconnects bool

	users    int
	settings string // that all users agree on
	open     func(context.Context) (carrier, error)

	carrier carrier         // nil: not open
	doubts  map[byte]*doubt // by unit; they outlive the carrier, and what the device was opened for
}

// join makes the caller a user of a line, without touching it.
func (l *lines) join(name, settings string, reconnects bool, open func(context.Context) (carrier, error)) (*line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = make(map[string]*line)
	}
	ln := l.by[name]
	if ln == nil {
		ln = &line{of: l, name: name, turn: make(chan struct{}, 1), reconnects: reconnects, doubts: make(map[byte]*doubt)}
		ln.turn <- struct{}{}
		l.by[name] = ln // and stays: there are as many as the configuration names
	}
	if ln.users == 0 {
		ln.settings, ln.open = settings, open
	} else if ln.settings != settings {
		return nil, fmt.Errorf("another device uses %s with %s, this one asks for %s; units that share it need the same", name, ln.settings, settings)
	}
	ln.users++
	return ln, nil
}

// leave ends the use by one user. The last one closes the carrier.
func (ln *line) leave() error {
	ln.of.mu.Lock()
	ln.users--
	last := ln.users == 0
	ln.of.mu.Unlock()
	if !last {
		return nil
	}
	<-ln.turn // free, or soon: who else has it came after us
	defer func() { ln.turn <- struct{}{} }()
	ln.of.mu.Lock()
	last = ln.users == 0
	ln.of.mu.Unlock()
	if !last {
		return nil
	}
	return ln.drop()
}

// drop closes the carrier. The caller has the turn.
func (ln *line) drop() error {
	if ln.carrier == nil {
		return nil
	}
	c := ln.carrier
	ln.carrier = nil
	return c.Close()
}

// use waits for the turn and hands over the carrier, opened if need be.
func (ln *line) use(ctx context.Context, work func(carrier) error) error {
	select {
	case <-ln.turn:
	case <-ctx.Done():
		return unsentError{fmt.Errorf("%s was taken by other units all the time: %w", ln.name, ctx.Err())}
	}
	defer func() { ln.turn <- struct{}{} }()
	if ln.carrier == nil {
		ln.of.mu.Lock()
		open := ln.open
		ln.of.mu.Unlock()
		c, err := open(ctx)
		if err != nil {
			return unsentError{goneError{err}}
		}
		ln.carrier = c
	}
	return work(ln.carrier)
}

// reach makes sure that the line is there, for a unit that is never asked anything. A
// connection that was closed is made anew, as it is for a request.
func (ln *line) reach(ctx context.Context) error {
	var closed bool
	err := ln.use(ctx, func(c carrier) error {
		if closed = c.there() != nil; closed {
			ln.drop() // why shows when it is opened again
		}
		return nil
	})
	if closed {
		return ln.use(ctx, func(carrier) error { return nil })
	}
	return err
}

// ask sends a request to a unit and returns the data of a read.
func (ln *line) ask(ctx context.Context, unit byte, r request, w waits) (data []byte, err error) {
	for again := ln.reconnects; ; {
		var rest time.Duration
		err = ln.use(ctx, func(c carrier) (err error) {
			doubt := ln.doubt(unit)
			if rest = doubt.rest(r); rest > 0 && !c.numbered() {
				return doubt.late() // others may have their turn meanwhile
			}
			rest = 0
			if err = c.quiet(ctx, r, w); err != nil {
				err = unsentError{err}
			} else {
				sent := time.Now() // and not when it had its turn: listening may have taken as long as an answer
				var pdu []byte
				if pdu, err = c.ask(ctx, unit, r, w); err == nil {
					data, err = r.parse(pdu)
				}
				doubt.note(r, sent, err)
			}
			if ln.broken(err) {
				ln.drop() // the error that matters is there
			}
			return err
		})
		var unsent unsentError
		switch {
		case rest > 0:
			if ended := pause(ctx, rest); ended != nil {
				return nil, unsentError{fmt.Errorf("%w: %w", err, ended)}
			}
		case again && errors.As(err, &unsent) && !errors.Is(err, drivers.ErrGone) && ctx.Err() == nil:
			// Most devices close a connection that was idle for a while. It has taken nothing:
			// a new one may.
			again = false
		default:
			return data, err
		}
	}
}

// doubt is that about a unit. The caller has the turn.
func (ln *line) doubt(unit byte) *doubt {
	if ln.doubts[unit] == nil {
		ln.doubts[unit] = new(doubt)
	}
	return ln.doubts[unit]
}

// broken tells whether a carrier is of no more use after an error.
func (ln *line) broken(err error) bool {
	var exception *ExceptionError
	var silent *drivers.NoAnswerError
	if err == nil || errors.As(err, &exception) {
		return false
	}
	spoilt := errors.As(err, &silent) || errors.Is(err, errDamaged) || errors.Is(err, errNonsense) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	return ln.reconnects || !spoilt
}
