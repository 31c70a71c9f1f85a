package broker

import (
	"encoding/binary"
	"errors"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A message in a session queue, or a retained one, is a header and an encoded
// MQTT 5 PUBLISH: what will be sent, but for the packet identifier, DUP and what
// is left of the message expiry. So sending is copying. The header is as short as it
// can be, because small messages are what a gateway has most of:
//
//	 1  format (upper 4 bits) and flags (lower 4)
//	 n  identity: tag of the run, 4, and the counter, uvarint; 16 bytes in format 3
//	[6] when it entered the gateway, milliseconds since 1970
//	[6] deadline by the gateway's clock, milliseconds
//	[n] the shared subscription by which it came: uvarint length and bytes
//	[n] origin: the same
//	    PUBLISH
//
// Time and deadline of a message in a queue are those of the entry. The origin is
// there if it is a Local, which is how bridges know each other's messages, and for a
// shared subscription, whose next member may be chosen by it.
//
// Earlier versions wrote format 1, which is still read: the byte 1, a byte of flags,
// 8 bytes of nanoseconds since 1970, the 16 bytes of the identity, the deadline in 8
// bytes, share, and always the origin.
const (
	recordShort    = 2 << 4
	recordFull     = 3 << 4
	recordFormats  = 0xf0
	recordTime     = 1
	recordDeadline = 2
	recordShare    = 4
	recordOrigin   = 8

	// recordHeader is what the header of a common record takes, about.
	recordHeader = 16

	record1         = 1
	record1Deadline = 1
	record1Share    = 2
	record1Fixed    = 26
)

var errRecord = errors.New("record is not a message of this version")

// recordHead is what stands before the packet.
type recordHead struct {
	id       []byte // as nextID has it, or in full
	at       int64  // milliseconds since 1970
	deadline int64  // milliseconds of the gateway's clock; 0: none
	timed    bool   // both stand in the record: nothing else tells them
	origin   string // "": nobody asks
	share    string // the shared subscription by which it came; "": none
}

func (h *recordHead) append(dst []byte) []byte {
	first := len(dst)
	dst = append(dst, recordShort)
	if len(h.id) == fullID {
		dst[first] = recordFull
	}
	dst = append(dst, h.id...)
	if h.timed {
		dst[first] |= recordTime
		dst = appendUint48(dst, h.at)
		if h.deadline != 0 {
			dst[first] |= recordDeadline
			dst = appendUint48(dst, h.deadline)
		}
	}
	if h.share != "" {
		dst[first] |= recordShare
		dst = append(binary.AppendUvarint(dst, uint64(len(h.share))), h.share...)
	}
	if h.origin != "" {
		dst[first] |= recordOrigin
		dst = append(binary.AppendUvarint(dst, uint64(len(h.origin))), h.origin...)
	}
	return dst
}

func appendUint48(dst []byte, v int64) []byte {
	v = min(max(v, 0), 1<<48-1)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, uint16(v>>32)), uint32(v))
}

// entry is the head as a queue has it, with data behind it.
func (h *recordHead) entry(data []byte) buffer.Record {
	return buffer.Record{Data: data, At: time.UnixMilli(h.at), Deadline: time.Duration(h.deadline) * time.Millisecond}
}

// recordView is a record taken apart; its slices are part of the record.
type recordView struct {
	at       int64 // milliseconds since 1970
	deadline int64 // milliseconds of the gateway's clock; 0: none
	id       []byte
	share    []byte
	origin   []byte
	packet   []byte
	timed    bool // at and deadline are those of the record
}

// head is what stands before the packet in a queue, without the share.
func (v *recordView) head() recordHead {
	return recordHead{id: v.id, at: v.at, deadline: v.deadline, origin: string(v.origin)}
}

// viewEntry is for an entry of a queue.
func viewEntry(e *buffer.Entry) (v recordView, err error) {
	v, err = viewRecord(e.Data)
	if err == nil && !v.timed {
		v.at, v.deadline = e.At.UnixMilli(), e.Deadline.Milliseconds()
	}
	return v, err
}

func viewRecord(data []byte) (v recordView, err error) {
	if len(data) == 0 {
		return v, errRecord
	}
	if data[0] == record1 {
		return viewRecord1(data)
	}
	rest, flags, ok := data[1:], data[0]&^recordFormats, true
	switch data[0] & recordFormats {
	case recordShort:
		_, width := binary.Uvarint(rest[min(len(runTag{}), len(rest)):])
		if width <= 0 {
			return v, errRecord
		}
		v.id, rest = rest[:len(runTag{})+width], rest[len(runTag{})+width:]
	case recordFull:
		if len(rest) < fullID {
			return v, errRecord
		}
		v.id, rest = rest[:fullID], rest[fullID:]
	default:
		return v, errRecord
	}
	if v.timed = flags&recordTime != 0; v.timed {
		v.at, rest, ok = cutUint48(rest)
	}
	if ok && flags&recordDeadline != 0 {
		v.deadline, rest, ok = cutUint48(rest)
	}
	if ok && flags&recordShare != 0 {
		v.share, rest, ok = cutText(rest)
	}
	if ok && flags&recordOrigin != 0 {
		v.origin, rest, ok = cutText(rest)
	}
	if !ok || len(rest) < 4 {
		return v, errRecord
	}
	v.packet = rest
	return v, nil
}

// viewRecord1 is for format 1.
func viewRecord1(data []byte) (v recordView, err error) {
	if len(data) < record1Fixed {
		return v, errRecord
	}
	v.timed = true
	v.at = int64(binary.BigEndian.Uint64(data[2:])) / 1e6
	v.id = data[10:record1Fixed]
	rest := data[record1Fixed:]
	if data[1]&record1Deadline != 0 {
		if len(rest) < 8 {
			return v, errRecord
		}
		v.deadline = int64(binary.BigEndian.Uint64(rest))
		rest = rest[8:]
	}
	ok := true
	if data[1]&record1Share != 0 {
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

func cutUint48(b []byte) (v int64, rest []byte, ok bool) {
	if len(b) < 6 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint16(b))<<32 | int64(binary.BigEndian.Uint32(b[2:])), b[6:], true
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
