package cloud

import (
	"math/rand/v2"
	"time"
)

// backoff is exponential with full jitter: each wait is evenly distributed
// between nothing and a ceiling that doubles. So many gateways that lost the
// same server come back spread out, not in step.
type backoff struct {
	first, most time.Duration
	tries       int
}

func (b *backoff) next() time.Duration {
	ceiling := b.most
	if b.tries < 30 {
		ceiling = min(b.most, b.first<<b.tries)
	}
	b.tries++
	return rand.N(ceiling + 1)
}

func (b *backoff) reset() { b.tries = 0 }
