package cloud_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
)

// lines of the log that speak of the backlog, without what varies.
func (r *rig) backlogLines() (all []string) {
	for line := range strings.Lines(r.log.String()) {
		if _, what, ok := strings.Cut(line, `msg="cloud backlog `); ok {
			all = append(all, strings.TrimSpace(what))
		}
	}
	return all
}

func TestABacklogIsTold(t *testing.T) {
	cfg := throttled(func(c *cloud.Config) { c.MaxRate = 10 })
	tune := func(b *cloud.Bridge) { b.SetReport(time.Second) }
	bubble(t, cfg, tune, func(t *testing.T, r *rig, servers servers) {
		states := r.subscribe("g/cloud/acme/state")
		r.backlog("g/boiler/state", 300)
		r.run()
		p := servers["a:1883"].welcome(false)
		p.serve(15*time.Second, nothing)
		d := r.bridge.Status().Draining
		if d == nil || d.Left < 140 || d.Left > 160 || d.Rate < 9 || d.Rate > 11 || d.Remaining < 13*time.Second || d.Remaining > 17*time.Second {
			t.Fatalf("after half of it: %+v; want 150 left at 10 per second, for 15 s more", d)
		}
		var last struct {
			Draining *struct {
				Left      int      `json:"left"`
				Rate      float64  `json:"per_second"`
				Remaining *float64 `json:"remaining_seconds"`
			} `json:"draining"`
		}
		for len(states) > 0 {
			m := <-states
			last.Draining = nil
			if err := json.Unmarshal(m.Payload, &last); err != nil {
				t.Fatal(err)
			}
		}
		if l := last.Draining; l == nil || l.Left < 140 || l.Left > 170 || l.Rate < 9 || l.Remaining == nil || *l.Remaining < 13 {
			t.Errorf("the state says %+v", l)
		}
		p.serve(20*time.Second, nothing)
		if d := r.bridge.Status().Draining; d != nil {
			t.Errorf("it is over, and the status says %+v", d)
		}
		lines := r.backlogLines()
		var kinds []string
		for _, line := range lines {
			kinds = append(kinds, strings.SplitN(line, `"`, 2)[0])
		}
		if got := strings.Join(kinds, "; "); got != "begins to drain; drains; drains; is drained" {
			t.Errorf("the log says:\n%s", strings.Join(lines, "\n"))
		}
		if !strings.Contains(lines[2], "left=") || !strings.Contains(lines[2], "per_second=10") || !strings.Contains(lines[2], "remaining=10s") {
			t.Errorf("after 20 s the log says %q, want 10 per second, for 10 s more", lines[2])
		}
		if last := lines[3]; !strings.Contains(last, "messages=300") || !strings.Contains(last, "took=3") {
			t.Errorf("at the end the log says %q, want 300 messages in some 30 s", last)
		}
	})
}

// The queue of a link that does its work changes all the time, and the state is retained.
func TestTheStateComesSeldomWhenOnlyTheQueueMoves(t *testing.T) {
	cfg := throttled(func(c *cloud.Config) { c.MaxRate = 1 })
	bubble(t, cfg, func(b *cloud.Bridge) { b.SetReport(time.Second) }, func(t *testing.T, r *rig, servers servers) {
		states := r.subscribe("g/cloud/acme/state")
		r.backlog("g/boiler/state", 60)
		r.run()
		p := servers["a:1883"].welcome(false)
		p.serve(2*time.Second, nothing)
		for len(states) > 0 { // that it is up, and why it was not
			<-states
		}
		p.serve(40*time.Second, nothing)
		if n := len(states); n < 3 || n > 5 {
			t.Errorf("%d states in 40 s, want one in 10 s", n)
		}
		for len(states) > 0 {
			<-states
		}
		p.cut()
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if len(states) == 0 || !strings.Contains(string((<-states).Payload), `"connected":false`) {
			t.Error("a second after the link was cut the state does not say so")
		}
	})
}

func TestAHandfulIsNoBacklog(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = 1 }), nil, func(t *testing.T, r *rig, servers servers) {
		r.backlog("g/boiler/state", 30)
		r.run()
		p := servers["a:1883"].welcome(false)
		p.serve(5*time.Second, nothing)
		if d := r.bridge.Status().Draining; d != nil {
			t.Errorf("30 messages are told as a backlog: %+v", d)
		}
		p.serve(40*time.Second, nothing)
		if lines := r.backlogLines(); len(lines) > 0 {
			t.Errorf("the log says %q", lines)
		}
	})
}

// Nothing may have to happen for what waits to leave.
func TestABacklogLeavesByItselfWhenTheLinkIsBack(t *testing.T) {
	for _, rate := range []int64{0, 1} {
		bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = rate }), nil, func(t *testing.T, r *rig, servers servers) {
			s := servers["a:1883"]
			r.run()
			p := s.welcome(false)
			s.up.Store(false)
			p.cut()
			settle()
			r.backlog("g/boiler/state", 200)
			s.up.Store(true)
			p = s.welcome(true)
			start := time.Now()
			p.message(number(0), 1, false)
			if d := time.Since(start); d > time.Second {
				t.Errorf("with max_rate %d the first message came %v after the link, want at most 1 s", rate, d)
			}
		})
	}
}

// gate is a way to a server that can be shut.
type gate struct {
	shut atomic.Bool

	mu   sync.Mutex
	open []net.Conn
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if g.shut.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
	}
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		g.mu.Lock()
		g.open = append(g.open, c)
		g.mu.Unlock()
	}
	return c, err
}

// cut ends all connections and lets none through.
func (g *gate) cut() {
	g.shut.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.open {
		c.Close()
	}
}

func TestABacklogReachesMosquittoByItself(t *testing.T) {
	address := mosquitto(t)
	cfg := testConfig("mqtt://" + address)
	var g gate
	cfg.Dial = g.dial
	r := newRig(t, cfg, nil)
	upstream := observe(t, address, "acme/g/+/state")
	r.run()
	r.until("connected", func(s cloud.Status) bool { return s.Connected })
	g.cut()
	r.until("cut", func(s cloud.Status) bool { return !s.Connected })
	const n = 1000
	for i := range n {
		r.offer("g/boiler/state", number(i), 1)
	}
	r.publish("g/boiler/state", number(n), 1)
	g.shut.Store(false)
	r.until("connected", func(s cloud.Status) bool { return s.Connected })
	up := r.bridge.Status().Since
	for i := range n + 1 {
		if m := upstream.message(); string(m.Payload) != number(i) {
			t.Fatalf("got %q, want %q", m.Payload, number(i))
		} else if i == 0 {
			t.Logf("the first message came %v after the link", time.Since(up))
		}
	}
	r.drained()
}
