package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"edgegateway/broker/packet"
)

// A message in a session queue, or a retained one, is a header and an encoded
// MQTT 5 PUBLISH: what will be sent, but for the packet identifier, DUP and what
// is left of the message expiry. So sending is copying.
//
//	0  1  format, 1
//	1  1  flags: 1 = there is a deadline, 2 = it came by a shared subscription
//	2  8  when it entered the gateway, nanoseconds since 1970
//	10 16 id
//	26 8  deadline by the gateway's clock, milliseconds; only with the flag
//	   n  the shared subscription: uvarint length and bytes; only with the flag
//	   n  origin: the same
//	      PUBLISH
const (
	recordFormat   = 1
	recordDeadline = 1
	recordShare    = 2
	recordFixed    = 26
)

var errRecord = errors.New("record is not a message of this version")

// recordHead is what stands before the packet.
type recordHead struct {
	at       int64 // nanoseconds since 1970
	id       [16]byte
	deadline int64 // milliseconds of the gateway's clock; 0: none
	origin   string
	share    string // the shared subscription by which it came; "": none
}

func (h *recordHead) append(dst []byte) []byte {
	var flags byte
	if h.deadline != 0 {
		flags |= recordDeadline
	}
	if h.share != "" {
		flags |= recordShare
	}
	dst = append(dst, recordFormat, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.at))
	dst = append(dst, h.id[:]...)
	if h.deadline != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.deadline))
	}
	if h.share != "" {
		dst = append(binary.AppendUvarint(dst, uint64(len(h.share))), h.share...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.origin)))
	return append(dst, h.origin...)
}

// recordView is a record taken apart; its slices are part of the record.
type recordView struct {
	at       int64
	deadline int64
	id       []byte
	share    []byte
	origin   []byte
	packet   []byte
}

// head is what stands before the packet, without the share.
func (v *recordView) head() recordHead {
	return recordHead{at: v.at, id: [16]byte(v.id), deadline: v.deadline, origin: string(v.origin)}
}

func viewRecord(data []byte) (v recordView, err error) {
	if len(data) < recordFixed || data[0] != recordFormat {
		return v, errRecord
	}
	v.at = int64(binary.BigEndian.Uint64(data[2:]))
	v.id = data[10:recordFixed]
	rest := data[recordFixed:]
	if data[1]&recordDeadline != 0 {
		if len(rest) < 8 {
			return v, errRecord
		}
		v.deadline = int64(binary.BigEndian.Uint64(rest))
		rest = rest[8:]
	}
	ok := true
	if data[1]&recordShare != 0 {
		v.share, rest, ok = cutText(rest)
	}
	if ok {
		v.origin, v.packet, ok = cutText(rest)
	}
	if !ok || len(v.packet) < 4 {
		return v, errRecord
	}
	return v, nil
}

// cutText takes a text with its length from the front.
func cutText(b []byte) (text, rest []byte, ok bool) {
	n, width := binary.Uvarint(b)
	if width <= 0 || n > uint64(len(b)-width) {
		return nil, nil, false
	}
	b = b[width:]
	return b[:n], b[n:], true
}

func (v *recordView) qos() packet.QoS { return packet.QoS(v.packet[0] >> 1 & 3) }

// topic returns the topic name, "" if the packet is damaged.
func (v *recordView) topic() string {
	s, err := publishShape(v.packet)
	if err != nil {
		return ""
	}
	name := v.packet[s.topic+2:]
	return string(name[:binary.BigEndian.Uint16(v.packet[s.topic:])])
}

func (v *recordView) payloadSize() int {
	s, err := publishShape(v.packet)
	if err != nil {
		return 0
	}
	return len(v.packet) - s.payload
}

// decode decodes the packet. The result shares memory with the record.
func (v *recordView) decode() (*packet.Publish, error) {
	d := packet.Decoder{Role: packet.Either, Version: packet.V5}
	p, n, _, err := d.Next(v.packet)
	if err != nil {
		return nil, err
	}
	publish, ok := p.(*packet.Publish)
	if !ok || n != len(v.packet) {
		return nil, errRecord
	}
	return publish, nil
}

// appendPublish appends the packet as it goes to a receiver. left is what remains
// of the message expiry in seconds; it counts only if the record has a deadline.
func (v *recordView) appendPublish(dst []byte, version packet.Version, id uint16, dup bool, left uint32) ([]byte, error) {
	if v.deadline != 0 && version == packet.V5 {
		p, err := v.decode()
		if err != nil {
			return dst, err
		}
		p.ID, p.DUP = id, dup
		p.Properties.MessageExpiry = left // [MQTT-3.3.2-6]
		return p.Append(dst, version), nil
	}
	shape, err := publishShape(v.packet)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	if version == packet.V5 {
		dst = append(dst, v.packet...)
		if shape.idAt > 0 {
			packet.SetID(dst[start:], shape.idAt, id)
		}
	} else {
		dst = appendV3(dst, v.packet, shape, id)
	}
	if dup {
		packet.SetDUP(dst[start:], true)
	}
	return dst, nil
}

// shape is where the parts of an encoded MQTT 5 PUBLISH are.
type shape struct {
	topic   int // offset of the length of the topic
	idAt    int // offset of the packet identifier; 0: none
	payload int // offset of the payload
}

func publishShape(p []byte) (s shape, err error) {
	rest, width := binary.Uvarint(p[1:])
	if width <= 0 || uint64(len(p)-1-width) != rest {
		return s, errRecord
	}
	s.topic = 1 + width
	at := s.topic + 2
	if at > len(p) {
		return s, errRecord
	}
	at += int(binary.BigEndian.Uint16(p[s.topic:]))
	if p[0]&0x06 != 0 {
		s.idAt = at
		at += 2
	}
	if at >= len(p) {
		return s, errRecord
	}
	n, width := binary.Uvarint(p[at:])
	if width <= 0 || n > uint64(len(p)-at-width) {
		return s, errRecord
	}
	s.payload = at + width + int(n)
	return s, nil
}

// appendV3 appends an encoded MQTT 5 PUBLISH as 3.x has it: without properties.
func appendV3(dst, p []byte, s shape, id uint16) []byte {
	head := p[s.topic:] // topic with its length, and the place of the identifier
	if s.idAt > 0 {
		head = head[:s.idAt-s.topic+2]
	} else {
		head = head[:2+int(binary.BigEndian.Uint16(head))]
	}
	dst = append(dst, p[0])
	dst = binary.AppendUvarint(dst, uint64(len(head)+len(p)-s.payload)) // the form of 2.2.3 is that of a uvarint
	start := len(dst)
	dst = append(dst, head...)
	if s.idAt > 0 {
		binary.BigEndian.PutUint16(dst[start+len(head)-2:], id)
	}
	return append(dst, p[s.payload:]...)
}

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

// DecodeRecord decodes an entry of the queue of a Session. The result shares
// memory with data, which nobody modifies. Message.QoS and Message.Retain are
// those of the delivery; MessageExpiry is what the publisher said.
func DecodeRecord(data []byte) (Record, error) {
	v, err := viewRecord(data)
	if err != nil {
		return Record{}, fmt.Errorf("decode a queued message: %w", err)
	}
	p, err := v.decode()
	if err != nil {
		return Record{}, fmt.Errorf("decode a queued message: %w", err)
	}
	return Record{
		Message:         *messageOf(&v, p),
		QoS:             byte(p.QoS),
		Retain:          p.Retain,
		SubscriptionIDs: p.Properties.SubscriptionIDs,
		ID:              [16]byte(v.id),
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
		At:      time.Unix(0, v.at),
	}
	if props := p.Properties; !props.IsZero() {
		props.SubscriptionIDs = nil
		m.Properties = &props
	}
	return m
}
