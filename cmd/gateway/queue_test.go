package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// away is a cloud that nobody runs.
const away = "[[cloud]]\nname = %q\nservers = [\"mqtt://127.0.0.1:1\"]\nup = [{ from = \"plant/#\", to = \"x/plant/#\", qos = 1 }]\n"

func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var m map[string]any
		if err := d.Decode(&m); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		all = append(all, m)
	}
}

// TestQueuesAndBackupsFromTheCommandLine is what a person does whose cloud is away:
// look, save, take a backup, go on, put it back.
func TestQueuesAndBackupsFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, fmt.Sprintf(away, "acme"))
	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := verb(t, append(args, "-config", config)...)
		if code != want {
			t.Fatalf("gateway %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	if _, err := ask(1, "queue", "ls"); !strings.Contains(err, "there is no store") {
		t.Errorf("before the first start: %s", err)
	}
	g := start(t, config)
	c := connect(t, g.mqtt)
	for i := range 12 {
		c.keep("plant/a", fmt.Sprintf("reading %d \x1b[2J", i))
	}
	c.keep("plant/b", "a\xff")

	look := func(when string) {
		t.Helper()
		var list []map[string]any
		out, _ := ask(0, "queue", "ls", "-json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0]["name"] != "local/cloud/acme" || list[0]["messages"] != 13.0 || list[0]["orphan"] != false {
			t.Errorf("%s: ls -json: %v %s", when, err, out)
		}
		if out, _ := ask(0, "queue", "ls"); !strings.Contains(out, "cloud acme") {
			t.Errorf("%s: ls: %s", when, out)
		}
		out, _ = ask(0, "queue", "peek", "acme", "-n", "3")
		if strings.Count(out, "reading") != 3 || strings.Contains(out, "\x1b") || !strings.Contains(out, "plant/a") {
			t.Errorf("%s: peek: %q", when, out)
		}
		out, _ = ask(0, "queue", "export", "acme")
		all := lines(t, out)
		if len(all) != 13 || all[11]["payload"] != "reading 11 \x1b[2J" || all[12]["payload_base64"] != "Yf8=" || all[12]["topic"] != "plant/b" {
			t.Errorf("%s: export: %s", when, out)
		}
		if out, _ := ask(0, "queue", "export", "-rejected", "acme"); out != "" {
			t.Errorf("%s: rejected: %s", when, out)
		}
		if _, err := ask(1, "queue", "peek", "nobody"); !strings.Contains(err, "gateway queue ls") {
			t.Errorf("%s: a name that is none: %s", when, err)
		}
	}
	look("while it runs")

	file := filepath.Join(t.TempDir(), "backup")
	ask(0, "backup", file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", info, err)
	}
	if _, err := ask(1, "backup", file); !strings.Contains(err, "-force") {
		t.Errorf("a backup over another: %s", err)
	}
	ask(0, "backup", "-force", file)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	c.keep("plant/a", "after the backup")
	if _, err := ask(1, "restore", file); !strings.Contains(err, "stop the gateway") {
		t.Errorf("restore while it runs: %s", err)
	}
	g.stop()

	out, _ := ask(0, "queue", "export", "acme")
	if n := len(lines(t, out)); n != 14 {
		t.Errorf("%d messages in the file", n)
	}
	if out, _ := ask(0, "restore", file); !strings.Contains(out, "before-restore") {
		t.Errorf("restore: %s", out)
	}
	look("of the restored file")
	ask(0, "backup", filepath.Join(filepath.Dir(file), "of the file"))

	// The cloud is taken out of the configuration: its messages are an orphan's.
	config = writeConfig(t, dir, fmt.Sprintf(away, "other"))
	g = start(t, config)
	if m := connect(t, g.mqtt).first("test/alarm/orphan-queue"); !m.retained || !strings.Contains(m.payload, "local/cloud/acme") || !strings.Contains(m.payload, "gateway queue") {
		t.Errorf("alarm: %+v", m)
	}
	if out, _ := ask(0, "queue", "ls"); !strings.Contains(out, "ORPHAN") {
		t.Errorf("ls: %s", out)
	}
	g.stop()
	config = writeConfig(t, dir, fmt.Sprintf(away, "acme")+fmt.Sprintf(away, "other"))
	g = start(t, config)
	if out, _ := ask(0, "queue", "ls"); strings.Contains(out, "ORPHAN") {
		t.Errorf("ls when its cloud is back: %s", out)
	}
	c = connect(t, g.mqtt)
	c.keep("test/alarm/orphan-queue/zzz", "the last one")
	if m := connect(t, g.mqtt).first("test/alarm/orphan-queue/#"); m.topic != "test/alarm/orphan-queue/zzz" {
		t.Errorf("the alarm stays: %+v", m)
	}
	g.stop()
}
