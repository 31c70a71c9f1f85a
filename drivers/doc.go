// Package drivers is the contract between the gateway and the hardware around it.
//
// A driver is a Kind: a name, an example configuration and a constructor. What it
// opens is a Device, which can be read (Sampler), speaks by itself (Watcher), can
// act (Actuator), or several of these. A driver starts no goroutine, keeps no
// package state and knows nothing of topics, JSON or MQTT. It may return errors,
// return late, return nonsense or panic: Run, which owns the only goroutine that
// touches the device, turns each of these into an offline device with a reason,
// and no other device notices.
//
// Hardware is reached only through Ports, so that a test, or a board with another
// way to its pins, hands a driver something else without the driver knowing.
package drivers
