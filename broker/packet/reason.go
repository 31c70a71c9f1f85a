package packet

import "fmt"

// ReasonCode is the outcome of an operation as MQTT 5 numbers it (table 2.6);
// 0x80 and above are failures. It is used for 3.x as well: Append turns it into
// what the older version has a word for.
type ReasonCode byte

// Several meanings share the numbers 0x00 to 0x02; which one it is depends on
// the packet.
const (
	Success                             ReasonCode = 0x00
	NormalDisconnection                 ReasonCode = 0x00
	GrantedQoS0                         ReasonCode = 0x00
	GrantedQoS1                         ReasonCode = 0x01
	GrantedQoS2                         ReasonCode = 0x02
	DisconnectWithWillMessage           ReasonCode = 0x04
	NoMatchingSubscribers               ReasonCode = 0x10
	NoSubscriptionExisted               ReasonCode = 0x11
	ContinueAuthentication              ReasonCode = 0x18
	Reauthenticate                      ReasonCode = 0x19
	UnspecifiedError                    ReasonCode = 0x80
	MalformedPacket                     ReasonCode = 0x81
	ProtocolError                       ReasonCode = 0x82
	ImplementationSpecificError         ReasonCode = 0x83
	UnsupportedProtocolVersion          ReasonCode = 0x84
	ClientIdentifierNotValid            ReasonCode = 0x85
	BadUserNameOrPassword               ReasonCode = 0x86
	NotAuthorized                       ReasonCode = 0x87
	ServerUnavailable                   ReasonCode = 0x88
	ServerBusy                          ReasonCode = 0x89
	Banned                              ReasonCode = 0x8A
	ServerShuttingDown                  ReasonCode = 0x8B
	BadAuthenticationMethod             ReasonCode = 0x8C
	KeepAliveTimeout                    ReasonCode = 0x8D
	SessionTakenOver                    ReasonCode = 0x8E
	TopicFilterInvalid                  ReasonCode = 0x8F
	TopicNameInvalid                    ReasonCode = 0x90
	PacketIdentifierInUse               ReasonCode = 0x91
	PacketIdentifierNotFound            ReasonCode = 0x92
	ReceiveMaximumExceeded              ReasonCode = 0x93
	TopicAliasInvalid                   ReasonCode = 0x94
	PacketTooLarge                      ReasonCode = 0x95
	MessageRateTooHigh                  ReasonCode = 0x96
	QuotaExceeded                       ReasonCode = 0x97
	AdministrativeAction                ReasonCode = 0x98
	PayloadFormatInvalid                ReasonCode = 0x99
	RetainNotSupported                  ReasonCode = 0x9A
	QoSNotSupported                     ReasonCode = 0x9B
	UseAnotherServer                    ReasonCode = 0x9C
	ServerMoved                         ReasonCode = 0x9D
	SharedSubscriptionsNotSupported     ReasonCode = 0x9E
	ConnectionRateExceeded              ReasonCode = 0x9F
	MaximumConnectTime                  ReasonCode = 0xA0
	SubscriptionIdentifiersNotSupported ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported   ReasonCode = 0xA2
)

// IsError reports whether the code is a failure: 0x80 or above.
func (c ReasonCode) IsError() bool { return c >= 0x80 }

func (c ReasonCode) String() string {
	switch c {
	case Success:
		return "success"
	case GrantedQoS1:
		return "granted QoS 1"
	case GrantedQoS2:
		return "granted QoS 2"
	case DisconnectWithWillMessage:
		return "disconnect with will message"
	case NoMatchingSubscribers:
		return "no matching subscribers"
	case NoSubscriptionExisted:
		return "no subscription existed"
	case ContinueAuthentication:
		return "continue authentication"
	case Reauthenticate:
		return "re-authenticate"
	case UnspecifiedError:
		return "unspecified error"
	case MalformedPacket:
		return "malformed packet"
	case ProtocolError:
		return "protocol error"
	case ImplementationSpecificError:
		return "implementation specific error"
	case UnsupportedProtocolVersion:
		return "unsupported protocol version"
	case ClientIdentifierNotValid:
		return "client identifier not valid"
	case BadUserNameOrPassword:
		return "bad user name or password"
	case NotAuthorized:
		return "not authorized"
	case ServerUnavailable:
		return "server unavailable"
	case ServerBusy:
		return "server busy"
	case Banned:
		return "banned"
	case ServerShuttingDown:
		return "server shutting down"
	case BadAuthenticationMethod:
		return "bad authentication method"
	case KeepAliveTimeout:
		return "keep alive timeout"
	case SessionTakenOver:
		return "session taken over"
	case TopicFilterInvalid:
		return "topic filter invalid"
	case TopicNameInvalid:
		return "topic name invalid"
	case PacketIdentifierInUse:
		return "packet identifier in use"
	case PacketIdentifierNotFound:
		return "packet identifier not found"
	case ReceiveMaximumExceeded:
		return "receive maximum exceeded"
	case TopicAliasInvalid:
		return "topic alias invalid"
	case PacketTooLarge:
		return "packet too large"
	case MessageRateTooHigh:
		return "message rate too high"
	case QuotaExceeded:
		return "quota exceeded"
	case AdministrativeAction:
		return "administrative action"
	case PayloadFormatInvalid:
		return "payload format invalid"
	case RetainNotSupported:
		return "retain not supported"
	case QoSNotSupported:
		return "QoS not supported"
	case UseAnotherServer:
		return "use another server"
	case ServerMoved:
		return "server moved"
	case SharedSubscriptionsNotSupported:
		return "shared subscriptions not supported"
	case ConnectionRateExceeded:
		return "connection rate exceeded"
	case MaximumConnectTime:
		return "maximum connect time"
	case SubscriptionIdentifiersNotSupported:
		return "subscription identifiers not supported"
	case WildcardSubscriptionsNotSupported:
		return "wildcard subscriptions not supported"
	}
	return fmt.Sprintf("reason code 0x%02X", byte(c))
}

// ReturnCode is the outcome in a CONNACK of MQTT 3.1 and 3.1.1 (v3 table 3.1).
type ReturnCode byte

const (
	Accepted                    ReturnCode = 0
	UnacceptableProtocolVersion ReturnCode = 1
	IdentifierRejected          ReturnCode = 2
	V3ServerUnavailable         ReturnCode = 3
	V3BadUserNameOrPassword     ReturnCode = 4
	V3NotAuthorized             ReturnCode = 5
)

// ReturnCode is the 3.x CONNACK return code nearest in meaning. ok is false if
// 3.x has no word for it; then the connection is closed without a CONNACK
// [v3 MQTT-3.2.2-6].
func (c ReasonCode) ReturnCode() (code ReturnCode, ok bool) {
	switch c {
	case Success:
		return Accepted, true
	case UnsupportedProtocolVersion:
		return UnacceptableProtocolVersion, true
	case ClientIdentifierNotValid:
		return IdentifierRejected, true
	case ServerUnavailable, ServerBusy, ServerShuttingDown, QuotaExceeded, UseAnotherServer, ServerMoved, ConnectionRateExceeded:
		return V3ServerUnavailable, true
	case BadUserNameOrPassword:
		return V3BadUserNameOrPassword, true
	case NotAuthorized, Banned, BadAuthenticationMethod:
		return V3NotAuthorized, true
	}
	return V3ServerUnavailable, false
}

// reasonOf is the reason code for a 3.x return code; ok is false for the numbers
// that are reserved (v3 table 3.1).
func reasonOf(code ReturnCode) (c ReasonCode, ok bool) {
	switch code {
	case Accepted:
		return Success, true
	case UnacceptableProtocolVersion:
		return UnsupportedProtocolVersion, true
	case IdentifierRejected:
		return ClientIdentifierNotValid, true
	case V3ServerUnavailable:
		return ServerUnavailable, true
	case V3BadUserNameOrPassword:
		return BadUserNameOrPassword, true
	case V3NotAuthorized:
		return NotAuthorized, true
	}
	return 0, false
}

// codes is a set of reason codes.
type codes [4]uint64

func codesOf(list ...ReasonCode) (s codes) {
	for _, c := range list {
		s[c>>6] |= 1 << (c & 63)
	}
	return s
}

func (s *codes) has(c ReasonCode) bool { return s[c>>6]&(1<<(c&63)) != 0 }
