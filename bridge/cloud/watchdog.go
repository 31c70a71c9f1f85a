package cloud

import (
	"fmt"
	"time"
)

// The watchdog ends a link whose server has forgotten to acknowledge something: it
// would fill the window for ever. The session is resumed in a new connection, as
// nothing is sent twice within one [MQTT-4.4.0-1].

// watchEvery is how often it looks.
const watchEvery = 5 * time.Second

// mostPatience bounds how long it waits, which doubles each time it bites: a server
// that is slow is not made faster by sending it all again.
const mostPatience = 10 * time.Minute

// watch looks once. up is how long the link has lasted.
func (l *link) watch(now time.Time, up time.Duration) {
	b := l.b
	arrived := l.pinger.arrived()
	l.mu.Lock()
	stuck, unsure, oldest := l.flights.stuck(now, arrived, b.overdue)
	l.mu.Unlock()
	switch {
	case stuck:
		l.fail(fmt.Errorf("the server answers pings and does not acknowledge what it got %v ago: the session is resumed in a new connection", oldest.Round(time.Second)))
		b.overdue = min(2*b.overdue, mostPatience)
	case unsure:
		l.pinger.ask() // has it arrived at all?
	case up > b.overdue && oldest < b.tuning.overdue:
		b.overdue = b.tuning.overdue
	}
}

// stuck looks for a handshake that waits for the server for longer than overdue, and
// that the server has certainly got: what was sent before arrived is there. It is
// stuck if the server has answered something of its kind that was sent later, as
// answers come in order [MQTT-4.6.0-2] [MQTT-4.6.0-3], or nothing for as long.
// unsure says that one may not have arrived; oldest is the age of the oldest.
func (fs *flights) stuck(now, arrived time.Time, overdue time.Duration) (stuck, unsure bool, oldest time.Duration) {
	for _, f := range fs.byID {
		if f.state == marking {
			continue // our disk's turn
		}
		age := now.Sub(f.at)
		oldest = max(oldest, age)
		switch {
		case age < overdue:
		case !f.at.Before(arrived):
			unsure = true
		case f.sent < fs.answered[f.waitsFor()] || now.Sub(fs.heard) >= overdue:
			stuck = true
		}
	}
	return stuck, unsure, oldest
}
