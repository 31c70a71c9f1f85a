package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"edgegateway/broker"
	"edgegateway/config"
	"edgegateway/status"
)

// files looks at what the configuration names: can it be read, and by whom else.
func (c *checker) files(cfg config.Config) {
	for _, f := range cfg.Files() {
		if err := readable(f); err != nil {
			c.problem(filepath.Base(f.Path), "%v", cfg.Fault(f.Key, "%v", err))
			continue
		}
		if filepath.IsAbs(f.Path) {
			c.ok(filepath.Base(f.Path), "%s", f.Path)
			continue
		}
		c.ok(filepath.Base(f.Path), "%s, seen from here: a service with another working directory does not find it", f.Path)
	}
	for _, l := range cfg.Broker.Listeners {
		var unreadable *fs.PathError // said above
		if err := l.CheckFiles(); err != nil && !errors.As(err, &unreadable) {
			c.problem("listener", "%v", err)
		}
	}
}

func readable(f config.File) error {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: let this user read it, e.g. chgrp and chmod 0640", err)
	}
	if whole, abs := filepath.Abs(f.Path); errors.Is(err, fs.ErrNotExist) && abs == nil && whole != f.Path {
		return fmt.Errorf("%w: looked for as %s, as a path is relative to the working directory", err, whole)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a directory", f.Path)
	case f.Secret && info.Mode().Perm()&0o007 != 0:
		return fmt.Errorf("%s holds a secret and every user of this machine can read it: chmod o-rwx %s", f.Path, f.Path)
	}
	return nil
}

// dataDir tries to write where the store will lie. A directory that is not there yet is made by the
// gateway, so the next one above it that is there has to allow that.
func (c *checker) dataDir(dir string) {
	there := dir
	for {
		info, err := os.Stat(there)
		if err == nil && !info.IsDir() {
			c.problem("data_dir", "%s is not a directory", there)
			return
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			c.problem("data_dir", "%v", err)
			return
		}
		there = filepath.Dir(there)
	}
	probe, err := os.CreateTemp(there, ".gateway-check-*")
	if err != nil {
		c.problem("data_dir", "%v: let this user write there, or set data_dir to another directory", err)
		return
	}
	probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		c.problem("data_dir", "%v", err)
		return
	}
	if there != dir {
		c.ok("data_dir", "%s can be made", dir)
		return
	}
	c.ok("data_dir", "%s can be written", dir)
}

// ports tries each address that the gateway will open. What a running gateway has open is its own.
func (c *checker) ports(cfg config.Config, own []status.Listening) {
	taken := func(address string) bool {
		return slices.ContainsFunc(own, func(l status.Listening) bool {
			place := placeOf(l.Address)
			return place == address || sameAddress(place, address)
		})
	}
	for _, l := range cfg.Broker.Listeners {
		scheme, rest, _ := strings.Cut(l.Address, "://")
		if at, err := net.ResolveTCPAddr("tcp", rest); scheme != "unix" && err == nil && l.LetsNobodyIn(at) {
			c.warning("listener", "%s lets nobody in, as nothing says who may: set password_file (gateway passwd writes one), or allow_anonymous = true", l.Address)
		}
		switch {
		case taken(rest):
			c.ok("listener", "%s is open in the running gateway", l.Address)
		case scheme == "unix":
			c.unixListener(rest)
		case l.CheckFiles() != nil: // said above
		default:
			ln, err := broker.Listen(l)
			c.port("listener", l.Address, ln, portHint(err, "address under [[broker.listeners]]"))
		}
	}
	switch a := cfg.Status.Address; {
	case a == "":
		c.ok("status page", "switched off")
	case taken(a):
		c.ok("status page", "http://%s/ is open in the running gateway", a)
	default:
		ln, err := status.Listen(cfg.Status)
		c.port("status page", "http://"+a+"/", ln, portHint(err, "address under [status]"))
	}
}

func (c *checker) port(what, address string, ln net.Listener, err error) {
	if err != nil {
		c.problem(what, "%v", err)
		return
	}
	ln.Close()
	c.ok(what, "%s is free", address)
}

// unixListener does not open the socket: that would take it away from a process that lives.
func (c *checker) unixListener(path string) {
	if err := syscall.Access(filepath.Dir(path), 2 /* W_OK */); err != nil {
		c.problem("listener", "unix://%s: this user can not make a socket in %s: %v", path, filepath.Dir(path), err)
		return
	}
	c.ok("listener", "unix://%s can be made", path)
}

// placeOf is the socket behind an address that is shown: a file, or host:port without the path of a page or
// a WebSocket.
func placeOf(address string) string {
	scheme, place, _ := strings.Cut(address, "://")
	if scheme != "unix" {
		place, _, _ = strings.Cut(place, "/")
	}
	return place
}

// sameAddress reports whether two names stand for one address to listen at: 0.0.0.0:1883 is shown as
// [::]:1883 once it is open.
func sameAddress(a, b string) bool {
	one, err := net.ResolveTCPAddr("tcp", a)
	if err != nil {
		return false
	}
	other, err := net.ResolveTCPAddr("tcp", b)
	if err != nil || one.Port != other.Port {
		return false
	}
	return one.IP.Equal(other.IP) || everywhere(one.IP) && everywhere(other.IP)
}

func everywhere(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }

// sameDir reports whether two names lead to one directory.
func sameDir(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}
