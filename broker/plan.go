package broker

import (
	"math"
	"time"

	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// Plan is what the owner of a Local's session wants of the messages of a topic.
type Plan struct {
	QoS  byte          // the highest that is wanted
	Lane uint8         // priority in the queue, 0 to 9
	TTL  time.Duration // longest time, by the clock of the store, that one waits for its turn; 0: as long as the limits of the queue say
	Last bool          // only the newest one waits, in a queue that keeps values: see buffer.Limits
}

// Choose sets what becomes of a message, in the place of what its subscriptions say:
// plan answers for its topic, and ok is false if the session does not want it; from
// says whether what a Local of this name has published is wanted. What is not wanted
// costs nothing. To be called before Subscribe.
//
// Both are called under the lock of the broker: they must not block nor call it back.
// Their answers must not change, for they are remembered.
func (s *Session) Choose(plan func(topic string) (p Plan, ok bool), from func(local string) bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.plan, s.from = plan, from
	s.b.subscriptionsVersion++
}

// planned is a topic as the session wants it; ok is false if it does not.
func (s *Session) planned(name string) (p *Plan, ok bool) {
	if s.plan == nil {
		return nil, true
	}
	plan, ok := s.plan(name)
	plan.Lane = min(plan.Lane, buffer.Lanes-1)
	return &plan, ok
}

// plain is the plan of a session that has none.
func (s *Session) plain(lane uint8) Plan {
	return Plan{Lane: lane, Last: s.limits.WhenFull == buffer.KeepLast}
}

// wants reports whether the publisher of a message is one that the session listens to.
func (s *Session) wants(p *publication) bool {
	return s.from == nil || p.local == nil || s.from(p.origin)
}

// wantsRetained is the same for a retained message at the begin of a subscription,
// which gets those that no earlier one got.
func (s *Session) wantsRetained(sub *subscription, v *recordView, name string) (p *Plan, ok bool) {
	if s.from != nil && len(v.origin) > 0 && !s.from(string(v.origin)) {
		return nil, false
	}
	if p, ok = s.planned(name); p == nil || !ok {
		return p, ok
	}
	for _, earlier := range s.subs.list {
		if earlier == sub {
			break
		}
		if topic.Match(earlier.filter, name) {
			return nil, false
		}
	}
	return p, true
}

// limit gives a record the deadline of a plan that has a TTL, where that is earlier than its own.
// timed then writes the record anew, with its own deadline inside: a receiver is told
// what is left of that [MQTT-3.3.2-6].
func (p *Plan) limit(r *buffer.Record, now int64, timed func() []byte) {
	clock := time.Duration(now) * time.Millisecond
	due := clock + min(p.TTL, math.MaxInt64-clock) // who writes 2562047h means for ever
	if r.Deadline != 0 {
		if r.Deadline <= due {
			return
		}
		r.Data = timed()
	}
	r.Deadline = due
}
