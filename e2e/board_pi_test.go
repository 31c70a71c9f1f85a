package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/drivers/i2c"
)

// piChecks are for a Raspberry Pi 2 and a Raspberry Pi 3, with the device trees and the
// drivers that the kernel has for them. On bus 1, that of the header, is a TMP105 that
// QEMU warms and cools; bus 0 is one of which no transfer ends, as with a wire that
// somebody holds low; on bus 2, that of the HDMI socket, is nobody.
var piChecks = []check{
	{"lines have the names of the header, and an output moves", linesOfTheHeader},
	{"a temperature follows the chip", aTemperatureOnThePi},
	{"an address where nobody answers is EREMOTEIO, is named, and does not disturb", nobodyAnswersOnThePi},
	{"a scan finds the chip, and tells of the bus that is held low", aScanOfThePi},
	{"a bus that is not there is told by check", aBusThatIsNotThere},
	{"a bus that is held low is told, and disturbs nobody", aBusThatIsHeldLow},
}

const piTank = `
[[devices]]
name = "tank"
kind = "tmp102"
every = "500ms"
[devices.options]
bus = 1
address = 0x48
`

func aTemperatureOnThePi(t *testing.T) {
	temperature(t, "tank", 21500)
	b := on(t, strings.Replace(piTank, "500ms", "100ms", 1))
	for _, c := range []struct {
		thousandths int
		want        string
	}{{21500, `:21.5,`}, {-10250, `:-10.25,`}, {0, `:0,`}, {127940, `:127.9375,`}, {-63, `:-0.0625,`}, {-55000, `:-55,`}} {
		temperature(t, "tank", c.thousandths)
		b.until("tank", "state", c.want)
	}
	b.stop()
}

// intervals are the times between the readings of a device during d.
func intervals(t *testing.T, b *bench, device string, d time.Duration) (all []time.Duration) {
	t.Helper()
	var last time.Time
	for end := time.After(d); ; {
		select {
		case <-end:
			slices.Sort(all)
			t.Logf("%s: %d intervals, from %v to %v", device, len(all), all[0], all[len(all)-1])
			return all
		case m := <-b.heard:
			payload, its := strings.CutPrefix(m, "e2e/"+device+"/state ")
			if !its {
				continue
			}
			var state struct {
				TS time.Time `json:"ts"`
			}
			if err := json.Unmarshal([]byte(payload), &state); err != nil {
				t.Fatal(err)
			}
			if !last.IsZero() {
				all = append(all, state.TS.Sub(last))
			}
			last = state.TS
		}
	}
}

// undisturbed looks whether a device that is read every 500 ms goes on with that for 6 s.
// On an emulated board a reading is late now and then; one that is held up loses more.
func undisturbed(t *testing.T, b *bench, device string) {
	t.Helper()
	if all := intervals(t, b, device, 6*time.Second); len(all) < 9 {
		t.Errorf("%s, every 500 ms: %v", device, all)
	}
}

func nobodyAnswersOnThePi(t *testing.T) {
	wire, err := i2c.System(1)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	for what, err := range map[string]error{
		"addressed":        wire.Probe(0x4a),
		"read":             wire.Tx(0x4a, nil, make([]byte, 2)),
		"written":          wire.Tx(0x4a, []byte{1, 0x60}, nil),
		"asked a register": wire.Tx(0x4a, []byte{0}, make([]byte, 2)),
	} {
		if !errors.Is(err, syscall.EREMOTEIO) {
			t.Errorf("an absent chip that is %s gives %v, want EREMOTEIO", what, err)
		}
	}

	temperature(t, "tank", 21500)
	b := on(t, piTank+`
[[devices]]
name = "lost"
kind = "tmp102"
every = "100ms"
[devices.options]
bus = 1
address = 0x4a
`)
	b.until("lost", "availability", "offline")
	undisturbed(t, b, "tank")
	b.stop()
	const said = "no answer from the TMP102 at address 0x4a on I2C bus 1; check its address, wiring and power; `gateway devices -scan` shows who is on bus 1"
	if log := b.out.String(); strings.Count(log, said) != 1 {
		t.Errorf("not once in the log what is wrong:\n%s", log)
	}
}

func aScanOfThePi(t *testing.T) {
	out := runVerb(t, 0, "devices", "-scan")
	for _, want := range []string{
		"  address = 0x48  # tmp102 (also TMP105, TMP75), ads1115, ads1015, ina219, LM75 by i2c-register\n",
		"I2C bus 2\n  # nobody answers; ",
		"I2C bus 0: bus = 0\n  # ! I2C bus 0: connection timed out: SDA or SCL is held low, or the pull-up resistors are missing; power-cycle its chips, check their wiring\n",
		"GPIO gpiochip0 (pinctrl-bcm2835), 54 lines\n",
		"  path = \"/dev/ttyS1\" ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "  address = "); *board == "raspi2" && n != 1 {
		t.Errorf("%d addresses can be had, want 1, in:\n%s", n, out)
	}
}

func aBusThatIsNotThere(t *testing.T) {
	config := write(t, t.TempDir(), "gateway.toml", fmt.Sprintf("id = \"x\"\ndata_dir = %q\n", t.TempDir())+piTank+`
[[devices]]
name = "lost"
kind = "tmp102"
[devices.options]
bus = 7
address = 0x4a
`)
	out := runVerb(t, 0, "check", "-offline", "-config", config)
	for _, want := range []string{
		"ok       device tank            its options fit the kind tmp102\n",
		"warning  device lost            /dev/i2c-7 is not there; switch the bus on in the device tree: on a Raspberry Pi by an overlay in /boot/firmware/config.txt, " +
			"such as dtoverlay=i2c3; or plug its USB adapter in; there is /dev/i2c-0, /dev/i2c-1, /dev/i2c-2\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
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
	b := on(t, piTank+`
[[devices]]
name = "low"
kind = "tmp102"
every = "1s"
[devices.options]
bus = 0
address = 0x48
`)
	b.until("low", "availability", "offline")
	undisturbed(t, b, "tank")
	b.stop()
	if log := b.out.String(); strings.Count(log, "holds SDA or SCL low") != 1 {
		t.Errorf("not once in the log what is wrong:\n%s", log)
	}
}
