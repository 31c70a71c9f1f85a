package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/internal/need"
)

// manager stands in for the service manager: a real datagram socket.
type manager struct {
	t    *testing.T
	name string
	conn *net.UnixConn
}

func newManager(t *testing.T, name string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &manager{t, name, conn}
}

// next returns the next datagram.
func (m *manager) next() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(need.Patience)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	k, err := m.conn.Read(buf)
	if err != nil {
		m.t.Fatalf("no datagram came: %v", err)
	}
	return string(buf[:k])
}

// empty fails if a datagram waits.
func (m *manager) empty() {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	if k, err := m.conn.Read(buf); err == nil {
		m.t.Fatalf("unexpected datagram %q", buf[:k])
	}
}

func (m *manager) env(more map[string]string) func(string) string {
	return func(key string) string {
		if key == "NOTIFY_SOCKET" {
			return m.name
		}
		return more[key]
	}
}

func mustNotifier(t *testing.T, getenv func(string) string) *notifier {
	t.Helper()
	n, err := newNotifier(getenv, os.Getpid(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNotifierSaysWhatHappens(t *testing.T) {
	sockets := map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@gateway-test-" + strconv.Itoa(os.Getpid()) + t.Name(),
	}
	for kind, name := range sockets {
		t.Run(kind, func(t *testing.T) {
			m := newManager(t, name)
			n := mustNotifier(t, m.env(nil))
			for _, c := range []struct {
				call func() error
				want string
			}{
				{n.Ready, "READY=1"},
				{n.Stopping, "STOPPING=1"},
				{func() error { return n.Status("3 clients") }, "STATUS=3 clients"},
				{func() error { return n.Status("a\nMAINPID=1\r\n") }, "STATUS=a MAINPID=1  "},
				{func() error { return n.ExtendTimeout(30 * time.Second) }, "EXTEND_TIMEOUT_USEC=30000000"},
				{func() error { return n.ExtendTimeout(1) }, "EXTEND_TIMEOUT_USEC=1"},
			} {
				if err := c.call(); err != nil {
					t.Fatalf("%s: %v", c.want, err)
				}
				if got := m.next(); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestNotifierIsSilentOutsideOfAService(t *testing.T) {
	// WATCHDOG_USEC without a socket: somebody else's environment, inherited.
	n := mustNotifier(t, func(key string) string {
		return map[string]string{"WATCHDOG_USEC": "30000000"}[key]
	})
	if err := errors.Join(n.Ready(), n.Status("x"), n.ExtendTimeout(time.Second), n.Stopping()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx, func(context.Context) error {
		t.Error("asked for health although nobody listens")
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestNotifierReadsTheWatchdogsEnvironment(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		name, socket, usec, pid string
		want                    time.Duration
		err                     string // part of the error; "" for none
	}{
		{name: "ours", socket: "/s", usec: "30000000", pid: pid, want: 30 * time.Second},
		{name: "no pid means everybody", socket: "/s", usec: "1500000", want: 1500 * time.Millisecond},
		{name: "for our parent", socket: "/s", usec: "30000000", pid: pid + "0"},
		{name: "no watchdog", socket: "/s", pid: pid},
		{name: "zero", socket: "/s", usec: "0", pid: pid, err: "WATCHDOG_USEC"},
		{name: "not a number", socket: "/s", usec: "30s", err: "WATCHDOG_USEC"},
		{name: "would overflow", socket: "/s", usec: "9223372036854775807", err: "WATCHDOG_USEC"},
		{name: "relative socket", socket: "notify", err: "NOTIFY_SOCKET"},
		{name: "vsock", socket: "vsock:2:1234", err: "NOTIFY_SOCKET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := map[string]string{"NOTIFY_SOCKET": c.socket, "WATCHDOG_USEC": c.usec, "WATCHDOG_PID": c.pid}
			n, err := newNotifier(func(key string) string { return env[key] }, os.Getpid(), slog.Default())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v does not name %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n.watchdog != c.want {
				t.Errorf("watchdog %v, want %v", n.watchdog, c.want)
			}
		})
	}
}

// TestWatchdogIsFedOnlyInHealth walks through well, sick, well: every datagram
// follows from one answer, so their order tells that nothing was fed between.
func TestWatchdogIsFedOnlyInHealth(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	n := mustNotifier(t, m.env(map[string]string{"WATCHDOG_USEC": "40000"}))
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan error)
	ended := make(chan error)
	go func() {
		ended <- n.Run(ctx, func(ctx context.Context) error {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) > 10*time.Millisecond {
				t.Error("the check has more than a quarter of the watchdog's time")
			}
			answer, ok := <-answers
			if !ok {
				return errors.New("the test is over")
			}
			return answer
		})
	}()
	sick := errors.New("broker does not answer")
	for _, c := range []struct {
		answer error
		want   []string
	}{
		{nil, []string{"WATCHDOG=1"}},
		{nil, []string{"WATCHDOG=1"}},
		{sick, []string{"STATUS=unhealthy: broker does not answer"}},
		{sick, nil}, // said once
		{sick, nil},
		{nil, []string{"WATCHDOG=1", "STATUS=healthy again"}},
		{nil, []string{"WATCHDOG=1"}},
	} {
		answers <- c.answer
		for _, want := range c.want {
			if got := m.next(); got != want {
				t.Fatalf("after %v got %q, want %q", c.answer, got, want)
			}
		}
	}
	cancel()
	close(answers)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	m.empty()
}

// TestWatchdogIsFedAtHalfItsTime runs in a bubble's time: 35 s pass at once, the
// socket is real.
func TestWatchdogIsFedAtHalfItsTime(t *testing.T) {
	m := newManager(t, filepath.Join(t.TempDir(), "notify"))
	synctest.Test(t, func(t *testing.T) {
		n := mustNotifier(t, m.env(map[string]string{"WATCHDOG_USEC": "20000000"}))
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		var asked []time.Duration
		if err := n.Run(ctx, func(context.Context) error {
			asked = append(asked, time.Since(start))
			return nil
		}); err != nil {
			t.Error(err)
		}
		want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 30 * time.Second}
		if !slices.Equal(asked, want) {
			t.Errorf("asked for health after %v, want %v", asked, want)
		}
	})
	for range 4 {
		if got := m.next(); got != "WATCHDOG=1" {
			t.Errorf("got %q, want WATCHDOG=1", got)
		}
	}
	m.empty()
}

// TestWatchdogOutlivesALostSocket: a manager that is re-executed makes its
// socket anew; feeding goes on without a restart of the gateway.
func TestWatchdogOutlivesALostSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	n := mustNotifier(t, (&manager{name: name}).env(map[string]string{"WATCHDOG_USEC": "20000"}))
	if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "READY=1") {
		t.Errorf("sending into nothing: %v; want an error that names READY=1", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 100)
	ended := make(chan error)
	go func() {
		ended <- n.Run(ctx, func(context.Context) error {
			select {
			case asked <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	<-asked
	<-asked // the first feeding has failed by now
	m := newManager(t, name)
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("got %q, want WATCHDOG=1", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
