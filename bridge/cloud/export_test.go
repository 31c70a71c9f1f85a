package cloud

import "time"

// What tests choose otherwise than we did. To be called before Run.

func (b *Bridge) SetModulus(n uint64)                  { b.tuning.modulus = n }
func (b *Bridge) SetWindow(n int)                      { b.tuning.window = n }
func (b *Bridge) SetBackoff(first, most time.Duration) { b.tuning.first, b.tuning.most = first, most }
func (b *Bridge) SetGood(d time.Duration)              { b.tuning.good = d }
func (b *Bridge) SetPause(d time.Duration)             { b.tuning.pause = d }
func (b *Bridge) SetReport(d time.Duration)            { b.tuning.report = d }
