package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	"edgegateway/broker"
)

// portHint adds to the error of an address what to do about it; key is where the address stands.
func portHint(err error, key string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program has this port (see \"ss -ltnp\"); stop it, or change %s", err, key)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: this user may not open it; ports below 1024 need CAP_NET_BIND_SERVICE; change %s", err, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have this address (see \"ip address\"); change %s", err, key)
	}
	return err
}

// addressOf is what a client types to reach a listener: the scheme of its configuration, the address that
// the kernel gave it, and the path of a WebSocket.
func addressOf(l broker.ListenerConfig, ln net.Listener) string {
	scheme, _, _ := strings.Cut(l.Address, "://")
	if ln.Addr().Network() == "unix" {
		return (&url.URL{Scheme: scheme, Path: ln.Addr().String()}).String()
	}
	return scheme + "://" + ln.Addr().String() + l.WebPath()
}
