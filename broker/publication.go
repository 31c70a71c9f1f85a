package broker

import (
	"encoding/binary"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// publication is one message on its way through publishLocked, and what it
// causes. It belongs to its publisher, who uses it again for the next message.
type publication struct {
	payload []byte // not ours
	qos     packet.QoS
	retain  bool
	props   *packet.Properties // nil: none; not ours; never a topic alias
	session *Session           // publisher; nil: a Local, or nobody
	local   *Local             // publisher; nil: a client, or nobody
	origin  string
	at      time.Time
	within  func(*buffer.Change)
	lazy    bool
	soon    bool   // a retained value does not stay in memory for long
	waits   bool   // the publisher waits for a receipt
	stored  bool   // a retained value goes to disk
	noReply bool   // see Message
	arrival []byte // key of the publisher's packet identifier on disk (QoS 2); nil: not there

	b        *Broker
	route    *route
	retained *retained // stored by this message; safe when its change is
	change   *buffer.Change
	durable  bool // the change holds what the receipt must wait for
	receipt  *Receipt
	message  *Message
	head     recordHead
	id       [4 + binary.MaxVarintLen64]byte // memory of head.id
	records  [6][]byte                       // by QoS and RETAIN
	kept     []byte                          // for the table of retained messages
	packets  [4][]byte                       // encoded QoS 0 PUBLISH, by version and RETAIN
	encoded  []byte                          // memory of packets
}

// renew empties p for the next message.
func (p *publication) renew(b *Broker) {
	encoded := p.encoded[:0]
	if cap(encoded) > keepChunk {
		encoded = nil
	}
	*p = publication{b: b, encoded: encoded, stored: true}
}

// abandon lets go of what a panic has left: a Change that was never committed would
// hold up the queues that it has entries for.
func (p *publication) abandon() {
	if p.change != nil {
		p.change.Commit(nil)
		p.change = nil
	}
}

// begin returns the Change of this publish.
func (p *publication) begin() *buffer.Change {
	if p.change == nil {
		p.change = p.b.store.Begin()
	}
	p.durable = true
	return p.change
}

func (p *publication) urgency() buffer.Urgency {
	if p.lazy || p.qos == 0 {
		return buffer.Lazy
	}
	return buffer.Sync
}

// mustReceipt returns the Receipt of this publish; it is made when somebody asks.
func (p *publication) mustReceipt() *Receipt {
	if p.receipt == nil {
		p.receipt = newReceipt()
	}
	return p.receipt
}

// mustMessage returns the message as others may keep it.
func (p *publication) mustMessage() *Message {
	if p.message == nil {
		p.message = &Message{
			Topic:   p.route.topic,
			Payload: append([]byte(nil), p.payload...),
			QoS:     byte(p.qos),
			Retain:  p.retain,
			At:      p.at,
			NoReply: p.noReply,
		}
		if p.local != nil {
			p.message.Origin = p.origin
		}
		if p.props != nil && !p.props.IsZero() {
			c := p.props.Clone()
			c.SubscriptionIDs = nil
			p.message.Properties = &c
		}
	}
	return p.message
}

// publish is the packet for a receiver.
func (p *publication) publish(qos packet.QoS, retain bool, ids []uint32) packet.Publish {
	out := packet.Publish{Topic: p.route.name, Payload: p.payload, QoS: qos, Retain: retain}
	if qos > 0 {
		out.ID = 1 // a place for it
	}
	if p.props != nil {
		out.Properties = *p.props
	}
	out.Properties.SubscriptionIDs = ids
	return out
}

// record returns the message as it stands in queues. Those without subscription
// identifiers, and without a shared subscription, have it in common.
func (p *publication) record(qos packet.QoS, retain bool, ids []uint32, share string) []byte {
	at := int(qos) * 2
	if retain {
		at++
	}
	common := len(ids) == 0 && share == ""
	if common && p.records[at] != nil {
		return p.records[at]
	}
	h := p.mustHead()
	if share != "" {
		h.share, h.origin = share, p.origin
	}
	data := p.recordBehind(&h, qos, retain, ids)
	if common {
		p.records[at] = data
	}
	return data
}

// recordToKeep returns the message as it stands in the table of retained ones.
func (p *publication) recordToKeep() []byte {
	if p.kept == nil {
		h := p.mustHead()
		h.timed = true
		p.kept = p.recordBehind(&h, p.qos, true, nil)
	}
	return p.kept
}

// mustHead returns what stands before the packet, which has its identity from the
// first time on.
func (p *publication) mustHead() recordHead {
	if p.head.id == nil {
		p.head.id = p.b.nextID(p.id[:0])
		p.head.at = p.at.UnixMilli()
		p.head.deadline = p.deadline()
		if p.local != nil {
			p.head.origin = p.origin
		}
	}
	return p.head
}

func (p *publication) recordBehind(h *recordHead, qos packet.QoS, retain bool, ids []uint32) []byte {
	out := p.publish(qos, retain, ids)
	data := make([]byte, 0, recordHeader+12+10+len(h.share)+len(h.origin)+out.Size(packet.V5))
	return out.Append(h.append(data), packet.V5)
}

// deadline is when the message expires, 0 for never.
func (p *publication) deadline() int64 {
	if p.props == nil || p.props.Has&packet.HasMessageExpiry == 0 {
		return 0
	}
	return p.b.clock.now() + 1000*int64(p.props.MessageExpiry)
}

// encode returns the message as a QoS 0 packet, encoded once for all receivers
// that get the same.
func (p *publication) encode(v packet.Version, retain bool, ids []uint32) []byte {
	at := 0
	if v == packet.V5 {
		at = 2
	}
	if retain {
		at++
	}
	if len(ids) == 0 && p.packets[at] != nil {
		return p.packets[at]
	}
	out := p.publish(0, retain, ids)
	start := len(p.encoded)
	p.encoded = out.Append(p.encoded, v)
	data := p.encoded[start:len(p.encoded):len(p.encoded)]
	if len(ids) == 0 {
		p.packets[at] = data
	}
	return data
}
