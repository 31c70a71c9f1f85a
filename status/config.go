package status

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Config is the [status] section.
type Config struct {
	// Address is the host:port of the page, /metrics and /healthz. Empty switches them off; the control
	// socket stays. The host must be a loopback address or localhost.
	Address string `toml:"address"`
	// PasswordFile is for an address beyond loopback, which is not implemented: it is refused, not ignored.
	PasswordFile string `toml:"password_file"`
}

// DefaultConfig serves the page to this machine only.
func DefaultConfig() Config { return Config{Address: "127.0.0.1:8080"} }

// Validate reports the values that can not work, each in a sentence that starts with its key.
func (c Config) Validate() error {
	err := c.validateAddress()
	if c.PasswordFile != "" {
		err = errors.Join(err, errors.New("password_file is not supported yet: remove it, keep address on loopback and reach the page through ssh -L 8080:127.0.0.1:8080"))
	}
	return err
}

func (c Config) validateAddress() error {
	if c.Address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return fmt.Errorf("address %q must be host:port, e.g. \"127.0.0.1:8080\", or \"\" to switch the page off", c.Address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("address %q needs a port from 0 (any free one) to 65535", c.Address)
	}
	if !loopback(host) {
		return fmt.Errorf("address %q would show the page to the network without a password: use 127.0.0.1:%s and reach it through ssh -L %s:127.0.0.1:%s", c.Address, port, port, port)
	}
	return nil
}

// loopback reports whether a host, as it stands in an address or in a Host header, is this machine's own.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
