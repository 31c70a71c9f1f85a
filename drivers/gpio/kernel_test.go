package gpio_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	pin "periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/internal/need"
)

// A simulated is a chip of the kernel's gpio-sim (Documentation/admin-guide/gpio/gpio-sim.rst)
// with the lines SIM0 to SIM7.
type simulated struct {
	t             *testing.T
	folder, lines string
}

// simulate needs root and `modprobe gpio-sim`, which few machines have:
// scripts/board-test.sh makes one.
func simulate(t *testing.T, label string) *simulated {
	t.Helper()
	const sims = "/sys/kernel/config/gpio-sim"
	if _, err := os.Stat(sims); err != nil {
		t.Skipf("no simulated GPIO chips: %v", err)
	}
	s := &simulated{t: t, folder: filepath.Join(sims, label)}
	bank := filepath.Join(s.folder, "bank0")
	s.mkdir(s.folder)
	s.mkdir(bank)
	s.write(filepath.Join(bank, "num_lines"), "8")
	s.write(filepath.Join(bank, "label"), label)
	for i := range 8 {
		line := filepath.Join(bank, fmt.Sprint("line", i))
		s.mkdir(line)
		s.write(filepath.Join(line, "name"), fmt.Sprint("SIM", i))
	}
	s.plug()
	t.Cleanup(s.unplug)
	s.lines = filepath.Join("/sys/devices/platform", s.read(filepath.Join(s.folder, "dev_name")), s.read(filepath.Join(bank, "chip_name")))
	return s
}

func (s *simulated) mkdir(path string) {
	s.t.Helper()
	if err := os.Mkdir(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.Remove(path) })
}

func (s *simulated) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *simulated) read(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (s *simulated) plug()   { s.write(filepath.Join(s.folder, "live"), "1") }
func (s *simulated) unplug() { s.write(filepath.Join(s.folder, "live"), "0") }

// set drives an input from outside.
func (s *simulated) set(line int, high bool) {
	s.t.Helper()
	s.write(filepath.Join(s.lines, fmt.Sprint("sim_gpio", line), "pull"), map[bool]string{true: "pull-up", false: "pull-down"}[high])
}

// value is what the line is.
func (s *simulated) value(line int) string {
	s.t.Helper()
	return s.read(filepath.Join(s.lines, fmt.Sprint("sim_gpio", line), "value"))
}

func open(t *testing.T, s *gpio.System, name string) gpio.Listener {
	t.Helper()
	p, err := s.Pin(name)
	if err != nil {
		t.Fatal(err)
	}
	return p.(gpio.Listener)
}

func shut(t *testing.T, l gpio.Listener) {
	t.Helper()
	if err := l.(interface{ Close() error }).Close(); err != nil {
		t.Error(err)
	}
}

func TestKernelGivesEdgesWithTimeAndNumber(t *testing.T) {
	chip := simulate(t, "edges")
	l := open(t, gpio.NewSystem(), "SIM2")
	defer shut(t, l)
	chip.set(2, false)
	if _, err := l.Listen(gpio.Listening{Edge: pin.BothEdges}); err != nil {
		t.Fatal(err)
	}
	var before, after [3]time.Time
	for i := range before {
		before[i] = time.Now()
		chip.set(2, i%2 == 0)
		after[i] = time.Now()
	}
	for i := range before {
		var one [1]gpio.Edge
		n, err := l.Edges(one[:], 5*time.Second)
		if e := one[0]; n != 1 || err != nil || e.Seq != uint32(i+1) || e.Level != pin.Level(i%2 == 0) ||
			e.At.Before(before[i].Add(-time.Millisecond)) || e.At.After(after[i].Add(time.Second)) {
			t.Errorf("edge %d: %+v, %v; it was made between %v and %v", i, e, err, before[i], after[i])
		}
	}
	// Of what nobody reads the kernel keeps the newest, and counts all.
	for i := range 201 {
		chip.set(2, i%2 == 1)
	}
	if level, err := l.Sense(); err != nil || level != pin.Low {
		t.Errorf("the level: %v, %v", level, err)
	}
	var all [40]gpio.Edge
	n, err := l.Edges(all[:], 0)
	if n != gpio.Kept || err != nil || all[n-1].Seq != all[0].Seq+gpio.Kept-1 || all[0].Seq < 20 {
		t.Errorf("%d edges from %d on, %v; want the newest 16", n, all[0].Seq, err)
	}
	for newest := all[n-1].Seq; newest != 3+201; newest = all[n-1].Seq { // the last interrupts are handled by a thread
		if n, err = l.Edges(all[:], 5*time.Second); n == 0 || err != nil {
			t.Fatalf("no edge after %d, %v", newest, err)
		}
	}
}

func TestKernelDebounces(t *testing.T) {
	chip := simulate(t, "debounce")
	l := open(t, gpio.NewSystem(), "debounce:1")
	defer shut(t, l)
	chip.set(1, false)
	if debounced, err := l.Listen(gpio.Listening{Edge: pin.RisingEdge, Debounce: 50 * time.Millisecond}); !debounced || err != nil {
		t.Fatal(debounced, err)
	}
	for i := range 7 {
		chip.set(1, i%2 == 0)
	}
	rested := time.Now()
	if level, err := l.Sense(); level != pin.Low || err != nil {
		t.Errorf("before it came to rest: %v, %v", level, err)
	}
	edges := make([]gpio.Edge, 9)
	n, err := l.Edges(edges, 5*time.Second)
	if off := edges[0].At.Sub(rested); n != 1 || err != nil || off < -20*time.Millisecond || off > 30*time.Millisecond {
		t.Errorf("%d edges, %v, the first %v off", n, err, off)
	}
	if level, err := l.Sense(); level != pin.High || err != nil {
		t.Errorf("at rest: %v, %v", level, err)
	}
}

func TestKernelCountsPulses(t *testing.T) {
	chip := simulate(t, "meter")
	chip.set(4, true)
	dev, err := gpio.CounterKind().Open(t.Context(), with("pin = \"SIM4\"\ndebounce = 0"), drivers.Ports{Pin: gpio.NewSystem().Pin})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for range 300 {
		chip.set(4, false)
		chip.set(4, true)
	}
	end := time.Now().Add(need.Patience)
	for got := ""; !strings.HasPrefix(got, "pulses=300 total=300 rate="); { // the last interrupt is handled by a thread
		r, err := dev.(drivers.Sampler).Sample(t.Context())
		if got = line(r); err != nil || time.Now().After(end) {
			t.Fatal(got, err)
		}
	}
}

func TestKernelKeepsAnOutputThatNobodyUses(t *testing.T) {
	chip := simulate(t, "outputs")
	s := gpio.NewSystem()
	for range 2 {
		l := open(t, s, "SIM3")
		if err := l.Out(pin.High); err != nil || chip.value(3) != "1" {
			t.Fatal(err, chip.value(3))
		}
		if _, err := s.Pin("outputs:3"); err == nil {
			t.Error("one line has two users")
		}
		if other := open(t, gpio.NewSystem(), "SIM3"); !strings.Contains(fmt.Sprint(other.Out(pin.Low)), `it is used by "gateway"`) {
			t.Error(other.Out(pin.Low))
		}
		if err := l.Out(pin.Low); err != nil || chip.value(3) != "0" || l.Read() != pin.Low {
			t.Error(err, chip.value(3), l.Read())
		}
		if err := l.Out(pin.High); err != nil || chip.value(3) != "1" || l.Read() != pin.High {
			t.Error(err, chip.value(3), l.Read())
		}
		shut(t, l)
		if chip.value(3) != "1" {
			t.Error("nobody uses the line, and it has fallen")
		}
	}
	l := open(t, s, "SIM3") // and now it is an input
	if err := l.In(pin.PullDown, pin.NoEdge); err != nil || l.Read() != pin.Low {
		t.Error(err, l.Read())
	}
	shut(t, l)
}

// A file that stays open keeps the kernel from giving the number of the chip again.
func TestKernelTakesBackTheOutputsOfAChipThatHasLeft(t *testing.T) {
	chip := simulate(t, "left")
	s := gpio.NewSystem()
	open := func() gpio.Listener { return open(t, s, "left:3") }
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	shut(t, open())
	before := files()
	for range 3 {
		l := open()
		if err := l.Out(pin.High); err != nil {
			t.Fatal(err)
		}
		shut(t, l)
		if n := files(); n != before+1 {
			t.Errorf("%d files are open more than before, want that of the output", n-before)
		}
		chip.unplug()
		if _, err := s.Pin("left:3"); err == nil {
			t.Error("the chip has left")
		}
		chip.plug()
	}
	if n := files(); n != before {
		t.Errorf("%d files are open more than before", n-before)
	}
}

func TestKernelLosesChipsAndFindsThemAgain(t *testing.T) {
	chip := simulate(t, "expander")
	s := gpio.NewSystem()
	chip.set(5, true)
	dev, err := gpio.InKind().Open(t.Context(), with("pin = \"expander:5\""), drivers.Ports{Pin: s.Pin})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), need.Patience)
	defer cancel()
	told := make(chan bool, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- dev.(drivers.Watcher).Watch(ctx, func(r drivers.Reading) { told <- r.Values[0].V.(bool) })
	}()
	if !<-told {
		t.Error("the line is high")
	}
	chip.unplug()
	if err := <-ended; !errors.Is(err, drivers.ErrGone) || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("the chip has left: %v", err)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	var missing *drivers.MissingError
	if _, err := s.Pin("expander:5"); !errors.As(err, &missing) {
		t.Errorf("the chip has left: %v", err)
	}
	chip.plug()
	shut(t, open(t, s, "expander:5"))
}
