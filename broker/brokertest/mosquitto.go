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
	addr = need.Port(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type all\n%s\n", port, extra)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
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
			return addr
		}
	}
	_ = cmd.Wait()
	t.Fatalf("mosquitto ended: %s", strings.Join(log, "; "))
	return ""
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
