package serial_test

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/drivers/serial/serialtest"
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

// On real terminals and in real time, with three tries for a machine that is busy with
// something else: a port full of garbage, one whose other side is silent, and one that is
// pulled out and plugged in again, beside one that is asked ten times a second.
func TestBadPortsDoNotDisturbTheirNeighbour(t *testing.T) {
	const every, samples, longest = 100 * time.Millisecond, 40, 500 * time.Millisecond
	answer := unhex(t, "FF 86 02 20 00 00 00 00 58")
	for try := 1; ; try++ {
		log := new(lines)
		plug := func(name string, kind drivers.Kind, options func(path string) func(any) error) (*ptytest.Cable, *serialtest.Diary) {
			cable := ptytest.Plug(t)
			return cable, serialtest.Run(t, drivers.Spec{
				Name: name, Kind: kind, Decode: options(cable.Path), Every: every,
				Ports: drivers.Ports{Serial: serial.Open}, Log: slog.New(slog.NewTextHandler(log, nil)),
			})
		}
		line := func(path string) func(any) error { return with(fmt.Sprintf("path = %q\n", path)) }
		frame := func(path string) func(any) error {
			return with(fmt.Sprintf(`path = %q
request = "FF 01 86 00 00 00 00 00 79"
header = "FF 86"
length = 9
timeout = "300ms"
checksum = { type = "neg8", from = 1 }
fields = [{ name = "co2", at = 2, type = "uint16" }]
`, path))
		}

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
		_, silently := plug("silent", serial.FrameKind(), frame)
		loose, loosely := plug("loose", serial.LineKind(), line)
		neighbour, well := plug("good", serial.FrameKind(), frame)

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
		case <-time.After(time.Minute):
			t.Fatalf("the neighbour: %+v", well.Stats.Snapshot())
		}
		counts := map[string]drivers.Counts{}
		for name, d := range map[string]*serialtest.Diary{"loud": loudly, "silent": silently, "loose": loosely, "good": well} {
			counts[name] = d.Stats.Snapshot()
			d.End(t)
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
		mean := float64(times[samples].Sub(times[0])) / samples
		off, gap := math.Abs(mean/float64(every)-1), time.Duration(0)
		for i := range samples {
			gap = max(gap, times[i+1].Sub(times[i]))
		}
		t.Logf("the mean interval of the neighbour is off by %.2f %%, its longest gap is %v; lines of garbage: %d", 100*off, gap, counts["loud"].Errors)
		if off <= 0.05 && gap <= longest {
			return
		}
		if try == 3 || t.Failed() {
			t.Fatal("bad ports disturb their neighbour")
		}
	}
}
