package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// A notifier tells the service manager how the gateway is doing: sd_notify(3)
// over the socket named by NOTIFY_SOCKET, and the watchdog of
// sd_watchdog_enabled(3). Outside of a service of Type=notify every method does
// nothing and returns nil. The methods are safe for concurrent use.
type notifier struct {
	log      *slog.Logger
	addr     *net.UnixAddr // nil: nobody listens
	watchdog time.Duration // the manager acts after this much silence; 0: it does not watch us
}

// newNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID through
// getenv; pid is the id of this process. It opens nothing. The error names the
// variable that could not be understood; the gateway can run without, but the
// service manager would wait for READY=1 in vain.
func newNotifier(getenv func(string) string, pid int, log *slog.Logger) (*notifier, error) {
	n := &notifier{log: log}
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return n, nil
	}
	// A leading @ is an abstract socket, in sd_notify(3) as in package net.
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET %q is neither an absolute path nor an abstract socket (@name)", path)
	}
	n.addr = &net.UnixAddr{Name: path, Net: "unixgram"}

	usec := getenv("WATCHDOG_USEC")
	// The variables are inherited: a child of the watched process has another pid.
	if owner := getenv("WATCHDOG_PID"); usec == "" || owner != "" && owner != strconv.Itoa(pid) {
		return n, nil
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us <= 0 || us > int64(maxWatchdog/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC %q is not a number of microseconds from 1 to %d",
			usec, maxWatchdog/time.Microsecond)
	}
	n.watchdog = time.Duration(us) * time.Microsecond
	return n, nil
}

const (
	maxWatchdog = 365 * 24 * time.Hour
	// notifyTimeout bounds one datagram: a service manager that does not read
	// must not stop the gateway.
	notifyTimeout = time.Second
)

// Ready says that the gateway serves; units ordered after it may start.
func (n *notifier) Ready() error { return n.send("READY=1") }

// Reloading says that the gateway stops and starts again in place, until Ready. It feeds the watchdog, too,
// as nothing else does meanwhile; call it again when the stop is done.
func (n *notifier) Reloading() error { return n.send("RELOADING=1\nWATCHDOG=1") }

// Stopping says that a clean stop has begun.
func (n *notifier) Stopping() error { return n.send("STOPPING=1") }

// Status sets the line that `systemctl status` shows. Line ends become spaces.
func (n *notifier) Status(text string) error { return n.send(statusLine(text)) }

// ExtendTimeout asks for at least d from now until the next state (ready,
// stopped) or the next call, past TimeoutStartSec and TimeoutStopSec. For work
// of unknown length call it again before d is over. d is rounded up to a
// microsecond.
func (n *notifier) ExtendTimeout(d time.Duration) error {
	us := (d + time.Microsecond - 1) / time.Microsecond
	return n.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(int64(us), 10))
}

// unheard logs what the service manager does not know if err says so.
func (n *notifier) unheard(err error, what string) {
	if err != nil {
		n.log.Warn("the service manager does not know that the gateway "+what, "err", err)
	}
}

// Run feeds the watchdog as long as healthy returns nil, and returns nil when
// ctx ends. It asks at once and then every half of the watchdog's time; the
// context given to healthy ends after a quarter, so that two feedings are at
// most three quarters apart. While healthy returns an error nothing is fed: the
// reason goes to STATUS and, once per change, to the log, and the manager ends
// the process unless health returns in time. A healthy that never returns
// starves the watchdog as it should, but also keeps Run from returning.
// Without a watchdog Run only waits for ctx.
func (n *notifier) Run(ctx context.Context, healthy func(context.Context) error) error {
	if n.watchdog == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(max(n.watchdog/2, 1))
	defer tick.Stop()
	starved := false
	for {
		err := n.feed(ctx, healthy)
		if ctx.Err() != nil {
			return nil // a check cut short by the stop says nothing about health
		}
		if err != nil && !starved {
			n.log.Error("watchdog not fed", "acts_after", n.watchdog, "err", err)
			// The socket may be what fails; the log has the reason in any case.
			_ = n.Status("unhealthy: " + err.Error())
		}
		if err == nil && starved {
			n.log.Info("watchdog fed again")
			_ = n.Status("healthy again")
		}
		starved = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// feed asks healthy once and passes a yes on.
func (n *notifier) feed(ctx context.Context, healthy func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, n.watchdog/4)
	defer cancel()
	if err := healthy(ctx); err != nil {
		return err
	}
	return n.send("WATCHDOG=1")
}

// send passes one datagram to the service manager. It connects every time: the
// manager may have made a new socket, and one datagram in 15 s is cheap.
func (n *notifier) send(state string) (err error) {
	if n.addr == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return fmt.Errorf("notify the service manager of %q: %w", state, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return fmt.Errorf("notify the service manager of %q: %w", state, err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify the service manager of %q: %w", state, err)
	}
	return nil
}

// statusLine keeps text from becoming assignments of its own: they are
// separated by line ends.
func statusLine(text string) string {
	return "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}
