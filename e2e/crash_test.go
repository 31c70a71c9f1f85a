package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

var (
	kills = flag.Int("kills", 20, "how often the crash test kills the gateway")
	stops = flag.Int("stops", 1, "how often the crash test stops the cloud")
)

// A crashRun is a gateway under load that is killed again and again: four
// publishers, three local subscribers and, behind a link that is cut, a Mosquitto
// with a subscriber of its own.
type crashRun struct {
	t       *testing.T
	random  *rand.Rand
	config  string
	command []string // that runs the gateway
	gateway *process
	opening time.Duration // how long the last start took
	cloud   *mosquitto
	link    *wire
	safe    progress // what publishers know to be safe

	connects atomic.Int64 // of the link, in this life of the gateway
	draining sync.Mutex   // held while the link is left to a life
	began    time.Time
	killed   int
	stopped  int // the cloud

	senders   []*sender
	receivers []*receiver // local ones, and the last one is at the cloud
}

// The gateway is killed with -9 at moments that the seed chooses: under load, while
// it opens its store, just after, and while it drains a backlog to the cloud. The
// link is cut meanwhile, in the middle of packets too, and the cloud is stopped.
// Everything that was acknowledged arrives at everybody, in order, and at QoS 2
// once. The more the -kills, the more it proves: scripts/crash-test.sh.
func TestNothingIsLostThroughKillsAndCuts(t *testing.T) {
	underCuts(t, nil, func(r *crashRun) { r.killAll(*kills, *stops) })
}

// The same is true of SIGHUP, which ends one gateway and starts another in the same
// process, also while the last one is not done yet.
func TestNothingIsLostThroughReloadsAndCuts(t *testing.T) {
	underCuts(t, []string{need.Program(t, "setsid")}, func(r *crashRun) { // with a terminal SIGHUP is the end
		for n := range *kills {
			r.safe.more(t, "messages were acknowledged", 20+r.random.IntN(500))
			r.connects.Store(0)
			r.gateway.cmd.Process.Signal(syscall.SIGHUP)
			if n%4 == 0 {
				time.Sleep(time.Duration(r.random.IntN(20)) * time.Millisecond) // wherever it is then
				r.gateway.cmd.Process.Signal(syscall.SIGHUP)
			}
			r.gateway.await()
			r.killed++
		}
	})
}

// underCuts has a gateway under load go through something, and looks at what came of it.
func underCuts(t *testing.T, under []string, through func(*crashRun)) {
	need.Program(t, "mosquitto")
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (run again with: go test ./e2e -run %s -args -seed %d -kills %d -stops %d)", s, t.Name(), s, *kills, *stops)

	r := &crashRun{t: t, command: append(under, binary, "run", "-config"), random: rand.New(rand.NewPCG(s, 0)), cloud: startMosquitto(t)}
	addr := need.Port(t)
	calm := make(chan struct{})
	cuts := rand.New(rand.NewPCG(s, 3))
	r.link = startWire(t, r.cloud.addr, func() int {
		select {
		case <-calm:
			return 0
		default:
		}
		// The more often a link does not last, the longer the bridge waits: the third
		// connection of a life is left alone.
		if r.connects.Add(1) > 2 {
			return 0
		}
		return cuts.IntN(2) * (1 + cuts.IntN(100_000)) // every other one, wherever that is in a packet
	})
	// How long commits wait for company decides what a kill finds.
	wait := []string{"0s", "10ms", "50ms"}[r.random.IntN(3)]
	lazy := []string{"100ms", "1s", "5s"}[r.random.IntN(3)]
	r.config = gatewayConfig(t, addr, r.link.addr, fmt.Sprintf("[buffer]\nsync = %q\nlazy = %q\n", wait, lazy))
	r.start()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(*kills)*5*time.Second)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	steady := newReceiver(addr, lasting(packet.V311, "steady"), "load/#")
	away := newReceiver(addr, lasting(packet.V5, "away"), "load/#")
	away.absent = rand.New(rand.NewPCG(s, 1))
	slow := newReceiver(addr, lasting(packet.V5, "slow"), "load/#")
	slow.connect.ReceiveMaximum, slow.pause = 80, 50*time.Millisecond
	consumer := newReceiver(r.cloud.addr, lasting(packet.V311, "consumer"), "acme/load/#")
	r.receivers = []*receiver{steady, away, slow, consumer}
	for _, to := range r.receivers {
		to.calm = calm
		running.Go(func() { to.run(ctx) })
		select {
		case <-to.subscribed:
		case <-ctx.Done():
			t.Fatalf("%s could not subscribe", to.connect.ClientID)
		}
	}

	enough := make(chan struct{})
	ended := make(chan error)
	for i, window := range []int{1, 10, 30, 100} {
		from := &sender{
			addr: addr, connect: lasting([]packet.Version{packet.V311, packet.V5}[i%2], fmt.Sprintf("p%d", i)),
			window: window, random: rand.New(rand.NewPCG(s, 10+uint64(i))), enough: enough, onSafe: r.safe.add,
		}
		r.senders = append(r.senders, from)
		running.Go(func() {
			err := from.run(ctx)
			select {
			case ended <- err:
			case <-ctx.Done():
			}
		})
	}
	running.Go(func() { r.barLink(ctx, rand.New(rand.NewPCG(s, 2)), calm) })

	r.began = time.Now()
	through(r)
	close(enough)
	for range r.senders {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	close(calm)
	r.audit()
	r.gateway.stop()
	t.Logf("%6.2fs the end", time.Since(r.began).Seconds())
}

// start starts the gateway and waits until it is ready.
func (r *crashRun) start() {
	r.t.Helper()
	from := time.Now()
	r.connects.Store(0)
	r.gateway = start(r.t, r.command[0], append(r.command[1:], r.config)...)
	r.opening = time.Since(from)
}

// kill ends the gateway; nothing that it said before may speak of damage.
func (r *crashRun) kill(moment string) {
	r.t.Helper()
	r.gateway.kill()
	r.killed++
	r.t.Logf("%6.2fs kill %d %s", time.Since(r.began).Seconds(), r.killed, moment)
	for _, word := range []string{"panic", "damaged", "level=ERROR"} {
		if said := r.gateway.out.String(); strings.Contains(said, word) {
			r.t.Errorf("the gateway spoke of %q:\n%s", word, said)
		}
	}
}

// barLink cuts the link to the cloud for a while, now and then, until calm.
func (r *crashRun) barLink(ctx context.Context, random *rand.Rand, calm <-chan struct{}) {
	wait := func(most int) bool {
		select {
		case <-ctx.Done():
		case <-calm:
		case <-time.After(time.Duration(random.IntN(most)) * time.Millisecond):
			return true
		}
		return false
	}
	for wait(2000) {
		r.draining.Lock()
		lift := r.link.bar()
		wait(500)
		lift()
		r.draining.Unlock()
	}
}

// killAll kills the gateway so many times, and stops the cloud meanwhile. Of each
// four lives one ends under load, one while the gateway opens its store, one just
// after, and one while it drains a backlog.
func (r *crashRun) killAll(kills, stops int) {
	r.t.Helper()
	lives := []func(){r.lifeUnderLoad, r.lifeAtStart, r.lifeAfterStart, r.lifeInDrain}
	order := make([]int, kills-1)
	for i := range order {
		order[i] = i % len(lives)
	}
	r.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	r.underLoad() // the one that everybody has subscribed at
	for i, kind := range order {
		if stops > 0 && (i+1)%(kills/(stops+1)) == 0 {
			stops--
			r.cloud.stop()
			r.stopped++
			r.lifeUnderLoad()
			r.cloud.again(r.t)
			continue
		}
		lives[kind]()
	}
	r.start()
}

func (r *crashRun) underLoad() {
	r.t.Helper()
	r.safe.more(r.t, "messages were acknowledged", 20+r.random.IntN(1000))
	r.kill("under load")
}

func (r *crashRun) lifeUnderLoad() {
	r.t.Helper()
	r.start()
	r.underLoad()
}

func (r *crashRun) lifeAtStart() {
	r.t.Helper()
	r.gateway = launch(r.t, binary, "run", "-config", r.config)
	time.Sleep(time.Duration(r.random.Int64N(int64(r.opening)))) // nothing tells from outside how far it is
	r.kill("while it opens its store")
}

func (r *crashRun) lifeAfterStart() {
	r.t.Helper()
	r.start()
	time.Sleep(time.Duration(r.random.IntN(100)) * time.Millisecond) // clients come back meanwhile
	r.kill("just after its start")
}

func (r *crashRun) lifeInDrain() {
	r.t.Helper()
	r.draining.Lock()
	defer r.draining.Unlock()
	lift := r.link.bar()
	r.start()
	r.safe.more(r.t, "messages were acknowledged", 200+r.random.IntN(600))
	lift()
	r.link.passed.more(r.t, "messages were taken by the cloud", 1+r.random.IntN(600))
	r.kill("while it drains")
}

// audit waits until everything has come, and counts what is wrong. The lines that it
// logs are read by scripts/crash-test.sh.
func (r *crashRun) audit() {
	r.t.Helper()
	total := 0
	for _, s := range r.senders {
		total += s.next
	}
	for _, to := range r.receivers {
		to.wait(total, need.Patience)
		r.t.Logf("%6.2fs %s has %d of %d", time.Since(r.began).Seconds(), to.connect.ClientID, to.distinct, total)
		to.mu.Lock()
		r.tell(to.connect.ClientID, &to.books, to.repeated[2], to == r.receivers[3] && r.stopped > 0)
		to.mu.Unlock()
		if n := to.sessionsLost.Load(); n != 0 {
			r.t.Errorf("%s: its session was lost %d times", to.connect.ClientID, n)
		}
	}
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	r.tell("link", &r.link.taken, len(r.link.up.repeated), false)
	if r.link.fault != nil {
		r.t.Errorf("what passed to the cloud was not MQTT 5: %v", r.link.fault)
	}
	for _, s := range r.senders {
		if n := s.sessionsLost.Load(); n != 0 {
			r.t.Errorf("%s: the gateway forgot the session %d times in %d reconnects", s.connect.ClientID, n, s.reconnects.Load())
		}
	}
	r.t.Logf("run: kills %d, cuts %d, stops %d, messages %d, absences %d", r.killed, r.link.cuts, r.stopped, total, r.receivers[1].absences.Load())
}

// tell logs the figures of one receiver, and fails the test if they are wrong. Order
// and QoS 2 are not asked of Mosquitto's own subscriber when Mosquitto was stopped.
func (r *crashRun) tell(name string, b *books, twice int, lenient bool) {
	r.t.Helper()
	lost := 0
	for _, s := range r.senders {
		for _, qos := range []packet.QoS{packet.QoS1, packet.QoS2} {
			topic, missing := s.topic(qos), []int{}
			came := b.seen[topic]
			if came == nil {
				came = b.seen["acme/"+topic]
			}
			for n := range s.sent(qos) {
				if came[n] == 0 {
					missing = append(missing, n)
				}
			}
			if lost += len(missing); len(missing) > 0 {
				r.t.Errorf("%s: of %d messages to %s %d are missing, the first ones %v", name, s.sent(qos), topic, len(missing), missing[:min(10, len(missing))])
			}
		}
	}
	again, disordered := b.repeated[1], b.disordered
	if lenient {
		r.t.Logf("after a restart of Mosquitto %s got %d of QoS 2 twice and %d out of order, which is not counted", name, twice, disordered)
		twice, disordered = 0, 0
	}
	r.t.Logf("figures of %s: lost %d, again %d, twice %d, out of order %d", name, lost, again, twice, disordered)
	if twice != 0 || disordered != 0 {
		r.t.Errorf("%s: %d of QoS 2 came twice, %d out of order", name, twice, disordered)
	}
}
