// Package gpio reads switches and drives outputs that hang on GPIO lines.
package gpio

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/drivers"
)

//go:embed in.toml
var inExample string

//go:embed counter.toml
var counterExample string

//go:embed out.toml
var outExample string

// channel is the one value of a line.
const channel = "state"

// checkPin checks the name of a line.
func checkPin(name string) error {
	if name == "" {
		return errors.New("pin is missing: it is the name of a line, like \"GPIO17\", or chip and offset, like \"gpiochip0:17\"")
	}
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

// listen finds a line and listens to it.
func listen(p drivers.Ports, name string, how Listening) (l Listener, debounced bool, err error) {
	pin, err := find(p, name)
	if err != nil {
		return nil, false, err
	}
	l, ok := pin.(Listener)
	if !ok {
		release(pin)
		return nil, false, fmt.Errorf("this gateway's way to the GPIO line %s tells no edges", name)
	}
	if debounced, err = l.Listen(how); err != nil {
		release(pin)
		return nil, false, fails(name, err)
	}
	return l, debounced, nil
}

// pulls are the words for the resistor inside the chip.
var pulls = map[string]gpio.Pull{"up": gpio.PullUp, "down": gpio.PullDown, "none": gpio.Float}

// checkInput checks what all inputs have.
func checkInput(pin, pull string, debounce time.Duration) error {
	var m drivers.Mistakes
	m.Add("", checkPin(pin))
	_, known := pulls[pull]
	m.If(!known, "pull must be up, down or none, not %q", pull)
	m.If(debounce < 0 || debounce > time.Second, "debounce must be between 0s and 1s, not %v", debounce)
	return m.Err()
}

// uses is what a device on a line takes of the machine.
func uses(pin string) []drivers.Use {
	return []drivers.Use{{What: lineName(pin), Key: "pin"}}
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

// fails says what went wrong with a line. A chip that has left is ENODEV; EIO is a bus of
// an expander that is disturbed, most often for a moment, and no reason to give a line up.
func fails(pin string, err error) error {
	if errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%s: %w: the bus of its chip is disturbed; check the wiring of the expander", lineName(pin), err)
	}
	return drivers.Explain(err, lineName(pin), "gpio", "`gateway devices -scan` lists the lines of this machine")
}
