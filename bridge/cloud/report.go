package cloud

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"edgegateway/broker"
	"edgegateway/buffer"
)

// trying notes which server the next attempt goes to.
func (b *Bridge) trying(s server) {
	b.mu.Lock()
	b.status.Server, b.fault = s.url, ""
	b.mu.Unlock()
}

// linkUp notes that a server has accepted us.
func (b *Bridge) linkUp(l *link) {
	b.counts.connects.Add(1)
	b.mu.Lock()
	b.link = l
	b.status.Connected, b.status.Since = true, time.Now()
	b.told = 0
	b.status.SessionExpiry = 0
	if l.expiry != neverExpires {
		b.status.SessionExpiry = time.Duration(l.expiry) * time.Second
	}
	shortened := l.expiry < b.expiry && b.shortest != l.expiry
	b.shortest = l.expiry
	b.mu.Unlock()
	queued := b.queue.Stats()
	b.log.Info("cloud link up", "server", l.server.url, "client_id", b.clientID, "queued", queued.Messages, "window", l.window)
	if shortened {
		b.log.Warn("cloud server keeps the session for a shorter time than asked: after a longer cut QoS 2 may come twice, and what it keeps for this gateway is gone",
			"server", l.server.url, "session_expiry", time.Duration(l.expiry)*time.Second)
	}
	b.tell()
}

// linkEnded notes that the connection is gone, and makes the queue hand out again
// what it had under way. Nothing of the link runs any more.
func (b *Bridge) linkEnded(l *link) {
	b.mu.Lock()
	b.link = nil
	b.status.Connected, b.status.Since = false, time.Now()
	b.mu.Unlock()
	if l.held != nil && !l.held.Again && !l.held.Received {
		b.queue.Requeue(l.held.Seq) // it was never sent: no DUP [MQTT-3.3.1-1]
	}
	b.queue.Rewind()
	c := b.store.Begin()
	c.Detach(b.queue, buffer.Lazy)
	c.Commit(nil)
	b.tell()
}

// failed notes why there is no link. Until the link has been up again the log hears
// once why it ended, once why there is no new one, and once more if that turns out to
// be graver: "the server closed the connection" does not tell of a certificate that
// has expired since.
func (b *Bridge) failed(err error, v verdict, ended bool) {
	text := err.Error()
	if v.say != "" {
		text += " (" + v.say + ")"
	}
	b.mu.Lock()
	b.status.LastError, b.status.LastErrorAt = text, time.Now()
	weight := 2*v.manner + 2
	if ended {
		weight--
	}
	known := b.told >= weight
	b.told = max(b.told, weight)
	server := b.status.Server
	b.mu.Unlock()
	b.tell()
	if known {
		return
	}
	attrs := []any{"server", server, "queued", b.queue.Stats().Messages, "err", err}
	if v.say != "" {
		attrs = append(attrs, "next", v.say)
	}
	b.log.Warn("cloud link down", attrs...)
}

// proved notes that the connection has lasted.
func (b *Bridge) proved() {
	b.mu.Lock()
	b.status.LastError, b.status.LastErrorAt = "", time.Time{}
	b.mu.Unlock()
	b.tell()
}

// note keeps an error that does not end the link. The log hears of the first one
// in each connection.
func (b *Bridge) note(err error) {
	b.mu.Lock()
	first := b.fault == ""
	b.fault, b.faultAt = err.Error(), time.Now()
	b.mu.Unlock()
	if first {
		b.log.Warn("cloud link has a fault", "err", err)
	}
	b.tell()
}

// tell lets the reporter publish a new state.
func (b *Bridge) tell() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// Status is a snapshot.
func (b *Bridge) Status() Status {
	q := b.queue.Stats()
	b.mu.Lock()
	s, l := b.status, b.link
	if s.LastError == "" {
		s.LastError, s.LastErrorAt = b.fault, b.faultAt
	}
	b.mu.Unlock()
	s.Queued, s.QueuedBytes, s.Oldest = q.Messages, q.Bytes, q.Oldest
	s.Dropped, s.Rejected = q.Dropped+q.Refused, q.Rejected
	s.Expired, s.Replaced, s.Purged = q.Expired, q.Replaced, q.Purged
	s.Sent, s.Received = b.counts.sent.Load(), b.counts.received.Load()
	s.Resent, s.Duplicates, s.Refused = b.counts.resent.Load(), b.counts.duplicates.Load(), b.counts.refused.Load()
	s.Connects, s.SessionsLost = b.counts.connects.Load(), b.counts.sessionsLost.Load()
	s.Reconnects = max(0, s.Connects-1)
	if l != nil {
		l.mu.Lock()
		s.InFlight = l.flights.len()
		l.mu.Unlock()
	}
	return s
}

func (b *Bridge) stateTopic() string      { return b.env.Prefix + "/cloud/" + b.cfg.Name + "/state" }
func (b *Bridge) connectionTopic() string { return "$SYS/broker/connection/" + b.clientID + "/state" }

// state is what the local broker is told of the link.
type state struct {
	Connected bool    `json:"connected"`
	Server    string  `json:"server"`
	Since     string  `json:"since"` // RFC 3339
	Queued    int     `json:"queued"`
	Oldest    *string `json:"oldest"` // RFC 3339; null: nothing is queued
	LastError string  `json:"last_error"`

	Draining *drainState `json:"draining,omitempty"` // a backlog is on its way
}

type drainState struct {
	Left      int      `json:"left"`
	Rate      float64  `json:"per_second"`
	Remaining *float64 `json:"remaining_seconds"` // an estimate; null: nobody knows
}

// countsRest is so many reports long: how often the state is published of a link that
// does its work, when only the numbers in it have moved.
const countsRest = 10

// report publishes the state on the local broker when it has changed, at most
// once in a while, and a last time at the end.
func (b *Bridge) report(ctx context.Context) {
	var last, lastGist, lastFlag string
	var at time.Time
	publish := func() (changed bool) {
		s := b.Status()
		b.alarm(s.Rejected)
		text, gist := s.json(), s.gist()
		if text != last && (gist != lastGist || time.Since(at) >= countsRest*b.tuning.report || ctx.Err() != nil) {
			last, lastGist, at, changed = text, gist, time.Now(), true
			b.publishState(b.stateTopic(), text)
		}
		if flag := s.flag(); flag != lastFlag {
			lastFlag, changed = flag, true
			b.publishState(b.connectionTopic(), flag)
		}
		return changed
	}
	tick := time.NewTicker(b.tuning.report) // a longer queue tells nobody that it has changed
	defer tick.Stop()
	for ctx.Err() == nil {
		if publish() {
			sleep(ctx, b.tuning.report)
			continue
		}
		select {
		case <-b.changed:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	publish()
}

func (b *Bridge) publishState(name, payload string) {
	// Nobody waits for it, and the next one is better: an error is not worth more
	// than the one that the broker counts.
	b.local.Publish(broker.Message{Topic: name, Payload: []byte(payload), QoS: 1, Retain: true}, broker.Lazy())
}

func (s Status) json() string {
	j := state{Connected: s.Connected, Server: s.Server, Since: stamp(s.Since), Queued: s.Queued, LastError: s.LastError}
	if s.Queued > 0 && !s.Oldest.IsZero() {
		oldest := stamp(s.Oldest)
		j.Oldest = &oldest
	}
	if d := s.Draining; d != nil {
		j.Draining = &drainState{Left: d.Left, Rate: math.Round(10*d.Rate) / 10}
		if d.Remaining > 0 {
			left := math.Ceil(d.Remaining.Seconds())
			j.Draining.Remaining = &left
		}
	}
	text, _ := json.Marshal(j) // of strings and numbers: can not fail
	return string(text)
}

// gist is the state without the numbers of a queue that lives from hand to mouth.
func (s Status) gist() string {
	if s.Draining == nil {
		s.Queued, s.Oldest = 0, time.Time{}
	}
	return s.json()
}

// flag is the state as bridges have always published it below $SYS.
func (s Status) flag() string {
	if s.Connected {
		return "1"
	}
	return "0"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
