package cloud

import (
	"errors"

	"edgegateway/broker/packet"
)

// will is how the status is carried by the will: as well as the server allows. A
// server that can less refuses the connection for it [MQTT-3.2.2-12] [MQTT-3.2.2-13].
type will struct {
	qos    byte
	retain bool
}

// adapt asks for less after a refusal, and reports whether that is worth a try.
func (w *will) adapt(err error) bool {
	var no refusal
	if !errors.As(err, &no) {
		return false
	}
	switch {
	case no.code == packet.QoSNotSupported && w.qos > 0:
		w.qos = 0
	case no.code == packet.RetainNotSupported && w.retain:
		w.retain = false
	default:
		return false
	}
	return true
}
