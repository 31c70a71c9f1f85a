package modbus

import (
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
	Delay     time.Duration `toml:"delay"`      // between an answer and the next request, if a converter or a unit needs more than the standard's 3.5 characters
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
	var m drivers.Mistakes
	m.If(o.Timeout < 50*time.Millisecond || o.Timeout > 4*time.Second, "timeout must be between 50ms and 4s, not %v", o.Timeout)
	m.If(o.Delay < 0 || o.Delay > time.Second, "delay must be between 0s and 1s, not %v", o.Delay)
	m.If(o.Retries < 0 || o.Retries > 5, "retries must be between 0 and 5, not %d", o.Retries)
	countable := o.CountFrom == 0 || o.CountFrom == 1
	m.If(!countable, "count_from must be 0 or 1, not %d; of an address like 40108 only 108 counts, with count_from = 1", o.CountFrom)
	many := o.MaxCount >= 1 && o.MaxCount <= mostRegisters
	m.If(!many, "max_count must be between 1 and %d, not %d", mostRegisters, o.MaxCount)
	m.If(o.MaxGap < 0 || o.MaxGap > mostRegisters, "max_gap must be between 0 and %d, not %d", mostRegisters, o.MaxGap)
	m.If(len(o.Points) == 0, "points must name at least one value")
	seen := make(map[string]bool)
	for i, p := range o.Points {
		first := o.CountFrom
		if !countable {
			first = p.Address // then nobody knows what is right
		}
		m.Add(fmt.Sprintf("points[%d].", i), p.validate(first))
		m.If(p.Name != "" && seen[p.Name], "points[%d].name is %q twice", i, p.Name)
		seen[p.Name] = true
		n := p.normal()
		m.If(many && !n.bits() && n.width() > o.MaxCount, "max_count must be at least %d, for %q", n.width(), p.Name)
	}
	return m.Err()
}

// Settable lists the writable points.
func (o UnitOptions) Settable() []string {
	var names []string
	for _, p := range o.Points {
		if p.Writable {
			names = append(names, p.Name)
		}
	}
	return names
}

// RTUOptions are the keys of the kind modbus-rtu.
type RTUOptions struct {
	serial.PortOptions
	UnitOptions

	Echo bool `toml:"echo"` // what is sent comes back; the first read finds that out by itself
}

func rtuDefaults() RTUOptions {
	return RTUOptions{PortOptions: serial.DefaultPort(9600), UnitOptions: unitDefaults()}
}

// Validate checks what can be checked without a port.
func (o RTUOptions) Validate() error {
	var m drivers.Mistakes
	m.Add("", o.PortOptions.Validate())
	m.If(o.DataBits >= 5 && o.DataBits < 8, "data_bits must be 8 for Modbus RTU, not %d", o.DataBits)
	m.If(o.UnitID < 1 || o.UnitID > 247, "unit_id must be between 1 and 247, not %d", o.UnitID)
	m.Add("", o.validate())
	return m.Err()
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
	reachable := err == nil && notNumber == nil && number != 0 && host != "" && (!strings.Contains(host, ":") || net.ParseIP(host) != nil)
	var m drivers.Mistakes
	m.If(o.Address == "", "address is missing: it is a host, or host:port like \"192.168.1.50:502\"")
	m.If(o.Address != "" && !reachable, "address must be a host, or host:port like \"192.168.1.50:502\", not %q", o.Address)
	m.If(o.Framing != "tcp" && o.Framing != "rtu", "framing must be tcp or rtu, not %q", o.Framing)
	m.If(o.UnitID < 0 || o.UnitID > 255, "unit_id must be between 0 and 255, not %d", o.UnitID)
	m.Add("", o.validate())
	return m.Err()
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
