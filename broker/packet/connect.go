package packet

// Connect opens a session. The zero values of the MQTT 5 fields are what the
// standard says of absent properties.
type Connect struct {
	Version    Version // as decoded; Append goes by its argument
	CleanStart bool    // Clean Session in 3.x
	KeepAlive  uint16  // seconds; 0: no limit
	ClientID   string
	Will       *Will // nil: none

	// A name or password may be there and empty.
	UsernameFlag bool
	PasswordFlag bool
	Username     string
	Password     []byte

	// MQTT 5
	SessionExpiry       uint32 // seconds, 0xFFFFFFFF: never
	ReceiveMaximum      uint16 // 0: 65,535
	MaximumPacketSize   uint32 // bytes; 0: no limit
	TopicAliasMaximum   uint16
	RequestResponseInfo bool // Request Response Information is 1
	NoProblemInfo       bool // Request Problem Information is 0
	UserProperties      []UserProperty
	Authentication      *Authentication
}

// Will is the message that the server publishes when the client is gone.
type Will struct {
	Topic   string
	Payload []byte
	QoS     QoS
	Retain  bool

	// MQTT 5
	Delay      uint32     // seconds
	Properties Properties // without topic alias and subscription identifiers
}

func (*Connect) Type() Type { return CONNECT }

// Bits of the Connect Flags (3.1.2.3, v3 3.1.2.3).
const (
	reservedFlag   = 0x01
	cleanFlag      = 0x02
	willFlag       = 0x04
	willQoSShift   = 3
	willQoSFlags   = 0x18
	willRetainFlag = 0x20
	passwordFlag   = 0x40
	usernameFlag   = 0x80
)

// Append adds the encoded packet to dst.
func (p *Connect) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(CONNECT)<<4, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Connect) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Connect) write(w *writer, v Version) {
	if v == V31 {
		w.text("MQIsdp")
	} else {
		w.text("MQTT")
	}
	w.u8(byte(v))
	w.u8(p.flags())
	w.u16(p.KeepAlive)
	if v == V5 {
		w.properties(func(w *writer) {
			w.u32Property(propSessionExpiry, p.SessionExpiry)
			w.u16Property(propReceiveMaximum, p.ReceiveMaximum)
			w.u32Property(propMaximumPacketSize, p.MaximumPacketSize)
			w.u16Property(propTopicAliasMaximum, p.TopicAliasMaximum)
			w.flagProperty(propRequestResponseInfo, p.RequestResponseInfo, 1)
			w.flagProperty(propRequestProblemInfo, p.NoProblemInfo, 0)
			w.userProperties(p.UserProperties)
			w.auth(p.Authentication)
		})
	}
	w.text(p.ClientID)
	if p.Will != nil {
		if v == V5 {
			w.properties(func(w *writer) {
				w.u32Property(propWillDelay, p.Will.Delay)
				p.Will.Properties.write(w)
			})
		}
		w.text(p.Will.Topic)
		w.binary(p.Will.Payload)
	}
	if p.UsernameFlag {
		w.text(p.Username)
	}
	if p.PasswordFlag {
		w.binary(p.Password)
	}
}

func (p *Connect) flags() (b byte) {
	if p.CleanStart {
		b |= cleanFlag
	}
	if p.Will != nil {
		b |= willFlag | byte(p.Will.QoS)<<willQoSShift
		if p.Will.Retain {
			b |= willRetainFlag
		}
	}
	if p.UsernameFlag {
		b |= usernameFlag
	}
	if p.PasswordFlag {
		b |= passwordFlag
	}
	return b
}

// level reads Protocol Name and Protocol Version. answer is the version in which
// to refuse the rest.
func (p *Connect) level(r *reader) (answer Version) {
	name := string(r.text())
	level := r.u8()
	if r.err != nil {
		return 0
	}
	switch {
	case name == "MQTT" && level == byte(V5):
		p.Version = V5
	case name == "MQTT" && level == byte(V311):
		p.Version = V311
	case name == "MQIsdp" && level == byte(V31):
		p.Version = V31
	case name != "MQTT" && name != "MQIsdp": // [MQTT-3.1.2-1] [v3 MQTT-3.1.2-1]
		r.fail(UnsupportedProtocolVersion, "the protocol name is neither MQTT nor MQIsdp")
		return 0
	default: // [MQTT-3.1.2-2] [v3 MQTT-3.1.2-2]
		r.fail(UnsupportedProtocolVersion, "the protocol level is not 3, 4 or 5, or not that of the protocol name")
		// Bridges of some brokers set the highest bit to ask for a private
		// variant, and come again without it once they read 0x01.
		if name == "MQTT" && level&0x7f >= byte(V5) {
			return V5
		}
		return V311
	}
	return p.Version
}

func (p *Connect) decode(r *reader) (answer Version) {
	answer = p.level(r)
	flags := p.readFlags(r)
	p.KeepAlive = r.u16()
	if p.Version == V5 {
		p.decodeProperties(r)
	}
	p.ClientID = string(r.text())
	if flags&willFlag != 0 {
		p.Will = new(Will)
		p.Will.decode(r, p.Version, flags)
	}
	// In 3.1 the remaining length wins over the two flags: a name or password
	// that is announced and missing counts as not announced.
	short := func() bool { return p.Version == V31 && r.err == nil && len(r.b) == 0 }
	if flags&usernameFlag != 0 && !short() { // [MQTT-3.1.3-12] [v3 MQTT-3.1.3-11]
		p.UsernameFlag = true
		p.Username = string(r.text())
	}
	if flags&passwordFlag != 0 && !short() {
		p.PasswordFlag = true
		p.Password = append([]byte{}, r.binary()...)
	}
	r.end()
	return answer
}

func (p *Connect) readFlags(r *reader) byte {
	flags := r.u8()
	if p.Version == V31 {
		// 3.1 gives bit 0 no meaning, and none to the will's bits without a will.
		flags &^= reservedFlag
		if flags&willFlag == 0 {
			flags &^= willQoSFlags | willRetainFlag
		}
	}
	p.CleanStart = flags&cleanFlag != 0
	switch {
	case flags&reservedFlag != 0: // [MQTT-3.1.2-3] [v3 MQTT-3.1.2-3]
		r.fail(MalformedPacket, "the reserved connect flag is set")
	case flags&willFlag == 0 && flags&willQoSFlags != 0: // [MQTT-3.1.2-11] [v3 MQTT-3.1.2-13]
		r.fail(MalformedPacket, "a will QoS without a will")
	case flags&willFlag == 0 && flags&willRetainFlag != 0: // [MQTT-3.1.2-13] [v3 MQTT-3.1.2-15]
		r.fail(MalformedPacket, "a will retain flag without a will")
	case flags&willQoSFlags == willQoSFlags: // [MQTT-3.1.2-12] [v3 MQTT-3.1.2-14]
		r.fail(MalformedPacket, "the will QoS is 3")
	case p.Version != V5 && flags&passwordFlag != 0 && flags&usernameFlag == 0: // [v3 MQTT-3.1.2-22]
		r.fail(MalformedPacket, "a password without a user name")
	}
	return flags
}

func (p *Connect) decodeProperties(r *reader) {
	list := r.properties(connectProperties)
	for list.next(r) {
		list.auth(&p.Authentication)
		switch list.id {
		case propSessionExpiry:
			p.SessionExpiry = list.num
		case propReceiveMaximum:
			p.ReceiveMaximum = uint16(list.num)
		case propMaximumPacketSize:
			p.MaximumPacketSize = list.num
		case propTopicAliasMaximum:
			p.TopicAliasMaximum = uint16(list.num)
		case propRequestResponseInfo:
			p.RequestResponseInfo = list.num == 1
		case propRequestProblemInfo:
			p.NoProblemInfo = list.num == 0
		case propUserProperty:
			p.UserProperties = append(p.UserProperties, list.user())
		}
	}
	list.authComplete(r)
}

func (w *Will) decode(r *reader, v Version, flags byte) {
	w.QoS = QoS(flags & willQoSFlags >> willQoSShift)
	w.Retain = flags&willRetainFlag != 0
	if v == V5 {
		for list := r.properties(willProperties); list.next(r); {
			if list.id == propWillDelay {
				w.Delay = list.num
			}
			w.Properties.take(&list)
		}
		w.Properties.CorrelationData = append([]byte(nil), w.Properties.CorrelationData...)
	}
	topic := r.text()
	if r.err != nil {
		return
	}
	if len(topic) == 0 { // [MQTT-4.7.3-1] [v3 MQTT-4.7.3-1]
		r.fail(TopicNameInvalid, "the will topic is empty")
	}
	if code, fault := nameFault(topic); fault != "" { // [MQTT-4.7.0-1] [v3 MQTT-4.7.1-1]
		r.fail(code, fault)
	}
	w.Topic = string(topic)
	w.Payload = append([]byte{}, r.binary()...)
}
