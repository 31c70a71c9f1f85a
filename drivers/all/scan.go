package all

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgegateway/drivers/gpio"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/iio"
	"edgegateway/drivers/onewire"
	"edgegateway/drivers/serial"
)

// A Scanner looks at what a machine has to connect devices to. It changes nothing. The
// zero value is for this machine.
type Scanner struct {
	Root string                          // before /dev, /proc and /sys
	I2C  func(bus int) (i2c.Wire, error) // opens a bus; nil: i2c.System
}

// A Look is what was found on one bus.
type Look struct {
	Where string // "I2C bus 1"
	Found []Found
	Rest  string // what else there is, not worth lines of its own
	Err   error  // why the look ended early, or could not be had
}

// Found is one thing that a device can be made of.
type Found struct {
	Option string   // line of [devices.options] that means it; "" if it can not be had
	What   string   // what it is
	Notes  []string // what stands in the way, sentences
}

// Looks looks at everything, one after the other.
func (s Scanner) Looks(ctx context.Context) (looks []Look) {
	looks = append(looks, s.i2c(ctx)...)
	looks = append(looks, s.onewire(), s.iio(), s.serial(ctx))
	return append(looks, s.gpio(ctx)...)
}

func (s Scanner) i2c(ctx context.Context) (looks []Look) {
	open := s.I2C
	if open == nil {
		open = i2c.System
	}
	numbers := i2c.Numbers(s.Root)
	if len(numbers) == 0 {
		numbers = []int{1} // its error says how to switch it on
	}
	var silent []string // buses without anybody
	for _, n := range numbers {
		look := Look{Where: fmt.Sprintf("I2C bus %d", n)}
		if n != 1 { // which is what a device has without the key
			look.Where += fmt.Sprintf(": bus = %d", n)
		}
		wire, err := open(n)
		if err == nil {
			var found []i2c.Found
			found, err = i2c.Scan(ctx, wire, n)
			for _, f := range found {
				look.Found = append(look.Found, chip(f))
			}
			wire.Close() // nothing was written that could be lost
		}
		if look.Err = err; err == nil && len(look.Found) == 0 {
			silent = append(silent, strconv.Itoa(n))
			continue
		}
		looks = append(looks, look)
	}
	if len(silent) > 0 {
		s := ""
		if len(silent) > 1 {
			s = "es"
		}
		looks = append(looks, Look{Where: "I2C bus" + s + " " + strings.Join(silent, ", "), Rest: "nobody answers; check wiring and power of the chips"})
	}
	return looks
}

// chip is an address at which something is.
func chip(f i2c.Found) Found {
	if f.Err != nil || f.Taken != nil {
		return Found{What: f.String()}
	}
	address := fmt.Sprintf("%#02x", f.Address)
	return Found{Option: "address = " + address, What: strings.TrimSpace(strings.TrimPrefix(f.String(), address))}
}

func (s Scanner) onewire() Look {
	look := Look{Where: "1-wire"}
	found, err := onewire.Scan(s.Root)
	for _, o := range found {
		f := Found{What: o.String()}
		if (onewire.Options{ID: o.ID}).Validate() == nil {
			f = Found{Option: fmt.Sprintf("id = %q", o.ID), What: o.Name + ", kind ds18b20"}
		}
		look.Found = append(look.Found, f)
	}
	if look.Err = err; err == nil && len(found) == 0 {
		look.Rest = "the bus is there, and nothing on it; check power, ground and data wire, and the pull-up resistor of 4.7 kΩ"
	}
	return look
}

func (s Scanner) iio() Look {
	look := Look{Where: "iio"}
	found, err := iio.Scan(s.Root)
	for _, f := range found {
		name := f.Number
		for _, n := range []string{f.Name, f.Label, f.Place} { // the place is best: it stays when another chip of the name comes
			others := slices.DeleteFunc(slices.Clone(found), func(o iio.Found) bool { return n != o.Name && n != o.Label && n != o.Place })
			if n != "" && len(others) == 1 {
				name = n
			}
		}
		look.Found = append(look.Found, Found{Option: fmt.Sprintf("device = %q", name), What: f.String()})
	}
	if look.Err = err; err == nil && len(found) == 0 {
		look.Rest = "the kernel has no sensor or converter of its own"
	}
	return look
}

func (s Scanner) serial(ctx context.Context) Look {
	look := Look{Where: "serial ports"}
	ports, err := serial.Scan(ctx, s.Root)
	look.Err = err
	for _, p := range ports {
		f := Found{Option: fmt.Sprintf("path = %q", p.Path), What: p.What, Notes: p.Users}
		if p.Path != p.Node {
			f.What += ", now " + p.Node
		}
		if p.Err != nil {
			f.Notes = append(f.Notes, p.Err.Error())
		}
		look.Found = append(look.Found, f)
	}
	if err == nil && len(ports) == 0 {
		look.Rest = "none; plug an adapter in, or switch on the port on the header with enable_uart=1 in /boot/firmware/config.txt (Raspberry Pi)"
	}
	return look
}

func (s Scanner) gpio(ctx context.Context) (looks []Look) {
	chips, err := gpio.Scan(ctx, s.Root)
	for _, c := range chips {
		look := Look{Where: fmt.Sprintf("GPIO %s (%s), %d lines", c.Name, c.Label, len(c.Lines))}
		plain, example, taken := 0, "", 0
		for _, l := range c.Lines {
			what := fmt.Sprintf("line %d, %v", l.Offset, l)
			if l.Name != "" && l.Name != l.Pin {
				what = l.Name + ", " + what
			}
			switch {
			case l.Used && l.Name+l.User == "":
				taken++
			case l.Used: // no line to copy
				look.Found = append(look.Found, Found{What: l.Pin + ": " + what})
			case l.Name != "":
				look.Found = append(look.Found, Found{Option: fmt.Sprintf("pin = %q", l.Pin), What: what})
			default:
				if plain++; plain == 1 {
					example = l.Pin
				}
			}
		}
		var rest []string
		if taken > 0 {
			rest = append(rest, fmt.Sprintf("%d without a name, used by the kernel", taken))
		}
		if plain > 0 {
			lines := "lines"
			if plain == 1 {
				lines = "line"
			}
			rest = append(rest, fmt.Sprintf("%d more %s, unnamed and free: pin = %q and so on", plain, lines, example))
		}
		look.Rest = strings.Join(rest, "; ")
		looks = append(looks, look)
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			looks = append(looks, Look{Where: "GPIO", Err: err})
		}
	} else if err != nil {
		looks = append(looks, Look{Where: "GPIO", Err: err})
	}
	return looks
}
