package packet

// Connack answers a Connect. The zero values of the MQTT 5 fields are what the
// standard says of absent properties.
type Connack struct {
	SessionPresent bool

	// Code is the MQTT 5 reason code in every version: 3.x is written with
	// Code.ReturnCode(), and 0x03 where that knows no word; a caller that asks
	// first closes instead [v3 MQTT-3.2.2-6].
	Code ReasonCode

	// MQTT 5
	SessionExpiry             *uint32 // seconds, 0xFFFFFFFF: never; nil: as the client asked
	ReceiveMaximum            uint16  // 0: 65,535
	MaximumQoS                *QoS    // 0 or 1; nil: 2
	RetainUnavailable         bool
	MaximumPacketSize         uint32 // bytes; 0: no limit
	AssignedClientID          string // "" is not sent
	TopicAliasMaximum         uint16
	WildcardUnavailable       bool    // subscriptions with wildcards
	SubscriptionIDUnavailable bool    // subscription identifiers
	SharedUnavailable         bool    // shared subscriptions
	ServerKeepAlive           *uint16 // seconds; nil: as the client asked
	ResponseInformation       string  // "" is not sent
	ServerReference           string  // "" is not sent
	Authentication            *Authentication
	Info
}

func (*Connack) Type() Type { return CONNACK }

// Append adds the encoded packet to dst.
func (p *Connack) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(CONNACK)<<4, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Connack) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Connack) write(w *writer, v Version) {
	var flags byte
	if p.SessionPresent && v != V31 { // 3.1 has no Session Present
		flags = 1
	}
	w.u8(flags)
	if v != V5 {
		code, _ := p.Code.ReturnCode()
		w.u8(byte(code))
		return
	}
	w.u8(byte(p.Code))
	w.properties(func(w *writer) {
		if p.SessionExpiry != nil {
			w.u8(propSessionExpiry)
			w.u32(*p.SessionExpiry)
		}
		w.u16Property(propReceiveMaximum, p.ReceiveMaximum)
		if p.MaximumQoS != nil && *p.MaximumQoS < QoS2 { // 2 is not a value of the property (3.2.2.3.4)
			w.u8(propMaximumQoS)
			w.u8(byte(*p.MaximumQoS))
		}
		w.flagProperty(propRetainAvailable, p.RetainUnavailable, 0)
		w.u32Property(propMaximumPacketSize, p.MaximumPacketSize)
		w.textProperty(propAssignedClientID, p.AssignedClientID)
		w.u16Property(propTopicAliasMaximum, p.TopicAliasMaximum)
		w.info(&p.Info)
		w.flagProperty(propWildcardAvailable, p.WildcardUnavailable, 0)
		w.flagProperty(propSubscriptionIDAvailable, p.SubscriptionIDUnavailable, 0)
		w.flagProperty(propSharedAvailable, p.SharedUnavailable, 0)
		if p.ServerKeepAlive != nil {
			w.u8(propServerKeepAlive)
			w.u16(*p.ServerKeepAlive)
		}
		w.textProperty(propResponseInfo, p.ResponseInformation)
		w.textProperty(propServerReference, p.ServerReference)
		w.auth(p.Authentication)
	})
}

var connackCodes = codesOf(Success, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationSpecificError,
	UnsupportedProtocolVersion, ClientIdentifierNotValid, BadUserNameOrPassword, NotAuthorized, ServerUnavailable,
	ServerBusy, Banned, BadAuthenticationMethod, TopicNameInvalid, PacketTooLarge, QuotaExceeded, PayloadFormatInvalid,
	RetainNotSupported, QoSNotSupported, UseAnotherServer, ServerMoved, ConnectionRateExceeded) // [MQTT-3.2.2-8]

func (p *Connack) decode(r *reader, v Version) {
	flags := r.u8()
	if v == V31 {
		flags = 0 // 3.1 has no rule for this byte
	}
	if flags > 1 { // [MQTT-3.2.2-1]
		r.fail(MalformedPacket, "reserved connect acknowledge flags are set")
	}
	p.SessionPresent = flags == 1
	code := r.u8()
	if v == V5 {
		p.Code = ReasonCode(code)
		if !connackCodes.has(p.Code) {
			r.fail(ProtocolError, unknownCode)
		}
		p.decodeProperties(r)
	} else {
		var known bool
		if p.Code, known = reasonOf(ReturnCode(code)); !known {
			r.fail(ProtocolError, "the return code is reserved")
		}
	}
	if p.SessionPresent && p.Code != Success { // [MQTT-3.2.2-6] [v3 MQTT-3.2.2-4]
		r.fail(ProtocolError, "a refused connection has a session")
	}
	r.end()
}

func (p *Connack) decodeProperties(r *reader) {
	list := r.properties(connackProperties)
	for list.next(r) {
		list.info(&p.Info)
		list.auth(&p.Authentication)
		switch list.id {
		case propSessionExpiry:
			p.SessionExpiry = new(list.num)
		case propReceiveMaximum:
			p.ReceiveMaximum = uint16(list.num)
		case propMaximumQoS:
			p.MaximumQoS = new(QoS(list.num))
		case propRetainAvailable:
			p.RetainUnavailable = list.num == 0
		case propMaximumPacketSize:
			p.MaximumPacketSize = list.num
		case propAssignedClientID:
			p.AssignedClientID = list.text()
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(list.num)
		case propWildcardAvailable:
			p.WildcardUnavailable = list.num == 0
		case propSubscriptionIDAvailable:
			p.SubscriptionIDUnavailable = list.num == 0
		case propSharedAvailable:
			p.SharedUnavailable = list.num == 0
		case propServerKeepAlive:
			p.ServerKeepAlive = new(uint16(list.num))
		case propResponseInfo:
			p.ResponseInformation = list.text()
		case propServerReference:
			p.ServerReference = list.text()
		}
	}
	list.authComplete(r)
}
