package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// gatewayConfig is a gateway with one listener, a bridge to the cloud at
// cloudAddr, and whatever more a test wants.
func gatewayConfig(t *testing.T, addr, cloudAddr, more string) string {
	t.Helper()
	dir := t.TempDir()
	return write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"

[[broker.listeners]]
address = "tcp://%s"

[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
up = [
  { from = "load/#", to = "acme/load/#", qos = 2 },
  { from = "e2e/+/state", to = "acme/e2e/+/state", qos = 1 },
  { from = "e2e/+/result", to = "acme/e2e/+/result", qos = 1 },
]
down = [{ from = "acme/e2e/+/set", to = "e2e/+/set", qos = 1 }]

[status]
address = ""
%s`, dir, addr, cloudAddr, more))
}

// progress counts acknowledged messages and lets a test wait for a number.
type progress struct {
	mu      sync.Mutex
	n       int
	changed chan struct{}
}

func (p *progress) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) wait(t *testing.T, want int) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		p.mu.Lock()
		got := p.n
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if got >= want {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d messages were acknowledged within 60 s, waiting for %d", got, want)
		}
	}
}

// Four publishers send 10,000 QoS 1 and 10,000 QoS 2 messages to the gateway.
// Three times the cloud is stopped and started, three times the gateway is
// killed with -9, at moments that the seed chooses, and once both are away.
// Everything that was acknowledged arrives, and in order, and at QoS 2 once, at the
// cloud.
func TestNothingIsLostThroughKillsAndOutages(t *testing.T) {
	need(t, "mosquitto")
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (run again with: go test ./e2e -run %s -args -seed %d)", s, t.Name(), s)
	random := rand.New(rand.NewPCG(s, 1))

	const publishers, each = 4, 2500
	const total = publishers * each * 2
	cloud := startMosquitto(t)
	addr := freePort(t)
	between := startWire(t, cloud.addr)
	config := gatewayConfig(t, addr, between.addr, "")

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	arrivals := newReceiver(cloud.addr, "consumer", "acme/load/#")
	running.Go(func() { arrivals.run(ctx) })
	select {
	case <-arrivals.subscribed:
	case <-ctx.Done():
		t.Fatal("the consumer could not subscribe at the cloud")
	}

	gateway := start(t, binary, "run", "-config", config)
	var safe progress
	var senders [publishers]*sender
	failed := make(chan error, publishers)
	for i := range senders {
		senders[i] = &sender{addr: addr, name: fmt.Sprintf("p%d", i), each: each, window: 20, onSafe: safe.add}
		running.Go(func() { failed <- senders[i].run(ctx) })
	}

	began := time.Now()
	// Five faults, one in each sixth of the load, each at a random place in it.
	faults := []string{"cloud", "gateway", "cloud", "gateway", "both"}
	for i, fault := range faults {
		part := total / (len(faults) + 1)
		at := (i+1)*part + random.IntN(part/2)
		safe.wait(t, at)
		if fault != "gateway" {
			cloud.stop()
			safe.wait(t, at+part/8) // the gateway goes on acknowledging meanwhile
		}
		if fault != "cloud" {
			gateway.kill()
			gateway = start(t, binary, "run", "-config", config)
		}
		if fault != "gateway" {
			safe.wait(t, at+part/4)
			cloud.again(t)
		}
		t.Logf("%6.2fs fault %d: %s at %d of %d", time.Since(began).Seconds(), i+1, fault, at, total)
	}
	for range senders {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%6.2fs all %d acknowledged", time.Since(began).Seconds(), total)
	arrived := arrivals.wait(total, 60*time.Second)
	t.Logf("%6.2fs %d of %d arrived", time.Since(began).Seconds(), arrivals.distinct, total)
	gateway.stop()

	arrivals.mu.Lock()
	defer arrivals.mu.Unlock()
	between.mu.Lock()
	defer between.mu.Unlock()
	t.Logf("lost %d, out of order %d, duplicates: QoS 1 %d, QoS 2 %d", total-arrivals.distinct, between.disordered,
		arrivals.duplicates[1], len(between.repeated))
	t.Logf("behind the cloud: %d overtaken, %d of QoS 2 twice", arrivals.disordered, arrivals.duplicates[2])
	if !arrived {
		for topic, numbers := range arrivals.seen {
			t.Errorf("%s: %d of %d arrived, missing %s", topic, len(numbers), each, missing(numbers, each))
		}
	}
	if between.fault != nil || len(between.taken) != total {
		t.Errorf("the cloud was seen to take %d of %d messages (%v)", len(between.taken), total, between.fault)
	}
	if between.disordered != 0 {
		t.Errorf("the cloud took %d messages after a later one of the same publisher and QoS", between.disordered)
	}
	if n := len(between.repeated); n != 0 {
		t.Errorf("the cloud got %d messages of QoS 2 as two", n)
	}
	for _, s := range senders {
		if n := s.sessionsLost.Load(); n != 0 {
			t.Errorf("%s: the gateway forgot the session %d times in %d reconnects", s.name, n, s.reconnects.Load())
		}
	}
}

// missing names the first numbers that did not come.
func missing(numbers map[int]int, want int) string {
	var out []string
	for n := range want {
		if numbers[n] == 0 && len(out) < 10 {
			out = append(out, fmt.Sprint(n))
		}
	}
	return strings.Join(out, " ")
}
