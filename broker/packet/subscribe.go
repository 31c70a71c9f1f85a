package packet

import "bytes"

// Subscribe asks for messages.
type Subscribe struct {
	ID            uint16 // packet identifier
	Subscriptions []Subscription

	// MQTT 5
	SubscriptionID uint32 // 1 to 268,435,455; 0 is not sent
	UserProperties []UserProperty
}

// Subscription is one topic filter with its options.
type Subscription struct {
	Filter string
	QoS    QoS // the highest that is wanted

	// MQTT 5
	NoLocal           bool // not what this client published
	RetainAsPublished bool // keep the RETAIN flag
	RetainHandling    RetainHandling
}

// RetainHandling says when retained messages are sent. 3.x has SendRetained only.
type RetainHandling byte

const (
	SendRetained      RetainHandling = 0 // at every SUBSCRIBE
	SendRetainedIfNew RetainHandling = 1 // only if the subscription did not exist
	NoRetained        RetainHandling = 2
)

// Suback answers a Subscribe.
type Suback struct {
	ID    uint16
	Codes []ReasonCode // one for each filter, in their order; 3.x knows the three QoS levels and 0x80
	Info               // MQTT 5
}

func (*Subscribe) Type() Type { return SUBSCRIBE }
func (*Suback) Type() Type    { return SUBACK }

// Append adds the encoded packet to dst.
func (p *Subscribe) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(SUBSCRIBE)<<4|2, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Subscribe) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Subscribe) write(w *writer, v Version) {
	w.u16(p.ID)
	if v == V5 {
		w.properties(func(w *writer) {
			if p.SubscriptionID != 0 {
				w.u8(propSubscriptionID)
				w.varint(int(p.SubscriptionID))
			}
			w.userProperties(p.UserProperties)
		})
	}
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		w.text(s.Filter)
		w.u8(s.options(v))
	}
}

// Bits of the Subscription Options (3.8.3.1).
const (
	noLocalBit           = 0x04
	retainAsPublishedBit = 0x08
	retainHandlingShift  = 4
)

func (s *Subscription) options(v Version) byte {
	b := byte(s.QoS)
	if v != V5 {
		return b
	}
	if s.NoLocal {
		b |= noLocalBit
	}
	if s.RetainAsPublished {
		b |= retainAsPublishedBit
	}
	return b | byte(s.RetainHandling)<<retainHandlingShift
}

func (p *Subscribe) decode(r *reader, v Version) {
	p.ID = r.id()
	if v == V5 {
		for list := r.properties(subscribeProperties); list.next(r); {
			switch list.id {
			case propSubscriptionID:
				p.SubscriptionID = list.num
			case propUserProperty:
				p.UserProperties = append(p.UserProperties, list.user())
			}
		}
	}
	if r.err == nil && len(r.b) == 0 { // [MQTT-3.8.3-2] [v3 MQTT-3.8.3-3]
		r.fail(ProtocolError, "there is no topic filter")
	}
	for len(r.b) > 0 {
		filter := r.filter()
		options := r.u8()
		if r.err != nil {
			return
		}
		s := subscription(r, options, v)
		if v == V5 {
			checkShared(r, filter, s.NoLocal)
		}
		s.Filter = string(filter)
		p.Subscriptions = append(p.Subscriptions, s)
	}
}

func subscription(r *reader, options byte, v Version) (s Subscription) {
	if v == V31 {
		options &= 0x03 // 3.1 has no rule for the upper six bits
	}
	s.QoS = QoS(options & 0x03)
	if v != V5 {
		if options > 2 { // [v3 MQTT-3.8.3-4]
			r.fail(MalformedPacket, "the requested QoS is not 0, 1 or 2")
		}
		return s
	}
	s.NoLocal = options&noLocalBit != 0
	s.RetainAsPublished = options&retainAsPublishedBit != 0
	s.RetainHandling = RetainHandling(options >> retainHandlingShift & 0x03)
	switch {
	case options&0xc0 != 0: // [MQTT-3.8.3-5]
		r.fail(MalformedPacket, "reserved bits of the subscription options are set")
	case s.QoS == 3: // 3.8.3.1
		r.fail(ProtocolError, "the maximum QoS is 3")
	case s.RetainHandling == 3: // 3.8.3.1
		r.fail(ProtocolError, "the retain handling is 3")
	}
	return s
}

// checkShared holds $share/{name}/{filter} to its form (4.8.2). In 3.x such a
// filter is one like any other.
func checkShared(r *reader, filter []byte, noLocal bool) {
	rest, shared := bytes.CutPrefix(filter, []byte("$share/"))
	if !shared {
		return
	}
	name, rest, found := bytes.Cut(rest, []byte("/"))
	switch {
	case len(name) == 0: // [MQTT-4.8.2-1]
		r.fail(TopicFilterInvalid, "the share name is empty")
	case bytes.ContainsAny(name, "+#"): // [MQTT-4.8.2-2]
		r.fail(TopicFilterInvalid, "the share name holds a wildcard")
	case !found || len(rest) == 0: // [MQTT-4.8.2-2]
		r.fail(TopicFilterInvalid, "no topic filter follows the share name")
	case noLocal: // [MQTT-3.8.3-4]
		r.fail(ProtocolError, "No Local is set on a shared subscription")
	}
}

// Append adds the encoded packet to dst.
func (p *Suback) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(SUBACK)<<4, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Suback) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Suback) write(w *writer, v Version) {
	w.u16(p.ID)
	if v == V5 {
		w.properties(func(w *writer) { w.info(&p.Info) })
		w.codes(p.Codes)
		return
	}
	for _, c := range p.Codes {
		if c > GrantedQoS2 {
			c = UnspecifiedError // the only failure of 3.1.1 [v3 MQTT-3.9.3-2]
		}
		w.u8(byte(c))
	}
}

var (
	subackCodes = codesOf(GrantedQoS0, GrantedQoS1, GrantedQoS2, UnspecifiedError, ImplementationSpecificError,
		NotAuthorized, TopicFilterInvalid, PacketIdentifierInUse, QuotaExceeded, SharedSubscriptionsNotSupported,
		SubscriptionIdentifiersNotSupported, WildcardSubscriptionsNotSupported) // [MQTT-3.9.3-2]
	subackCodes3 = codesOf(GrantedQoS0, GrantedQoS1, GrantedQoS2, UnspecifiedError) // [v3 MQTT-3.9.3-2]
)

func (p *Suback) decode(r *reader, v Version) {
	p.ID = r.id()
	allowed := &subackCodes3
	if v == V5 {
		allowed = &subackCodes
		for list := r.properties(infoProperties); list.next(r); {
			list.info(&p.Info)
		}
	}
	p.Codes = r.codes(allowed)
}

// codes reads reason codes to the end of the packet.
func (r *reader) codes(allowed *codes) []ReasonCode {
	if len(r.b) == 0 { // one for each filter, of which there is at least one
		r.fail(ProtocolError, "there is no reason code")
		return nil
	}
	list := make([]ReasonCode, len(r.b))
	for i, b := range r.b {
		list[i] = ReasonCode(b)
		if !allowed.has(list[i]) {
			r.fail(ProtocolError, unknownCode)
			return nil
		}
	}
	r.b = nil
	return list
}
