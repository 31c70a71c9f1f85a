package packet

import "encoding/binary"

// keptProperties is how many user properties and subscription identifiers of one
// PUBLISH may stay allocated for the next.
const keptProperties = 64

// decode reads a PUBLISH into p. Without properties it allocates nothing.
func (p *Publish) decode(first byte, body []byte, v Version, role Role) *Error {
	p.DUP = first&dupBit != 0
	p.QoS = QoS(first & qosBits >> 1)
	p.Retain = first&retainBit != 0
	p.ID = 0
	if !p.Properties.IsZero() {
		p.Properties.reset()
	}
	if p.QoS == 3 { // [MQTT-3.3.1-4] [v3 MQTT-3.3.1-4]
		return &Error{Code: MalformedPacket, Reason: "QoS 3 does not exist"}
	}
	if p.DUP && p.QoS == 0 { // [MQTT-3.3.1-2] [v3 MQTT-3.3.1-2]
		return &Error{Code: MalformedPacket, Reason: "DUP is set at QoS 0"}
	}
	if len(body) < 2 {
		return &Error{Code: MalformedPacket, Reason: truncated}
	}
	at := 2 + int(binary.BigEndian.Uint16(body))
	if at > len(body) {
		return &Error{Code: MalformedPacket, Reason: truncated}
	}
	p.Topic = body[2:at:at]
	if code, fault := nameFault(p.Topic); fault != "" {
		return &Error{Code: code, Reason: fault}
	}
	if len(p.Topic) == 0 && v != V5 { // [v3 MQTT-4.7.3-1]
		return &Error{Code: TopicNameInvalid, Reason: noTopic}
	}
	if p.QoS > 0 { // [MQTT-2.2.1-2] [MQTT-2.2.1-3] [v3 MQTT-2.3.1-1] [v3 MQTT-2.3.1-5]
		if len(body) < at+2 {
			return &Error{Code: MalformedPacket, Reason: truncated}
		}
		p.ID = binary.BigEndian.Uint16(body[at:])
		if p.ID == 0 {
			return &Error{Code: ProtocolError, Reason: "the packet identifier is 0"}
		}
		at += 2
	}
	if v != V5 {
		p.Payload = body[at:]
		return nil
	}
	if at < len(body) && body[at] == 0 {
		p.Payload = body[at+1:]
	} else {
		r := reader{b: body[at:]}
		p.Properties.decode(&r, role)
		if r.err != nil {
			return r.err
		}
		p.Payload = r.b
	}
	if len(p.Topic) == 0 && p.Properties.Has&HasTopicAlias == 0 { // 3.3.2.1
		return &Error{Code: ProtocolError, Reason: "neither a topic nor a topic alias"}
	}
	return nil
}

// release lets go of the last packet when there is no next one yet: a connection
// may be silent for hours, and should not hold a buffer or a heap of properties
// for as long.
func (p *Publish) release() {
	p.Topic, p.Payload = nil, nil
	if !p.Properties.IsZero() {
		p.Properties.reset()
	}
}

// decode reads the properties of a PUBLISH.
func (p *Properties) decode(r *reader, role Role) {
	list := r.properties(publishProperties)
	for list.next(r) {
		p.take(&list)
	}
	if role == Server && list.has(propSubscriptionID) { // [MQTT-3.3.4-6]
		r.fail(ProtocolError, "a client sent a subscription identifier")
	}
}

// take puts one property where it belongs. CorrelationData aliases the packet.
func (p *Properties) take(list *properties) {
	switch list.id {
	case propPayloadFormat:
		p.Has |= HasPayloadFormat
		p.PayloadFormat = byte(list.num)
	case propMessageExpiry:
		p.Has |= HasMessageExpiry
		p.MessageExpiry = list.num
	case propTopicAlias:
		p.Has |= HasTopicAlias
		p.TopicAlias = uint16(list.num)
	case propResponseTopic:
		p.Has |= HasResponseTopic
		p.ResponseTopic = list.text()
	case propCorrelationData:
		p.Has |= HasCorrelationData
		p.CorrelationData = list.data
	case propContentType:
		p.Has |= HasContentType
		p.ContentType = list.text()
	case propSubscriptionID:
		p.SubscriptionIDs = append(p.SubscriptionIDs, list.num)
	case propUserProperty:
		p.UserProperties = append(p.UserProperties, list.user())
	}
}

// reset empties p and keeps its two slices, unless one message in a thousand has
// made them large.
func (p *Properties) reset() {
	subs, users := p.SubscriptionIDs[:0], p.UserProperties[:0]
	if cap(subs) > keptProperties {
		subs = nil
	}
	if cap(users) > keptProperties {
		users = nil
	}
	clear(users[:cap(users)]) // let go of the strings
	*p = Properties{SubscriptionIDs: subs, UserProperties: users}
}
