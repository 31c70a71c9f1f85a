package bench

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts durations with an error of at most 1/64 of their value.
// The zero value is empty. It is for one goroutine.
type histogram struct {
	counts [(64 - stepBits) << stepBits]uint64
	n      uint64
	max    int64
}

// stepBits is how many bits of a value are kept: each power of two has 64 steps.
const stepBits = 6

func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.counts[slot(uint64(ns))]++
	h.n++
	h.max = max(h.max, ns)
}

// slot is where a value is counted: below 128 each has its own, above the
// leading 7 bits count.
func slot(v uint64) int {
	shift := max(bits.Len64(v)-stepBits-1, 0)
	return shift<<stepBits + int(v>>shift)
}

// ceiling is the largest value of a slot.
func ceiling(slot int) int64 {
	shift := max(slot>>stepBits-1, 0)
	return int64((uint64(slot-shift<<stepBits)+1)<<shift - 1)
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile is the value that a share q of all does not exceed, 0 if there are none.
func (h *histogram) quantile(q float64) int64 {
	rank, sum := uint64(math.Ceil(q*float64(h.n))), uint64(0)
	for i, c := range h.counts {
		if sum += c; c > 0 && sum >= rank {
			return min(ceiling(i), h.max)
		}
	}
	return h.max
}

// Latencies are percentiles of a number of measured durations.
type Latencies struct {
	Count uint64        `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

func (h *histogram) latencies() Latencies {
	at := func(q float64) time.Duration { return time.Duration(h.quantile(q)) }
	return Latencies{Count: h.n, P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: time.Duration(h.max)}
}
