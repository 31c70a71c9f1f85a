package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"edgegateway/buffer"
)

func checkStoreVerb() verb {
	return verb{
		name:    "check-store",
		args:    "FILE",
		summary: "look at a store file",
		about: "Reads a whole store file and tells by its exit code whether it is sound. The gateway runs this\n" +
			"in a child process after an unclean stop, because some damage ends the process that reads it.",
		example: "gateway check-store /var/lib/gateway/gateway.db",
		hidden:  true,
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, _ *process, args []string) error {
				if len(args) != 1 {
					return usageError("name one store file")
				}
				return buffer.Check(args[0])
			}
		},
	}
}

// To check or copy a large file on a slow card takes minutes; the service manager is asked for patience meanwhile.
const (
	patience = 60 * time.Second
	askEvery = 20 * time.Second
)

// storeOptions are those of a gateway that a service manager may watch.
func storeOptions(notify *notifier) []buffer.Option {
	return []buffer.Option{
		buffer.WithChecker(storeChecker(notify)),
		buffer.WithLongWork(func() (end func()) { return askPatience(notify) }),
	}
}

// askPatience asks the service manager for patience until end is called.
func askPatience(notify *notifier) (end func()) {
	done := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for {
			_ = notify.ExtendTimeout(patience) // without it the start may be cut short; nothing better to do
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		asking.Wait()
	}
}

// storeChecker returns what the store asks after an unclean stop. An error means that the file is damaged.
func storeChecker(notify *notifier) func(path string) error {
	return func(path string) error {
		defer askPatience(notify)()
		err := checkInChild(path)
		var exit *exec.ExitError
		if errors.As(err, &exit) && !exit.Exited() {
			// A signal from outside (somebody's kill, the kernel short of memory) says nothing about the
			// file. A second one in a row does: the file takes more than this machine has.
			err = checkInChild(path)
		}
		return err
	}
}

// longestReason bounds what is passed on of what the child said.
const longestReason = 400

// checkInChild has a child process of this program read the file.
func checkInChild(path string) error {
	// Pdeathsig comes with the end of the thread that started the child, not of the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var said strings.Builder
	child := exec.Command("/proc/self/exe", "check-store", path) // also when an update has replaced the file
	child.Stderr = &said
	child.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is for the gateway: a child ended by it would look like a damaged file
		Pdeathsig: syscall.SIGKILL, // nobody waits for it any more
	}
	err := child.Run()
	if err == nil {
		return nil
	}
	// A fault in the child prints a page of stack, whose first line tells.
	reason, _, _ := strings.Cut(strings.TrimPrefix(said.String(), "gateway: "), "\n")
	if reason == "" || len(reason) > longestReason {
		reason = "check the store"
	}
	return fmt.Errorf("%s: %w", reason, err)
}
