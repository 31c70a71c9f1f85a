package cloud

import (
	"math/rand/v2"
	"time"
)

// manner is how soon it is worth to ask a server again.
type manner uint8

const (
	soon   manner = iota // it passes by itself
	slowly               // it may pass, and to ask often would make it worse
	rarely               // a person has to do something, maybe at the server: then nobody should have to come here as well
	manners
)

// defaultPaces are waits of at most within growing to 1 min, of 1 to 10 min, and one
// of a minute, as a server may refuse who is right while it starts, and from then
// on of 8 to 15 min.
func defaultPaces(within time.Duration) [manners]backoff {
	return [manners]backoff{
		soon:   {first: within, most: max(time.Minute, within)},
		slowly: {first: 2 * time.Minute, most: 10 * time.Minute, half: true},
		rarely: {first: time.Minute, most: 15 * time.Minute, growth: 4, half: true},
	}
}

// backoff is exponential with jitter: each wait is evenly distributed between
// nothing, or half of it, and a ceiling that grows. So many gateways that lost the
// same server come back spread out, not in step.
type backoff struct {
	first, most time.Duration
	growth      int  // the ceiling grows by two to the power of this; 0: doubles
	half        bool // no wait is shorter than half of the ceiling
	tries       int
}

func (b *backoff) next() time.Duration {
	ceiling := b.first
	for n := b.tries * max(1, b.growth); n > 0 && ceiling < b.most; n-- {
		ceiling *= 2
	}
	ceiling = min(ceiling, b.most)
	b.tries++
	if b.half {
		return ceiling/2 + rand.N(ceiling/2+1)
	}
	return rand.N(ceiling + 1)
}

func (b *backoff) reset() { b.tries = 0 }

// lasted forgets the tries after a connection that lasted longer than any wait: it
// can not have been a part of the trouble.
func (b *backoff) lasted(d time.Duration) {
	if d >= b.most {
		b.reset()
	}
}

// served forgets tries after a connection that took messages for so long: the next
// wait is no longer than what it lasted, up or down to the next ceiling. So a link
// that breaks every few seconds is up for more than half of the time, and still a
// server that throws everybody out is not asked more often than it lets them stay. A
// connection that lasted less than the shortest ceiling says nothing.
func (b *backoff) served(d time.Duration) {
	if d < b.first {
		return
	}
	tries := 0
	for ceiling := b.first; 2*ceiling <= d; ceiling *= 2 {
		tries++
	}
	b.tries = min(b.tries, tries)
}
