package cloud_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

var (
	fleet       = flag.Int("fleet", 100, "how many bridges lose their server at once in TestFleet")
	fleetWithin = flag.Duration("within", 0, "retry_within of TestFleet; 0: the default and ten times that")
	fleetPlot   = flag.String("plot", "", "where TestFleet writes its plot, an SVG file")
)

// fleetOutage is how long the cloud of TestFleet is away.
const fleetOutage = 2 * time.Minute

// A whole fleet loses its cloud at the same moment: once for an instant, as at a
// failover, and once for two minutes, as at a restart. Nobody asks more often than once
// per second on average in any minute, all are back soon, and they come back spread
// out. Time is virtual, the bridges are whole ones, with brokers and stores.
func TestFleet(t *testing.T) {
	withins := []time.Duration{time.Second, 10 * time.Second}
	if *fleetWithin > 0 {
		withins = []time.Duration{*fleetWithin}
	}
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // the stores of a thousand gateways sync in real time
	}
	var runs []*fleetRun
	for _, within := range withins {
		t.Run(within.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &fleetRun{within: within, n: *fleet}
				r.run(t)
				r.judge(t)
				runs = append(runs, r)
			})
		})
	}
	if *fleetPlot != "" {
		if err := os.WriteFile(*fleetPlot, plotFleet(runs), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// fleetRun is one fleet and what its cloud saw.
type fleetRun struct {
	within time.Duration
	n      int

	w      *web
	blink  time.Duration // when the cloud was gone for an instant
	gone   time.Duration // when it went
	back   time.Duration // when it came back
	asked  []moment      // CONNECTs and refused connections, in order
	until  time.Duration
	answer map[string][]time.Duration // when each was accepted, by client identifier
}

type moment struct {
	at      time.Duration
	refused bool // nobody listened
}

func (r *fleetRun) run(t *testing.T) {
	w := &web{
		t: t, begin: time.Now(), tries: map[string][]time.Duration{},
		serve: map[string]func(*peer){}, asked: map[string][]packet.Connect{},
	}
	r.w, r.answer = w, map[string][]time.Duration{}
	var peers []*peer // those that are connected; guarded by w.mu, as the rest is
	known := map[string]bool{}
	works := func(p *peer) {
		pk, err := p.read(forever)
		c, ok := pk.(*packet.Connect)
		if err != nil || !ok {
			return
		}
		w.mu.Lock()
		present := known[c.ClientID]
		known[c.ClientID] = true
		peers = append(peers, p)
		r.answer[c.ClientID] = append(r.answer[c.ClientID], time.Since(w.begin))
		w.mu.Unlock()
		p.send(&packet.Connack{SessionPresent: present})
		p.obey(nil)
	}
	end := func() {
		w.mu.Lock()
		all := peers
		peers = nil
		w.mu.Unlock()
		for _, p := range all {
			p.conn.Close()
		}
	}
	w.at(hostA, works)
	for i := range r.n {
		cfg := testConfig("mqtt://" + hostA)
		cfg.ClientID = fmt.Sprintf("gateway-%d", i)
		cfg.RetryWithin = r.within
		cfg.Dial = w.dial
		g := newRig(t, cfg, func(b *cloud.Bridge) {
			b.SetPaces()
			b.SetReport(time.Hour)
		})
		g.run()
		defer g.close()
		time.Sleep(rand.N(100 * time.Millisecond)) // they were not switched on in step
	}
	pass(10 * time.Minute) // long enough for every connection to count
	r.blink = time.Since(w.begin)
	end()
	pass(10 * time.Minute)
	r.gone = time.Since(w.begin)
	w.at(hostA, nil)
	end()
	pass(fleetOutage)
	r.back = time.Since(w.begin)
	w.at(hostA, works)
	pass(10 * time.Minute)
	r.until = time.Since(w.begin)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.tries[hostA] {
		r.asked = append(r.asked, moment{at, at >= r.gone && at < r.back})
	}
	// The end is not part of it: hundreds of DISCONNECTs.
}

// perSecond counts what came in each second from a moment on.
func (r *fleetRun) perSecond(from, to time.Duration) []int {
	s := make([]int, int((to-from)/time.Second)+1)
	for _, m := range r.asked {
		if m.at >= from && m.at < to {
			s[int((m.at-from)/time.Second)]++
		}
	}
	return s
}

// settled is when so large a share of all was back after a moment.
func (r *fleetRun) settled(after time.Duration, share float64) time.Duration {
	var at []time.Duration
	for _, times := range r.answer {
		for _, a := range times {
			if a >= after {
				at = append(at, a-after)
				break
			}
		}
	}
	slices.Sort(at)
	if len(at) < int(share*float64(r.n)) {
		return -1
	}
	return at[max(0, int(share*float64(r.n))-1)]
}

func (r *fleetRun) judge(t *testing.T) {
	for _, x := range []struct {
		name       string
		from, open time.Duration // when the links were lost, and when there was a server again
		// The most in one second, as a share of the fleet: while nobody answers, and
		// of those who find a server again.
		refused, peak float64
		all           time.Duration // the latest is back
	}{
		// U(0, within): n/within per second, and a fifth more for its scatter.
		{"after an instant", r.blink, r.blink, 0, min(1, r.share(1.2/r.within.Seconds())), r.within + time.Second},
		// Some ask a second and a third time within the first wait: up to 1.6 n/within per
		// second. After two minutes the ceiling of the waits is a minute: n/60 per second if
		// it were all, and those whose last wait began before the server came back know of
		// it sooner: n/30 at first.
		{"after two minutes", r.gone, r.back, r.share(1.6 / r.within.Seconds()), r.share(1.0 / 30), time.Minute + time.Second},
	} {
		attempts := r.perSecond(x.from, min(x.open+5*time.Minute, r.until))
		total, refused, peak := 0, 0, 0
		for i, n := range attempts {
			total += n
			if x.from+time.Duration(i)*time.Second < x.open {
				refused = max(refused, n)
			} else {
				peak = max(peak, n)
			}
		}
		most := r.mostPerMinute(x.from, min(x.open+5*time.Minute, r.until))
		half, all := r.settled(x.open, 0.5), r.settled(x.open, 1)
		t.Logf("%d gateways, retry_within %v, %s: %d attempts (%.2f each, at most %.2f per second in any minute), peak %d per second while away and %d then; half back after %.1f s, all after %.1f s",
			r.n, r.within, x.name, total, float64(total)/float64(r.n), most, refused, peak, half.Seconds(), all.Seconds())
		if most > 1 {
			t.Errorf("%s: %.2f attempts per gateway and second in some minute", x.name, most)
		}
		if float64(refused) > x.refused*float64(r.n) || float64(peak) > x.peak*float64(r.n) {
			t.Errorf("%s: a peak of %d and %d per second, want %.0f and %.0f at most", x.name, refused, peak, x.refused*float64(r.n), x.peak*float64(r.n))
		}
		if all < 0 || all > x.all {
			t.Errorf("%s: all are back after %v, want %v at most", x.name, all, x.all)
		}
	}
}

// share is a share of the fleet with room for the scatter of a fleet of this size: a
// count with that mean (Poisson) is above it once in 10^9 times, and there are hundreds
// of seconds in which it could be.
func (r *fleetRun) share(of float64) float64 {
	n := float64(r.n)
	mean := of * n
	return (mean + 6*math.Sqrt(mean) + 6) / n
}

// mostPerMinute is the highest number of attempts per second, and gateway, of any
// minute.
func (r *fleetRun) mostPerMinute(from, to time.Duration) float64 {
	s, most := r.perSecond(from, to), 0
	for i := 0; i+60 <= len(s); i++ {
		sum := 0
		for _, n := range s[i : i+60] {
			sum += n
		}
		most = max(most, sum)
	}
	return float64(most) / 60 / float64(r.n)
}

// plotFleet draws attempts per second around the two losses.
func plotFleet(runs []*fleetRun) []byte {
	const width, height, left, top, gap = 760, 150, 60, 40, 60
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", left+width+20, top+2*len(runs)*(height+gap))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	row := 0
	for _, r := range runs {
		for _, x := range []struct {
			name       string
			from, open time.Duration
			seconds    int
		}{
			{"the cloud is gone for an instant", r.blink, r.blink, 60},
			{"the cloud is away for two minutes", r.gone, r.back, 240},
		} {
			y0 := top + row*(height+gap)
			row++
			s := r.perSecond(x.from, x.from+time.Duration(x.seconds)*time.Second)[:x.seconds]
			most := max(1, slices.Max(s))
			step := float64(width) / float64(x.seconds)
			fmt.Fprintf(&b, `<text x="%d" y="%d">%d gateways, retry_within %v: %s; at most %d attempts per second</text>`+"\n", left, y0-8, r.n, r.within, x.name, most)
			if away := (x.open - x.from).Seconds(); away > 0 {
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="#eee"/>`+"\n", left, y0, away*step, height)
			}
			for i, n := range s {
				h := float64(n) / float64(most) * height
				if n > 0 {
					fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="#36c"/>`+"\n", left+float64(i)*step, float64(y0+height)-h, max(1, step-0.5), h)
				}
			}
			fmt.Fprintf(&b, `<path d="M%d %d v%d h%d" fill="none" stroke="black"/>`+"\n", left, y0, height, width)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%d</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n", left-6, y0+10, most, left-6, y0+height)
			for sec := 0; sec <= x.seconds; sec += x.seconds / 6 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", left+float64(sec)*step, y0+height+16, sec)
			}
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
