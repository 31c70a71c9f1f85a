package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// errReturning ends a link because the first server is there again.
var errReturning = errors.New("the first server can be reached again: going back to it")

// looks is how often, in the time that the first server has to be reachable for, it
// is asked.
const looks = 5

// watchFirst offers to go back whenever the first server has been reachable for
// long enough. It asks for no more than a connection: another CONNECT would take
// our own session over.
func (l *link) watchFirst(ctx context.Context) {
	var since time.Time // it has answered every time; zero: the last time it did not
	for {
		every := l.b.patience / looks
		if !sleep(ctx, every/2+rand.N(every+1)) {
			return
		}
		now := time.Now()
		dialing, cancel := context.WithTimeout(ctx, l.b.tuning.dial)
		conn, err := l.b.cfg.dial(dialing, l.b.servers[0])
		cancel()
		if err != nil {
			since = time.Time{}
			continue
		}
		conn.Close()
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) < l.b.patience {
			continue
		}
		since = now
		select {
		case l.back <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

// leave ends the link in a quiet moment, for the first server: what is under way
// here would be sent there as new. It makes the moment by sending nothing new for
// a while. If none comes it goes on as before, unless the servers share the session,
// and each such try is twice as far from the next: an answer that a server owes may
// never come, and messages wait during a try.
func (l *link) leave(ctx context.Context) bool {
	if time.Now().Before(l.stays) {
		return false
	}
	l.setStopping(true)
	end := time.Now().Add(leaveTimeout)
	for !l.quiet() && time.Now().Before(end) && ctx.Err() == nil {
		select {
		case <-l.client.Done():
			return true
		default:
			sleep(ctx, 50*time.Millisecond)
		}
	}
	if !l.quiet() && !l.b.cfg.ServersShareSession || ctx.Err() != nil {
		l.setStopping(false)
		if ctx.Err() == nil {
			l.stay()
		}
		return false
	}
	l.mu.Lock()
	if l.fault == nil {
		l.fault = errReturning
	}
	l.mu.Unlock()
	l.b.log.Info("cloud link goes back to the first server", "server", l.server.url, "first", l.b.servers[0].url)
	l.farewell()
	return true
}

// stay puts the next try to leave off. The log hears of the first.
func (l *link) stay() {
	if l.stays.IsZero() {
		l.b.log.Warn("cloud link can not go back to the first server yet: handshakes with this one do not end, and what is under way would be sent there as new; it is tried again, less and less often",
			"server", l.server.url, "first", l.b.servers[0].url)
	}
	l.hold = min(2*max(l.hold, l.b.patience), max(time.Hour, l.b.cfg.ReturnAfter))
	l.stays = time.Now().Add(l.hold)
}

// leaveTimeout bounds how long new messages wait for a quiet moment.
const leaveTimeout = 10 * time.Second

func (l *link) setStopping(on bool) {
	l.mu.Lock()
	l.stopping = on
	l.mu.Unlock()
	l.signal()
}

// quiet reports whether no handshake is under way in any direction.
func (l *link) quiet() bool {
	l.mu.Lock()
	up := l.flights.len() + len(l.control)
	down := len(l.pubacks.wait) + len(l.pubrecs.wait) + len(l.pubcomps.wait)
	l.mu.Unlock()
	return up == 0 && down == 0 && l.b.inbound.len() == 0
}
