package cloud

import "time"

// What tests choose otherwise than we did. To be called before Run.

func (b *Bridge) SetModulus(n uint64)       { b.tuning.modulus = n }
func (b *Bridge) SetWindow(n int)           { b.tuning.window = n }
func (b *Bridge) SetGood(d time.Duration)   { b.tuning.good = d }
func (b *Bridge) SetPause(d time.Duration)  { b.tuning.pause = d }
func (b *Bridge) SetReport(d time.Duration) { b.tuning.report = d }

// SetBackoff sets every pace, so that no test waits for minutes.
func (b *Bridge) SetBackoff(first, most time.Duration) {
	for m := range b.tuning.paces {
		b.tuning.paces[m] = backoff{first: first, most: most}
	}
}

// SetPaces goes back to what is meant.
func (b *Bridge) SetPaces() { b.tuning.paces = defaultPaces(b.cfg.RetryWithin) }

// SetOverdue sets how long an acknowledgement may take.
func (b *Bridge) SetOverdue(d time.Duration) { b.tuning.overdue, b.overdue = d, d }
