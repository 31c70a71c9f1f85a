package ptytest

import (
	"os"
	"path/filepath"
	"testing"
)

// A Cable is a USB adapter: a name that stays, as below /dev/serial/by-id, and behind
// it a pseudo-terminal, which is another one each time the adapter is plugged in.
type Cable struct {
	*os.File        // the far end: what the test writes arrives at the port
	Path     string // the name that stays
	Port     string // what it leads to now

	t testing.TB
}

// Plug makes a cable, plugged in. It ends with the test.
func Plug(t testing.TB) *Cable {
	t.Helper()
	c := &Cable{Path: filepath.Join(t.TempDir(), "usb-adapter"), t: t}
	c.PlugAgain()
	return c
}

// Pull pulls the adapter out: the port hangs up, and its name is gone.
func (c *Cable) Pull() {
	c.t.Helper()
	c.Close()
	if err := os.Remove(c.Path); err != nil {
		c.t.Fatal(err)
	}
}

// PlugAgain plugs the adapter in; it gets another port behind the same name.
func (c *Cable) PlugAgain() {
	c.t.Helper()
	c.File, c.Port = Open(c.t)
	if err := os.Symlink(c.Port, c.Path); err != nil {
		c.t.Fatal(err)
	}
}
