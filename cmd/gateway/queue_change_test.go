package main_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/buffer"
)

// TestMessagesOfARenamedCloudMoveToItsNewName, once while the gateway runs, and once
// in its file.
func TestMessagesOfARenamedCloudMoveToItsNewName(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			dir := t.TempDir()
			config := writeConfig(t, dir, fmt.Sprintf(away, "old")+fmt.Sprintf(away, "gone"))
			ask := func(want int, args ...string) (stdout, stderr string) {
				t.Helper()
				code, stdout, stderr := verb(t, append(args, "-config", config)...)
				if code != want {
					t.Fatalf("gateway %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
				}
				return stdout, stderr
			}
			g := start(t, config)
			c := connect(t, g.mqtt)
			for i := range 12 {
				c.keep("plant/a", fmt.Sprint("reading ", i))
			}
			if _, err := ask(1, "queue", "mv", "old", "gone"); !strings.Contains(err, "in use by cloud old") {
				t.Errorf("the queue of a cloud that is configured: %s", err)
			}
			g.stop()
			config = writeConfig(t, dir, fmt.Sprintf(away, "new"))
			if running {
				g = start(t, config)
				if m := connect(t, g.mqtt).first("test/alarm/orphan-queue"); !strings.Contains(m.payload, "gateway queue mv local/cloud/gone") {
					t.Errorf("alarm: %+v", m)
				}
			}
			had, _ := ask(0, "queue", "export", "local/cloud/old")
			if _, err := ask(1, "queue", "mv", "old", "nobody"); !strings.Contains(err, "no cloud \"nobody\" is configured") {
				t.Errorf("to a cloud that is none: %s", err)
			}
			if out, _ := ask(0, "queue", "mv", "old", "new"); !strings.Contains(out, "12 messages moved to local/cloud/new") || !strings.Contains(out, "the queue is gone") {
				t.Errorf("mv: %s", out)
			}
			before, after := lines(t, had), lines(t, first(ask(0, "queue", "export", "new")))
			after = after[len(after)-12:] // the retained message may be in front
			for i := range before {
				for _, key := range []string{"topic", "payload", "at", "id", "qos"} {
					if before[i][key] != after[i][key] {
						t.Errorf("%s of message %d: %v became %v", key, i, before[i][key], after[i][key])
					}
				}
			}
			if out, _ := ask(0, "queue", "ls"); strings.Contains(out, "cloud/old") || !strings.Contains(out, "ORPHAN") {
				t.Errorf("ls: %s", out)
			}
			if _, err := ask(1, "queue", "purge", "gone"); !strings.Contains(err, "say -yes") {
				t.Errorf("purge without a terminal: %s", err)
			}
			if out, _ := ask(0, "queue", "purge", "-yes", "gone"); !strings.Contains(out, "12 messages purged") || !strings.Contains(out, "the queue is gone") {
				t.Errorf("purge: %s", out)
			}
			if !running {
				g = start(t, config)
			}
			c = connect(t, g.mqtt)
			c.keep("test/alarm/orphan-queue/zzz", "the last one")
			if m := connect(t, g.mqtt).first("test/alarm/orphan-queue/#"); m.topic != "test/alarm/orphan-queue/zzz" {
				t.Errorf("the alarm stays: %+v", m)
			}
			g.stop()
			if out, _ := ask(0, "queue", "ls"); strings.Contains(out, "ORPHAN") || !strings.Contains(out, "cloud new") {
				t.Errorf("ls: %s", out)
			}
			if out, _ := ask(0, "queue", "purge", "-yes", "new"); strings.Contains(out, "the queue is gone") || !strings.Contains(out, "purged") {
				t.Errorf("purge of a queue in use: %s", out)
			}
			if out := first(ask(0, "queue", "export", "new")); out != "" {
				t.Errorf("left: %s", out)
			}
		})
	}
}

func first(stdout, _ string) string { return stdout }

func TestRejectedMessagesAreRequeuedAndPurgedFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, fmt.Sprintf(away, "acme"))
	g := start(t, config)
	c := connect(t, g.mqtt)
	for i := range 4 {
		c.keep("plant/a", fmt.Sprint("reading ", i))
	}
	g.stop()

	// What the bridge does when the cloud takes none of the first three.
	path, err := filepath.Glob(filepath.Join(dir, "*", "gateway.db"))
	if err != nil || len(path) != 1 {
		t.Fatal(path, err)
	}
	s, err := buffer.Open(path[0], buffer.DefaultConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	q := s.Find("local/cloud/acme")
	change := s.Begin()
	change.Attach(q, buffer.Sync)
	change.Commit(nil)
	var seqs []uint64
	for range 3 {
		e, ok, err := q.Next()
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		q.Reject(e.Seq, "not authorized")
		seqs = append(seqs, e.Seq)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := verb(t, append(args, "-config", config)...)
		if code != want {
			t.Fatalf("gateway %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	payloads := func(args ...string) (text string) {
		t.Helper()
		for _, m := range lines(t, first(ask(0, append([]string{"queue", "export", "acme"}, args...)...))) {
			text += fmt.Sprintf("%v %v;", m["payload"], m["at"] != nil)
		}
		return text
	}
	if got, want := payloads("-rejected"), "reading 0 true;reading 1 true;reading 2 true;"; got != want {
		t.Fatalf("rejected: %s", got)
	}
	second := fmt.Sprint("#", seqs[1])
	if out, _ := ask(0, "queue", "requeue", "acme", second); !strings.Contains(out, "1 message to be sent again") {
		t.Errorf("requeue: %s", out)
	}
	g = start(t, config)
	if _, err := ask(1, "queue", "requeue", "acme", second); !strings.Contains(err, "not among the rejected messages") {
		t.Errorf("requeue of what has gone back: %s", err)
	}
	if out, _ := ask(0, "queue", "purge", "-rejected", "-yes", "acme"); !strings.Contains(out, "2 messages purged") {
		t.Errorf("purge: %s", out)
	}
	g.stop()
	if got, want := payloads(), "reading 3 true;reading 1 true;"; !strings.HasPrefix(got, want) {
		t.Errorf("the queue: %s", got)
	}
	if got := payloads("-rejected"); got != "" {
		t.Errorf("rejected: %s", got)
	}
}
