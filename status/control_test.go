package status_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/status"
)

// serve opens a control socket and answers there until the test ends.
func serve(t *testing.T, s *status.Server, path string) {
	t.Helper()
	ln, err := status.ListenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.ServeControl(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket file stays behind: %v", err)
		}
	})
}

func TestReportOverTheControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	s := newServer(t, busy())
	s.HandleControl("GET /v1/clients", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`["a"]`)) }))
	serve(t, s, path)

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
	r, err := status.Dial(path).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != status.ReportVersion || r.Gateway.ID != "greenhouse" || len(r.Devices) != 2 || r.Clouds[0].Queued != 517 {
		t.Errorf("report %+v", r)
	}
	var clients []string
	if err := status.Dial(path).Get(t.Context(), "/v1/clients", &clients); err != nil || len(clients) != 1 {
		t.Errorf("a question that was added: %v, %v", clients, err)
	}
	err = status.Dial(path).Get(t.Context(), "/v9/future", &clients)
	if err == nil || !strings.Contains(err.Error(), "version 1.2.3) does not know GET /v9/future") {
		t.Errorf("a question that is not known: %v", err)
	}
}

func TestNobodyAnswersIsNotRunning(t *testing.T) {
	dir := t.TempDir()
	if _, err := status.Dial(filepath.Join(dir, "none.sock")).Status(t.Context()); !errors.Is(err, status.ErrNotRunning) {
		t.Errorf("no file: %v", err)
	}
	dead := deadSocket(t, dir)
	if _, err := status.Dial(dead).Status(t.Context()); !errors.Is(err, status.ErrNotRunning) {
		t.Errorf("file of a dead process: %v", err)
	}
}

// deadSocket leaves the file of a listener behind, as a killed process does.
func deadSocket(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "control.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	return path
}

func TestAGatewayThatHangsIsNotWaitedForForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = status.Dial(path).Status(ctx)
	if err == nil || !strings.Contains(err.Error(), "the gateway at "+path+" runs and does not answer") {
		t.Errorf("got %v", err)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	path := deadSocket(t, t.TempDir())
	serve(t, newServer(t, quiet()), path)
	if _, err := status.Dial(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocketOfALivingProcessIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	serve(t, newServer(t, quiet()), path)
	if ln, err := status.ListenControl(path); !errors.Is(err, status.ErrInUse) {
		t.Errorf("second listener: %v, %v; want ErrInUse", ln, err)
	}
	if _, err := status.Dial(path).Status(t.Context()); err != nil {
		t.Errorf("the first one afterwards: %v", err)
	}
}

func TestWhatIsNoSocketIsNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := status.ListenControl(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file: %q, %v", text, err)
	}
}

func TestPathLongerThanTheKernelTakesIsExplained(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := status.ListenControl(filepath.Join(dir, "control.sock")); err == nil || !strings.Contains(err.Error(), "shorter data_dir") {
		t.Errorf("error %v", err)
	}
}

func TestControlPathFollowsSystemd(t *testing.T) {
	env := func(dir string) func(string) string {
		return func(name string) string { return map[string]string{"RUNTIME_DIRECTORY": dir}[name] }
	}
	for dir, want := range map[string]string{"": "/data/control.sock", "/run/gateway": "/run/gateway/control.sock", "/run/a:/run/b": "/run/a/control.sock"} {
		if got := status.ControlPath(env(dir), "/data"); got != want {
			t.Errorf("RUNTIME_DIRECTORY=%q: %s, want %s", dir, got, want)
		}
	}
}
