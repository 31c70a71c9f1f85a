package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgegateway/internal/need"
)

// program is the gateway that the tests run.
var program string

func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "gateway")
	args := append([]string{"build", "-ldflags", "-X main.version=1.2.3-test -X main.commit=abcdef", "-o", program}, raceFlags...)
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// tooLong ends what should have happened long ago, so that a failure is not a hang.
const tooLong = need.Patience

// verb runs the gateway to its end.
func verb(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = t.TempDir()
	c.Env = clean()
	var out, err bytes.Buffer
	c.Stdout, c.Stderr = &out, &err
	return exitCode(t, c.Run()), out.String(), err.String()
}

// clean is the environment without what a service manager sets.
func clean(more ...string) []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "RUNTIME_DIRECTORY", "STATE_DIRECTORY":
		default:
			env = append(env, e)
		}
	}
	// A process under the race detector else sleeps for a second before it ends.
	env = append(env, "GORACE=atexit_sleep_ms=0")
	return append(env, more...)
}

// exitCode is that of a process; one ended by a signal has the negative signal.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return -int(ws.Signal())
		}
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// A running is a gateway in the background.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan error
	mqtt   string // host:port
	page   string // URL
	notify chan string

	mu    sync.Mutex // guards what follows
	lines []string
	more  chan struct{} // closed and replaced at each line
}

// writeConfig writes a configuration with free ports, a data directory below dir and more.
func writeConfig(t *testing.T, dir, more string) string {
	t.Helper()
	path := filepath.Join(dir, "gateway.toml")
	text := fmt.Sprintf("id = \"test\"\ndata_dir = %q\n[status]\naddress = \"127.0.0.1:0\"\n[[broker.listeners]]\naddress = \"tcp://127.0.0.1:0\"\n%s", filepath.Join(dir, "data"), more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs the gateway with a configuration and waits until it says READY=1 to the service manager.
func start(t *testing.T, config string, env ...string) *running {
	t.Helper()
	return launch(t, config, env...).ready()
}

// ready waits until the gateway serves.
func (r *running) ready() *running {
	t := r.t
	t.Helper()
	r.waitNotify("READY=1")
	// Printed before, but the two ways are not of the same speed.
	r.waitLineThat(func(l string) bool { return l == "ready" }, "ready")
	for _, l := range r.said() {
		if _, address, ok := strings.Cut(l, "mqtt   tcp://"); ok {
			r.mqtt = address
		}
		if _, address, ok := strings.Cut(l, "page   "); ok {
			r.page = address
		}
	}
	if r.mqtt == "" || r.page == "" {
		t.Fatalf("it does not say where it listens:\n%s", strings.Join(r.said(), "\n"))
	}
	return r
}

func launch(t *testing.T, config string, env ...string) *running {
	t.Helper()
	return launchUnder(t, nil, config, env...)
}

// launchUnder starts the gateway by a command that ends in it.
func launchUnder(t *testing.T, under []string, config string, env ...string) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1), notify: make(chan string, 100), more: make(chan struct{})}
	socket := filepath.Join(filepath.Dir(config), "notify")
	os.Remove(socket)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := manager.Read(buf)
			if err != nil {
				return
			}
			r.notify <- string(buf[:n])
		}
	}()

	command := append(under[:len(under):len(under)], program, "run", "-config", config)
	r.cmd = exec.Command(command[0], command[1:]...)
	r.cmd.Dir = filepath.Dir(config)
	r.cmd.Env = clean(append([]string{"NOTIFY_SOCKET=" + socket}, env...)...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = in, in
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, as under a service manager
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	var read sync.WaitGroup
	read.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, s.Text())
			close(r.more)
			r.more = make(chan struct{})
			r.mu.Unlock()
		}
	})
	go func() {
		read.Wait()
		out.Close()
		r.ended <- r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // by then it has ended, unless the test failed
		if t.Failed() {
			t.Logf("it said:\n%s", strings.Join(r.said(), "\n"))
		}
	})
	return r
}

func (r *running) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// waitLine waits for a line that contains text.
func (r *running) waitLine(text string) {
	r.t.Helper()
	r.waitLineThat(func(l string) bool { return strings.Contains(l, text) }, text)
}

func (r *running) waitLineThat(is func(string) bool, what string) {
	r.t.Helper()
	late := time.After(tooLong)
	for {
		r.mu.Lock()
		more, lines := r.more, r.lines
		r.mu.Unlock()
		for _, l := range lines {
			if is(l) {
				return
			}
		}
		select {
		case <-more:
		case <-late:
			r.t.Fatalf("it never said %q", what)
		}
	}
}

func (r *running) waitNotify(want string) {
	r.t.Helper()
	late := time.After(tooLong)
	for {
		select {
		case got := <-r.notify:
			if got == want {
				return
			}
		case err := <-r.ended:
			r.t.Fatalf("it ended before it said %s: %v\n%s", want, err, strings.Join(r.said(), "\n"))
		case <-late:
			r.t.Fatalf("the service manager never heard %s", want)
		}
	}
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// end waits for the end of the process.
func (r *running) end() (code int) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return exitCode(r.t, err)
	case <-time.After(tooLong):
		r.t.Fatal("it does not end")
		return 0
	}
}

// stop ends it as systemd does, and wants a clean end.
func (r *running) stop() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	if code := r.end(); code != 0 {
		r.t.Errorf("exit code %d after SIGTERM", code)
	}
}
