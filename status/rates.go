package status

import (
	"sync"
	"time"
)

// counters are what rates are made from, at one moment.
type counters struct {
	at                      time.Time
	received, sent, written int64
	readings                int64            // of all devices
	clouds                  map[string]int64 // sent, by name
}

// rates remembers the counters of the last seconds.
type rates struct {
	mu   sync.Mutex // guards what follows
	ring []counters // oldest first
}

// rateOver is how far back a rate looks, in samples: calm enough to read, quick enough to show a cut.
const rateOver = 5

func (r *rates) add(c counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring = append(r.ring, c)
	if len(r.ring) > rateOver+1 {
		r.ring = r.ring[1:]
	}
}

// fill puts the rates into rep; they stay absent while there are not two moments to compare.
func (r *rates) fill(rep *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < 2 {
		return
	}
	first, last := r.ring[0], r.ring[len(r.ring)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return
	}
	per := func(from, to int64) *float64 {
		v := float64(to-from) / seconds
		return &v
	}
	rep.Gateway.ReadingRate = per(first.readings, last.readings)
	rep.Broker.ReceivedRate = per(first.received, last.received)
	rep.Broker.SentRate = per(first.sent, last.sent)
	rep.Store.WrittenRate = per(first.written, last.written)
	for i, c := range rep.Clouds {
		rep.Clouds[i].SentRate = per(first.clouds[c.Name], last.clouds[c.Name])
	}
}
