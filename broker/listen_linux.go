package broker

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// TCP looks for peers that are gone without a word, as long as a client has no
// keep alive of MQTT: after 15 s of silence, every 15 s, 9 times. These are the
// values of package net.
const (
	probeAfter = 15 // seconds
	probeEvery = 15 // seconds
	probes     = 9
)

// listenTCP sets up these probes once, on the listening socket, from which Linux
// hands them down. Package net would set them with four system calls for every
// connection.
func listenTCP(address string) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1,
		Control: func(_, _ string, raw syscall.RawConn) (err error) {
			set := func(fd uintptr) {
				err = errors.Join(
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
					syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, probeAfter),
					syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, probeEvery),
					syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probes),
				)
			}
			if refused := raw.Control(set); refused != nil {
				return refused
			}
			return err
		},
	}
	return lc.Listen(context.Background(), "tcp", address)
}
