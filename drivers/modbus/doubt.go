package modbus

import (
	"errors"
	"fmt"
	"time"

	"edgegateway/drivers"
)

// A doubt is whether an answer belongs to the last read of a unit, or to one before it
// that the unit was too slow for: an answer of RTU does not say. What is read again has
// one answer too many, and the next read, of other registers, would take that for its own.
type doubt struct {
	since  time.Time // when the first read was sent that may have an answer to come
	slow   time.Duration
	last   request
	until  time.Time // when all answers to it will have come
	wanted time.Time // and another read has been waiting for that
}

// slowest is how long an answer is reckoned with while nobody knows how slow a unit is.
const slowest = 5 * time.Second

// note takes down what became of a read that was sent at a moment. The first answer
// that comes after one was missing is to a read since then, which tells how slow the unit
// is at most; the others come as late.
func (d *doubt) note(r request, sent time.Time, err error) {
	var refused *ExceptionError
	if r.writes() { // an answer to a write is its repetition
		return
	}
	doubtful := sent.Before(d.until)
	d.last = r
	switch {
	case err != nil && !errors.As(err, &refused): // noise, too, or a stop; the answer may still come
		if !doubtful {
			d.since = sent
		}
		d.slow, d.until = slowest, sent.Add(slowest)
	case doubtful:
		d.slow = min(d.slow, time.Since(d.since))
		d.until = sent.Add(d.slow + 2*drivers.SerialPatience) // it is not always as slow
	}
}

// rest is how long to wait until a read will be answered by its own answer. One that asks
// the same again need not wait, unless that would make another one wait for ever.
func (d *doubt) rest(r request) time.Duration {
	again := r.function == d.last.function && r.at == d.last.at && r.count == d.last.count
	if r.writes() || again && !time.Now().Before(d.wanted) {
		return 0
	}
	d.wanted = d.until
	return time.Until(d.until)
}

// late says why a read has to wait.
func (d *doubt) late() error {
	return fmt.Errorf("an answer to an earlier request may still come; if the unit needs up to %v, raise timeout", d.slow.Round(100*time.Millisecond))
}
