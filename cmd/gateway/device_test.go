package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// tank is measured when it is opened and when somebody asks: its counter counts that.
const tank = `
[[devices]]
name = "tank"
kind = "sim"
every = "1h"
[devices.channels.level]
unit = "m"
valid = [0, 30]
[devices.options]
channels = [
  { name = "rain", wave = "counter", unit = "mm" },
  { name = "level", wave = "setpoint", min = -10, max = 30, initial = 20 },
  { name = "pump", wave = "switch", initial = false },
]
`

// TestADeviceIsReadAndSetFromTheCommandLine does it with a gateway, and without.
func TestADeviceIsReadAndSetFromTheCommandLine(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), tank)
	ask := asker(t, &config)
	aged := regexp.MustCompile(`online   \d+ s ago`) // where the machine is busy with something else
	want := func(code int, wantOut, wantErr string, args ...string) {
		t.Helper()
		out, err := ask(code, args...)
		out = aged.ReplaceAllString(out, "online   now")
		if out != wantOut || !strings.Contains(err, wantErr) || wantErr == "" && err != "" {
			t.Errorf("gateway %v:\n%s%s\nwant:\n%s%s", args, out, err, wantOut, wantErr)
		}
	}
	values := func(rain, level, pump string) string {
		return "tank      online   now\n  rain    " + rain + " mm\n  level   " + level + "\n  pump    " + pump + "\n"
	}

	want(0, values("1", "20 m", "off"), "", "read", "tank")
	const opened, closed = "No running gateway has the device \"tank\"; it is opened here.\n", "tank: closed, in its safe state\n"
	want(0, opened+"tank: pump = on\nHeld for 10ms, or until Ctrl-C.\n"+closed, "", "set", "-for", "10ms", "tank/pump", "ON")
	want(1, opened+closed, `"maybe" is neither on nor off`, "set", "tank/pump", "maybe")
	want(0, opened+"tank: level = -5\nHeld for 10ms, or until Ctrl-C.\n"+closed, "", "set", "-for", "10ms", "tank/level", "-5")
	want(1, "", `there is no device "tnk" (did you mean "tank"?); there is tank`, "read", "tnk")

	g := start(t, config)
	c := connect(t, g.mqtt)
	if m := c.first("test/tank/state"); !strings.HasPrefix(m.payload, `{"rain":1,"level":20,"pump":false,`) {
		t.Errorf("state: %+v", m)
	}
	c.subscribe("test/tank/result")
	want(0, values("2", "20 m", "off"), "", "read", "-now", "tank")
	want(0, "tank: pump = on\n", "", "set", "tank/pump", "true")
	for {
		if m := c.next(); strings.HasPrefix(m.topic, "test/tank/result") {
			if !strings.HasPrefix(m.payload, `{"ok":true,"channel":"pump","value":true,`) || m.retained {
				t.Errorf("result: %+v", m)
			}
			break
		}
	}
	want(0, "tank: level = -5 m\n", "", "set", "tank", `{"level": -5}`)
	want(0, "tank: level = -5 m\n", "", "set", "tank/level", "-5", "-timeout", "5s")
	want(0, values("2", "bad", "on"), "", "read", "tank")
	want(1, "", "99 is outside -10 to 30", "set", "tank/level", "99")
	want(1, "", "name the channel to set: level, pump", "set", "tank", "on")
	want(1, "", `channel "rain" is read-only`, "set", "tank/rain", "0")
	want(1, "", "the command is empty", "set", "tank/pump", "")
	want(1, "", `there is no channel "a/b"`, "set", "tank/a/b", "1")
	want(1, "", `there is no device "tnk" (did you mean "tank"?); there is tank`, "set", "tnk", "on")
	want(2, "", "the running gateway holds tank", "set", "-for", "1s", "tank/pump", "on")
	want(2, "", "name a device and a value", "set", "tank")
	want(2, "", "name one device", "read")

	out, _ := ask(0, "read", "-json", "tank")
	var d struct {
		Name, Kind, Topic string
		Online            bool
		Values            []struct {
			Channel, Unit, Quality string
			Value                  any
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Topic != "test/tank" || !d.Online || len(d.Values) != 3 ||
		d.Values[1].Quality != "bad" || d.Values[1].Value != nil || d.Values[0].Value != 2.0 || d.Values[0].Unit != "mm" {
		t.Errorf("%v %s", err, out)
	}
	g.stop()
}

// TestAReadingIsFollowedUntilCtrlC: a line for what comes, first what is known.
func TestAReadingIsFollowedUntilCtrlC(t *testing.T) {
	t.Parallel()
	config := writeConfig(t, t.TempDir(), tank)
	line := regexp.MustCompile(`^\d\d:\d\d:\d\d  rain (\d+) mm, level (\S+ m|bad), pump (on|off)$`)
	follow := func(args ...string) (next func() []string, end func()) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), tooLong)
		c := exec.CommandContext(ctx, program, append(args, "-config", config)...)
		c.Dir, c.Env = t.TempDir(), clean()
		var errOut bytes.Buffer
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stdout, c.Stderr = in, &errOut
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		in.Close()
		lines := bufio.NewScanner(out)
		next = func() []string {
			t.Helper()
			if !lines.Scan() {
				t.Fatalf("no more lines: %v %s", lines.Err(), &errOut)
			}
			m := line.FindStringSubmatch(lines.Text())
			if m == nil {
				t.Fatalf("%q", lines.Text())
			}
			return m
		}
		end = func() {
			t.Helper()
			if err := c.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			if code := exitCode(t, c.Wait()); code != 0 || errOut.Len() > 0 {
				t.Errorf("gateway %v: exit code %d after Ctrl-C: %s", args, code, &errOut)
			}
			out.Close()
			cancel()
		}
		return next, end
	}

	next, end := follow("read", "-every", "10ms", "tank")
	for _, rain := range []string{"1", "2", "3"} {
		if m := next(); m[1] != rain {
			t.Errorf("opened here: %q, want rain %s", m[0], rain)
		}
	}
	end()

	g := start(t, config)
	connect(t, g.mqtt).first("test/tank/state")
	next, end = follow("read", "-follow", "tank")
	if m := next(); m[1] != "1" || m[3] != "off" {
		t.Errorf("what is known: %q", m[0])
	}
	if code, _, err := verb(t, "set", "tank/pump", "on", "-config", config); code != 0 {
		t.Error(err)
	}
	if m := next(); m[1] != "1" || m[3] != "on" {
		t.Errorf("what is new: %q", m[0])
	}
	end()
	next, end = follow("read", "-every", "50ms", "tank")
	for _, rain := range []string{"2", "3"} {
		if m := next(); m[1] != rain {
			t.Errorf("measured: %q, want rain %s", m[0], rain)
		}
	}
	end()
	g.stop()
}
