package e2e_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

var (
	board       = flag.String("board", "", "this machine is the emulated board of that name: run only what is for it")
	gatewayFlag = flag.String("gateway", "", "the gateway to test; \"\": build one")
)

// boards are the machines of scripts/board-test.sh, which runs this test as root in
// each of them. Their kernels are real, and so is the gateway; the hardware is
// QEMU's, and the tests move it.
var boards = map[string][]check{
	"pc":      pcChecks,
	"ast2600": astChecks,
	"raspi2":  piChecks,
	"raspi3":  pi3Checks,
}

// A check is a claim and what proves it.
type check struct {
	claim string
	prove func(t *testing.T)
}

func TestOnABoard(t *testing.T) {
	if *board == "" {
		t.Skip("this machine is no board: scripts/board-test.sh emulates some")
	}
	if boards[*board] == nil {
		t.Fatalf("nothing is known of a board %q", *board)
	}
	for _, c := range boards[*board] {
		t.Run(c.claim, c.prove)
	}
}

// A bench is a gateway with devices, and a client that listens to it.
type bench struct {
	*process
	t      *testing.T
	addr   string
	config string
	heard  <-chan string
	client *conn
}

// on starts the gateway with these [[devices]].
func on(t *testing.T, devices string) *bench {
	t.Helper()
	addr := need.Port(t)
	dir := t.TempDir()
	b := &bench{t: t, addr: addr, config: write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"
[[broker.listeners]]
address = "tcp://%s"
[status]
address = ""
%s`, dir, addr, devices))}
	b.process = start(t, binary, "run", "-config", b.config)
	b.heard = listen(t, addr, "e2e/#")
	var err error
	if b.client, _, err = dial(addr, "hand"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.client.Close() })
	return b
}

// until takes messages of a device on one topic until one contains want, and returns
// all it took.
func (b *bench) until(device, topic, want string) (all []string) {
	b.t.Helper()
	await(b.t, fmt.Sprintf("%s %s %q", device, topic, want), b.heard, func(name, payload string) bool {
		if name != "e2e/"+device+"/"+topic {
			return false
		}
		all = append(all, payload)
		return strings.Contains(payload, want)
	})
	return all
}

// set sends a command.
func (b *bench) set(device, payload string) {
	b.t.Helper()
	if err := b.client.send(&packet.Publish{Topic: []byte("e2e/" + device + "/set"), Payload: []byte(payload)}); err != nil {
		b.t.Fatal(err)
	}
}

// sh runs a command of the board's shell.
func sh(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// put writes a file of the kernel.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// qemu tells the machine's maker to change the machine: its monitor is at the end of
// a serial line (QEMU Machine Protocol).
func qemu(t *testing.T, command string, arguments map[string]any) any {
	t.Helper()
	m, err := monitor()
	if err != nil {
		t.Fatal(err)
	}
	result, err := m.ask(command, arguments)
	if err != nil {
		t.Fatalf("%s %v: %v", command, arguments, err)
	}
	return result
}

type qmp struct {
	line  *os.File
	in    *bufio.Reader
	asked int
}

// monitor opens the serial line of the board's name once.
var monitor = sync.OnceValues(func() (*qmp, error) {
	path := map[string]string{"pc": "/dev/ttyS1", "ast2600": "/dev/ttyS0", "raspi2": "/dev/ttyS1", "raspi3": "/dev/ttyS1"}[*board]
	if out, err := exec.Command("/bin/stty", "-F", path, "raw", "-echo").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("stty %s: %w: %s", path, err, out)
	}
	line, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	m := &qmp{line: line, in: bufio.NewReader(line)}
	// Before the line was raw it has sent a part of the greeting back. This byte ends
	// whatever QEMU makes of that (its qobject/json-lexer.c).
	if _, err := line.Write([]byte{0xff}); err != nil {
		return nil, err
	}
	_, err = m.ask("qmp_capabilities", nil)
	return m, err
})

// ask sends a command and returns what it returns, past events.
func (m *qmp) ask(command string, arguments map[string]any) (any, error) {
	m.asked++
	question := map[string]any{"execute": command, "id": m.asked}
	if arguments != nil {
		question["arguments"] = arguments
	}
	text, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	if _, err := m.line.Write(append(text, '\n')); err != nil {
		return nil, err
	}
	for {
		text, err := m.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		var answer map[string]any
		if json.Unmarshal([]byte(text), &answer) != nil {
			continue // the greeting, cut by the opening of the line
		}
		if id, _ := answer["id"].(float64); int(id) != m.asked {
			continue // an event, or what QEMU says of what it could not understand
		}
		if fault, ok := answer["error"]; ok {
			return nil, fmt.Errorf("%v", fault)
		}
		if result, ok := answer["return"]; ok {
			return result, nil
		}
	}
}

// eventually waits for what no message tells.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 s: not %s", what)
		}
	}
}

// cpu is how much processor time a process has used.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	fields := strings.Fields(get(p.t, filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "stat")))
	var ticks, kernel int64
	fmt.Sscan(fields[13], &ticks)
	fmt.Sscan(fields[14], &kernel)
	return time.Duration(ticks+kernel) * 10 * time.Millisecond // USER_HZ is 100
}
