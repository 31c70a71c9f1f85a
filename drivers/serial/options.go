package serial

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"edgegateway/drivers"
)

// PortOptions are the keys that all kinds on a serial port share.
type PortOptions struct {
	Path     string `toml:"path"`      // "/dev/serial/by-id/..." stays the same when ports are counted anew
	Baud     int    `toml:"baud"`      // bits per second
	DataBits int    `toml:"data_bits"` // 5 to 8
	Parity   string `toml:"parity"`    // none, odd, even
	StopBits int    `toml:"stop_bits"` // 1 or 2
}

// DefaultPort is 8N1 at a rate.
func DefaultPort(baud int) PortOptions {
	return PortOptions{Baud: baud, DataBits: 8, Parity: "none", StopBits: 1}
}

// Validate checks what can be checked without a port.
func (o PortOptions) Validate() error {
	switch {
	case !filepath.IsAbs(o.Path):
		return fmt.Errorf("path must be a device like \"/dev/ttyUSB0\", not %q", o.Path)
	case !slices.Contains(bauds(), o.Baud):
		return fmt.Errorf("baud must be one of %v, not %d", bauds(), o.Baud)
	case o.DataBits < 5 || o.DataBits > 8:
		return fmt.Errorf("data_bits must be 5, 6, 7 or 8, not %d", o.DataBits)
	case !slices.Contains([]string{"none", "odd", "even"}, o.Parity):
		return fmt.Errorf("parity must be none, odd or even, not %q", o.Parity)
	case o.StopBits != 1 && o.StopBits != 2:
		return fmt.Errorf("stop_bits must be 1 or 2, not %d", o.StopBits)
	}
	return nil
}

// Uses says that nobody else may have the port. Two paths of one port show only when
// it is opened.
func (o PortOptions) Uses() []drivers.Use {
	return []drivers.Use{{What: "the serial port " + filepath.Clean(o.Path), Key: "path"}}
}

// Settings is what all users of one port must agree on, as people write it:
// "9600 baud, 8N1".
func (o PortOptions) Settings() string {
	return fmt.Sprintf("%d baud, %d%c%d", o.Baud, o.DataBits, strings.ToUpper(o.Parity)[0], o.StopBits)
}

// Port is how drivers.Ports opens the port.
func (o PortOptions) Port() drivers.SerialConfig {
	return drivers.SerialConfig{Path: o.Path, Baud: o.Baud, DataBits: o.DataBits, Parity: o.Parity, StopBits: o.StopBits}
}

func (o PortOptions) open(p drivers.Ports) (drivers.SerialPort, error) {
	if p.Serial == nil {
		return nil, errors.New("this gateway has no serial ports")
	}
	return p.Serial(o.Port())
}
