package cloud_test

import (
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// flow is what a server saw of messages in a while.
type flow struct {
	messages int
	bytes    int
	payloads []string
}

// serve takes and acknowledges messages for a while. each is called before every
// tenth of a second.
func (p *peer) serve(d time.Duration, each func()) (f flow) {
	p.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		each()
		for tick := time.Now().Add(100 * time.Millisecond); time.Now().Before(tick); {
			pk, err := p.read(time.Until(tick))
			if err != nil {
				continue // the time is over
			}
			m := pk.(*packet.Publish)
			f.messages++
			f.bytes += len(m.Append(nil, packet.V5))
			f.payloads = append(f.payloads, string(m.Payload))
			p.ack(packet.PUBACK, m.ID)
		}
	}
	return f
}

func (f flow) between(t *testing.T, what string, low, high int) {
	t.Helper()
	if f.messages < low || f.messages > high {
		t.Errorf("%s: %d messages left, want %d to %d", what, f.messages, low, high)
	}
}

func (f flow) ordered(t *testing.T) {
	t.Helper()
	for i, payload := range f.payloads {
		if payload != number(i) {
			t.Fatalf("message %d is %q, want %q", i, payload, number(i))
		}
	}
}

func throttled(change func(*cloud.Config)) cloud.Config {
	cfg := testConfig("mqtt://a:1883")
	cfg.Up = []cloud.Route{
		{From: "g/+/alert", To: "acme/g/+/alert", QoS: 1, Priority: 9},
		{From: "g/+/state", To: "acme/g/+/state", QoS: 1},
	}
	change(&cfg)
	return cfg
}

func nothing() {}

func (r *rig) backlog(topic string, n int) {
	for i := range n {
		r.offer(topic, number(i), 1)
	}
	settle()
}

func TestABacklogLeavesAtMaxRate(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = 10 }), nil, func(t *testing.T, r *rig, servers servers) {
		r.backlog("g/boiler/state", 300)
		r.run()
		p := servers["a:1883"].welcome(false)
		all := p.serve(10*time.Second, nothing)
		all.between(t, "10 s at 10 per second", 100, 105)
		all.ordered(t)
		rest := p.serve(25*time.Second, nothing)
		if got := all.messages + rest.messages; got != 300 {
			t.Errorf("%d messages came, want 300", got)
		}
	})
}

// What arrives must not make a backlog last for ever, nor may it overtake inside of
// its priority.
func TestABacklogShrinksByMaxRateWhateverArrives(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = 10 }), nil, func(t *testing.T, r *rig, servers servers) {
		r.backlog("g/boiler/state", 300)
		next := 300
		r.run()
		p := servers["a:1883"].welcome(false)
		all := p.serve(20*time.Second, func() {
			for range 5 { // 50 per second
				r.offer("g/boiler/state", number(next), 1)
				next++
			}
		})
		all.between(t, "20 s with 50 new ones per second", 1190, 1210)
		all.ordered(t)
	})
}

func TestMaxBandwidthCountsBytesOfPackets(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxBandwidth = 10_000 }), nil, func(t *testing.T, r *rig, servers servers) {
		for range 200 {
			r.offer("g/boiler/state", strings.Repeat("x", 900), 1)
		}
		settle()
		r.run()
		p := servers["a:1883"].welcome(false)
		f := p.serve(10*time.Second, nothing)
		if f.bytes < 99_000 || f.bytes > 105_000 {
			t.Errorf("%d bytes in 10 s, want about 100,000", f.bytes)
		}
		next := p.serve(10*time.Second, func() { r.offer("g/boiler/state", strings.Repeat("x", 900), 1) })
		if grown := next.bytes - f.bytes; grown < 90_000 || grown > 110_000 { // 100 messages
			t.Errorf("%d bytes more with 100 messages that arrived meanwhile, want about 100,000", grown)
		}
	})
}

func TestAPriorityWithoutABacklogIsNotHeldBack(t *testing.T) {
	for _, c := range []struct{ name, behind, live string }{
		{"a higher one", "g/boiler/state", "g/boiler/alert"},
		{"a lower one", "g/boiler/alert", "g/boiler/state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = 1 }), nil, func(t *testing.T, r *rig, servers servers) {
				r.backlog(c.behind, 100)
				r.run()
				p := servers["a:1883"].welcome(false)
				p.serve(5*time.Second, nothing)
				start := time.Now()
				r.offer(c.live, "now", 1)
				for {
					m := expect[*packet.Publish](p)
					p.ack(packet.PUBACK, m.ID)
					if string(m.Payload) == "now" {
						break
					}
				}
				if d := time.Since(start); d > 10*time.Millisecond {
					t.Errorf("it left after %v, want at once", d)
				}
				// It brought its own place and took that: the backlog is as slow as before.
				p.serve(20*time.Second, nothing).between(t, "20 s at 1 per second", 18, 21)
			})
		})
	}
}

func TestNothingIsHeldBackWhenTheBacklogIsGone(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxRate, c.MaxBandwidth = 10, 1000 }), nil, func(t *testing.T, r *rig, servers servers) {
		r.backlog("g/boiler/state", 20)
		r.run()
		p := servers["a:1883"].welcome(false)
		p.serve(10*time.Second, nothing).between(t, "the backlog", 20, 20)
		for range 100 { // much larger than what came before
			r.offer("g/boiler/state", strings.Repeat("x", 5000), 1)
		}
		p.serve(time.Second, nothing).between(t, "100 at once", 100, 100)
	})
}

// Where the server has room for one message at a time, that is no way around the limit.
func TestABacklogLeavesAtMaxRateToAServerThatTakesOneAtATime(t *testing.T) {
	bubble(t, throttled(func(c *cloud.Config) { c.MaxRate = 10 }), nil, func(t *testing.T, r *rig, servers servers) {
		r.backlog("g/boiler/state", 300)
		r.run()
		p := servers["a:1883"].welcome(false, func(c *packet.Connack) { c.ReceiveMaximum = 1 })
		all := p.serve(10*time.Second, nothing)
		all.between(t, "10 s at 10 per second", 100, 105)
		all.ordered(t)
	})
}
