package cloud

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho/log"

	"edgegateway/broker/packet"
)

// pinger keeps the connection alive and finds out when it is dead. A connection is
// dead if nothing at all has come for an interval after a ping: on a slow line the
// answer may be a long time behind other packets. So a link that is dead without
// saying so is noticed after two intervals at most.
type pinger struct {
	l *link

	mu        sync.Mutex // guards what follows
	sent      time.Time  // the last packet
	heard     time.Time  // the last packet
	asked     time.Time  // a ping that was not answered; zero: none
	confirmed time.Time  // all that was sent before has arrived
	demand    chan struct{}
}

func newPinger(l *link) *pinger {
	now := time.Now()
	return &pinger{l: l, sent: now, heard: now, demand: make(chan struct{}, 1)}
}

// Run is called by the library with the Server Keep Alive, or ours if there is none
// [MQTT-3.2.2-21]. A server that wants no pings gets ours all the same: it may not
// need them to notice that we are gone, and we do need its answers.
func (p *pinger) Run(ctx context.Context, _ net.Conn, keepAlive uint16) error {
	every := p.l.b.cfg.KeepAlive
	if s := time.Duration(keepAlive) * time.Second; s > 0 {
		every = min(every, s)
	}
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		demanded := false
		select {
		case <-ctx.Done():
			return nil
		case <-p.demand:
			demanded = true
		case <-timer.C:
		}
		wait, dead := p.look(time.Now(), every, demanded)
		if dead {
			p.l.fail(fmt.Errorf("the server does not answer: nothing has come for %v, and a ping was sent", every))
			return nil
		}
		timer.Reset(wait)
	}
}

// look sends a ping if one is due, and says when to look again.
func (p *pinger) look(now time.Time, every time.Duration, demanded bool) (wait time.Duration, dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() && now.Sub(later(p.asked, p.heard)) >= every {
		return 0, true
	}
	silence := now.Sub(p.heard)
	if now.Sub(p.sent) >= every || p.asked.IsZero() && (silence >= every || demanded) {
		p.sent = now
		if p.asked.IsZero() {
			p.asked = now
		}
		p.l.ping()
	}
	wait = p.sent.Add(every).Sub(now) // [MQTT-3.1.2-20]
	if p.asked.IsZero() {
		return min(wait, p.heard.Add(every).Sub(now)), false
	}
	return min(wait, later(p.asked, p.heard).Add(every).Sub(now)), false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ping sends one with the next bytes. It does not wait for a connection that takes
// none.
func (l *link) ping() {
	l.mu.Lock()
	l.out = (&packet.Pingreq{}).Append(l.out, packet.V5)
	l.mu.Unlock()
	l.signal()
}

// ask has a ping sent now, if none is under way.
func (p *pinger) ask() {
	select {
	case p.demand <- struct{}{}:
	default:
	}
}

// arrived is a moment: all that was sent before has reached the server.
func (p *pinger) arrived() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.confirmed
}

func (p *pinger) PacketSent()         { p.mu.Lock(); p.sent = time.Now(); p.mu.Unlock() }
func (p *pinger) PacketReceived()     { p.mu.Lock(); p.heard = time.Now(); p.mu.Unlock() }
func (p *pinger) SetDebug(log.Logger) {}

func (p *pinger) PingResp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() {
		p.confirmed, p.asked = p.asked, time.Time{}
	}
}
