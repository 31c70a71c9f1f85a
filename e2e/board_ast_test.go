package e2e_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// astChecks are for an AST2600 with the ARM build of the gateway: an I2C controller
// that is not a Raspberry Pi's, with a TMP105 at 0x48 of bus 3 and another at 0x4d of
// bus 8, which the board's device tree gives to the kernel's driver lm75; and GPIO
// lines whose levels QEMU sets. A USB adapter for I2C is played by the test.
var astChecks = []check{
	{"a temperature follows the chip", aTemperatureFollowsTheChip},
	{"an address where nobody answers is named, and does not disturb", nobodyAnswers},
	{"a chip that a driver of the kernel has is named and can be taken over", theKernelHasTheChip},
	{"a scan finds the chips, and one is read", aScanFindsTheChips},
	{"a controller that goes and comes", aControllerGoesAndComes},
	{"an input of the board is told by its edges", anInputOfTheBoard},
	{"an output of the board moves", anOutputOfTheBoard},
	{"chips that hear every second time, need 700 ms, never answer, and are unplugged", chipsThatAreDifficult},
}

const tmp105 = `
[[devices]]
name = "tank"
kind = "tmp102"
every = "100ms"
[devices.options]
bus = 3
address = 0x48
`

func temperature(t *testing.T, chip string, thousandths int) {
	t.Helper()
	qemu(t, "qom-set", map[string]any{"path": "/machine/peripheral/" + chip, "property": "temperature", "value": thousandths})
}

func aTemperatureFollowsTheChip(t *testing.T) {
	temperature(t, "tank", 21500)
	b := on(t, tmp105+`
[[devices]]
name = "raw"
kind = "i2c-register"
every = "100ms"
[devices.options]
bus = 8
address = 0x4e
init = [[0x01, 0x60]]
channels = [{ name = "temperature", register = 0, width = 16, signed = true, scale = 0.00390625 }]
`)
	for _, c := range []struct {
		thousandths int
		want        string
	}{{21500, "21.5"}, {-10250, "-10.25"}, {0, `:0,`}, {127940, "127.9375"}, {85000, "85"}} {
		temperature(t, "tank", c.thousandths)
		temperature(t, "raw", c.thousandths)
		b.until("tank", "state", c.want)
		b.until("raw", "state", c.want)
	}
	b.stop()
}

func nobodyAnswers(t *testing.T) {
	temperature(t, "tank", 21500)
	b := on(t, tmp105+`
[[devices]]
name = "lost"
kind = "tmp102"
every = "100ms"
[devices.options]
bus = 3
address = 0x4a
[[devices]]
name = "nobus"
kind = "tmp102"
every = "100ms"
[devices.options]
bus = 77
address = 0x4a
`)
	b.until("lost", "availability", "offline")
	b.until("tank", "state", "21.5")
	time.Sleep(5 * time.Second) // three more attempts, of which nothing is said
	temperature(t, "tank", 22500)
	b.until("tank", "state", "22.5")
	b.stop()
	log := b.out.String()
	for _, want := range []string{"address 0x4a on I2C bus 3", "/dev/i2c-77 is not there"} {
		if n := strings.Count(log, want); n != 1 {
			t.Errorf("%d times %q in the log:\n%s", n, want, log)
		}
	}
}

func theKernelHasTheChip(t *testing.T) {
	sh(t, "modprobe lm75")
	t.Cleanup(func() { exec.Command("modprobe", "-r", "lm75").Run() })
	b := on(t, `
[[devices]]
name = "board"
kind = "tmp102"
every = "100ms"
[devices.options]
bus = 8
address = 0x4d
`)
	b.until("board", "availability", "offline")
	eventually(t, "told that lm75 has the chip", func() bool { return strings.Contains(b.out.String(), "lm75") })
	put(t, "/sys/bus/i2c/drivers/lm75/unbind", "8-004d")
	b.until("board", "state", "temperature")
	b.stop()
}

func aScanFindsTheChips(t *testing.T) {
	temperature(t, "tank", 21500)
	sh(t, "modprobe lm75")
	t.Cleanup(func() { exec.Command("modprobe", "-r", "lm75").Run() })
	out := runVerb(t, 0, "devices", "-scan")
	for _, want := range []string{
		"I2C buses 0, 1, 2, 4, 5, 6, 9, 12, 13, 14, 15\n  # nobody answers; ",
		"I2C bus 7: bus = 7\n  address = 0x50  # EEPROM (24Cxx)\n", // of the board
		"I2C bus 3: bus = 3\n  address = 0x48  # ",
		"  address = 0x4e  # ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "  address = "); n != 3 {
		t.Errorf("%d addresses can be had, want 3, in:\n%s", n, out)
	}
	if !regexp.MustCompile(`bus = 8\n +# 0x4d .*kernel.*\n  address = 0x4e `).MatchString(out) {
		t.Errorf("nothing tells that a driver of the kernel has 0x4d:\n%s", out)
	}
	if !regexp.MustCompile(`GPIO gpiochip0 \(1e780000\.gpio\), \d+ lines\n`).MatchString(out) || !strings.Contains(out, "  path = \"/dev/ttyS4\" ") {
		t.Errorf("the lines and ports of the board are missing:\n%s", out)
	}
	config := write(t, t.TempDir(), "gateway.toml", fmt.Sprintf("id = \"x\"\ndata_dir = %q\n", t.TempDir())+tmp105)
	if out := runVerb(t, 0, "read", "-config", config, "tank"); out != "tank            online   now\n  temperature   21.5 °C\n" {
		t.Errorf("read: %s", out)
	}
}

func aControllerGoesAndComes(t *testing.T) {
	temperature(t, "tank", 21500)
	b := on(t, tmp105)
	b.until("tank", "state", "21.5")
	unbound := make(chan struct{})
	go func() { // the kernel waits until the bus is closed
		defer close(unbound)
		put(t, "/sys/bus/platform/drivers/aspeed-i2c-bus/unbind", "1e78a200.i2c-bus")
	}()
	b.until("tank", "availability", "offline")
	<-unbound
	put(t, "/sys/bus/platform/drivers/aspeed-i2c-bus/bind", "1e78a200.i2c-bus")
	b.until("tank", "availability", "online")
	temperature(t, "tank", 22500)
	b.until("tank", "state", "22.5")
	b.stop()
}

func gpioLine(t *testing.T, name string, high bool) {
	t.Helper()
	qemu(t, "qom-set", map[string]any{"path": "/machine/soc/gpio", "property": "gpio" + name, "value": high})
}

func anInputOfTheBoard(t *testing.T) {
	gpioLine(t, "A0", false)
	b := on(t, `
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "1e780000.gpio:0"
debounce = "0s"
`)
	b.until("door", "state", "false")
	for i := range 10 {
		gpioLine(t, "A0", i%2 == 0)
		if all := b.until("door", "state", fmt.Sprint(i%2 == 0)); len(all) != 1 {
			t.Errorf("change %d was told as %q", i, all)
		}
	}
	b.stop()
}

func anOutputOfTheBoard(t *testing.T) {
	b := on(t, `
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "gpiochip0:9"
`)
	level := func() any {
		return qemu(t, "qom-get", map[string]any{"path": "/machine/soc/gpio", "property": "gpioB1"})
	}
	b.until("pump", "state", "false")
	b.set("pump", "on")
	b.until("pump", "state", "true")
	if got := level(); got != true {
		t.Errorf("QEMU has the line at %v, want true", got)
	}
	b.stop()
	if got := level(); got != false {
		t.Errorf("after the stop QEMU has the line at %v, want false", got)
	}
}
