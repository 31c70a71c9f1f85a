package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"edgegateway/internal/need"
)

// A counter goes on after a stop as if there had been none, and after a kill at most a
// minute back.
func TestACounterGoesOnAfterAStopAndAfterAKill(t *testing.T) {
	addr, dir := need.Port(t), t.TempDir()
	config := write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"
[[broker.listeners]]
address = "tcp://%s"
[buffer]
lazy = "1s"
retained_every = "24h"
[status]
address = ""
[home_assistant]
discovery = false
[[devices]]
name = "meter"
kind = "sim"
every = "50ms"
[devices.options]
channels = [{ name = "litres", wave = "counter", step = 0.1 }]
`, dir, addr))
	count := func(payload string) float64 {
		var state struct{ Litres float64 }
		if err := json.Unmarshal([]byte(payload), &state); err != nil || state.Litres == 0 {
			t.Fatalf("the state is %s (%v)", payload, err)
		}
		return state.Litres
	}
	// use runs a gateway until the counter has moved, and returns its first and last
	// values. What is retained of the run before is not among them.
	use := func(before float64, moves int, end func(*process)) (first, last float64) {
		gateway := start(t, binary, "run", "-config", config)
		states := listen(t, addr, "e2e/meter/state")
		for range moves {
			last = count(await(t, "state", states, func(_, payload string) bool { return count(payload) != before }))
			if first == 0 {
				first = last
			}
		}
		end(gateway)
		for state := range states {
			_, payload, _ := strings.Cut(state, " ")
			last = count(payload)
		}
		return first, last
	}
	_, last := use(0, 10, (*process).stop)
	for range 2 {
		first, next := use(last, 10, (*process).stop)
		if diff := first - last; diff < 0.09 || diff > 1 { // the subscriber may have come some steps late
			t.Errorf("stopped at %v, it goes on at %v", last, first)
		}
		last = next
	}

	kept := last
	_, last = use(last, 40, func(p *process) { p.kill() })
	first, _ := use(last, 1, (*process).stop)
	t.Logf("before the run %v, killed at %v, goes on at %v", kept, last, first)
	if first <= kept || first > last+1 {
		t.Errorf("started at %v and killed at %v, it goes on at %v", kept, last, first)
	}
}
