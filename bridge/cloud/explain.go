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

// nextStep is what a person can do about an error of the link, "" if there is
// nothing better than to wait.
func nextStep(err error) string {
	var code packet.ReasonCode
	var r refusal
	var d disconnected
	switch {
	case errors.As(err, &r):
		code = r.code
	case errors.As(err, &d):
		code = d.code
	}
	switch code {
	case packet.BadUserNameOrPassword, packet.NotAuthorized:
		return "check username and password_file, and what the server lets this user do"
	case packet.ClientIdentifierNotValid:
		return "set client_id to one that the server accepts"
	case packet.SessionTakenOver:
		return "another client uses this client_id: give each gateway its own"
	case packet.UnsupportedProtocolVersion:
		return "the server must speak MQTT 5"
	case packet.Banned:
		return "ask the operator of the server"
	case packet.UseAnotherServer, packet.ServerMoved:
		return "the server names another one: change servers"
	case packet.RetainNotSupported, packet.QoSNotSupported:
		return "the server must accept a retained will of QoS 1"
	}
	return ""
}
