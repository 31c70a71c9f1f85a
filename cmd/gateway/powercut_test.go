package main_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer/powercut"
	"edgegateway/internal/need"
)

var (
	cutsFlag = flag.Int("cuts", 100, "at how many moments of each recorded run the power is cut; 0: at every call")
	keepFlag = flag.String("keep", "", "where to leave the image that was found wrong")
	seedFlag = flag.Uint64("seed", 0, "seed of the power cuts; 0: a new one")
)

// TestPowerCutLosesNothingThatMQTTWasTold records a gateway with clients that publish,
// one that is away, one that acknowledges, and a cloud; and cuts its power. What it
// had acknowledged on its connections has to be on the disk; and some of what is on the
// disk is given to a gateway with which everyone goes on.
func TestPowerCutLosesNothingThatMQTTWasTold(t *testing.T) {
	need.Met(t, powercut.Available())
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, c := range []struct{ name, cloud string }{
		{"the cloud is away", need.Port(t)},
		{"the cloud is there", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cloud == "" {
				c.cloud = brokertest.Mosquitto(t, "")
			}
			dir := t.TempDir()
			events := record(t, dir, c.cloud, r)
			cutAll(t, events, r, c.cloud)
		})
	}
}

func powercutConfig(t *testing.T, dir, cloud string) string {
	return writeConfig(t, dir, fmt.Sprintf(`
[buffer]
sync = "2ms"
lazy = "20ms"
[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
up = [{ from = "t/#", to = "acme/t/#", qos = 2 }]
`, cloud))
}

// record runs a gateway from its first start on, until it is killed.
func record(t *testing.T, dir, cloud string, r *rand.Rand) []powercut.Event {
	t.Helper()
	trace := filepath.Join(dir, "trace")
	under := powercut.Command(trace, "gateway").Args
	under = append([]string{"strace", "-D"}, under[1:len(under)-1]...)
	config := powercutConfig(t, dir, cloud)
	g := launchUnder(t, under, config).ready()
	load(t, g, r)
	g.signal(syscall.SIGKILL)
	g.end()
	if t.Failed() {
		t.FailNow()
	}
	events, err := powercut.Read(trace, filepath.Join(dir, "data"), func(d string) bool { return strings.Contains(d, " TCP:") })
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// load is a few hundred messages.
func load(t *testing.T, g *running, r *rand.Rand) {
	t.Helper()
	absent, _ := g.dial("absent", 3600)
	absent.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t/#", QoS: packet.QoS2}}}).Receive()
	absent.Drop()
	var publishers, all sync.WaitGroup
	p := presence{t: t, r: rand.New(rand.NewPCG(r.Uint64(), 1))}
	p.c, _ = brokertest.Connect(t, g.mqtt, packet.V311, &packet.Connect{ClientID: "present"})
	p.c.WaitFor(tooLong).Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{
		{Filter: "t/#", QoS: packet.QoS2}, {Filter: "local/#", QoS: packet.QoS2}}}).Receive()
	all.Go(p.run)
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		p := publisher{t: t, address: g.mqtt, version: v, name: fmt.Sprint("publisher", v), r: rand.New(rand.NewPCG(r.Uint64(), 1))}
		publishers.Go(p.run)
	}
	publishers.Wait()
	// The one who is present has got the last message when this has come.
	last, _ := g.dial("last", 0)
	last.Send(&packet.Publish{Topic: []byte(topicOf(lastMessage)), Payload: payload(lastMessage), QoS: packet.QoS1, ID: 1}).Receive()
	all.Wait()
}

// cutAll cuts the power at calls that are chosen by chance, half of them such that
// tell something to somebody.
func cutAll(t *testing.T, events []powercut.Event, r *rand.Rand, cloud string) {
	t.Helper()
	var reports []int
	for i, e := range events {
		if e.Op == powercut.Report {
			reports = append(reports, i)
		}
	}
	at := make(map[int]bool)
	for i := 0; i < len(events) && *cutsFlag == 0; i++ {
		at[i] = true
	}
	for range *cutsFlag / 2 {
		at[reports[r.IntN(len(reports))]] = true
		at[r.IntN(len(events))] = true
	}
	fast, err := os.MkdirTemp("/dev/shm", "powercut") // where a sync costs nothing
	if err != nil {
		fast = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(fast) })
	w, d, opened := newWorld(), powercut.NewDisk(), 0
	lives := map[int]bool{reports[len(reports)/2+r.IntN(len(reports)/2)]: true, reports[len(reports)/4+r.IntN(len(reports)/4)]: true}
	for i, e := range events {
		if e.Op == powercut.Report || e.Op == powercut.Heard {
			err = w.take(e)
		} else {
			err = d.Apply(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		if lives[i] {
			dir := t.TempDir()
			if err := d.Image(filepath.Join(dir, "data"), powercut.Scattered, r); err != nil {
				t.Fatal(err)
			}
			if w.live(t, powercutConfig(t, dir, cloud)); t.Failed() {
				t.Fatalf("that was on the disk of a power cut behind call %d of %d", i, len(events))
			}
		}
		if !at[i] {
			continue
		}
		fates := []powercut.Fate{powercut.Lost}
		if d.Pending() > 0 {
			fates = append(fates, powercut.Scattered, powercut.Kept)
		}
		for _, fate := range fates {
			dir, seed := filepath.Join(fast, fmt.Sprint(opened)), r.Uint64()
			opened++
			image := func(dir string) {
				if err := d.Image(dir, fate, rand.New(rand.NewPCG(seed, 1))); err != nil {
					t.Fatal(err)
				}
			}
			image(dir)
			err := w.found(filepath.Join(dir, "gateway.db"))
			os.RemoveAll(dir)
			if err == nil {
				continue
			}
			t.Errorf("cut behind call %d of %d (%v %s), what was not synced is %v: %v", i, len(events), e.Op, e.Name, fate, err)
			if *keepFlag != "" {
				image(*keepFlag)
			}
			return
		}
	}
	open, marks := 0, 0
	for _, p := range w.sender {
		open += len(p.known)
	}
	for _, g := range w.getter {
		marks += len(g.released)
	}
	t.Logf("%d calls, %d moments, images opened: %d; %d messages, %d safe, PUBREL sent %d times, %d handshakes open",
		len(events), len(at), opened, len(w.heard), len(w.safe), marks, open)
	if len(w.safe) < 300 || marks < 100 {
		t.Error("that is too little to say anything")
	}
}
