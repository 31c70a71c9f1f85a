package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/drivers/serial/ptytest"
)

const (
	reloading        = "RELOADING=1\nWATCHDOG=1"
	oldConfiguration = "STATUS=goes on with its old configuration; the journal says why"
)

// reload has it read its configuration, and waits until it serves again.
func (r *running) reload() {
	r.t.Helper()
	r.hangUp()
	r.waitNotify(reloading)
	r.ready()
}

// hangUp has it read its configuration. What it said before is forgotten.
func (r *running) hangUp() {
	r.t.Helper()
	r.mu.Lock()
	r.lines = nil
	r.mu.Unlock()
	r.signal(syscall.SIGHUP)
}

func TestReloadTakesTheConfigurationAsItIsNow(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	connect(t, g.mqtt).keep("kept", "precious")
	for _, name := range []string{"first", "second"} {
		writeConfig(t, dir, "[[devices]]\nname = \""+name+"\"\nkind = \"sim\"\n")
		g.reload()
		if m := connect(t, g.mqtt).first("test/" + name + "/state"); m.payload == "" {
			t.Errorf("state of the device %s: %+v", name, m)
		}
		if m := connect(t, g.mqtt).first("kept"); m.payload != "precious" {
			t.Errorf("after the reload: %+v", m)
		}
	}
	g.stop()
}

func TestReloadOfAMistakeChangesNothing(t *testing.T) {
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	c := connect(t, g.mqtt)
	writeConfig(t, dir, "[[devices]]\nname = \"one\"\nkind = \"simm\"\n[[devices]]\nname = \"two\"\nkind = \"sim\"\nevrey = \"1s\"\n")
	g.signal(syscall.SIGHUP)
	g.waitLine("simm")
	g.waitLine("evrey")
	g.waitNotify(oldConfiguration)
	c.keep("still", "here")
	writeConfig(t, dir, "")
	g.reload()
	if m := connect(t, g.mqtt).first("still"); m.payload != "here" {
		t.Errorf("after the reload: %+v", m)
	}
	g.stop()
}

func TestReloadThatCanNotStartGoesOnWithTheOldConfiguration(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	config := writeConfig(t, dir, "")
	g := start(t, config)
	connect(t, g.mqtt).keep("kept", "precious")
	writeConfig(t, dir, "[[broker.listeners]]\naddress = \"tcp://"+taken.Addr().String()+"\"\n")
	g.hangUp()
	g.waitNotify(oldConfiguration) // it is ready with it, and stays so
	g.ready()
	g.waitLine("goes on with the old one")
	if m := connect(t, g.mqtt).first("kept"); m.payload != "precious" {
		t.Errorf("after the reload: %+v", m)
	}
	g.stop()
}

// A terminal window that is closed must not leave a gateway behind that nobody sees.
func TestGatewayEndsWithItsTerminal(t *testing.T) {
	terminal, path := ptytest.Open(t)
	side, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command(program, "run", "-config", writeConfig(t, dir, ""))
	c.Env = clean()
	c.Stdin, c.Stdout, c.Stderr = side, side, out
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(tooLong, func() { _ = c.Process.Kill() })
	defer late.Stop()
	var said strings.Builder
	for buf := make([]byte, 4096); !strings.Contains(said.String(), "ready"); {
		n, err := terminal.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, &said)
		}
		said.Write(buf[:n])
	}
	terminal.Close()
	if code := exitCode(t, c.Wait()); code != 0 {
		text, _ := os.ReadFile(out.Name())
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// The old configuration names the same file, so there would be nothing to go back to.
func TestReloadOfAMistakeInAFileThatIsNamedChangesNothing(t *testing.T) {
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	write := func(text string) {
		if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("topic readwrite #\n")
	config := writeConfig(t, dir, "acl_file = \""+rules+"\"\n")
	g := start(t, config)
	c := connect(t, g.mqtt)
	write("topc readwrite #\n")
	g.signal(syscall.SIGHUP)
	g.waitLine("rules:1: a line begins with")
	g.waitNotify(oldConfiguration)
	c.keep("still", "here")
	write("topic read #\n")
	g.reload()
	if m := connect(t, g.mqtt).first("still"); m.payload != "here" {
		t.Errorf("after the reload: %+v", m)
	}
	g.stop()
}
