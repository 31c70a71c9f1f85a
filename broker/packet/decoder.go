package packet

// Role is the side of the connection that a Decoder reads for.
type Role byte

const (
	Server Role = iota // accepts what clients send
	Client             // accepts what servers send
	Either             // accepts both: for taps and tests
)

// Decoder turns the bytes of one connection into packets. It is for one
// goroutine. Set the exported fields before the first call of Next; the zero
// value is a server that waits for CONNECT.
type Decoder struct {
	Role Role

	// Version is set by CONNECT. A client sets it before the first packet. While
	// it is 0 nothing but CONNECT is accepted [MQTT-3.1.0-1] [v3 MQTT-3.1.0-1].
	Version Version

	// MaxPacketSize is the largest packet that is accepted, in bytes with its
	// fixed header; 0 is MaxSize. It may be changed between calls of Next.
	MaxPacketSize int

	publish Publish
	ack     Ack
}

// Next decodes the first packet of buf; n is the number of its bytes.
//
// If buf does not hold the whole packet, p and err are nil, n is 0, and need says
// how many bytes in all must be there before the next call can do more. need is
// what a header promises, and a header may lie: grow the buffer as bytes arrive,
// not to need at once. A header that is refused is refused before the rest
// arrives.
//
// err is an *Error or nil. After an error the connection is lost: see Error.
//
// A *Publish and an *Ack belong to the decoder and are valid until the next call,
// with Topic, Payload and CorrelationData of the Publish pointing into buf. All
// other packets are the caller's and share nothing with buf.
func (d *Decoder) Next(buf []byte) (p Packet, n, need int, err error) {
	if len(buf) == 0 {
		d.publish.release()
		return nil, 0, 2, nil
	}
	first := buf[0]
	if e := d.admit(first); e != nil {
		return nil, 0, 0, d.refuse(e, first)
	}
	rest, width := varint(buf[1:])
	switch {
	case width == 0:
		d.publish.release()
		return nil, 0, len(buf) + 1, nil
	case width < 0: // 2.1.4, v3 2.2.3
		return nil, 0, 0, d.refuse(&Error{Code: MalformedPacket, Reason: "the remaining length has more than four bytes"}, first)
	case width != varintWidth(rest) && d.Version == V5: // [MQTT-1.5.5-1]; 3.x does not demand the shortest form
		return nil, 0, 0, d.refuse(errWideLength(), first)
	}
	total := 1 + width + rest
	if d.MaxPacketSize > 0 && total > d.MaxPacketSize { // [MQTT-3.1.2-24] [MQTT-3.2.2-15]
		return nil, 0, 0, d.refuse(&Error{Code: PacketTooLarge, Reason: "the packet is larger than the maximum packet size"}, first)
	}
	if len(buf) < total {
		d.publish.release()
		return nil, 0, total, nil
	}
	body := buf[1+width : total : total]
	if Type(first>>4) == PUBLISH {
		if e := d.publish.decode(first, body, d.Version, d.Role); e != nil {
			return nil, 0, 0, d.refuse(e, first)
		}
		return &d.publish, total, 0, nil
	}
	p, e := d.decode(Type(first>>4), body)
	if e == nil && p.Type() == CONNECT && d.Version == V5 && width != varintWidth(rest) {
		e = errWideLength()
	}
	if e != nil {
		return nil, 0, 0, d.refuse(e, first)
	}
	return p, total, 0, nil
}

func errWideLength() *Error {
	return &Error{Code: MalformedPacket, Reason: "the remaining length takes more bytes than it needs"}
}

// refuse completes an error with what the answer needs to know.
func (d *Decoder) refuse(e *Error, first byte) error {
	e.Packet = Type(first >> 4)
	if e.Version == 0 {
		e.Version = d.Version
	}
	return e
}

const (
	fromClient = 1 << iota // which side may send a type
	fromServer
	sinceV5
	withID // the flags of the fixed header are 0010
)

// kinds says of every packet type who may send it, from which version on, and
// what its flags are (tables 2.1 and 2.2). PUBLISH has flags of its own.
var kinds = [16]byte{
	CONNECT:     fromClient,
	CONNACK:     fromServer,
	PUBLISH:     fromClient | fromServer,
	PUBACK:      fromClient | fromServer,
	PUBREC:      fromClient | fromServer,
	PUBREL:      fromClient | fromServer | withID,
	PUBCOMP:     fromClient | fromServer,
	SUBSCRIBE:   fromClient | withID,
	SUBACK:      fromServer,
	UNSUBSCRIBE: fromClient | withID,
	UNSUBACK:    fromServer,
	PINGREQ:     fromClient,
	PINGRESP:    fromServer,
	DISCONNECT:  fromClient | fromServer,
	AUTH:        fromClient | fromServer | sinceV5,
}

// admit judges the first byte of a packet.
func (d *Decoder) admit(first byte) *Error {
	t := Type(first >> 4)
	if d.Version == 0 && t != CONNECT { // [MQTT-3.1.0-1] [v3 MQTT-3.1.0-1]
		return &Error{Code: ProtocolError, Reason: "the first packet is not CONNECT"}
	}
	if t == PUBLISH {
		return nil // judged with its fields
	}
	kind := kinds[t]
	if kind&(fromClient|fromServer) == 0 || kind&sinceV5 != 0 && d.Version != V5 {
		return &Error{Code: MalformedPacket, Reason: "the packet type is reserved"}
	}
	if d.Role == Server && kind&fromClient == 0 {
		return &Error{Code: ProtocolError, Reason: "only a server may send this packet"}
	}
	if d.Role == Client && (kind&fromServer == 0 || t == DISCONNECT && d.Version != V5) {
		return &Error{Code: ProtocolError, Reason: "only a client may send this packet"}
	}
	if t == CONNECT && d.Version != 0 && d.Role == Server { // [MQTT-3.1.0-2] [v3 MQTT-3.1.0-2]
		return &Error{Code: ProtocolError, Reason: "a second CONNECT on one connection"}
	}
	flags, want := first&0x0f, byte(0)
	if kind&withID != 0 { // [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1], the same numbers in v3
		want = 2
		if d.Version == V31 {
			flags &^= dupBit // 3.1 marks a resent one of these three as a duplicate
		}
	}
	if flags != want { // [MQTT-2.1.3-1] [v3 MQTT-2.2.2-2]
		return &Error{Code: MalformedPacket, Reason: "reserved flags of the fixed header are not as they must be"}
	}
	return nil
}

// decode decodes every packet but PUBLISH.
func (d *Decoder) decode(t Type, body []byte) (Packet, *Error) {
	r := reader{b: body}
	var p Packet
	switch t {
	case CONNECT:
		c := new(Connect)
		answer := c.decode(&r)
		if r.err != nil {
			r.err.Version = answer
		}
		if c.Version != 0 {
			d.Version = c.Version
		}
		p = c
	case CONNACK:
		c := new(Connack)
		c.decode(&r, d.Version)
		p = c
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		d.ack.decode(&r, t, d.Version)
		p = &d.ack
	case SUBSCRIBE:
		s := new(Subscribe)
		s.decode(&r, d.Version)
		p = s
	case SUBACK:
		s := new(Suback)
		s.decode(&r, d.Version)
		p = s
	case UNSUBSCRIBE:
		u := new(Unsubscribe)
		u.decode(&r, d.Version)
		p = u
	case UNSUBACK:
		u := new(Unsuback)
		u.decode(&r, d.Version)
		p = u
	case PINGREQ:
		r.end()
		p = new(Pingreq)
	case PINGRESP:
		r.end()
		p = new(Pingresp)
	case DISCONNECT:
		x := new(Disconnect)
		x.decode(&r, d.Version, d.Role)
		p = x
	case AUTH:
		a := new(Auth)
		a.decode(&r, d.Role)
		p = a
	}
	return p, r.err
}
