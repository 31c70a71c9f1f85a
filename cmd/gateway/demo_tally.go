package main

import (
	"crypto/sha256"
	"sync"
)

// A tally compares what was published at the gateway with what arrived at the cloud, message by message. It
// believes no counter of either side. Safe for concurrent use.
type tally struct {
	mu      sync.Mutex // guards what follows
	flows   map[string]*flow
	counted counted
}

// counted is what a tally has found.
type counted struct {
	Published  int64
	Arrived    int64 // each message once
	Missing    int64 // published and not arrived: on the way, or lost
	Duplicates int64 // arrivals of what had arrived before
	Disordered int64 // arrivals after something that was published later on the same topic
	Strange    int64 // arrivals of what was never published
}

// flow is one topic. MQTT promises order per topic, so messages are numbered per topic.
type flow struct {
	next  int64
	known map[digest]int64 // number of a message; of those that arrived, only the last ones
	open  map[int64]struct{}
	last  int64 // highest number that has arrived
	mark  int64 // messages below it were published before the last markBacklog
	old   []aged
}

type digest = [16]byte

type aged struct {
	d digest
	n int64
}

// remembered is how many arrived messages of a topic can still be told from strange ones.
const rememberedArrivals = 4096

func newTally() *tally { return &tally{flows: make(map[string]*flow)} }

func (t *tally) flow(topic string) *flow {
	f := t.flows[topic]
	if f == nil {
		f = &flow{known: make(map[digest]int64), open: make(map[int64]struct{}), last: -1}
		t.flows[topic] = f
	}
	return f
}

func digestOf(payload []byte) digest {
	sum := sha256.Sum256(payload)
	return digest(sum[:16])
}

// published notes a message that entered the gateway. Payloads on one topic differ: they carry a time.
func (t *tally) published(topic string, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flow(topic)
	d := digestOf(payload)
	f.known[d] = f.next
	f.open[f.next] = struct{}{}
	f.next++
	t.counted.Published++
	t.counted.Missing++
}

// arrived notes a message that the cloud has got.
func (t *tally) arrived(topic string, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flow(topic)
	d := digestOf(payload)
	n, ok := f.known[d]
	if !ok {
		t.counted.Strange++
		return
	}
	if _, open := f.open[n]; !open {
		t.counted.Duplicates++
		return
	}
	delete(f.open, n)
	t.counted.Arrived++
	t.counted.Missing--
	if n < f.last {
		t.counted.Disordered++
	}
	f.last = max(f.last, n)
	f.old = append(f.old, aged{d, n})
	if len(f.old) > rememberedArrivals {
		if gone := f.old[0]; f.known[gone.d] == gone.n {
			delete(f.known, gone.d)
		}
		f.old = f.old[1:]
	}
}

// skipped is how many messages have not arrived although a later one of their topic has. While a link
// is slow some may be on the way; what is skipped when nothing waits any more is lost.
func (t *tally) skipped() int64 {
	return t.openBelow(func(f *flow) int64 { return f.last })
}

// openBelow counts what has not arrived of the messages below a bound in each flow.
func (t *tally) openBelow(bound func(*flow) int64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for _, f := range t.flows {
		for open := range f.open {
			if open < bound(f) {
				n++
			}
		}
	}
	return n
}

// markBacklog takes what is published and not arrived at this moment as the backlog, and counts it.
func (t *tally) markBacklog() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for _, f := range t.flows {
		f.mark = f.next
		n += int64(len(f.open))
	}
	return n
}

// backlog counts what of the marked backlog has not arrived yet.
func (t *tally) backlog() int64 {
	return t.openBelow(func(f *flow) int64 { return f.mark })
}

func (t *tally) counts() counted {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counted
}
