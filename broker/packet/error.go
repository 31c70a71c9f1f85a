package packet

import "fmt"

// Error says why a packet is refused. After one, the stream is lost: answer as
// below if at all, then close the connection [MQTT-4.13.1-1] [v3 MQTT-4.8.0-1].
//
// In MQTT 5 the answer is DISCONNECT with Code, or CONNACK with Code when Packet
// is CONNECT. 3.x has no such answers: close, except that an unsupported protocol
// level is answered with CONNACK 0x01 [v3 MQTT-3.1.2-2].
type Error struct {
	Code   ReasonCode
	Reason string // what is wrong, in one clause

	// Packet is the type of the refused packet.
	Packet Type

	// Version is the version in which to answer: the one of the connection, or
	// for CONNECT the one that the client asked for, or the nearest to it if that
	// is not supported. 0 means that it is unknown whether the other side speaks
	// MQTT at all: close without an answer.
	Version Version
}

func (e *Error) Error() string {
	return fmt.Sprintf("refuse %v: %s (0x%02X %v)", e.Packet, e.Reason, byte(e.Code), e.Code)
}
