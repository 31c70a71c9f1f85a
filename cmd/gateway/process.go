package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/all"
)

// A process is what a verb sees of the world around it.
type process struct {
	stdin          *os.File
	stdout, stderr io.Writer
	getenv         func(string) string
	ports          func() drivers.Ports // the ways to the hardware

	// lastWill runs when a second signal ends the process at once: the terminal must not stay raw.
	lastWill atomic.Pointer[func()]

	// hangup is what SIGHUP does, where it does not end the process. It must not block.
	hangup atomic.Pointer[func()]
}

func newProcess() *process {
	return &process{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, ports: all.SystemPorts}
}

// oneSignal is how long the same signal counts as one: timeout(1) and others send it to the process and to
// its group.
const oneSignal = 300 * time.Millisecond

// onHangup has SIGHUP call reload from now on, if nobody closes a terminal with it: if the process has none.
// stop gives the signal back.
func (p *process) onHangup(reload func()) (stop func()) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err == nil {
		tty.Close()
		return func() {}
	}
	p.hangup.Store(&reload)
	return func() { p.hangup.Store(nil) }
}

// signals returns a context that ends with the first SIGINT or SIGTERM, or SIGHUP where it is not for
// onHangup. The second one ends the process at once, with 128 + its number. stop gives the signals back.
func (p *process) signals(parent context.Context) (ctx context.Context, stop func()) {
	// Without this, a journal that restarts or a closed pipe at stdout would end the gateway.
	signal.Ignore(syscall.SIGPIPE)

	ctx, cancel := context.WithCancel(parent)
	got := make(chan os.Signal, 2)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup(1)
		signal.Notify(got, syscall.SIGHUP)
	}
	done := make(chan struct{})
	next := func() (os.Signal, bool) {
		for s := range got {
			hangup := p.hangup.Load()
			if s != syscall.SIGHUP || hangup == nil {
				return s, true
			}
			(*hangup)()
		}
		return nil, false
	}
	go func() {
		defer close(done)
		first, ok := next()
		if !ok {
			return
		}
		cancel()
		begun := time.Now()
		again := first
		for again == first && time.Since(begun) < oneSignal {
			if again, ok = next(); !ok {
				return
			}
		}
		if will := p.lastWill.Load(); will != nil {
			(*will)()
		}
		fmt.Fprintln(p.stderr, "gateway: second signal, stopped at once")
		os.Exit(128 + int(again.(syscall.Signal)))
	}()
	return ctx, func() {
		signal.Stop(got)
		close(got)
		<-done
		cancel()
	}
}
