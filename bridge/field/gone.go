package field

import (
	"errors"
	"slices"
	"strings"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

var errLeft = errors.New("it has left the configuration")

// deepest is how many levels of a topic are looked at in search of what earlier runs
// have left.
const deepest = 8

// disown corrects what an earlier run has left of devices that are not configured any
// more: after a kill or a power cut it says that they are online, and nobody else would
// ever say otherwise.
func (b *Bridge) disown() {
	filter := "availability"
	for range deepest {
		filter = "+/" + filter
		for _, m := range b.broker.Retained(filter, 0) {
			base := strings.TrimSuffix(m.Topic, "/availability")
			ours := slices.ContainsFunc(b.devices, func(d *device) bool { return d.base == base })
			if ours || m.Origin != localName || string(m.Payload) != "online" {
				continue
			}
			offline := broker.Message{Topic: m.Topic, Payload: []byte("offline"), QoS: m.QoS, Retain: true, Properties: because(errLeft)}
			b.local.Publish(offline, broker.Lazy()).Done(func(err error) {
				if err != nil {
					b.log.Warn("a device that has left the configuration still says that it is online", "topic", m.Topic, "err", err)
				}
			})
		}
	}
}

// because is the reason for which a device is offline. The payload is for everyone, and
// has no room for it.
func because(reason error) *packet.Properties {
	return &packet.Properties{UserProperties: []packet.UserProperty{{Key: "reason", Value: propertyText(reason.Error())}}}
}
