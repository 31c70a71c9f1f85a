package serial_test

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
	"edgegateway/internal/need"
)

// lines is a log in memory.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count is how many lines are about a device, and hold text.
func (l *lines) count(device, text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, "device="+device+" ") && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// asked answers the requests of an MH-Z19 at the far end of a cable, until that ends. It
// notes when they came, and closes enough at the nth.
func asked(cable *ptytest.Cable, answer string, n int, enough chan<- struct{}) (times []time.Time) {
	request := make([]byte, 9)
	for {
		if _, err := io.ReadFull(cable, request); err != nil {
			return times
		}
		if times = append(times, time.Now()); len(times) == n {
			close(enough)
		}
		if _, err := cable.WriteString(answer); err != nil {
			return times
		}
	}
}

// On real terminals and in real time: a port full of garbage, one whose other side is
// silent, and one that is pulled out and plugged in again, beside one that is asked ten
// times a second. A machine that is busy disturbs as well: a try counts only if right
// afterwards the neighbour keeps its time without bad ports, beside as much of other work.
func TestBadPortsDoNotDisturbTheirNeighbour(t *testing.T) {
	const every, samples, longest = 100 * time.Millisecond, 40, 500 * time.Millisecond
	answer := unhex(t, "FF 86 02 20 00 00 00 00 58")
	log := new(lines)
	plug := func(name string, kind drivers.Kind, options func(path string) func(any) error) (*ptytest.Cable, *serialtest.Diary) {
		cable := ptytest.Plug(t)
		return cable, serialtest.Run(t, drivers.Spec{
			Name: name, Kind: kind, Decode: options(cable.Path), Every: every,
			Ports: drivers.Ports{Serial: serial.Open}, Log: slog.New(slog.NewTextHandler(log, nil)),
		})
	}
	line := func(path string) func(any) error { return with(fmt.Sprintf("path = %q\n", path)) }
	frame := func(timeout string) func(path string) func(any) error {
		return func(path string) func(any) error {
			return with(fmt.Sprintf(`path = %q
request = "FF 01 86 00 00 00 00 00 79"
header = "FF 86"
length = 9
timeout = %q
checksum = { type = "neg8", from = 1 }
fields = [{ name = "co2", at = 2, type = "uint16" }]
`, path, timeout))
		}
	}
	const quick, patient = "300ms", "4s" // for who is silent, and for who answers at once
	// punctual reports whether the neighbour keeps its time, and how well it does.
	punctual := func(times []time.Time) (ok bool, how string) {
		mean := float64(times[samples].Sub(times[0])) / samples
		off, gap := math.Abs(mean/float64(every)-1), time.Duration(0)
		for i := range samples {
			gap = max(gap, times[i+1].Sub(times[i]))
		}
		return off <= 0.05 && gap <= longest, fmt.Sprintf("its mean interval is off by %.2f %%, its longest gap is %v", 100*off, gap)
	}
	alone := func() bool {
		cable, diary := plug("alone", serial.FrameKind(), frame(patient))
		var asking, working sync.WaitGroup
		var over atomic.Bool
		for range 2 { // the flood, and who reads it
			working.Go(func() {
				for !over.Load() {
					rand.Uint32()
				}
			})
		}
		defer working.Wait()
		defer over.Store(true)
		var times []time.Time
		enough := make(chan struct{})
		asking.Go(func() { times = asked(cable, answer, samples+1, enough) })
		select {
		case <-enough:
		case <-time.After(need.Patience):
			t.Fatalf("the neighbour alone: %+v", diary.Stats.Snapshot())
		}
		diary.End(t)
		cable.Close()
		asking.Wait()
		ok, how := punctual(times)
		t.Logf("the neighbour alone: %s", how)
		return ok
	}
	for try, disturbed := 1, 0; ; try++ {
		log = new(lines)
		began := time.Now()
		loud, loudly := plug("loud", serial.LineKind(), line)
		var flooding sync.WaitGroup
		flooding.Go(func() { // as fast as the port takes it, until the cable ends
			garbage := make([]byte, 4096)
			for err := error(nil); err == nil; _, err = loud.Write(garbage) {
				for i := range garbage {
					garbage[i] = byte(rand.Uint32())
				}
			}
		})
		_, silently := plug("silent", serial.FrameKind(), frame(quick))
		loose, loosely := plug("loose", serial.LineKind(), line)
		neighbour, well := plug("good", serial.FrameKind(), frame(patient))

		var asking sync.WaitGroup
		var times []time.Time
		enough := make(chan struct{})
		asking.Go(func() { times = asked(neighbour, answer, samples+1, enough) })
		loose.WriteString("{\"t\":1}\n")
		loosely.Wait(t, "t=1")
		loose.Pull()
		loosely.Wait(t, "is not there; check the cable")
		loose.PlugAgain()
		loose.WriteString("{\"t\":2}\n")
		loosely.Wait(t, "t=2")
		select {
		case <-enough:
		case <-time.After(need.Patience):
			t.Fatalf("the neighbour: %+v", well.Stats.Snapshot())
		}
		counts := map[string]drivers.Counts{}
		for name, d := range map[string]*serialtest.Diary{"loud": loudly, "silent": silently, "loose": loosely, "good": well} {
			counts[name] = d.Stats.Snapshot()
			d.End(t)
		}
		// The port rests for each line that has to be merged, however busy the machine is.
		if most := int64(time.Since(began)/(250*time.Microsecond)) + 1; counts["loud"].Coalesced > most {
			t.Errorf("the port full of garbage is not slowed down: %d lines in vain, at most %d have had the time", counts["loud"].Coalesced, most)
		}
		loud.Close()
		flooding.Wait()
		neighbour.Close()
		asking.Wait()

		if c := counts["good"]; c.Readings < samples || c.Errors > 0 || !strings.Contains(well.Text(), "co2=544") {
			t.Errorf("the neighbour: %+v", c)
		}
		if c := counts["loud"]; !c.Online || c.Errors < 10 || log.count("loud", "faulty") != 1 || log.count("loud", "") > 2 {
			t.Errorf("the port full of garbage: %+v, %d lines in the log", c, log.count("loud", ""))
		}
		if c := counts["silent"]; c.Online || c.Errors < 2 || log.count("silent", "") != 1 {
			t.Errorf("the silent port: %+v, %q, %d lines in the log", c, silently.Text(), log.count("silent", ""))
		}
		if c := counts["loose"]; !c.Online || c.Opens != 2 || log.count("loose", "was unplugged") != 1 || log.count("loose", "is not there") != 1 || log.count("loose", "") != 4 {
			t.Errorf("the loose port: %+v, %d lines in the log", c, log.count("loose", ""))
		}
		ok, how := punctual(times)
		t.Logf("the neighbour: %s; lines of garbage: %d", how, counts["loud"].Errors)
		if ok || t.Failed() {
			return
		}
		if alone() {
			disturbed++
		}
		switch {
		case disturbed == 3:
			t.Fatal("bad ports disturb their neighbour")
		case try == 6:
			t.Log("this machine is too busy to tell who disturbs whom; drivers has the same with fakes, in virtual time")
			return
		}
	}
}
