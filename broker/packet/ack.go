package packet

import "encoding/binary"

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP, which differ in their type alone.
// The one that a Decoder returns is the decoder's own and valid until the next
// call of Next; its strings live on.
type Ack struct {
	Kind Type       // PUBACK, PUBREC, PUBREL or PUBCOMP
	ID   uint16     // packet identifier
	Code ReasonCode // MQTT 5; 3.x can only say Success
	Info            // MQTT 5
}

func (p *Ack) Type() Type { return p.Kind }

func (p *Ack) first() byte {
	if p.Kind == PUBREL {
		return byte(PUBREL)<<4 | 2 // [MQTT-3.6.1-1] [v3 MQTT-3.6.1-1]
	}
	return byte(p.Kind) << 4
}

// Append adds the encoded packet to dst. A success without Info takes the short
// form of two bytes, a failure without Info three (3.4.2.1).
func (p *Ack) Append(dst []byte, v Version) []byte {
	if v == V5 && (p.ReasonString != "" || len(p.UserProperties) > 0) {
		return appendPacket(dst, p.first(), p.long)
	}
	if v != V5 || p.Code == Success {
		dst = append(dst, p.first(), 2)
		return binary.BigEndian.AppendUint16(dst, p.ID)
	}
	dst = append(dst, p.first(), 3)
	dst = binary.BigEndian.AppendUint16(dst, p.ID)
	return append(dst, byte(p.Code))
}

// Size is the number of bytes that Append would add.
func (p *Ack) Size(v Version) int {
	if v == V5 && (p.ReasonString != "" || len(p.UserProperties) > 0) {
		return sizeOf(p.long)
	}
	if v != V5 || p.Code == Success {
		return 4
	}
	return 5
}

func (p *Ack) long(w *writer) {
	w.u16(p.ID)
	w.u8(byte(p.Code))
	w.properties(func(w *writer) { w.info(&p.Info) })
}

// Which reason codes the four may carry (3.4.2.1, 3.5.2.1, 3.6.2.1, 3.7.2.1).
var (
	receivedCodes = codesOf(Success, NoMatchingSubscribers, UnspecifiedError, ImplementationSpecificError, NotAuthorized,
		TopicNameInvalid, PacketIdentifierInUse, QuotaExceeded, PayloadFormatInvalid) // [MQTT-3.4.2-1] [MQTT-3.5.2-1]
	releasedCodes = codesOf(Success, PacketIdentifierNotFound) // [MQTT-3.6.2-1] [MQTT-3.7.2-1]
)

func (p *Ack) decode(r *reader, kind Type, v Version) {
	*p = Ack{Kind: kind}
	p.ID = r.id()
	if v == V5 && len(r.b) > 0 {
		p.Code = ReasonCode(r.u8())
		allowed := &receivedCodes
		if kind == PUBREL || kind == PUBCOMP {
			allowed = &releasedCodes
		}
		if !allowed.has(p.Code) {
			r.fail(ProtocolError, unknownCode)
		}
		if len(r.b) > 0 {
			for list := r.properties(infoProperties); list.next(r); {
				list.info(&p.Info)
			}
		}
	}
	r.end()
}

const unknownCode = "the packet may not carry that reason code"
