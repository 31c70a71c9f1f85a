package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

var (
	soak      = flag.Duration("soak", 8*time.Second, "how long TestSoak loads the link and cuts it")
	soakCloud = flag.String("cloud", "mosquitto", "the server of TestSoak: mosquitto, or gateway for a second gateway")
)

// soakRate is how many messages per second go up, and as many down.
const soakRate = 500.0

// A link that is cut every 1 to 5 seconds, often in the middle of a packet, with QoS 1
// and QoS 2 in both directions: nothing is lost, QoS 2 never comes twice, and the order
// of each publisher, topic and QoS is kept. scripts/soak.sh runs it for longer.
//
// What Mosquitto 2.0.11 itself sends out of order, or as two messages, after its
// connection was cut is seen on the wire, and told apart. A second gateway in its place
// has no such excuse.
func TestSoak(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (run again with: go test ./e2e -run %s -args -seed %d -soak %v -cloud %s)", s, t.Name(), s, *soak, *soakCloud)

	cloud := soakServer(t)
	link := startWire(t, cloud, nil)
	log := &linkLog{connected: make(chan struct{}, 1), listening: make(chan struct{}, 3)}
	link.seen = log.note
	addr := need.Port(t)
	gateway := start(t, binary, "run", "-config", gatewayConfig(t, addr, link.addr, ""))

	ctx, cancel := context.WithTimeout(t.Context(), *soak+5*time.Minute)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	loading, enough := context.WithTimeout(ctx, *soak)
	defer enough()

	log.await(t, "the link to be up")
	for range 3 { // one answer for each route down: before, nobody hears what the cloud says
		select {
		case <-log.listening:
		case <-ctx.Done():
			t.Fatal("the gateway did not subscribe")
		}
	}
	up := direction{name: "up", receiver: newReceiver(cloud, lasting(packet.V5, "consumer"), "acme/load/#")}
	down := direction{name: "down", receiver: newReceiver(addr, lasting(packet.V311, "panel"), "+/panel/#"), server: link.down}
	random := rand.New(rand.NewPCG(s, 0))
	for i := range 4 {
		from := func(addr, name string) *sender {
			return &sender{
				addr: addr, connect: lasting(packet.V311, fmt.Sprintf("%s-%d", name, i)), window: 1000, rate: soakRate / 4,
				random: rand.New(rand.NewPCG(random.Uint64(), 0)), enough: loading.Done(), onSafe: func() {},
			}
		}
		up.senders = append(up.senders, from(addr, "sensor"))
		command := from(cloud, "operator")
		command.roots = [3]string{1: "acme/once/panel", 2: "acme/exactly/panel"}
		down.senders = append(down.senders, command)
	}
	for _, d := range []*direction{&up, &down} {
		running.Go(func() { d.receiver.run(ctx) })
		select {
		case <-d.receiver.subscribed:
		case <-ctx.Done():
			t.Fatalf("the receiver of what goes %s could not subscribe", d.name)
		}
	}
	publishers := slices.Concat(up.senders, down.senders)
	failed := make(chan error, len(publishers))
	for _, p := range publishers {
		running.Go(func() { failed <- p.run(ctx) })
	}
	link.cutNowAndThen(t, log, loading, rand.New(rand.NewPCG(s, 4)))
	for range publishers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []*direction{&up, &down} {
		d.judge(t, link)
	}
	log.tell(t, link)
	gateway.stop()
}

// soakServer starts the cloud and returns its address.
func soakServer(t *testing.T) string {
	t.Helper()
	if *soakCloud == "mosquitto" {
		return startMosquitto(t).addr
	}
	if *soakCloud != "gateway" {
		t.Fatalf("-cloud %q: there are mosquitto and gateway", *soakCloud)
	}
	addr, dir := need.Port(t), t.TempDir()
	start(t, binary, "run", "-config", write(t, dir, "cloud.toml", fmt.Sprintf(`
id = "cloud"
data_dir = "%s/data"
[broker]
max_queued_messages = 1000000
max_queued_bytes = "256MiB"
[[broker.listeners]]
address = "tcp://%s"
[status]
address = ""
`, dir, addr)))
	return addr
}

// cutNowAndThen cuts the link 1 to 5 seconds after it has come back, again and again,
// half of the times wherever the bytes that go over it next happen to be.
func (w *wire) cutNowAndThen(t *testing.T, log *linkLog, ctx context.Context, random *rand.Rand) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second + time.Duration(random.Int64N(int64(4*time.Second)))):
		}
		log.cut()
		if random.IntN(2) == 0 {
			w.cut()
		} else {
			w.cutAfter(1 + random.IntN(2000))
		}
		log.await(t, "the link to be up again")
	}
}

// direction is one way over the link, from its publishers to its receiver.
type direction struct {
	name     string
	senders  []*sender
	receiver *receiver
	server   *ledger // what the server sent; nil: it is at the end, where nothing is cut
}

// judge waits for what is on its way and counts. scripts/soak.sh reads its line.
func (d *direction) judge(t *testing.T, link *wire) {
	t.Helper()
	total := 0
	for _, s := range d.senders {
		total += s.next
		if n := s.sessionsLost.Load(); n != 0 {
			t.Errorf("%s: the session of %s was lost %d times", d.name, s.connect.ClientID, n)
		}
		if n := s.reconnects.Load(); n != 0 {
			t.Logf("%s: %s had to connect again %d times", d.name, s.connect.ClientID, n)
		}
	}
	d.receiver.wait(total, 2*time.Minute)
	d.receiver.mu.Lock()
	defer d.receiver.mu.Unlock()
	link.mu.Lock()
	defer link.mu.Unlock()
	lost := 0
	for _, s := range d.senders {
		for _, qos := range []packet.QoS{packet.QoS1, packet.QoS2} {
			topic, want := s.topic(qos), s.sent(qos)
			// Routes take acme away from the front, or put it there.
			came := d.receiver.seen[strings.TrimPrefix(topic, "acme/")]
			if came == nil {
				came = d.receiver.seen["acme/"+topic]
			}
			if len(came) != want {
				lost += want - len(came)
				t.Errorf("%s: of %d messages to %s %d came", d.name, want, topic, len(came))
			}
		}
	}
	twice, disordered := d.receiver.repeated[2], d.receiver.disordered
	theirs, theirOrder := 0, 0
	if d.server != nil {
		theirs, theirOrder = len(d.server.repeated), len(d.server.disorders)
	}
	t.Logf("figures of %s: sent %d, lost %d, again %d, twice %d, out of order %d; sent as two by the server %d, out of order %d",
		d.name, total, lost, d.receiver.repeated[1], twice, disordered, theirs, theirOrder)
	if twice > theirs || disordered > theirOrder {
		t.Errorf("%s: %d of QoS 2 came twice and %d out of order, and the server is to blame for %d and %d", d.name, twice, disordered, theirs, theirOrder)
	}
	if *soakCloud == "gateway" && theirs+theirOrder > 0 {
		t.Errorf("%s: the gateway in the part of the cloud sent %d as two and %d out of order", d.name, theirs, theirOrder)
	}
	if n := d.receiver.sessionsLost.Load(); n != 0 {
		t.Errorf("%s: the session of the receiver was lost %d times", d.name, n)
	}
}

// linkLog is the life of a link that is cut: when, and how soon there is life again.
type linkLog struct {
	connected chan struct{} // one token: CONNACK has passed
	listening chan struct{} // tokens: SUBACKs

	mu                   sync.Mutex
	cutAt, upAt          time.Time // the last ones; cutAt is zero before the first
	waitUp, waitDown     bool      // for the first message
	cuts, news, connacks int
	back                 []time.Duration // from a cut to CONNACK
	firstUp, firstDown   []time.Duration // from CONNACK to the first message that goes up, and down
	cutToUp, cutToDown   []time.Duration // from a cut
}

func (l *linkLog) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.connected: // of a connection that came and went by itself
	default:
	}
	l.cuts++
	l.cutAt = time.Now()
}

func (l *linkLog) note(what passing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch what {
	case newSession, oldSession:
		if l.connacks++; what == newSession {
			l.news++
		}
		l.upAt, l.waitUp, l.waitDown = now, true, true
		if !l.cutAt.IsZero() {
			l.back = append(l.back, now.Sub(l.cutAt))
		}
		select {
		case l.connected <- struct{}{}:
		default:
		}
	case listening:
		select {
		case l.listening <- struct{}{}:
		default:
		}
	case dataUp:
		if l.waitUp && !l.cutAt.IsZero() {
			l.firstUp, l.cutToUp = append(l.firstUp, now.Sub(l.upAt)), append(l.cutToUp, now.Sub(l.cutAt))
		}
		l.waitUp = false
	case dataDown:
		if l.waitDown && !l.cutAt.IsZero() {
			l.firstDown, l.cutToDown = append(l.firstDown, now.Sub(l.upAt)), append(l.cutToDown, now.Sub(l.cutAt))
		}
		l.waitDown = false
	}
}

func (l *linkLog) await(t *testing.T, what string) {
	t.Helper()
	select {
	case <-l.connected:
	case <-time.After(2 * time.Minute):
		t.Fatalf("waited two minutes for %s", what)
	}
}

func (l *linkLog) tell(t *testing.T, link *wire) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("link: cuts %d, connections %d, sessions begun %d", l.cuts, l.connacks, l.news)
	for _, row := range []struct {
		name string
		took []time.Duration
	}{
		{"from a cut to CONNACK", l.back},
		{"from CONNACK to the first message up", l.firstUp},
		{"from CONNACK to the first message down", l.firstDown},
		{"from a cut to the first message up", l.cutToUp},
		{"from a cut to the first message down", l.cutToDown},
	} {
		slices.Sort(row.took)
		if n := len(row.took); n > 0 {
			t.Logf("%-40s median %7.3f s, most %7.3f s", row.name, row.took[n/2].Seconds(), row.took[n-1].Seconds())
		}
	}
	if l.news != 1 {
		t.Errorf("%d sessions were begun, want 1", l.news)
	}
	if l.cuts == 0 {
		t.Error("the link was never cut")
	}
	link.mu.Lock()
	defer link.mu.Unlock()
	if link.fault != nil {
		t.Errorf("what passed was not MQTT 5: %v", link.fault)
	}
	if n := len(link.up.repeated); n > 0 {
		t.Errorf("the gateway sent %d messages of QoS 2 as two", n)
	}
}
