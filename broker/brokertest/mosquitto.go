package brokertest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/internal/need"
)

// Mosquitto starts a Mosquitto on a port that the system gives and returns its
// address; it ends with the test. extra is added to its configuration. Where it is
// not installed the test is skipped, or fails if CI is true.
func Mosquitto(t testing.TB, extra string) (addr string) {
	t.Helper()
	path := need.Program(t, "mosquitto")
	// Mosquitto can not be asked for any port, so one is taken and given back. The
	// moment in between is why a failed start is tried again.
	var err error
	for range 5 {
		if addr, err = start(t, path, extra); err == nil {
			return addr
		}
	}
	t.Fatalf("start mosquitto: %v", err)
	return ""
}

func start(t testing.TB, path, extra string) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = ln.Addr().String()
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type all\n%s\n", port, extra)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return "", err
	}
	cmd := exec.Command(path, "-c", conf)
	out, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(out)
	var log []string
	for lines.Scan() {
		log = append(log, lines.Text())
		if strings.HasSuffix(lines.Text(), " running") {
			go func() { // so that it never waits for its log to be read
				for lines.Scan() {
				}
			}()
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // it may be gone
				_ = cmd.Wait()
			})
			return addr, nil
		}
	}
	_ = cmd.Wait()
	return "", fmt.Errorf("it ended: %s", strings.Join(log, "; "))
}

// Passwd adds a user to a password file with mosquitto_passwd, which is to be
// installed as Mosquitto is.
func Passwd(t testing.TB, file, user, password string) {
	t.Helper()
	path := need.Program(t, "mosquitto_passwd")
	args := []string{"-b", file, user, password}
	if _, err := os.Stat(file); err != nil {
		args = append([]string{"-c"}, args...)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
}
