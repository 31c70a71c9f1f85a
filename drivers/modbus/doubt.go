package modbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgegateway/drivers"
)

// A doubt is whether an answer belongs to the last read of a unit, or to one before it
// that the unit was too slow for: an answer of RTU does not say. What is read again has
// one answer too many, and the next read, of other registers, would take that for its own.
type doubt struct {
	never bool // answers say what they belong to

	unanswered time.Time // when the first read was sent that had no answer; zero: all had
	slow       time.Duration
	last       request
	until      time.Time // when all answers to it will have come
}

// slowest is how long an answer is reckoned with while nobody knows how slow a unit is.
const slowest = 5 * time.Second

// note takes down what became of a read that had its turn at a moment. If the answer that
// came was the one to the first read, the unit is so slow, and the others come as late.
func (d *doubt) note(r request, turn time.Time, err error) {
	if d.never || r.writes() { // an answer to a write is its repetition
		return
	}
	now := time.Now()
	var silent *drivers.NoAnswerError
	switch {
	case errors.As(err, &silent):
		if now.Sub(d.unanswered) > slowest {
			d.unanswered = turn
		}
		d.slow, d.last, d.until = slowest, r, turn.Add(slowest)
	case err == nil:
		late := now.Sub(d.unanswered) <= slowest
		if late {
			d.slow = now.Sub(d.unanswered)
		}
		if late || now.Before(d.until) {
			// Before it was sent the line may have been listened to for one patience; the
			// other one is for a unit that is not always as slow.
			d.until = turn.Add(d.slow + 2*drivers.SerialPatience)
		}
		d.unanswered, d.last = time.Time{}, r
	}
}

// wait waits until a read will be answered by its own answer. One that asks the same again
// need not wait.
func (d *doubt) wait(ctx context.Context, r request) error {
	again := r.function == d.last.function && r.at == d.last.at && r.count == d.last.count
	if r.writes() || again || !time.Now().Before(d.until) {
		return nil
	}
	if err := pause(ctx, time.Until(d.until)); err != nil {
		return fmt.Errorf("%v: an answer to an earlier request may still come; if the unit needs up to %v, raise timeout: %w", r, d.slow.Round(100*time.Millisecond), err)
	}
	return nil
}
