// Package all is the list of the drivers, and the only place that knows them all.
package all

import (
	"edgegateway/drivers"
	"edgegateway/drivers/gpio"
	"edgegateway/drivers/host"
	"edgegateway/drivers/i2c"
	"edgegateway/drivers/iio"
	"edgegateway/drivers/modbus"
	"edgegateway/drivers/onewire"
	"edgegateway/drivers/serial"
	"edgegateway/drivers/sim"
)

// Kinds returns every kind of device, by name.
func Kinds() []drivers.Kind {
	return []drivers.Kind{
		i2c.ADS1015Kind(),
		i2c.ADS1115Kind(),
		i2c.BH1750Kind(),
		i2c.BME280Kind(),
		i2c.BMP280Kind(),
		onewire.Kind(),
		gpio.CounterKind(),
		gpio.InKind(),
		gpio.OutKind(),
		host.Kind(),
		i2c.RegisterKind(),
		iio.Kind(),
		i2c.INA219Kind(),
		i2c.MCP9808Kind(),
		modbus.RTUKind(),
		modbus.TCPKind(),
		serial.NMEAKind(),
		i2c.SCD4xKind(),
		serial.FrameKind(),
		serial.LineKind(),
		i2c.SHT3xKind(),
		i2c.SHT4xKind(),
		sim.Kind(),
		i2c.TMP102Kind(),
	}
}

// SystemPorts returns the ways to the hardware of this machine. A process calls it
// once, before it opens other files; see gpio.NewSystem.
func SystemPorts() drivers.Ports {
	return drivers.Ports{
		Serial: serial.Open, Pin: gpio.NewSystem().Pin, I2C: i2c.NewBuses(i2c.System).Chip,
		Interlocks: new(drivers.Interlocks), Turns: new(drivers.Turns),
	}
}
