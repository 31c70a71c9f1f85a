package e2e_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// piChecks are for a Raspberry Pi 2 with its own device tree and drivers. QEMU 7.2 has
// its GPIO and nothing behind its I2C controller, which then is as with a wire that
// somebody holds low.
var piChecks = []struct {
	claim string
	check func(t *testing.T)
}{
	{"lines have the names of the header, and an output moves", linesOfTheHeader},
	{"a bus that is held low is told, and disturbs nobody", aBusThatIsHeldLow},
}

func linesOfTheHeader(t *testing.T) {
	b := on(t, `
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"
[[devices]]
name = "lamp"
kind = "gpio-out"
[devices.options]
pin = "pinctrl-bcm2835:22"
active_low = true
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
pull = "up"
`)
	is := func(line, how string) {
		t.Helper()
		if all := get(t, "/sys/kernel/debug/gpio"); !regexp.MustCompile(`\(` + line + ` +\|gateway +\) ` + how).MatchString(all) {
			t.Errorf("%s is not %q in:\n%s", line, how, all)
		}
	}
	online := map[string]bool{}
	await(t, "three devices", b.heard, func(topic, payload string) bool {
		if strings.HasSuffix(topic, "/availability") && payload == "online" {
			online[topic] = true
		}
		return len(online) == 3
	})
	is("GPIO17", "in  .. IRQ")
	is("GPIO27", "out lo")
	is("GPIO22", "out hi")
	for _, name := range []string{"pump", "lamp"} {
		b.set(name, "on")
		b.until(name, "state", "true")
	}
	is("GPIO27", "out hi")
	is("GPIO22", "out lo")
	b.stop()
}

func aBusThatIsHeldLow(t *testing.T) {
	b := on(t, `
[[devices]]
name = "tank"
kind = "tmp102"
every = "1s"
[devices.options]
bus = 1
address = 0x48
[[devices]]
name = "machine"
kind = "host"
every = "100ms"
`)
	b.until("tank", "availability", "offline")
	states, end := 0, time.After(5*time.Second)
	for end != nil {
		select {
		case m := <-b.heard:
			if strings.HasPrefix(m, "e2e/machine/state ") {
				states++
			}
		case <-end:
			end = nil
		}
	}
	if states < 20 {
		t.Errorf("in 5 s the neighbour said %d times what it should say 50 times", states)
	}
	b.stop()
	if log := b.out.String(); strings.Count(log, "holds SDA or SCL low") != 1 {
		t.Errorf("not once in the log what is wrong:\n%s", log)
	}
}
