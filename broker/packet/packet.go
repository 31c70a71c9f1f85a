package packet

import "fmt"

// MaxSize is the largest packet that MQTT can express, in bytes: one byte of
// type and flags, four of remaining length, and 268,435,455 that follow.
const MaxSize = 1 + 4 + maxVarint

// Packet is one MQTT control packet. *Connect, *Connack, *Publish, *Ack,
// *Subscribe, *Suback, *Unsubscribe, *Unsuback, *Pingreq, *Pingresp, *Disconnect
// and *Auth are all there are.
type Packet interface {
	// Type is the control packet type of the fixed header.
	Type() Type

	// Append adds the encoded packet to dst and returns the longer slice. What
	// version v does not know is left out. It does not check values: Append
	// writes what a Decoder would accept if the fields hold what their comments
	// allow. It panics on a packet whose Size is above MaxSize.
	Append(dst []byte, v Version) []byte

	// Size is the number of bytes that Append would add: what the Maximum
	// Packet Size of MQTT 5 counts. It is above MaxSize if the packet can not be
	// encoded, because it is too large or because one string or binary field is
	// longer than 65,535 bytes.
	Size(v Version) int
}

// Version is the protocol level of a connection.
type Version byte

const (
	V31  Version = 3 // MQTT 3.1, protocol name MQIsdp
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5.0
)

func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5.0"
	}
	return fmt.Sprintf("level %d", byte(v))
}

// Type is a control packet type: the upper four bits of the first byte.
type Type byte

const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

func (t Type) String() string {
	const names = "RESERVED   CONNECT    CONNACK    PUBLISH    PUBACK     PUBREC     PUBREL     PUBCOMP    " +
		"SUBSCRIBE  SUBACK     UNSUBSCRIBEUNSUBACK   PINGREQ    PINGRESP   DISCONNECT AUTH       "
	if t > AUTH {
		return fmt.Sprintf("type %d", byte(t))
	}
	name := names[11*int(t) : 11*int(t)+11]
	for name[len(name)-1] == ' ' {
		name = name[:len(name)-1]
	}
	return name
}

// QoS is a quality of service level: 0, 1 or 2.
type QoS byte

const (
	QoS0 QoS = 0 // at most once
	QoS1 QoS = 1 // at least once
	QoS2 QoS = 2 // exactly once
)

// UserProperty is one name-value pair of MQTT 5. Names may repeat, and the order
// of the pairs is kept [MQTT-3.3.2-18].
type UserProperty struct {
	Key, Value string
}

// Info is what MQTT 5 lets an answer say to people. It is only for receivers
// that asked for problem information, and the first to go when the answer would
// exceed the receiver's Maximum Packet Size: assign Info{} to clear it.
type Info struct {
	ReasonString   string // "" is not sent
	UserProperties []UserProperty
}

// Authentication is the exchange of an MQTT 5 authentication method in CONNECT,
// CONNACK and AUTH.
type Authentication struct {
	Method string
	Data   []byte // nil: no Authentication Data; empty and not nil: sent with length 0
}
