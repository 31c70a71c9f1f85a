package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

var (
	drain  = flag.Int("drain", 20_000, "how many messages wait in TestDrain")
	drains = flag.String("drain-rows", "", "of TestDrain, only those whose title contains this")
)

// A backlog drains to a real Mosquitto, beside which it has to live on this machine:
// all of it arrives, and it takes no memory that grows with it. scripts/drain.sh makes
// it a million messages long and prints how fast it is; so does Mosquitto's own bridge,
// from its memory.
func TestDrain(t *testing.T) {
	need.Program(t, "mosquitto")
	for _, qos := range []packet.QoS{packet.QoS1, packet.QoS2} {
		title := fmt.Sprintf("gateway, QoS %d", qos)
		if strings.Contains(title, *drains) {
			t.Run(title, func(t *testing.T) { drainGateway(t, qos) })
		}
	}
	if title := "mosquitto, QoS 1"; *drains != "" && strings.Contains(title, *drains) {
		t.Run(title, drainMosquitto)
	}
}

// fill publishes the backlog.
func fill(t *testing.T, addr string, qos packet.QoS) {
	t.Helper()
	began := time.Now()
	var publishing sync.WaitGroup
	for i := range 10 {
		s := &stream{flow: flow{qos: qos, window: 1000}, addr: addr, name: fmt.Sprintf("plant-1-line-2-sensor%02d", i)}
		publishing.Go(func() {
			if err := s.run(context.Background(), *drain/10); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}
	publishing.Wait()
	t.Logf("published %d messages, %.0f per second", *drain, float64(*drain)/time.Since(began).Seconds())
}

func drainGateway(t *testing.T, qos packet.QoS) {
	cloudAddr := need.Port(t) // nobody is there yet
	g := startMeasured(t, cloudAddr, "", 0)
	fill(t, g.addr, qos)
	time.Sleep(2 * time.Second) // what publishing took is given back
	before := g.anonymous()

	peak := g.watch()
	startMosquittoAt(t, cloudAddr, "max_inflight_messages 1000")
	var early int64 // sent before we looked
	g.within(2*time.Minute, "the link to be up", func(f figures) bool { early = f.sent; return f.connected })
	began := time.Now()
	g.until("the first message", func(f figures) bool { return f.sent > 0 })
	firstAfter := time.Since(began)
	g.within(5*time.Minute, "the backlog to drain", func(f figures) bool { return f.queued == 0 })
	took := time.Since(began)
	most, after := peak(), g.anonymous()
	drained := float64(int64(*drain) - early)
	t.Logf("drained %d at QoS %d: %.0f per second, first within %.3f s of the link, anonymous memory %.1f MB before, %.1f MB at most, %.1f MB after, load average %s",
		*drain, qos, drained/took.Seconds(), firstAfter.Seconds(), mb(before), mb(most), mb(after), loadAverage(t))
	if f := g.read(); f.sent != int64(*drain) {
		t.Errorf("%d messages were sent, want %d", f.sent, *drain)
	}
	if most-before > 24<<20 {
		t.Errorf("draining took %.1f MB of memory", mb(most-before))
	}
	g.stop()
}

// drainMosquitto measures Mosquitto's own bridge in the part of the gateway. What it
// keeps for the other side it keeps in memory.
func drainMosquitto(t *testing.T) {
	cloudAddr, addr, dir := need.Port(t), need.Port(t), t.TempDir()
	_, port, _ := net.SplitHostPort(addr)
	start(t, "mosquitto", "-c", write(t, dir, "bridge.conf", fmt.Sprintf(`
listener %s 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 1000
sys_interval 1
user root
connection cloud
address %s
topic load/# out 1
cleansession false
bridge_protocol_version mqttv50
restart_timeout 1
notifications false
`, port, cloudAddr)))
	fill(t, addr, packet.QoS1)
	startMosquittoAt(t, cloudAddr, "max_inflight_messages 1000\nsys_interval 1")
	began, n := time.Time{}, 0
	for n < *drain {
		time.Sleep(20 * time.Millisecond)
		if n = received(t, cloudAddr); n > 0 && began.IsZero() {
			began = time.Now().Add(-time.Second) // the count is up to a second old
		}
	}
	t.Logf("drained %d at QoS 1: about %.0f per second, load average %s", *drain, float64(*drain)/time.Since(began).Seconds(), loadAverage(t))
}

func loadAverage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text))[:1], " ")
}

// received is how many messages were published to a Mosquitto, by its own count.
func received(t *testing.T, addr string) (n int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second) // sys_interval is 10 s
	const topic = "$SYS/broker/publish/messages/received"
	c, _, err := dialAs(addr, packet.Connect{Version: packet.V311, ClientID: "count", CleanStart: true, KeepAlive: 60})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: topic}}}); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(deadline)
	for {
		p, err := c.read()
		if err != nil {
			return n
		}
		if m, ok := p.(*packet.Publish); ok {
			fmt.Sscan(string(m.Payload), &n)
			if !m.Retain || n >= *drain {
				return n
			}
		}
	}
}
