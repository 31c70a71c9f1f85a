package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
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

func salvageStoreVerb() verb {
	return verb{
		name:    "salvage-store",
		args:    "FROM TO",
		summary: "copy what can be read of a damaged store file",
		about: "Writes what can be kept of a damaged store file to a fresh one, and prints as JSON what that is.\n" +
			"The gateway runs this in a child process when its store is damaged. The damaged file is only read.",
		example: "gateway salvage-store gateway.db.corrupt-20260212T081500.000Z found.db",
		hidden:  true,
		setup: func(*flag.FlagSet) action {
			return func(_ context.Context, p *process, args []string) error {
				if len(args) != 2 {
					return usageError("name a damaged store file and the one to write")
				}
				if _, err := os.Lstat(args[1]); err == nil {
					return fmt.Errorf("%s exists: name a file that does not", args[1])
				}
				kept, err := buffer.Salvage(args[0], args[1])
				if err != nil {
					return err
				}
				return json.NewEncoder(p.stdout).Encode(kept)
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
		buffer.WithSalvager(storeSalvager(notify)),
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
		_, err := inChild("check-store", path)
		return err
	}
}

// storeSalvager returns what the store has done with a damaged file.
func storeSalvager(notify *notifier) func(from, to string) (buffer.Salvaged, error) {
	return func(from, to string) (kept buffer.Salvaged, err error) {
		defer askPatience(notify)()
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kept, err
		}
		said, err := inChild("salvage-store", from, to)
		if err == nil {
			err = json.Unmarshal(said, &kept)
		}
		return kept, err
	}
}

// inChild has a child process of this program do something that some files end a process by, and returns what
// it prints.
func inChild(args ...string) (said []byte, err error) {
	said, err = oneChild(args)
	var exit *exec.ExitError
	if errors.As(err, &exit) && !exit.Exited() {
		// A signal from outside (somebody's kill, the kernel short of memory) says nothing about the
		// file. A second one in a row does: the file takes more than this machine has.
		said, err = oneChild(args)
	}
	return said, err
}

// longestReason bounds what is passed on of what the child said.
const longestReason = 400

func oneChild(args []string) ([]byte, error) {
	// Pdeathsig comes with the end of the thread that started the child, not of the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var printed bytes.Buffer
	var said strings.Builder
	child := exec.Command("/proc/self/exe", args...) // also when an update has replaced the file
	child.Stdout, child.Stderr = &printed, &said
	child.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is for the gateway: a child ended by it would look like a damaged file
		Pdeathsig: syscall.SIGKILL, // nobody waits for it any more
	}
	err := child.Run()
	if err == nil {
		return printed.Bytes(), nil
	}
	// A fault in the child prints a page of stack, whose first line tells.
	reason, _, _ := strings.Cut(strings.TrimPrefix(said.String(), "gateway: "), "\n")
	if reason == "" || len(reason) > longestReason {
		reason = args[0]
	}
	return nil, fmt.Errorf("%s: %w", reason, err)
}
