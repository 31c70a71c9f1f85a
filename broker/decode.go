package broker

import (
	"fmt"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Record is what lies in the queue of a Session.
type Record struct {
	Message         Message
	QoS             byte // the lower of the publish and the subscription
	Retain          bool // as the RETAIN flag would say it to the owner of the session
	SubscriptionIDs []uint32

	// ID is different for every message of every run of every gateway: a random
	// number of the run, and a counter.
	ID [16]byte
}

// Decoder decodes what lies in the queues of sessions. Safe for concurrent use.
type Decoder struct {
	clock clock
	runs  *runs
}

// NewDecoder returns a Decoder for the queues of a store that no broker uses now; a
// broker has its own.
func NewDecoder(store *buffer.Store) (*Decoder, error) {
	t := openTables(store)
	c := clock{store}
	if err := c.load(t.meta); err != nil {
		return nil, err
	}
	r, err := loadRuns(t.runs)
	if err != nil {
		return nil, err
	}
	return &Decoder{clock: c, runs: &r}, nil
}

// Decoder returns the one of the broker.
func (b *Broker) Decoder() *Decoder { return &Decoder{clock: b.clock, runs: &b.runs} }

// Decode decodes an entry of the queue of a Session. The result shares memory with
// e.Data, which nobody modifies. Message.QoS and Message.Retain are those of the
// delivery; Message.Origin is empty if an MQTT client published it; MessageExpiry is
// what is left of it now, 0 if nothing is.
func (d *Decoder) Decode(e buffer.Entry) (Record, error) {
	v, err := viewEntry(&e)
	if err != nil {
		return Record{}, fmt.Errorf("decode a queued message: %w", err)
	}
	p, err := v.decode()
	if err != nil {
		return Record{}, fmt.Errorf("decode a queued message: %w", err)
	}
	if v.deadline != 0 {
		p.Properties.MessageExpiry = d.clock.secondsLeft(v.deadline) // [MQTT-3.3.2-6]
	}
	return Record{
		Message:         *messageOf(&v, p),
		QoS:             byte(p.QoS),
		Retain:          p.Retain,
		SubscriptionIDs: p.Properties.SubscriptionIDs,
		ID:              d.runs.identity(&v),
	}, nil
}

// messageOf makes a Message of a record; it shares memory with p.
func messageOf(v *recordView, p *packet.Publish) *Message {
	m := &Message{
		Topic:   string(p.Topic),
		Payload: p.Payload,
		QoS:     byte(p.QoS),
		Retain:  p.Retain,
		Origin:  string(v.origin),
		At:      time.UnixMilli(v.at),
	}
	if props := p.Properties; !props.IsZero() {
		props.SubscriptionIDs = nil
		m.Properties = &props
	}
	return m
}
