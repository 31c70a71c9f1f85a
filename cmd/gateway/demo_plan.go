package main

import "time"

// A plan cuts and restores the demo's link by itself. Times count from the start of the demo.
type plan struct {
	outage time.Duration
	every  time.Duration // 0: once

	next   time.Duration // of the next change; 0: none
	nextUp bool          // what it changes to
}

func newPlan(first, outage, every time.Duration) plan {
	return plan{outage: outage, every: every, next: first}
}

// due returns whether a change is due, and to what.
func (p *plan) due(elapsed time.Duration) (change, up bool) {
	if p.next == 0 || elapsed < p.next {
		return false, false
	}
	up = p.nextUp
	p.nextUp = !up
	switch {
	case !up:
		p.next += p.outage
	case p.every > 0:
		p.next += max(p.every-p.outage, time.Second)
	default:
		p.next = 0
	}
	return true, up
}

// taken is told that somebody has changed the link by hand: the plan steps back, and comes back with its
// next cut if it is to repeat.
func (p *plan) taken(elapsed time.Duration) {
	p.nextUp = false
	p.next = 0
	if p.every > 0 {
		p.next = elapsed + p.every
	}
}

// left is the time to the next change; false if none is planned.
func (p *plan) left(elapsed time.Duration) (d time.Duration, up, planned bool) {
	return max(p.next-elapsed, 0), p.nextUp, p.next > 0
}
