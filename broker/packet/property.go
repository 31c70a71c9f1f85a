package packet

// Property identifiers (table 2.4). They are Variable Byte Integers, and all that
// exist fit one byte.
const (
	propPayloadFormat           = 0x01
	propMessageExpiry           = 0x02
	propContentType             = 0x03
	propResponseTopic           = 0x08
	propCorrelationData         = 0x09
	propSubscriptionID          = 0x0B
	propSessionExpiry           = 0x11
	propAssignedClientID        = 0x12
	propServerKeepAlive         = 0x13
	propAuthenticationMethod    = 0x15
	propAuthenticationData      = 0x16
	propRequestProblemInfo      = 0x17
	propWillDelay               = 0x18
	propRequestResponseInfo     = 0x19
	propResponseInfo            = 0x1A
	propServerReference         = 0x1C
	propReasonString            = 0x1F
	propReceiveMaximum          = 0x21
	propTopicAliasMaximum       = 0x22
	propTopicAlias              = 0x23
	propMaximumQoS              = 0x24
	propRetainAvailable         = 0x25
	propUserProperty            = 0x26
	propMaximumPacketSize       = 0x27
	propWildcardAvailable       = 0x28
	propSubscriptionIDAvailable = 0x29
	propSharedAvailable         = 0x2A
)

// ids is a set of property identifiers.
type ids uint64

func idsOf(list ...byte) (s ids) {
	for _, id := range list {
		s |= 1 << id
	}
	return s
}

// Which properties each packet may hold (table 2.4).
var (
	connectProperties = idsOf(propSessionExpiry, propReceiveMaximum, propMaximumPacketSize, propTopicAliasMaximum,
		propRequestResponseInfo, propRequestProblemInfo, propUserProperty, propAuthenticationMethod, propAuthenticationData)
	willProperties = idsOf(propWillDelay, propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic,
		propCorrelationData, propUserProperty)
	connackProperties = idsOf(propSessionExpiry, propReceiveMaximum, propMaximumQoS, propRetainAvailable,
		propMaximumPacketSize, propAssignedClientID, propTopicAliasMaximum, propReasonString, propUserProperty,
		propWildcardAvailable, propSubscriptionIDAvailable, propSharedAvailable, propServerKeepAlive, propResponseInfo,
		propServerReference, propAuthenticationMethod, propAuthenticationData)
	publishProperties = idsOf(propPayloadFormat, propMessageExpiry, propTopicAlias, propResponseTopic,
		propCorrelationData, propUserProperty, propSubscriptionID, propContentType)
	infoProperties        = idsOf(propReasonString, propUserProperty)
	subscribeProperties   = idsOf(propSubscriptionID, propUserProperty)
	unsubscribeProperties = idsOf(propUserProperty)
	disconnectProperties  = idsOf(propSessionExpiry, propReasonString, propUserProperty, propServerReference)
	authProperties        = idsOf(propAuthenticationMethod, propAuthenticationData, propReasonString, propUserProperty)
)

// property is one decoded property. Its slices alias the packet.
type property struct {
	id    byte
	num   uint32
	data  []byte // a string or binary data, or the name of a user property
	value []byte // the value of a user property
}

// properties reads a property list one by one. Its faults go to the reader of
// the packet, which is passed to each call: held here, it would be allocated.
type properties struct {
	property
	list    reader // what is left
	all     []byte // the list as it came
	copied  string // all, once a string of it was wanted
	allowed ids
	seen    ids
}

func (r *reader) properties(allowed ids) properties {
	all := r.take(int(r.varint()))
	return properties{list: reader{b: all}, all: all, allowed: allowed}
}

// next reads the next property. It is false at the end and at the first fault.
func (p *properties) next(r *reader) bool {
	if len(p.list.b) == 0 || r.err != nil {
		return false
	}
	p.id = p.list.b[0]
	p.list.b = p.list.b[1:]
	// An identifier that is unknown, or not for this packet, makes it malformed
	// (2.2.2.2). So do identifiers of two bytes and more, none of which exists.
	if p.allowed&(1<<p.id) == 0 {
		r.fail(MalformedPacket, "the packet holds a property that it may not hold")
		return false
	}
	// User properties may repeat, and so may the subscription identifiers of a
	// PUBLISH: one for each subscription that matches (3.3.2.3.8). For all others
	// the standard calls a second one a protocol error.
	if p.seen&(1<<p.id) != 0 && p.id != propUserProperty &&
		(p.id != propSubscriptionID || p.allowed&(1<<propTopicAlias) == 0) {
		r.fail(ProtocolError, "a property is there twice")
		return false
	}
	p.seen |= 1 << p.id
	p.read()
	if p.list.err != nil {
		r.fail(p.list.err.Code, p.list.err.Reason)
		return false
	}
	p.check(r)
	return r.err == nil
}

// read reads the value by the type that its identifier has.
func (p *properties) read() {
	switch p.id {
	case propPayloadFormat, propRequestProblemInfo, propRequestResponseInfo, propMaximumQoS, propRetainAvailable,
		propWildcardAvailable, propSubscriptionIDAvailable, propSharedAvailable:
		p.num = uint32(p.list.u8())
	case propServerKeepAlive, propReceiveMaximum, propTopicAliasMaximum, propTopicAlias:
		p.num = uint32(p.list.u16())
	case propMessageExpiry, propSessionExpiry, propWillDelay, propMaximumPacketSize:
		p.num = p.list.u32()
	case propSubscriptionID:
		p.num = p.list.varint()
	case propCorrelationData, propAuthenticationData:
		p.data = p.list.binary()
	case propUserProperty:
		p.data = p.list.text()
		p.value = p.list.text()
	default:
		p.data = p.list.text()
	}
}

// check refuses the values that the standard calls protocol errors.
func (p *properties) check(r *reader) {
	switch p.id {
	case propPayloadFormat, propRequestProblemInfo, propRequestResponseInfo, propMaximumQoS, propRetainAvailable,
		propWildcardAvailable, propSubscriptionIDAvailable, propSharedAvailable:
		if p.num > 1 {
			r.fail(ProtocolError, "a property that is 0 or 1 has another value")
		}
	case propReceiveMaximum, propMaximumPacketSize, propSubscriptionID:
		// 3.1.2.11.3, 3.1.2.11.4, 3.3.2.3.8, 3.8.2.1.2
		if p.num == 0 {
			r.fail(ProtocolError, "a property that must not be 0 is 0")
		}
	case propTopicAlias: // [MQTT-3.3.2-8]
		if p.num == 0 {
			r.fail(TopicAliasInvalid, "the topic alias is 0")
		}
	case propResponseTopic: // [MQTT-3.3.2-14] [MQTT-4.7.3-1]
		if len(p.data) == 0 {
			r.fail(ProtocolError, "the response topic is empty")
		}
		if _, fault := nameFault(p.data); fault != "" {
			r.fail(ProtocolError, "the response topic holds a wildcard")
		}
	}
}

// has reports whether the property was in the list.
func (p *properties) has(id byte) bool { return p.seen&(1<<id) != 0 }

// text is the string that was read last. All strings of a list are parts of one
// copy of it: one allocation, however many there are.
func (p *properties) text() string { return p.part(len(p.data), 0) }

func (p *properties) user() UserProperty {
	return UserProperty{p.part(len(p.data), 2+len(p.value)), p.part(len(p.value), 0)}
}

// part is n bytes of the list that end so many bytes before what is not yet read.
func (p *properties) part(n, before int) string {
	if n == 0 {
		return ""
	}
	if p.copied == "" {
		p.copied = string(p.all)
	}
	end := len(p.all) - len(p.list.b) - before
	return p.copied[end-n : end]
}

// bytes is a copy of binary data, never nil.
func (p *properties) bytes() []byte { return append(make([]byte, 0, len(p.data)), p.data...) }

// info puts what the property says into i, if it is one of Info's.
func (p *properties) info(i *Info) {
	switch p.id {
	case propReasonString:
		i.ReasonString = p.text()
	case propUserProperty:
		i.UserProperties = append(i.UserProperties, p.user())
	}
}

// auth puts what the property says into *a, if it is one of Authentication's.
func (p *properties) auth(a **Authentication) {
	if p.id != propAuthenticationMethod && p.id != propAuthenticationData {
		return
	}
	if *a == nil {
		*a = new(Authentication)
	}
	if p.id == propAuthenticationMethod {
		(*a).Method = p.text()
	} else {
		(*a).Data = p.bytes()
	}
}

// authComplete refuses Authentication Data without a method (3.1.2.11.10,
// 3.2.2.3.18, 3.15.2.2.3).
func (p *properties) authComplete(r *reader) {
	if p.has(propAuthenticationData) && !p.has(propAuthenticationMethod) {
		r.fail(ProtocolError, "authentication data without an authentication method")
	}
}
