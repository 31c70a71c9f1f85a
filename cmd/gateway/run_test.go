package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/status"
)

func TestGatewayServesAndStops(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "[[devices]]\nname = \"host\"\nkind = \"host\"\nevery = \"1s\"\n")
	g := start(t, config)
	c := connect(t, g.mqtt)
	if m := c.first("test/status"); m.payload != "online" || !m.retained {
		t.Errorf("gateway status: %+v", m)
	}
	var state map[string]any
	if m := connect(t, g.mqtt).first("test/host/state"); json.Unmarshal([]byte(m.payload), &state) != nil || state["ts"] == nil {
		t.Errorf("state of the host: %+v", m)
	}
	c.keep("anything/kept", "precious")

	code, out, errOut := verb(t, "status", "-json", "-config", config)
	var report status.Report
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil {
		t.Fatalf("status: exit code %d, %v, %s", code, err, errOut)
	}
	if report.Gateway.ID != "test" || report.Gateway.Version != "1.2.3-test" || report.Broker.Clients != 2 || len(report.Devices) != 1 || !report.Devices[0].Online || len(report.Problems) != 0 {
		t.Errorf("report: %s", out)
	}
	if code, out, _ := verb(t, "status", "-socket", filepath.Join(dir, "data", "control.sock")); code != 0 || !strings.Contains(out, "host") || !strings.Contains(out, "online") {
		t.Errorf("status as a table: exit code %d\n%s", code, out)
	}
	for path, want := range map[string]string{"": "<main", "healthz": "ok\n", "metrics": "gateway_device_online{device=\"host\",kind=\"host\"} 1\n", "v1/status": `"id":"test"`} {
		res, err := http.Get(g.page + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("/%s: %d, %v, no %q in %.300s", path, res.StatusCode, err, want, body)
		}
	}

	g.stop()
	g.waitNotifyNow("STOPPING=1")
	if m := c.next(); m.topic != "test/status" || m.payload != "offline" {
		t.Errorf("the stop was told to those who were connected as %+v", m)
	}
	if _, err := os.Lstat(filepath.Join(dir, "data", "control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("control socket after the stop: %v", err)
	}

	g = start(t, config)
	if m := connect(t, g.mqtt).first("anything/kept"); m.payload != "precious" || !m.retained {
		t.Errorf("after a restart: %+v", m)
	}
	g.stop()
}

// waitNotifyNow looks through what the service manager has heard; the gateway has ended.
func (r *running) waitNotifyNow(want string) {
	r.t.Helper()
	late := time.After(tooLong)
	for {
		select {
		case got := <-r.notify:
			if got == want {
				return
			}
		case <-late:
			r.t.Errorf("the service manager never heard %s", want)
			return
		}
	}
}

func TestKilledGatewayComesBackWithWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	connect(t, g.mqtt).keep("kept", "precious")
	g.signal(syscall.SIGKILL)
	if code := g.end(); code != -int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	g = start(t, config)
	if m := connect(t, g.mqtt).first("kept"); m.payload != "precious" {
		t.Errorf("after the kill: %+v", m)
	}
	g.stop()
}

// After an unclean stop a child process looks at the file first; a damaged one is set aside, and the gateway
// starts and says so.
func TestDamagedStoreDoesNotKeepTheGatewayFromStarting(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	connect(t, g.mqtt).keep("kept", "precious")
	g.signal(syscall.SIGKILL)
	g.end()
	store := filepath.Join(dir, "data", "gateway.db")
	f, err := os.OpenFile(store, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte{0xA5}, 3*4096)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g = start(t, config)
	if m := connect(t, g.mqtt).first("test/alarm/store"); !m.retained || !strings.Contains(m.payload, "corrupt-") {
		t.Errorf("alarm: %+v", m)
	}
	if aside, err := filepath.Glob(store + ".corrupt-*"); err != nil || len(aside) == 0 {
		t.Errorf("set aside: %v, %v", aside, err)
	}
	// Somebody clears the alarm; else it comes back with every start.
	c := connect(t, g.mqtt)
	c.subscribe("test/alarm/store")
	c.next()
	c.keep("test/alarm/store", "")
	if m := c.next(); m.payload != "" {
		t.Errorf("alarm: %+v", m)
	}
	g.waitLine("the alarm of the damaged store was cleared")
	g.stop()
	g = start(t, config)
	c = connect(t, g.mqtt)
	c.subscribe("test/alarm/store")
	c.subscribe("test/status")
	if m := c.next(); m.topic != "test/status" {
		t.Errorf("the alarm came back: %+v", m)
	}
	g.stop()
}

func TestWatchdogIsFed(t *testing.T) {
	g := start(t, writeConfig(t, t.TempDir(), ""), "WATCHDOG_USEC=400000")
	g.waitNotify("WATCHDOG=1")
	g.waitNotify("WATCHDOG=1")
	g.stop()
}

// The first signal begins a clean stop, which a service manager that does not listen holds up for a second;
// the second signal does not wait for it.
func TestSecondSignalStopsAtOnce(t *testing.T) {
	dir := t.TempDir()
	g := start(t, writeConfig(t, dir, ""))
	// Take the service manager's place with one that never reads.
	socket := filepath.Join(dir, "notify")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	deaf, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	fill, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	for err == nil {
		_ = fill.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = fill.Write([]byte("x"))
	}
	g.signal(syscall.SIGTERM)
	g.waitLine("msg=stopping")
	g.signal(syscall.SIGINT)
	if code := g.end(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

// timeout(1) and others send a signal to the process and to its group: that is one request, not two.
func TestSameSignalTwiceInAMomentIsOne(t *testing.T) {
	g := start(t, writeConfig(t, t.TempDir(), ""))
	g.signal(syscall.SIGTERM)
	_ = g.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	for _, c := range []struct{ old, key string }{
		{"tcp://127.0.0.1:0", "address under [[broker.listeners]]"},
		{"127.0.0.1:0\"\n[[", "address under [status]"},
	} {
		config := writeConfig(t, dir, "")
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), c.old, strings.Replace(c.old, "127.0.0.1:0", ln.Addr().String(), 1), 1)
		if err := os.WriteFile(config, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, errOut := verb(t, "run", "-config", config)
		if code != 1 || strings.Count(errOut, ln.Addr().String()) != 1 || !strings.Contains(errOut, "another program has this port") || !strings.Contains(errOut, c.key) {
			t.Errorf("exit code %d: %s", code, errOut)
		}
		if code, out, _ := verb(t, "check", "-offline", "-config", config); code != 1 || !strings.Contains(out, c.key) {
			t.Errorf("check: exit code %d:\n%s", code, out)
		}
	}
}

func TestTwoGatewaysDoNotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	code, _, errOut := verb(t, "run", "-config", config)
	if code != 1 || !strings.Contains(errOut, "another data_dir") {
		t.Errorf("the second one: exit code %d: %s", code, errOut)
	}
	if code, _, errOut := verb(t, "status", "-config", config); code != 0 {
		t.Errorf("the first one afterwards: exit code %d: %s", code, errOut)
	}
	g.stop()
}
