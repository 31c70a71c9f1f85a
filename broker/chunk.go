package broker

import "sync"

// chunk is a buffer that connections lend from the broker while bytes move, so
// that an idle connection owns none.
type chunk struct{ b []byte }

const (
	smallChunk = 4 << 10  // to write: most of the time a few packets
	readChunk  = 64 << 10 // to read
	keepChunk  = 256 << 10
)

// chunks lends buffers of two sizes.
type chunks struct{ small, large sync.Pool }

func (p *chunks) get(size int) *chunk {
	pool := &p.small
	if size > smallChunk {
		pool = &p.large
	}
	if c, ok := pool.Get().(*chunk); ok {
		return c
	}
	return &chunk{make([]byte, 0, size)}
}

func (p *chunks) put(c *chunk) {
	c.b = c.b[:0]
	switch n := cap(c.b); {
	case n > keepChunk, n < smallChunk:
	case n >= readChunk:
		p.large.Put(c)
	default:
		p.small.Put(c)
	}
}
