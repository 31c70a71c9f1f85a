package serial

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edgegateway/drivers"
)

// PortOptions are the keys that all kinds on a serial port share.
type PortOptions struct {
	Path     string `toml:"path"`      // "/dev/serial/by-id/..." stays the same when ports are counted anew
	Baud     int    `toml:"baud"`      // bits per second
	DataBits int    `toml:"data_bits"` // 5 to 8
	Parity   string `toml:"parity"`    // none, odd, even
	StopBits int    `toml:"stop_bits"` // 1 or 2

	RS485          bool          `toml:"rs485"`                // the kernel turns the line round, with RTS
	RS485Before    time.Duration `toml:"rs485_delay_before"`   // from turning to the first bit, up to 100ms
	RS485After     time.Duration `toml:"rs485_delay_after"`    // from the last bit to turning back
	RS485ActiveLow bool          `toml:"rs485_rts_active_low"` // RTS is low while sending
}

// mostDelay is RS485_MAX_RTS_DELAY of the kernel's drivers/tty/serial/serial_core.c,
// which takes it for whatever is more.
const mostDelay = 100 * time.Millisecond

// DefaultPort is 8N1 at a rate.
func DefaultPort(baud int) PortOptions {
	return PortOptions{Baud: baud, DataBits: 8, Parity: "none", StopBits: 1}
}

// Validate checks what can be checked without a port.
func (o PortOptions) Validate() error {
	var m drivers.Mistakes
	m.If(o.Path == "", "path is missing: it is a device like \"/dev/ttyUSB0\"; `gateway devices -scan` lists the serial ports")
	m.If(o.Path != "" && !filepath.IsAbs(o.Path), "path must be a device like \"/dev/ttyUSB0\", not %q", o.Path)
	m.If(!slices.Contains(bauds(), o.Baud), "baud must be a rate that the kernel knows, such as 9600 or 115200, not %d", o.Baud)
	m.If(o.DataBits < 5 || o.DataBits > 8, "data_bits must be 5, 6, 7 or 8, not %d", o.DataBits)
	m.If(!slices.Contains([]string{"none", "odd", "even"}, o.Parity), "parity must be none, odd or even, not %q", o.Parity)
	m.If(o.StopBits != 1 && o.StopBits != 2, "stop_bits must be 1 or 2, not %d", o.StopBits)
	m.Add("", o.validateRS485())
	return m.Err()
}

func (o PortOptions) validateRS485() error {
	var m drivers.Mistakes
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"rs485_delay_before", o.RS485Before}, {"rs485_delay_after", o.RS485After}} {
		wrong := d.value < 0 || d.value > mostDelay || d.value%time.Millisecond != 0
		m.If(wrong, "%s must be between 0ms and %v, in whole milliseconds, not %v", d.key, mostDelay, d.value)
		m.If(!wrong && d.value != 0 && !o.RS485, "%s is for rs485 = true", d.key)
	}
	m.If(o.RS485ActiveLow && !o.RS485, "rs485_rts_active_low is for rs485 = true")
	return m.Err()
}

// Uses says that nobody else may have the port. Two paths of one port show only when
// it is opened.
func (o PortOptions) Uses() []drivers.Use {
	return []drivers.Use{{What: "the serial port " + filepath.Clean(o.Path), Key: "path"}}
}

// Settings is what all users of one port must agree on, as people write it:
// "9600 baud, 8N1".
func (o PortOptions) Settings() string {
	s := fmt.Sprintf("%d baud, %d%.1s%d", o.Baud, o.DataBits, strings.ToUpper(o.Parity), o.StopBits)
	if o.RS485 {
		s += fmt.Sprintf(", RS-485 with %v and %v", o.RS485Before, o.RS485After)
	}
	if o.RS485ActiveLow {
		s += ", RTS active low"
	}
	return s
}

// Port is how drivers.Ports opens the port.
func (o PortOptions) Port() drivers.SerialConfig {
	return drivers.SerialConfig{
		Path: o.Path, Baud: o.Baud, DataBits: o.DataBits, Parity: o.Parity, StopBits: o.StopBits,
		RS485: drivers.RS485{On: o.RS485, Before: o.RS485Before, After: o.RS485After, ActiveLow: o.RS485ActiveLow},
	}
}

func (o PortOptions) open(p drivers.Ports) (drivers.SerialPort, error) {
	if p.Serial == nil {
		return nil, errors.New("this gateway has no serial ports")
	}
	return p.Serial(o.Port())
}
