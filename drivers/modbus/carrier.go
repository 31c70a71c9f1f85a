package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"edgegateway/drivers"
)

// A carrier takes a request to a unit and brings its answer. One goroutine at a time
// uses it.
type carrier interface {
	// quiet waits until a request may be sent. Its error is that of one that was not.
	quiet(ctx context.Context, r request, w waits) error

	// ask sends a request and returns the PDU of the answer. Both return soon after ctx ends.
	ask(ctx context.Context, unit byte, r request, w waits) ([]byte, error)

	// there returns an error if the port was pulled out, or the other end has hung up: as far
	// as that shows without a request. What has come and was not read is forgotten.
	there() error

	// numbered tells whether an answer says which request it belongs to.
	numbered() bool

	Close() error
}

// waits are what one unit needs, be it alone on its line or not.
type waits struct {
	answer time.Duration // from the end of a request to the first byte of its answer
	delay  time.Duration // before a request, if the standard's silence is too short
}

// discard forgets what a port has received and nobody has read, if it can.
func discard(port drivers.SerialPort) error {
	if p, ok := port.(interface{ DiscardInput() error }); ok {
		return p.DiscardInput()
	}
	return nil
}

// receive reads until done is content with what has come, or until a moment. port is
// any reader that gives up after some time with os.ErrDeadlineExceeded, as a
// drivers.SerialPort does. What began in time may take longer.
func receive(ctx context.Context, port drivers.SerialPort, until time.Time, done func(got []byte) (bool, error)) error {
	var got []byte
	buf := make([]byte, 512)
	for {
		n, err := port.Read(buf)
		if n > 0 {
			got = append(got, buf[:n]...)
			if ready, err := done(got); ready || err != nil {
				return err
			}
		}
		switch {
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case len(got) > mostReceived:
			return cut(got)
		case n > 0 || time.Now().Before(until):
		case len(got) > 0:
			return cut(got)
		default:
			return os.ErrDeadlineExceeded
		}
	}
}

// mostReceived is far more than any answer, also with noise around it.
const mostReceived = 1024

// manyRegisters is more than some units bring at once. They should say so, with exception 2
// or 3, and some are silent.
const manyRegisters = 10

// noAnswer is the error of a unit that is silent.
func noAnswer(what, hint string, r request) error {
	err := &drivers.NoAnswerError{What: what, Hint: hint, Err: os.ErrDeadlineExceeded}
	if !r.bits() && !r.writes() && r.count > manyRegisters {
		many := fmt.Sprintf("some units do not answer when as many as %d registers are asked for: then set max_count", r.count)
		err.Hint = strings.TrimPrefix(hint+"; "+many, "; ")
	}
	return err
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
