package packet

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Publish carries an application message.
//
// The one that a Decoder returns is the decoder's own: it is valid until the next
// call of Next, and its Topic, Payload and Properties.CorrelationData are part of
// the buffer that was decoded. Clone gives one that lives on.
type Publish struct {
	Topic   []byte // empty in MQTT 5 if Properties.TopicAlias stands for it
	Payload []byte
	ID      uint16 // packet identifier; 0 at QoS 0
	QoS     QoS
	DUP     bool
	Retain  bool

	Properties Properties // MQTT 5
}

// PropertyFlags says which of the properties that come once are there.
type PropertyFlags byte

const (
	HasPayloadFormat PropertyFlags = 1 << iota
	HasMessageExpiry
	HasTopicAlias
	HasResponseTopic
	HasCorrelationData
	HasContentType
)

// Properties are what MQTT 5 attaches to a message: in PUBLISH, and in a Will,
// which has no topic alias and no subscription identifiers.
//
// The fields below Has count only if their flag is set in it. Strings never
// belong to the decoder's buffer; CorrelationData, SubscriptionIDs and
// UserProperties of a decoded Publish do, or are used again by the next one.
type Properties struct {
	Has             PropertyFlags
	PayloadFormat   byte   // 0: bytes, 1: UTF-8 text
	TopicAlias      uint16 // 1 to the receiver's Topic Alias Maximum
	MessageExpiry   uint32 // seconds
	ResponseTopic   string
	ContentType     string
	CorrelationData []byte

	SubscriptionIDs []uint32 // of all subscriptions that match, each 1 to 268,435,455
	UserProperties  []UserProperty
}

// IsZero reports whether there is no property at all.
func (p *Properties) IsZero() bool {
	return p.Has == 0 && len(p.SubscriptionIDs) == 0 && len(p.UserProperties) == 0
}

// Clone returns properties that share nothing with the decoder. Strings are
// shared: they can not change.
func (p *Properties) Clone() Properties {
	c := *p
	c.CorrelationData = bytes.Clone(p.CorrelationData)
	c.SubscriptionIDs = slices.Clone(p.SubscriptionIDs)
	c.UserProperties = slices.Clone(p.UserProperties)
	return c
}

// Clone returns a Publish that shares nothing with the decoder and its buffer.
func (p *Publish) Clone() *Publish {
	c := *p
	both := make([]byte, len(p.Topic)+len(p.Payload)) // one allocation for the two that are always there
	n := copy(both, p.Topic)
	copy(both[n:], p.Payload)
	c.Topic, c.Payload = both[:n:n], both[n:]
	c.Properties = p.Properties.Clone()
	return &c
}

func (*Publish) Type() Type { return PUBLISH }

// Bits of the first byte of a PUBLISH (3.3.1, v3 3.3.1).
const (
	dupBit    = 0x08
	qosBits   = 0x06
	retainBit = 0x01
)

func (p *Publish) first() byte {
	b := byte(PUBLISH)<<4 | byte(p.QoS)<<1
	if p.DUP {
		b |= dupBit
	}
	if p.Retain {
		b |= retainBit
	}
	return b
}

// Append adds the encoded packet to dst.
func (p *Publish) Append(dst []byte, v Version) []byte {
	dst, _ = p.AppendAt(dst, v)
	return dst
}

// AppendAt is Append, and tells where the packet identifier went: idAt is its
// offset from the first byte of this packet, 0 at QoS 0, where there is none. So
// a message for many receivers is encoded once, copied, and given its identifier
// with SetID.
func (p *Publish) AppendAt(dst []byte, v Version) (out []byte, idAt int) {
	rest, propLen := p.lengths(v)
	if rest < 0 {
		panic("packet: append a PUBLISH that its Size calls too large")
	}
	start := len(dst)
	dst = append(dst, p.first())
	dst = appendVarint(dst, rest)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(p.Topic)))
	dst = append(dst, p.Topic...)
	if p.QoS > 0 {
		idAt = len(dst) - start
		dst = binary.BigEndian.AppendUint16(dst, p.ID)
	}
	if v == V5 {
		dst = appendVarint(dst, propLen)
		if propLen > 0 {
			w := writer{dst: dst}
			p.Properties.write(&w)
			dst = w.dst
		}
	}
	return append(dst, p.Payload...), idAt
}

// SetID writes a packet identifier into an encoded PUBLISH. encoded begins with
// the first byte of the packet; idAt is what AppendAt said.
func SetID(encoded []byte, idAt int, id uint16) {
	binary.BigEndian.PutUint16(encoded[idAt:], id)
}

// SetDUP sets or clears the DUP flag of an encoded PUBLISH, which begins with the
// first byte of the packet.
func SetDUP(encoded []byte, dup bool) { setBit(encoded, dupBit, dup) }

// SetRetain sets or clears the RETAIN flag of an encoded PUBLISH, which begins
// with the first byte of the packet.
func SetRetain(encoded []byte, retain bool) { setBit(encoded, retainBit, retain) }

func setBit(encoded []byte, bit byte, on bool) {
	if on {
		encoded[0] |= bit
	} else {
		encoded[0] &^= bit
	}
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Publish) Size(v Version) int {
	rest, _ := p.lengths(v)
	if rest < 0 {
		return MaxSize + 1
	}
	return 1 + varintWidth(rest) + rest
}

// lengths are the Remaining Length, -1 if the packet can not be encoded, and the
// Property Length.
func (p *Publish) lengths(v Version) (rest, props int) {
	if len(p.Topic) > 0xffff || len(p.Payload) > maxVarint {
		return -1, 0
	}
	rest = 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		rest += 2
	}
	if v == V5 {
		if !p.Properties.IsZero() {
			w := writer{count: true}
			p.Properties.write(&w)
			if w.tooLong {
				return -1, 0
			}
			props = w.n
		}
		rest += varintWidth(props) + props
	}
	if rest > maxVarint {
		return -1, 0
	}
	return rest, props
}

func (p *Properties) write(w *writer) {
	w.flagProperty(propPayloadFormat, p.Has&HasPayloadFormat != 0, p.PayloadFormat)
	if p.Has&HasMessageExpiry != 0 {
		w.u8(propMessageExpiry)
		w.u32(p.MessageExpiry)
	}
	if p.Has&HasTopicAlias != 0 {
		w.u8(propTopicAlias)
		w.u16(p.TopicAlias)
	}
	if p.Has&HasResponseTopic != 0 {
		w.u8(propResponseTopic)
		w.text(p.ResponseTopic)
	}
	if p.Has&HasCorrelationData != 0 {
		w.u8(propCorrelationData)
		w.binary(p.CorrelationData)
	}
	if p.Has&HasContentType != 0 {
		w.u8(propContentType)
		w.text(p.ContentType)
	}
	for _, id := range p.SubscriptionIDs {
		w.u8(propSubscriptionID)
		w.varint(int(id))
	}
	w.userProperties(p.UserProperties)
}
