package main

import (
	"fmt"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// commandExpiry is how long a command is worth carrying out: a pump must not start when the link comes back.
const commandExpiry = 3 * time.Second

// An order is a command that the cloud has given to the pump, until its outcome has been said.
type order struct {
	open bool
	on   bool
	at   time.Time
}

// command has the cloud switch the pump over.
func (d *demo) command() order {
	on, known := d.pump()
	o := order{open: true, on: !(known && on), at: time.Now()}
	d.cloud.local.Publish(broker.Message{
		Topic: "cloud/demo/pump/set", Payload: fmt.Appendf(nil, `{"switch":%t}`, o.on), QoS: 1,
		Properties: &packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: uint32(commandExpiry / time.Second)},
	}).Done(func(error) {}) // whether it arrived is seen at the pump
	d.say(fmt.Sprintf("the cloud commands: pump %s, within %s", showValue(o.on, ""), showDuration(commandExpiry)))
	return o
}

// pump is the state of the pump.
func (d *demo) pump() (on, known bool) {
	for _, device := range d.gateway.field.Devices() {
		for _, v := range device.Values {
			if device.Name == "pump" && v.Channel == "switch" {
				on, known = v.V.(bool)
			}
		}
	}
	return on, known
}

// follow says what has become of the order.
func (o *order) follow(d *demo) {
	if !o.open {
		return
	}
	took := time.Since(o.at)
	switch on, known := d.pump(); {
	case known && on == o.on:
		d.say(fmt.Sprintf("the pump is %s, %s after the command", showValue(o.on, ""), showDuration(took)))
	case took > commandExpiry+time.Second:
		d.say("the command has expired on its way; the pump stays as it is")
	default:
		return
	}
	o.open = false
}
