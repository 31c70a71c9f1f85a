package main_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/buffer"
)

// TestTheQueueOfALostSessionIsAnOrphan, which is told, and goes only when a person says so.
func TestTheQueueOfALostSessionIsAnOrphan(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, fmt.Sprintf(away, "acme"))
	ask := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := verb(t, append(args, "-config", config)...)
		if code != 0 {
			t.Fatalf("gateway %v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout
	}
	g := start(t, config)
	g.stop()
	found, err := filepath.Glob(filepath.Join(dir, "*", "gateway.db"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}

	// What salvage leaves when it finds the queues of three clients, and the session of one.
	s, err := buffer.Open(found[0], buffer.DefaultConfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Begin()
	for _, name := range []string{"client/pump/000000000000000a", "client/pump/000000000000000b", "client/fan/000000000000000c"} {
		q, err := s.Queue(name, buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Append(q, buffer.Record{Data: []byte("a message"), Urgency: buffer.Sync}); err != nil {
			t.Fatal(err)
		}
	}
	session := "\x04\xff\xff\xff\xff" + strings.Repeat("\x00", 8) + "pump" // 3.1.1, never expires
	c.Put(s.Table("broker.sessions"), []byte("\x00\x00\x00\x00\x00\x00\x00\x0a"), []byte(session), buffer.Sync)
	done := make(chan error, 1)
	c.Commit(func(err error) { done <- err })
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Fatal(err)
	}

	for _, running := range []bool{false, true} {
		if running {
			g = start(t, config)
			m := connect(t, g.mqtt).first("test/alarm/orphan-queue")
			if !strings.Contains(m.payload, "client/pump/000000000000000b") || strings.Contains(m.payload, "client/pump/000000000000000a") || !strings.Contains(m.payload, "gateway queue export") {
				t.Errorf("alarm: %+v", m)
			}
		}
		for line := range strings.Lines(ask("queue", "ls")) {
			want := strings.Contains(line, "000b") || strings.Contains(line, "000c")
			if got := strings.Contains(line, "ORPHAN: the session of this client was lost"); got != want {
				t.Errorf("running %v: orphan %v, want %v: %s", running, got, want, line)
			}
		}
		if out := ask("queue", "export", "client/pump/000000000000000b"); out == "" {
			t.Errorf("running %v: nothing to export", running)
		}
		name := map[bool]string{false: "client/fan/000000000000000c", true: "client/pump/000000000000000b"}[running]
		if out := ask("queue", "purge", "-yes", name); !strings.Contains(out, "the queue is gone") {
			t.Errorf("running %v: purge: %s", running, out)
		}
		if out := ask("queue", "ls"); strings.Contains(out, name) || !strings.Contains(out, "client/pump/000000000000000a") {
			t.Errorf("running %v: ls: %s", running, out)
		}
	}
	g.stop()
}
