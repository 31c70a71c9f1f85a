package broker

import (
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Delivery is what one subscriber gets of one publish. It is valid during the
// call of Deliver only; its Message may be kept.
type Delivery struct {
	Message *Message

	QoS             byte     // the lower of the publish and the subscription
	Retain          bool     // as the RETAIN flag would say it to this subscriber: set for retained replay
	Replay          bool     // this is the retained value that was there when the subscription began
	SubscriptionIDs []uint32 // of the subscription; nil: none

	// Receipt is the one of the publish. It may be held, and asked for the end;
	// what must not happen before the message is on disk waits for its Done. A
	// replay has one that is done.
	Receipt *Receipt

	p *publication
}

// Change returns the Change of this publish, which is begun on first use. What is
// added to it is committed with the message, or not at all. The broker commits
// it.
func (d *Delivery) Change() *buffer.Change { return d.p.begin() }

// Urgency is the class in which operations of this publish are to be written.
func (d *Delivery) Urgency() buffer.Urgency { return d.p.urgency() }

// Sink is where the messages of a subscription go. Deliver is called under the
// broker's lock, in the order of the messages: it must enqueue, and never block
// nor call the broker back.
type Sink interface {
	Deliver(d *Delivery)
}

// Rights limit what a Local may do. The lists hold topic filters; nil: everything.
type Rights struct {
	Publish   []string // topics must match one
	Subscribe []string // topics of deliveries must match one
}

// SubscribeOptions are those of a subscription inside the process. A Local never
// gets its own messages.
type SubscribeOptions struct {
	QoS               byte // the highest that is wanted
	RetainAsPublished bool
	RetainHandling    packet.RetainHandling
	ID                uint32 // subscription identifier; 0: none
	Lane              uint8  // priority in the queue of a session, 0 to 9

	// Purpose is what a subscription of a durable session is for. One with another
	// purpose than before is a new one; it is compared, and not kept as a text.
	Purpose string
}

// PublishOption changes one publish.
type PublishOption func(*publication)

// Within adds operations to the Change of the publish: they are written together
// with everything that the message causes, or not at all. fn is called once,
// under the broker's lock, after the deliveries; not if the message is refused.
func Within(fn func(*buffer.Change)) PublishOption {
	return func(p *publication) { p.within = fn }
}

// Lazy says that nobody waits for the Receipt: queues write the message with the
// class Lazy, and a retained value is written as Idle.
func Lazy() PublishOption {
	return func(p *publication) { p.lazy = true }
}

// Soon is Lazy, but a retained value is written with the class Lazy, too: within
// seconds, and with it all that waits.
func Soon() PublishOption {
	return func(p *publication) { p.lazy, p.soon = true, true }
}
