// Package gpio reads switches and drives outputs that hang on GPIO lines.
package gpio

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

//go:embed in.toml
var inExample string

//go:embed out.toml
var outExample string

// channel is the one value of a line.
const channel = "state"

// checkPin checks the name of a line.
func checkPin(name string) error {
	if strings.TrimLeft(name, "0123456789") == "" {
		// A bare number would mean another line on each board and kernel.
		return fmt.Errorf("pin must be the name of a line, like \"GPIO17\", or chip and offset, like \"gpiochip0:17\", not %q", name)
	}
	return nil
}

// find asks the ports for a line.
func find(p drivers.Ports, name string) (gpio.PinIO, error) {
	if p.Pin == nil {
		return nil, errors.New("this gateway has no GPIO lines")
	}
	return p.Pin(name)
}

// release lets go of a line.
func release(pin gpio.PinIO) error {
	if c, ok := pin.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// state makes the reading of a line.
func state(on bool, at time.Time) drivers.Reading {
	return drivers.Reading{At: at, Values: []drivers.Value{{Channel: channel, V: on}}}
}

// lineName is what a line is called, also towards other devices.
func lineName(pin string) string { return "the GPIO line " + pin }

// fails says what went wrong with a line.
func fails(pin string, err error) error {
	return drivers.Explain(err, lineName(pin), "gpio", "`gpioinfo` lists the lines of this machine")
}
