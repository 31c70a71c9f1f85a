package main_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The whole demo, as a pipe: an outage, the backlog, and every message counted at the end.
func TestDemoLosesNothingInAnOutage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 9 s")
	}
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	tmp := t.TempDir()
	c := exec.CommandContext(ctx, program, "demo", "-anyport", "-first", "2s", "-outage", "3s", "-for", "8s")
	c.Env = clean("TMPDIR=" + tmp)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if code := exitCode(t, c.Run()); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, &out, &errOut)
	}
	for _, want := range []string{
		`link cut for 3 s`,
		`(?m)link CUT .* waiting [1-9]`,
		`link restored: [1-9][0-9]* messages to deliver`,
		`drained: all [1-9][0-9]* messages arrived`,
		`(?m)^published ([0-9,]+)   arrived ([0-9,]+)   lost 0   duplicates [0-9,]+   out of order 0$`, // at QoS 1 what is under way when the link is cut comes twice
		`the link was cut once; at most [1-9]`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	if m := regexp.MustCompile(`(?m)^published ([0-9,]+)   arrived ([0-9,]+)`).FindStringSubmatch(out.String()); m != nil && m[1] != m[2] {
		t.Errorf("published %s, arrived %s", m[1], m[2])
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences in a pipe")
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A terminal window that is closed sends SIGHUP.
func TestDemoLeavesNothingBehindWhenItsTerminalCloses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	tmp := t.TempDir()
	c := exec.CommandContext(ctx, program, "demo", "-anyport")
	c.Env = clean("TMPDIR=" + tmp)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "devices publish") {
	}
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if code := exitCode(t, c.Wait()); code != 0 {
		t.Errorf("exit code %d", code)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
