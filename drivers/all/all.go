// Package all is the list of the drivers, and the only place that knows them all.
package all

import (
	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/drivers/host"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/sim"
)

// Kinds returns every kind of device, by name.
func Kinds() []drivers.Kind {
	return []drivers.Kind{
		gpio.InKind(),
		gpio.OutKind(),
		host.Kind(),
		serial.LineKind(),
		sim.Kind(),
	}
}

// SystemPorts returns the ways to the hardware of this machine. A process calls it
// once, before it opens other files; see gpio.NewSystem.
func SystemPorts() drivers.Ports {
	return drivers.Ports{Serial: serial.Open, Pin: gpio.NewSystem().Pin}
}
