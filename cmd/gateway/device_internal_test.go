package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/config"
	"edgegateway/drivers"
	"edgegateway/drivers/gpio/gpiotest"
	"edgegateway/drivers/modbus/modbustest"
	"edgegateway/drivers/serial/serialtest"
	"edgegateway/internal/need"
	"edgegateway/status"
)

// at runs one command line in this process, on hardware in memory.
func at(ctx context.Context, t *testing.T, ports drivers.Ports, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err strings.Builder
	p := &process{stdout: &out, stderr: &err, getenv: func(string) string { return "" }, ports: func() drivers.Ports { return ports }}
	code = command(ctx, p, args)
	return code, out.String(), err.String()
}

// pumpConfig is a gateway with one output, and a port at which nobody speaks.
func pumpConfig(t *testing.T) (cfg config.Config, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "gateway.toml")
	text := fmt.Sprintf(`
id = "g"
data_dir = %q
[[broker.listeners]]
address = "tcp://127.0.0.1:0"
[status]
address = ""
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"
active_low = true
[[devices]]
name = "weather"
kind = "serial-line"
[devices.options]
path = "/dev/ttyUSB0"
`, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return cfg, file
}

// fresh makes what is read of a device as new as it is where the machine has nothing else
// to do.
func fresh(out string) string {
	return regexp.MustCompile(`online   \d+ s ago`).ReplaceAllString(out, "online   now")
}

func TestAnOutputThatNoGatewayHoldsIsMovedOnlyOnPurpose(t *testing.T) {
	_, file := pumpConfig(t)
	var board gpiotest.Board
	pin := board.Pin("GPIO27")

	code, out, errOut := at(t.Context(), t, board.Ports(), "read", "-config", file, "pump")
	if code != 1 || out != "" || !strings.Contains(errOut, "to open it would move it") || len(pin.Outs()) > 0 {
		t.Errorf("read: %d %s%s, driven %v", code, out, errOut, pin.Outs())
	}
	code, out, errOut = at(t.Context(), t, board.Ports(), "read", "-open", "-config", file, "pump")
	if code != 0 || fresh(out) != "pump      online   now\n  state   off\n" {
		t.Errorf("read -open: %d %s%s", code, out, errOut)
	}
	const high, low = gpio.High, gpio.Low // off and on
	if got := pin.Outs(); !slices.Equal(got, []gpio.Level{high, high}) {
		t.Errorf("read -open has driven %v", got)
	}

	code, out, errOut = at(t.Context(), t, board.Ports(), "set", "-for", "10ms", "-config", file, "pump", "on")
	want := `No running gateway has the device "pump"; it is opened here, which brings it into its initial state; at the end it goes into its safe state.
pump: state = on
Held for 10ms, or until Ctrl-C.
pump: closed, in its safe state
`
	if code != 0 || out != want {
		t.Errorf("set: %d\n%s%s", code, out, errOut)
	}
	if got := pin.Outs()[2:]; !slices.Equal(got, []gpio.Level{high, low, high}) {
		t.Errorf("set has driven %v", got)
	}
	code, out, errOut = at(t.Context(), t, board.Ports(), "set", "-config", file, "pump", "up")
	if code != 1 || !strings.Contains(errOut, `"up" is neither on nor off`) || !strings.HasSuffix(out, "pump: closed, in its safe state\n") {
		t.Errorf("a wrong value: %d %s%s", code, out, errOut)
	}
	pin.Fail(fmt.Errorf("short circuit"))
	code, out, errOut = at(t.Context(), t, board.Ports(), "set", "-config", file, "pump", "on")
	if code != 1 || !strings.Contains(errOut, "pump is offline: the GPIO line GPIO27: short circuit") || strings.Contains(out, "safe state\n") {
		t.Errorf("a line that fails: %d %s%s", code, out, errOut)
	}
}

func TestAnOutputIsHeldUntilCtrlC(t *testing.T) {
	_, file := pumpConfig(t)
	var board gpiotest.Board
	pin := board.Pin("GPIO27")
	code, said := held(t, &board, file, "Held until Ctrl-C.", func() {
		if pin.Level() != gpio.Low {
			t.Error("the pump is not on")
		}
	})
	if code != 0 || len(said) != 4 || said[1] != "pump: state = on" || said[3] != "pump: closed, in its safe state" {
		t.Errorf("%d %q", code, said)
	}
	if pin.Level() != gpio.High {
		t.Error("the pump is left on")
	}
}

// held sets the pump on, and at a line of the output calls look and presses Ctrl-C.
func held(t *testing.T, board *gpiotest.Board, file, line string, look func()) (code int, said []string) {
	t.Helper()
	ctx, interrupt := context.WithTimeout(t.Context(), need.Patience)
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		p := &process{stdout: in, stderr: in, getenv: func(string) string { return "" }, ports: board.Ports}
		ended <- command(ctx, p, []string{"set", "-config", file, "pump", "on"})
		in.Close()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == line {
			look()
			interrupt()
		}
	}
	return <-ended, said
}

func TestADeviceThatSaysNothingIsNotWaitedForLong(t *testing.T) {
	_, file := pumpConfig(t)
	port := serialtest.New()
	code, out, errOut := at(t.Context(), t, port.Ports(), "read", "-timeout", "20ms", "-config", file, "weather")
	if code != 1 || out != "" || !strings.Contains(errOut, "weather is open, and said nothing within 20ms") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	port.Unplug()
	code, out, errOut = at(t.Context(), t, port.Ports(), "read", "-config", file, "weather")
	if code != 1 || out != "weather   OFFLINE   no reading yet\n  ! /dev/ttyUSB0 is not there; check the cable\n" || errOut != "" {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	code, out, errOut = at(t.Context(), t, port.Ports(), "set", "-config", file, "weather", "1")
	if code != 1 || !strings.Contains(errOut, "weather is offline: /dev/ttyUSB0 is not there") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
}

// The running gateway has the device: it moves it, and nobody opens it a second time.
// One that it has not yet is opened here.
func TestTheRunningGatewaySetsWhatItHolds(t *testing.T) {
	cfg, file := pumpConfig(t)
	var board gpiotest.Board
	pin := board.Pin("GPIO27")
	pump := cfg.Devices[0]
	cfg.Devices = cfg.Devices[:1]
	socket := filepath.Join(cfg.DataDir, "control.sock")
	g, err := open(cfg, surroundings{log: slog.New(slog.DiscardHandler), started: time.Now(), ports: board.Ports(), control: socket})
	if err != nil {
		t.Fatal(err)
	}
	for online := false; !online; {
		_, out, _ := at(t.Context(), t, drivers.Ports{}, "read", "-config", file, pump.Name)
		online = strings.HasPrefix(out, "pump      online")
	}
	code, out, errOut := at(t.Context(), t, drivers.Ports{}, "set", "-socket", socket, "pump", "on")
	if code != 0 || out != "pump: state = on\n" || pin.Level() != gpio.Low {
		t.Errorf("%d %s%s; the line is %v", code, out, errOut, pin.Level())
	}
	code, out, errOut = at(t.Context(), t, drivers.Ports{}, "set", "-config", file, "pump", "up")
	if code != 1 || !strings.Contains(errOut, `pump: "up" is neither on nor off`) || out != "" {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	pin.Fail(fmt.Errorf("short circuit"))
	code, _, errOut = at(t.Context(), t, drivers.Ports{}, "set", "-config", file, "pump", "off")
	if code != 1 || !strings.Contains(errOut, "pump: the GPIO line GPIO27: short circuit") {
		t.Errorf("%d %s", code, errOut)
	}
	pin.Fail(nil)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.command(ctx, "g/nobody", "", "on", time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command without an outcome: %v", err)
	}

	port := serialtest.New()
	port.Feed("{\"t\":20}\n{\"t\":21.5}\n")
	code, out, errOut = at(t.Context(), t, port.Ports(), "read", "-config", file, "weather")
	if code != 0 || !strings.HasPrefix(fresh(out), "weather   online   now\n  t       2") {
		t.Errorf("one that it has not yet: %d %s%s", code, out, errOut)
	}
	_, other := pumpConfig(t) // another gateway's file, in the place of one with a new output
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"pump"`), []byte(`"valve"`), 1)
	text = bytes.Replace(text, []byte(filepath.Dir(other)), []byte(cfg.DataDir), 1)
	if err := os.WriteFile(other, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"set", "-config", other, "valve", "on"}, {"read", "-open", "-config", other, "valve"}} {
		code, _, errOut = at(t.Context(), t, new(gpiotest.Board).Ports(), args...)
		if code != 1 || !strings.Contains(errOut, "the running gateway does not have valve yet") {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
	code, _, errOut = at(t.Context(), t, port.Ports(), "read", "-socket", socket, "weather")
	if code != 1 || !strings.Contains(errOut, `there is no device "weather"; there is pump`) {
		t.Errorf("without the file: %d %s", code, errOut)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
}

// A slowPin is a line that is driven when the test says so.
type slowPin struct {
	*gpiotest.Pin
	busy, done chan struct{}
}

func (p slowPin) Out(l gpio.Level) error {
	p.busy <- struct{}{}
	<-p.done
	return p.Pin.Out(l)
}

// Whoever was told that nothing came of a command may go near the machine.
func TestACommandThatNobodyWaitsForAnyMoreIsNotCarriedOut(t *testing.T) {
	cfg, file := pumpConfig(t)
	cfg.Devices = cfg.Devices[:1]
	var board gpiotest.Board
	pin := slowPin{board.Pin("GPIO27"), make(chan struct{}), make(chan struct{})}
	ports := drivers.Ports{Pin: func(string) (gpio.PinIO, error) { return pin, nil }}
	g, err := open(cfg, surroundings{log: slog.New(slog.DiscardHandler), started: time.Now(), ports: ports, control: filepath.Join(cfg.DataDir, "control.sock")})
	if err != nil {
		t.Fatal(err)
	}
	<-pin.busy // with its initial state
	pin.done <- struct{}{}
	set := func(args ...string) (code int, errOut string) {
		code, _, errOut = at(t.Context(), t, drivers.Ports{}, append([]string{"set", "-config", file, "pump"}, args...)...)
		return code, errOut
	}
	first := make(chan int)
	go func() {
		code, _ := set("off")
		first <- code
	}()
	<-pin.busy
	if code, errOut := set("on", "-timeout", "10ms"); code != 1 || !strings.Contains(errOut, "no outcome came within 1s") {
		t.Errorf("%d %s", code, errOut)
	}
	go func() {
		for range pin.busy {
		}
	}()
	close(pin.done)
	if code, errOut := set("off"); code != 0 || <-first != 0 { // which has its turn behind the others
		t.Errorf("%d %s", code, errOut)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	close(pin.busy)
	for _, level := range pin.Outs() {
		if level == gpio.Low {
			t.Errorf("the pump was switched on: %v", pin.Outs())
		}
	}
}

func TestAGatewayThatHangsOverACommandIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "control.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-ended
		}
		json.NewEncoder(w).Encode(status.Report{Version: status.ReportVersion, Devices: []status.Device{{Name: "pump"}}})
	})}
	go s.Serve(ln)
	defer s.Close()
	defer close(ended)
	ctx, cancel := context.WithTimeout(t.Context(), need.Patience)
	defer cancel()
	code, _, errOut := at(ctx, t, drivers.Ports{}, "set", "-socket", socket, "-timeout", "1ms", "pump", "on")
	if code != 1 || !strings.Contains(errOut, "runs and does not answer") || ctx.Err() != nil {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestWhatIsHeldAndMovesAllTheSameIsTold(t *testing.T) {
	_, file := pumpConfig(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("active_low = true"), []byte(`max_on = "30ms"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var board gpiotest.Board
	code, said := held(t, &board, file, "pump: state = off", func() {})
	if got, want := strings.Join(said[1:], "|"), "pump: state = on|Held until Ctrl-C.|pump: state = off|pump: closed, in its safe state"; code != 0 || got != want {
		t.Errorf("%d %s", code, got)
	}
}

// A device without a safe state stays as it was set: it is not held.
func TestARegisterIsSetAndLetGo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.toml")
	text := "id = \"g\"\n[[devices]]\nname = \"heater\"\nkind = \"modbus-rtu\"\n[devices.options]\npath = \"/dev/ttyUSB0\"\n" +
		`points = [{ name = "target", table = "holding", address = 1, type = "int16", scale = 0.1, unit = "°C", writable = true, min = 5, max = 30 }]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	unit := &modbustest.Unit{Holding: map[int]uint16{1: 200}}
	port := serialtest.New()
	port.Respond(func(sent []byte) string {
		var out strings.Builder
		_ = modbustest.ServeRTU(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(sent), &out}, map[byte]*modbustest.Unit{1: unit}) // it ends with the request
		return out.String()
	})
	code, out, errOut := at(t.Context(), t, port.Ports(), "read", "-config", file, "heater")
	if code != 0 || fresh(out) != "heater     online   now\n  target   20 °C\n" {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	code, out, errOut = at(t.Context(), t, port.Ports(), "set", "-config", file, "heater", "21.5")
	if code != 0 || out != "No running gateway has the device \"heater\"; it is opened here.\nheater: target = 21.5 °C\n" || errOut != "" {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	unit.Change(func(u *modbustest.Unit) {
		if u.Holding[1] != 215 {
			t.Errorf("the register holds %d", u.Holding[1])
		}
	})
}

// One with a safe value is held as an output is, and is safe again at the end.
func TestARegisterWithASafeValueIsHeld(t *testing.T) {
	file := configOf(t, "id = \"g\"\n[[devices]]\nname = \"heater\"\nkind = \"modbus-rtu\"\n[devices.options]\npath = \"/dev/ttyUSB0\"\n"+
		`points = [{ name = "target", address = 1, writable = true, safe = 5 }]`)
	unit := &modbustest.Unit{Holding: map[int]uint16{1: 200}}
	port := serialtest.New()
	port.Respond(func(sent []byte) string {
		var out strings.Builder
		_ = modbustest.ServeRTU(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(sent), &out}, map[byte]*modbustest.Unit{1: unit}) // it ends with the request
		return out.String()
	})
	code, _, errOut := at(t.Context(), t, port.Ports(), "read", "-config", file, "heater")
	if code != 1 || !strings.Contains(errOut, "to open it would move it") || unit.Asked() != 0 {
		t.Errorf("%d, %d requests, %s", code, unit.Asked(), errOut)
	}
	code, out, errOut := at(t.Context(), t, port.Ports(), "set", "-config", file, "-for", "10ms", "heater", "21")
	if code != 0 || !strings.HasSuffix(out, "heater: target = 21\nHeld for 10ms, or until Ctrl-C.\nheater: closed, in its safe state\n") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	unit.Change(func(u *modbustest.Unit) {
		if u.Holding[1] != 5 {
			t.Errorf("the register holds %d", u.Holding[1])
		}
	})
}

func TestNegativeNumbersAreWordsAndNotFlags(t *testing.T) {
	for _, c := range []struct {
		line, words string
		n           int
	}{
		{"a -5 -n 3", "a -5", 3},
		{"-n 3 a -1e3", "a -1e3", 3},
		{"a -- -n", "a -n", 0},
		{"-- a -n", "a -n", 0},
		{"-n 3 -- a -x", "a -x", 3},
		{"-n 3 a -- -- -x", "a -- -x", 3},
		{"a -n 3 -", "a -", 3},
	} {
		f := flag.NewFlagSet("x", flag.ContinueOnError)
		n := f.Int("n", 0, "")
		words, err := wordsOf(f, strings.Fields(c.line))
		if got := strings.Join(words, " "); got != c.words || *n != c.n || err != nil {
			t.Errorf("%s: %q, n %d, %v", c.line, got, *n, err)
		}
	}

	file := filepath.Join(t.TempDir(), "gateway.toml")
	text := "id = \"g\"\n[[devices]]\nname = \"heater\"\nkind = \"sim\"\n[devices.options]\nchannels = [{ name = \"target\", wave = \"setpoint\", min = -10, max = 10 }]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"-x": `"-x" is not a number`, "-5": ""} {
		code, out, errOut := at(t.Context(), t, drivers.Ports{}, "set", "-config", file, "-for", "10ms", "--", "heater", value)
		if want == "" && (code != 0 || !strings.Contains(out, "heater: target = -5\n")) || want != "" && (code != 1 || !strings.Contains(errOut, want)) {
			t.Errorf("%s: %d %s%s", value, code, out, errOut)
		}
	}
}

// It would say that the total was set, and at the next start of the gateway it would be
// as before.
func TestAMeterIsNotSetWhereNobodyKeepsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.toml")
	text := "id = \"g\"\n[[devices]]\nname = \"water\"\nkind = \"gpio-counter\"\n[devices.options]\npin = \"GPIO17\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var board gpiotest.Board
	code, _, errOut := at(t.Context(), t, board.Ports(), "set", "-config", file, "water/total", "7")
	if code != 1 || !strings.Contains(errOut, "water: nobody would keep what total is set to: ") {
		t.Errorf("%d %s", code, errOut)
	}
}
