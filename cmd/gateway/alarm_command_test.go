package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asker runs verbs of one gateway.
func asker(t *testing.T, config *string) func(want int, args ...string) (stdout, stderr string) {
	return func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := verb(t, append(args, "-config", *config)...)
		if code != want {
			t.Fatalf("gateway %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
}

// alarmNames are those of the alarms, without that of the clock, which is the machine's.
func alarmNames(t *testing.T, ask func(int, ...string) (string, string)) (names []string) {
	t.Helper()
	var list []struct{ Name string }
	if err := json.Unmarshal([]byte(first(ask(0, "alarm", "ls", "-json"))), &list); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.Name != "clock" {
			names = append(names, a.Name)
		}
	}
	return names
}

func TestAnAlarmIsNotClearedWhileItsCauseIsThere(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, fmt.Sprintf(away, "gone"))
	ask := asker(t, &config)
	g := start(t, config)
	connect(t, g.mqtt).keep("plant/a", "x")
	if got := alarmNames(t, ask); len(got) > 0 {
		t.Errorf("at first: %v", got)
	}
	g.stop()
	config = writeConfig(t, dir, "")
	g = start(t, config)
	c := connect(t, g.mqtt)
	c.keep("test/alarm/mine/b", "look \x1b[2J")
	out, _ := ask(0, "alarm", "ls")
	for _, want := range []string{"orphan-queue  since 2", "(goes by itself when its cause does)", "local/cloud/gone", `(stays until "gateway alarm clear mine/b")`, `look \x1b[2J`} {
		if !strings.Contains(out, want) {
			t.Errorf("ls: %q is missing in\n%s", want, out)
		}
	}
	if out, _ := ask(0, "status"); !strings.Contains(out, "! alarm orphan-queue (since 2") || !strings.Contains(out, `! alarm mine/b: look \x1b[2J`) || strings.Contains(out, "healthy") {
		t.Errorf("status: %s", out)
	}
	if list, _ := ask(0, "alarm", "ls", "-json"); !strings.Contains(list, `"name":"mine/b"`) || !strings.Contains(list, `"cause":"Messages wait`) {
		t.Errorf("ls -json: %s", list)
	}
	if _, err := ask(1, "alarm", "clear", "orphan-queue"); !strings.Contains(err, "which is there still") || !strings.Contains(err, "gateway queue purge local/cloud/gone") {
		t.Errorf("clear what has its cause: %s", err)
	}
	if m := connect(t, g.mqtt).first("test/alarm/orphan-queue"); !m.retained {
		t.Errorf("the alarm: %+v", m)
	}
	for _, name := range []string{"nothing", "+/b", "#", ""} {
		if _, err := ask(1, "alarm", "clear", name); !strings.Contains(err, "there is no alarm") {
			t.Errorf("clear %q: %s", name, err)
		}
	}
	if out, _ := ask(0, "alarm", "clear", "mine/b"); out != "mine/b: cleared\n" {
		t.Errorf("clear: %s", out)
	}
	ask(0, "queue", "purge", "-yes", "gone")
	if got := alarmNames(t, ask); len(got) > 0 {
		t.Errorf("when the cause has gone: %v", got)
	}
	ask(2, "alarm")
	ask(2, "alarm", "clear")
	g.stop()
	if _, err := ask(3, "alarm", "ls"); !strings.Contains(err, "no gateway is running") {
		t.Errorf("when none runs: %s", err)
	}
}

func TestTheAlarmOfADamagedStoreIsClearedFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	ask := asker(t, &config)
	g := start(t, config)
	connect(t, g.mqtt).keep("kept", "precious")
	g.signal(syscall.SIGKILL)
	g.end()
	f, err := os.OpenFile(filepath.Join(dir, "data", "gateway.db"), os.O_WRONLY, 0)
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
	if out, _ := ask(0, "alarm", "ls"); !strings.Contains(out, "store  since 2") || !strings.Contains(out, "corrupt-") {
		t.Errorf("ls: %s", out)
	}
	ask(0, "alarm", "clear", "store")
	for _, end := range []string{"at once", "after a kill"} {
		if got := alarmNames(t, ask); len(got) > 0 {
			t.Errorf("%s: %v", end, got)
		}
		if end == "at once" {
			g.signal(syscall.SIGKILL)
			g.end()
			g = start(t, config)
		}
	}
	g.stop()
}
