package broker

import (
	"fmt"
	"time"

	"edgegateway/broker/packet"
)

// Message is an application message on its way through the broker. Nobody
// changes it, nor what it refers to, once it is published; so it may be kept and
// read by anyone.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte // 0, 1 or 2, as published
	Retain  bool // as published

	// Properties are the publish properties that travel from end to end; nil:
	// none. MessageExpiry is what was left, in seconds, when the message was
	// handed over. There is never a topic alias and never a subscription
	// identifier among them.
	Properties *packet.Properties

	// NoReply is set in what is delivered to a Sink if its publisher may not write to
	// its Response Topic, or is gone as that of a will: who answered with rights of
	// his own would lend them.
	NoReply bool

	Origin string    // name of the Local that published it; "" for any MQTT client: it chooses its identifier itself
	At     time.Time // when it entered the gateway, by the wall clock
}

// ErrRefused says why a message was not accepted. It is a value:
// errors.As(err, &refused) with a variable of type ErrRefused finds it.
type ErrRefused struct {
	Code   packet.ReasonCode // 0x80 and above
	Reason string            // one clause, for people; MQTT 5 clients see it
}

func (e ErrRefused) Error() string {
	return fmt.Sprintf("the message is refused: %s (0x%02X %v)", e.Reason, byte(e.Code), e.Code)
}

// transient reports whether the same message may be accepted later. Retained
// messages are not a queue that empties: waiting for room there would stop the
// publisher for good.
func (e ErrRefused) transient() bool {
	return (e.Code == packet.QuotaExceeded || e.Code == packet.ServerBusy) && e != errRetainedFull
}
