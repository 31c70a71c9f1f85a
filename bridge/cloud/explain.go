package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"edgegateway/broker/packet"
)

// explainDial adds the next step to an error of the network. whom is how the far
// side is called, address where it was looked for.
func explainDial(whom, address string, err error) error {
	err = plain(err)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("connect to %s: %w (is the name right, and is there a DNS server?)", whom, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s: %w (is it running at %s?)", whom, err, address)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("connect to %s: no answer in time (does a firewall stand between?)", whom)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("connect to %s: %w (is the network up?)", whom, err)
	}
	return fmt.Errorf("connect to %s: %w", whom, err)
}

// plain leaves out of an error of the network what its sentence says anyway: the address
// and the call.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// direction is the code with which a server ended or refused a connection, and the
// list of other servers that came with it.
func direction(err error) (packet.ReasonCode, string) {
	var no refusal
	var bye disconnected
	switch {
	case errors.As(err, &no):
		return no.code, no.reference
	case errors.As(err, &bye):
		return bye.code, bye.reference
	}
	return 0, ""
}
