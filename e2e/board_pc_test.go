package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/internal/need"
)

// pcChecks are for a PC with the kernel's simulated GPIO chip (gpio-sim:
// Documentation/admin-guide/gpio/gpio-sim.rst) and a USB serial adapter that QEMU
// plugs and unplugs. What goes into the adapter comes out of /dev/ttyS2.
var pcChecks = []check{
	{"an input is told once for each change", anInputIsToldOnce},
	{"a contact that bounces is told once", aContactThatBounces},
	{"pull and active_low reach the line", pullAndActiveLow},
	{"an output never moves but by its commands, and is safe at the stop", anOutputMovesByCommands},
	{"an output after a kill", anOutputAfterAKill},
	{"a line that another program has is named", aLineThatIsTaken},
	{"who may not use a line is told what to do", aLineThatIsForbidden},
	{"a chip that is taken away and comes back", aChipGoesAndComes},
	{"a flood of edges ends with the right state", aFloodOfEdges},
	{"a serial adapter that is unplugged and plugged in", aSerialAdapterGoesAndComes},
	{"a serial port has one user", aSerialPortHasOneUser},
	{"a scan shows lines, ports and who has them", aScanShowsWhoHasWhat},
	{"a controller made for SMBus reads registers, and says what it cannot", aControllerMadeForSMBus},
	{"a device is read and set from the command line", aDeviceIsReadAndSet},
	{"a meter counts each pulse and goes on after a restart", aMeterCountsEachPulse},
}

// A chip is a gpio-sim chip of eight lines.
type chip struct {
	t         *testing.T
	dir       string // of its configuration
	name      string // gpiochip0
	direction string // of its lines
}

// newChip makes a chip. Its lines have names by offset; a line named hog is taken.
func newChip(t *testing.T, names map[int]string) *chip {
	t.Helper()
	c := &chip{t: t, dir: "/sys/kernel/config/gpio-sim/board"}
	bank := c.dir + "/bank0"
	if err := os.MkdirAll(bank, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	put(t, bank+"/num_lines", "8")
	put(t, bank+"/label", "board")
	for i, name := range names {
		line := fmt.Sprintf("%s/line%d", bank, i)
		if err := os.MkdirAll(line, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, line+"/name", name)
		if name == "hog" {
			if err := os.Mkdir(line+"/hog", 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, line+"/hog/name", "the heating")
			put(t, line+"/hog/direction", "output-high")
		}
	}
	c.live(true)
	return c
}

func (c *chip) live(on bool) {
	c.t.Helper()
	if !on {
		put(c.t, c.dir+"/live", "0")
		return
	}
	put(c.t, c.dir+"/live", "1")
	c.name = get(c.t, c.dir+"/bank0/chip_name")
	c.direction = filepath.Join("/sys/devices/platform", get(c.t, c.dir+"/dev_name"), c.name)
}

func (c *chip) remove() {
	os.WriteFile(c.dir+"/live", []byte("0"), 0o644)
	for _, pattern := range []string{"bank0/line*/hog", "bank0/line*", "bank0", ""} {
		dirs, _ := filepath.Glob(filepath.Join(c.dir, pattern))
		for _, d := range dirs {
			os.Remove(d)
		}
	}
}

// drive sets the level of an input from outside.
func (c *chip) drive(line int, high bool) {
	c.t.Helper()
	put(c.t, c.pull(line), map[bool]string{true: "pull-up", false: "pull-down"}[high])
}

func (c *chip) pull(line int) string { return fmt.Sprintf("%s/sim_gpio%d/pull", c.direction, line) }

func (c *chip) level(line int) bool {
	c.t.Helper()
	return get(c.t, fmt.Sprintf("%s/sim_gpio%d/value", c.direction, line)) == "1"
}

func anInputIsToldOnce(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17"})
	c.drive(2, false)
	b := on(t, `
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
debounce = "0s"
`)
	b.until("door", "state", "false")
	for i := range 100 {
		high := i%2 == 0
		c.drive(2, high)
		if all := b.until("door", "state", fmt.Sprint(high)); len(all) != 1 {
			t.Errorf("change %d was told as %q", i, all)
		}
	}
	// What was told too often would stand here, before the next one.
	c.drive(2, true)
	if all := b.until("door", "state", "true"); len(all) != 1 {
		t.Errorf("after the last change came %q", all)
	}
	b.stop()
}

func aContactThatBounces(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17"})
	c.drive(2, false)
	b := on(t, `
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
debounce = "100ms"
`)
	b.until("door", "state", "false")
	for i := range 20 {
		high := i%2 == 0
		for j := range 21 {
			c.drive(2, high == (j%2 == 0))
		}
		if all := b.until("door", "state", fmt.Sprint(high)); len(all) != 1 {
			t.Errorf("change %d with 21 edges was told as %q", i, all)
		}
	}
	b.stop()
}

func pullAndActiveLow(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17", 3: "GPIO18"})
	c.drive(2, false)
	c.drive(3, true)
	b := on(t, `
[[devices]]
name = "up"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
pull = "up"
active_low = true
[[devices]]
name = "down"
kind = "gpio-in"
[devices.options]
pin = "board:3"
pull = "down"
active_low = true
`)
	b.until("up", "state", "false")
	if !c.level(2) {
		t.Error("pull = up has not pulled the line up")
	}
	c.drive(2, false)
	b.until("up", "state", "true")
	b.stop()

	b = on(t, fmt.Sprintf(`
[[devices]]
name = "down"
kind = "gpio-in"
[devices.options]
pin = "%s:3"
pull = "down"
`, c.name))
	b.until("down", "state", "false")
	if c.level(3) {
		t.Error("pull = down has not pulled the line down")
	}
	b.stop()
}

// recording begins to write down what the kernel does to a line, and returns how to
// read it: "value set 1" gave it a level, "direction out 0" made it an output without
// an error. With both in one request the kernel notes the level first.
func recording(t *testing.T, c *chip, line int) func() []string {
	t.Helper()
	const tracing = "/sys/kernel/tracing"
	put(t, tracing+"/trace", "")
	put(t, tracing+"/events/gpio/enable", "1")
	t.Cleanup(func() { put(t, tracing+"/events/gpio/enable", "0") })
	bases, _ := filepath.Glob("/sys/class/gpio/gpiochip*")
	number := -1
	for _, b := range bases {
		if get(t, b+"/label") == "board" {
			fmt.Sscan(get(t, b+"/base"), &number)
			number += line
		}
	}
	if number < 0 {
		t.Fatalf("the number of the line is not known; there is %q", bases)
	}
	event := regexp.MustCompile(fmt.Sprintf(`gpio_(value|direction): %d +(set|out|in|get) *\(?([^)\n]*)`, number))
	return func() (all []string) {
		for _, m := range event.FindAllStringSubmatch(get(t, tracing+"/trace"), -1) {
			if m[2] != "get" { // looking moves nothing
				all = append(all, strings.TrimSpace(m[1]+" "+m[2]+" "+m[3]))
			}
		}
		return all
	}
}

const pump = `
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"
active_low = true
`

func anOutputMovesByCommands(t *testing.T) {
	c := newChip(t, map[int]string{3: "GPIO27"})
	c.drive(3, true) // the resistor of the relay board
	moves := recording(t, c, 3)
	b := on(t, pump)
	b.until("pump", "state", "false")
	// It was made an output with the level that it had, in one step.
	want := []string{"value set 1", "direction out 0"}
	if got := moves(); !slices.Equal(got, want) {
		t.Fatalf("opening did %q, want %q", got, want)
	}
	for _, c := range []struct{ command, move string }{{"on", "value set 0"}, {"off", "value set 1"}, {"true", "value set 0"}, {"0", "value set 1"}, {"maybe", ""}, {"on", "value set 0"}} {
		b.set("pump", c.command)
		b.until("pump", "result", "")
		if c.move != "" {
			want = append(want, c.move)
		}
		if got := moves(); !slices.Equal(got, want) {
			t.Fatalf("after %q the moves are %q, want %q", c.command, got, want)
		}
	}
	b.stop()
	if want, got := append(want, "value set 1"), moves(); !slices.Equal(got, want) {
		t.Errorf("after the stop the moves are %q, want %q", got, want)
	}
}

func anOutputAfterAKill(t *testing.T) {
	c := newChip(t, map[int]string{3: "GPIO27"})
	c.drive(3, true)
	b := on(t, pump)
	b.until("pump", "state", "false")
	b.set("pump", "on")
	b.until("pump", "state", "true")
	if c.level(3) {
		t.Error("the relay is not on")
	}
	b.kill()
	eventually(t, "off by the resistor", func() bool { return c.level(3) })
	moves := recording(t, c, 3)
	b.process = start(t, binary, "run", "-config", b.config)
	eventually(t, "an output again", func() bool { return len(moves()) > 1 })
	b.stop()
	if got := moves(); slices.Contains(got, "value set 0") {
		t.Errorf("a start after a kill switched the relay on: %q", got)
	}
}

func aLineThatIsTaken(t *testing.T) {
	newChip(t, map[int]string{3: "hog", 2: "GPIO17"})
	b := on(t, strings.ReplaceAll(pump, "GPIO27", "hog")+`
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
`)
	b.until("door", "state", "state")
	b.stop()
	if log := b.out.String(); !strings.Contains(log, "the heating") {
		t.Errorf("the log does not say who has the line:\n%s", log)
	}
}

func aLineThatIsForbidden(t *testing.T) {
	newChip(t, map[int]string{3: "GPIO27"})
	dir := t.TempDir()
	config := write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"
[[broker.listeners]]
address = "tcp://%s"
[status]
address = ""
%s`, dir, need.Port(t), pump))
	sh(t, "chmod -R a+rwX "+filepath.Dir(filepath.Dir(dir)))
	p := &process{t: t, cmd: exec.Command("/bin/su", "lab", "-c", "exec "+binary+" run -config "+config), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(p.kill)
	eventually(t, "told which group is needed", func() bool { return strings.Contains(p.out.String(), "group gpio") })
	p.stop()
	for line := range strings.Lines(p.out.String()) {
		if strings.Contains(line, "permission denied") && !strings.Contains(line, "level=WARN") {
			t.Errorf("not a line of the log: %s", line)
		}
	}
}

func aChipGoesAndComes(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17", 3: "GPIO27"})
	c.drive(2, false)
	b := on(t, pump+`
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
`)
	b.until("door", "state", "false")
	b.set("pump", "on")
	b.until("pump", "state", "true")
	c.live(false)
	gone := map[string]bool{}
	await(t, "both offline", b.heard, func(topic, payload string) bool {
		gone[topic] = payload == "offline"
		return gone["e2e/door/availability"] && gone["e2e/pump/availability"]
	})
	c.live(true)
	c.drive(2, true)
	told := map[string]string{}
	await(t, "both again", b.heard, func(topic, payload string) bool {
		told[topic] = payload
		return strings.Contains(told["e2e/door/state"], "true") && strings.Contains(told["e2e/pump/state"], "false")
	})
	b.set("pump", "on")
	b.until("pump", "state", "true")
	if c.level(3) {
		t.Error("the relay is not on")
	}
	b.stop()
}

func aFloodOfEdges(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17"})
	for _, debounce := range []string{"0s", "10ms"} {
		c.drive(2, false)
		b := on(t, fmt.Sprintf(`
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
debounce = "%s"
[[devices]]
name = "machine"
kind = "host"
every = "100ms"
`, debounce))
		b.until("door", "state", "false")
		pull, err := os.OpenFile(c.pull(2), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		edges, over := 0, make(chan struct{})
		before, began := b.cpu(), time.Now()
		go func() {
			defer close(over)
			for ; edges < 20_001; edges++ { // the last one is up
				pull.WriteAt([]byte([]string{"pull-up", "pull-down"}[edges%2]), 0)
			}
		}()
		last, states, others := "", 0, 0
		var quiet <-chan time.Time
		for during := over; quiet != nil || during != nil; {
			select {
			case m := <-b.heard:
				switch topic, payload, _ := strings.Cut(m, " "); {
				case topic == "e2e/door/state":
					last, states = payload, states+1
				case topic == "e2e/machine/state" && during != nil:
					others++
				}
			case <-during:
				t.Logf("%d edges in %v took %v of the processor from the gateway", edges, time.Since(began).Round(time.Millisecond), b.cpu()-before)
				during, quiet = nil, time.After(2*time.Second)
			case <-quiet:
				quiet = nil
			}
		}
		pull.Close()
		t.Logf("debounce %s: %d states of the line were told, and %d of its neighbour", debounce, states, others)
		if !strings.Contains(last, "true") {
			t.Errorf("debounce %s: the line is high, the last state says %s", debounce, last)
		}
		if others == 0 {
			t.Errorf("debounce %s: the neighbour said nothing", debounce)
		}
		b.stop()
		if n := strings.Count(b.out.String(), "changes faster"); n > 1 {
			t.Errorf("the flood is logged %d times", n)
		}
	}
}

// adapter is where a USB serial adapter appears that is plugged in, and the file at its
// other end.
func adapter() (path, far string) {
	if *board == "raspi3" {
		return "/dev/ttyUSB1", "/dev/ttyUSB0"
	}
	return "/dev/ttyUSB0", "/dev/ttyS2"
}

// plug plugs the adapter in, which QEMU refuses until the last one is really gone.
func plug(t *testing.T, in bool) {
	t.Helper()
	path, _ := adapter()
	there := func() bool { _, err := os.Stat(path); return err == nil }
	m, err := monitor()
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case *board == "raspi3": // where QEMU ends with a failed assertion when it unplugs
		put(t, "/sys/bus/usb/devices/1-1.2/authorized", map[bool]string{false: "0", true: "1"}[in])
	case in:
		eventually(t, "plugged in", func() bool {
			_, err = m.ask("device_add", map[string]any{"driver": "usb-serial", "id": "adapter", "bus": "usb.0", "chardev": "far"})
			return err == nil
		})
	default:
		qemu(t, "device_del", map[string]any{"id": "adapter"})
	}
	eventually(t, "plugged in, or out", func() bool { return there() == in })
	if !in { // as long as somebody has it open, the next one gets another number
		eventually(t, "closed", func() bool { return !open(path) })
	}
}

// open tells whether a process has a file open, which may have been removed since.
func open(path string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	return slices.ContainsFunc(files, func(f string) bool {
		to, _ := os.Readlink(f)
		return strings.HasPrefix(to, path)
	})
}

const weather = `
[[devices]]
name = "weather"
kind = "serial-line"
[devices.options]
path = "/dev/ttyUSB0"
baud = 115200
format = "json"
`

func aSerialAdapterGoesAndComes(t *testing.T) {
	path, other := adapter()
	sh(t, "stty -F "+other+" raw -echo 115200")
	far, err := os.OpenFile(other, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	plug(t, true)
	defer plug(t, false)
	b := on(t, strings.ReplaceAll(weather, "/dev/ttyUSB0", path))
	b.until("weather", "availability", "online")
	for i := range 3 {
		fmt.Fprintf(far, "{\"temperature\": %d.5}\n", i)
		b.until("weather", "state", fmt.Sprintf("%d.5", i))
		plug(t, false)
		b.until("weather", "availability", "offline")
		plug(t, true)
		b.until("weather", "availability", "online")
	}
	fmt.Fprintf(far, "{\"temperature\": 99.5}\n")
	b.until("weather", "state", "99.5")
	b.stop()
	if n := strings.Count(b.out.String(), "was unplugged"); n != 3 {
		t.Errorf("3 times unplugged, %d times logged:\n%s", n, b.out.String())
	}
}

func aSerialPortHasOneUser(t *testing.T) {
	plug(t, true)
	defer plug(t, false)
	first := on(t, weather)
	first.until("weather", "availability", "online")
	second := on(t, weather)
	second.until("weather", "availability", "offline")
	second.stop()
	if log := second.out.String(); !strings.Contains(log, "another program uses it") {
		t.Errorf("the second one does not say why:\n%s", log)
	}
	// Any program but root's is kept out, also one that knows of no locks.
	sh(t, "chmod 666 /dev/ttyUSB0")
	out, err := exec.Command("/bin/su", "lab", "-c", "timeout 5 head -c 1 /dev/ttyUSB0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("another user's program gets %v: %s", err, out)
	}
	first.stop()
}

func aScanShowsWhoHasWhat(t *testing.T) {
	newChip(t, map[int]string{2: "GPIO17", 3: "hog", 4: "GPIO27"})
	plug(t, true)
	defer plug(t, false)
	b := on(t, pump+weather)
	b.until("pump", "availability", "online")
	b.until("weather", "availability", "online")
	out := runVerb(t, 0, "devices", "-scan")
	for _, want := range []string{
		" (board), 8 lines\n",
		"  pin = \"GPIO17\"  # line 2, input\n",
		"# hog: line 3, output, used by \"the heating\"\n",
		"# GPIO27: line 4, output, used by \"gateway\"\n",
		"# 5 more lines, unnamed and free: pin = \"board:0\" and so on\n",
		"  path = \"/dev/ttyUSB0\"  # QEMU QEMU USB SERIAL, serial number ",
		fmt.Sprintf("# ! gateway (process %d) has it open\n", b.cmd.Process.Pid),
		"I2C bus 1\n  # ! /dev/i2c-1 is not there; ",
		"1-wire\n  # ! a 1-wire bus in /sys/bus/w1/devices is not there; ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	others, err := exec.Command("/bin/su", "lab", "-c", binary+" devices -scan").CombinedOutput()
	for _, want := range []string{
		"GPIO\n  # ! open /dev/gpiochip", ": permission denied; root alone may use it: give it to the group gpio by a udev rule",
		"# ! open /dev/ttyUSB0: permission denied; root alone may use it: give it to the group dialout by a udev rule",
	} {
		if err != nil || !strings.Contains(string(others), want) {
			t.Errorf("another user: %v, no %q in:\n%s", err, want, others)
		}
	}
	config := write(t, t.TempDir(), "gateway.toml", "id = \"x\"\n"+strings.ReplaceAll(pump, "GPIO27", "hog")+weather)
	out = runVerb(t, 0, "check", "-offline", "-config", config)
	for _, want := range []string{
		"warning  device pump            the GPIO line hog cannot be had now: it is an output, used by \"the heating\"\n",
		"ok       device weather         ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	b.stop()
}

func aDeviceIsReadAndSet(t *testing.T) {
	c := newChip(t, map[int]string{2: "GPIO17", 3: "GPIO27"})
	c.drive(2, true)
	c.drive(3, true)
	config := write(t, t.TempDir(), "gateway.toml", fmt.Sprintf("id = \"x\"\ndata_dir = %q\n", t.TempDir())+pump+`
[[devices]]
name = "door"
kind = "gpio-in"
[devices.options]
pin = "GPIO17"
`)
	moves := recording(t, c, 3)
	if out := runVerb(t, 0, "read", "-config", config, "door"); out != "door      online   now\n  state   on\n" {
		t.Errorf("an input: %s", out)
	}
	if out := runVerb(t, 1, "read", "-config", config, "pump"); !strings.Contains(out, "to open it would move it") || len(moves()) > 0 {
		t.Errorf("an output: %s moves %q", out, moves())
	}
	out := runVerb(t, 0, "set", "-for", "1s", "-config", config, "pump", "on")
	if !strings.Contains(out, "pump: state = on\n") || !strings.HasSuffix(out, "pump: closed, in its safe state\n") {
		t.Errorf("set: %s", out)
	}
	if got, want := moves(), []string{"value set 1", "direction out 0", "value set 0", "value set 1"}; !slices.Equal(got, want) {
		t.Errorf("set did %q, want %q", got, want)
	}

	b := on(t, pump)
	b.until("pump", "state", "false")
	if out := runVerb(t, 0, "set", "-config", b.config, "pump", "on"); out != "pump: state = on\n" || c.level(3) {
		t.Errorf("set by the gateway: %s; the line is high: %v", out, c.level(3))
	}
	if out := runVerb(t, 0, "read", "-config", b.config, "pump"); !strings.Contains(out, "state   on\n") {
		t.Errorf("read from the gateway: %s", out)
	}
	b.stop()
}

// The kernel's stub of such a controller (Documentation/i2c/i2c-stub.rst) with a chip
// of registers and one that would want more.
func aControllerMadeForSMBus(t *testing.T) {
	sh(t, "modprobe i2c-dev && modprobe i2c-stub chip_addr=0x48,0x44")
	t.Cleanup(func() { exec.Command("modprobe", "-r", "i2c-stub", "i2c-dev").Run() })
	bus := strings.TrimPrefix(sh(t, "ls /sys/class/i2c-dev"), "i2c-")
	warm := func(word string) { sh(t, "i2cset -y "+bus+" 0x48 0 "+word+" w") }
	warm("0x9019") // its low byte goes first: 0x1990
	b := on(t, `
[[devices]]
name = "rack"
kind = "tmp102"
every = "1s"
[devices.options]
bus = `+bus+`
address = 0x48
[[devices]]
name = "air"
kind = "sht3x"
every = "1s"
[devices.options]
bus = `+bus+`
address = 0x44
`)
	b.until("rack", "state", `"temperature":25.56`)
	warm("0x80e7")
	b.until("rack", "state", `"temperature":-24.5`)
	if out := runVerb(t, 1, "read", "-config", b.config, "air"); !strings.Contains(out, "the SHT3x at address 0x44 on I2C bus "+bus) || !strings.Contains(out, "made for SMBus") {
		t.Errorf("a chip of commands: %s", out)
	}
	b.stop()
	out := runVerb(t, 0, "devices", "-scan")
	for _, want := range []string{"I2C bus " + bus, "  address = 0x44  # sht3x, sht4x", "  address = 0x48  # tmp102"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func aMeterCountsEachPulse(t *testing.T) {
	c := newChip(t, map[int]string{4: "GPIO22"})
	c.drive(4, false)
	b := on(t, `
[[devices]]
name = "meter"
kind = "gpio-counter"
every = "500ms"
[devices.options]
pin = "GPIO22"
pull = "none"
edge = "rising"
debounce = "0s"
`)
	b.until("meter", "availability", "online")
	pulse := func(n int) {
		pull, err := os.OpenFile(c.pull(4), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer pull.Close()
		for range n {
			pull.WriteAt([]byte("pull-up"), 0)
			pull.WriteAt([]byte("pull-down"), 0)
		}
	}
	pulse(10_000)
	b.until("meter", "state", `"pulses":10000,`)
	b.stop()
	b.process = start(t, binary, "run", "-config", b.config)
	b.heard = listen(t, b.addr, "e2e/#")
	b.until("meter", "availability", "online") // what is retained says offline
	pulse(10)
	b.until("meter", "state", `"pulses":10010,`)
	b.stop()
}
