package e2e_test

import (
	"bytes"
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

// process is a program that tells through NOTIFY_SOCKET when it is ready, as
// systemd expects it. Both Mosquitto and the gateway do.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when the program has ended
	err  error         // its end; valid after done
	out  output
	sock *net.UnixConn // where it says that it is ready
}

// start runs the program and returns when it has said READY=1.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := launch(t, name, args...)
	p.await()
	return p
}

// launch runs the program and does not wait until it is ready.
func launch(t *testing.T, name string, args ...string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "ready-") // t.TempDir is too long for a unix socket
	if err != nil {
		t.Fatal(err)
	}
	sock, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(name, args...), done: make(chan struct{}), sock: sock}
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "s"))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		sock.Close() // ends the wait in await when the program ends early
		os.RemoveAll(dir)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("what %s printed:\n%s", filepath.Base(name), p.out.String())
		}
	})
	return p
}

// await returns when the program has said READY=1.
func (p *process) await() {
	p.t.Helper()
	p.sock.SetReadDeadline(time.Now().Add(2 * time.Minute)) // on a disk that takes 5 s for each fsync
	buf := make([]byte, 4096)
	for {
		n, err := p.sock.Read(buf)
		if err != nil {
			p.t.Fatalf("%s is not ready: %v\n%s", p.cmd.Path, err, p.out.String())
		}
		if strings.Contains("\n"+string(buf[:n])+"\n", "\nREADY=1\n") {
			return
		}
	}
}

// kill ends the program as a power cut would and waits for its end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// stop asks the program to end and fails the test unless it does so cleanly.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Fatalf("stop %s: %v\n%s", p.cmd.Path, p.err, p.out.String())
		}
	case <-time.After(need.Patience):
		p.t.Fatalf("%s has not stopped %v after SIGTERM\n%s", p.cmd.Path, need.Patience, p.out.String())
	}
}

// output collects what a program prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// write puts a file into dir and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
