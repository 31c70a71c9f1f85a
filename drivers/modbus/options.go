package modbus

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"edgegateway/drivers"
	"edgegateway/drivers/serial"
)

// UnitOptions are the keys that both kinds share.
type UnitOptions struct {
	UnitID    int           `toml:"unit_id"`    // of the unit; 1 to 247, over TCP 0 to 255
	Timeout   time.Duration `toml:"timeout"`    // for the begin of an answer, in steps of 0.3 s
	Retries   int           `toml:"retries"`    // of a read that brought no answer or a damaged one
	CountFrom int           `toml:"count_from"` // the first address: 0 as on the wire, 1 as in many manuals
	MaxGap    int           `toml:"max_gap"`    // registers that nobody wants, read to save a request
	MaxCount  int           `toml:"max_count"`  // registers in a request, at most 125
	Points    []Point       `toml:"points"`
}

func unitDefaults() UnitOptions {
	// Typically 1 s to several at 9600 bit/s, says Serial Line V1.02, 2.4.1, page 10.
	return UnitOptions{UnitID: 1, Timeout: time.Second, Retries: 1, MaxGap: 8, MaxCount: mostRegisters}
}

func (o UnitOptions) validate() error {
	switch {
	case o.Timeout < 50*time.Millisecond || o.Timeout > 4*time.Second:
		return fmt.Errorf("timeout must be between 50ms and 4s, not %v", o.Timeout)
	case o.Retries < 0 || o.Retries > 5:
		return fmt.Errorf("retries must be between 0 and 5, not %d", o.Retries)
	case o.CountFrom != 0 && o.CountFrom != 1:
		return fmt.Errorf("count_from must be 0 or 1, not %d; of an address like 40108 only 108 counts, with count_from = 1", o.CountFrom)
	case o.MaxCount < 1 || o.MaxCount > mostRegisters:
		return fmt.Errorf("max_count must be between 1 and %d, not %d", mostRegisters, o.MaxCount)
	case o.MaxGap < 0 || o.MaxGap > mostRegisters:
		return fmt.Errorf("max_gap must be between 0 and %d, not %d", mostRegisters, o.MaxGap)
	case len(o.Points) == 0:
		return errors.New("points must name at least one value")
	}
	seen := make(map[string]bool)
	for _, p := range o.Points {
		if err := p.validate(o.CountFrom); err != nil {
			return err
		}
		if seen[p.Name] {
			return fmt.Errorf("points.name is %q twice", p.Name)
		}
		seen[p.Name] = true
		if n := p.normal(); !n.bits() && n.width() > o.MaxCount {
			return fmt.Errorf("max_count must be at least %d, for %q", n.width(), p.Name)
		}
	}
	return nil
}

// RTUOptions are the keys of the kind modbus-rtu.
type RTUOptions struct {
	serial.PortOptions
	UnitOptions

	Delay time.Duration `toml:"delay"` // between an answer and the next request, if the standard's 3.5 characters are too few for a converter or a unit
	Echo  bool          `toml:"echo"`  // what is sent comes back; the first read finds that out by itself
}

func rtuDefaults() RTUOptions {
	return RTUOptions{PortOptions: serial.DefaultPort(9600), UnitOptions: unitDefaults()}
}

// Validate checks what can be checked without a port.
func (o RTUOptions) Validate() error {
	if err := o.PortOptions.Validate(); err != nil {
		return err
	}
	switch {
	case o.DataBits != 8:
		return fmt.Errorf("data_bits must be 8 for Modbus RTU, not %d", o.DataBits)
	case o.UnitID < 1 || o.UnitID > 247:
		return fmt.Errorf("unit_id must be between 1 and 247, not %d", o.UnitID)
	case o.Delay < 0 || o.Delay > time.Second:
		return fmt.Errorf("delay must be between 0s and 1s, not %v", o.Delay)
	}
	return o.validate()
}

// bitsOfCharacter counts start, data, parity and stop bits.
func (o RTUOptions) bitsOfCharacter() int {
	n := 1 + o.DataBits + o.StopBits
	if o.Parity != "none" {
		n++
	}
	return n
}

// Uses says under which settings several units share the port.
func (o RTUOptions) Uses() []drivers.Use {
	uses := o.PortOptions.Uses()
	uses[0].Shared = o.settings()
	return uses
}

// settings is what all devices on a port must agree on, as a person reads it.
func (o RTUOptions) settings() string {
	s := o.PortOptions.Settings()
	if o.Echo {
		s += ", echo"
	}
	return s
}

// TCPOptions are the keys of the kind modbus-tcp.
type TCPOptions struct {
	Address string `toml:"address"` // host:port, or a host for port 502
	Framing string `toml:"framing"` // tcp; rtu for a converter that takes bytes as they are
	UnitOptions
}

func tcpDefaults() TCPOptions {
	return TCPOptions{Framing: "tcp", UnitOptions: unitDefaults()}
}

// Validate checks what can be checked without a network.
func (o TCPOptions) Validate() error {
	host, port, err := net.SplitHostPort(o.hostPort())
	number, notNumber := strconv.ParseUint(port, 10, 16)
	switch {
	case o.Address == "" || err != nil || notNumber != nil || number == 0,
		host == "", strings.Contains(host, ":") && net.ParseIP(host) == nil:
		return fmt.Errorf("address must be a host, or host:port like \"192.168.1.50:502\", not %q", o.Address)
	case o.Framing != "tcp" && o.Framing != "rtu":
		return fmt.Errorf("framing must be tcp or rtu, not %q", o.Framing)
	case o.UnitID < 0 || o.UnitID > 255:
		return fmt.Errorf("unit_id must be between 0 and 255, not %d", o.UnitID)
	}
	return o.validate()
}

// Uses says under which settings several units share the connection.
func (o TCPOptions) Uses() []drivers.Use {
	return []drivers.Use{{What: "the Modbus connection to " + o.hostPort(), Shared: o.settings(), Key: "address"}}
}

func (o TCPOptions) settings() string { return "framing " + o.Framing }

// hostPort is the address as all units behind it write it.
func (o TCPOptions) hostPort() string {
	address := strings.ToLower(o.Address)
	if _, _, err := net.SplitHostPort(address); err != nil {
		return net.JoinHostPort(address, "502")
	}
	return address
}
