package packet

// Unsubscribe ends subscriptions.
type Unsubscribe struct {
	ID      uint16 // packet identifier
	Filters []string

	UserProperties []UserProperty // MQTT 5
}

// Unsuback answers an Unsubscribe.
type Unsuback struct {
	ID    uint16
	Codes []ReasonCode // MQTT 5: one for each filter, in their order
	Info               // MQTT 5
}

func (*Unsubscribe) Type() Type { return UNSUBSCRIBE }
func (*Unsuback) Type() Type    { return UNSUBACK }

// Append adds the encoded packet to dst.
func (p *Unsubscribe) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(UNSUBSCRIBE)<<4|2, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Unsubscribe) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Unsubscribe) write(w *writer, v Version) {
	w.u16(p.ID)
	if v == V5 {
		w.properties(func(w *writer) { w.userProperties(p.UserProperties) })
	}
	for _, f := range p.Filters {
		w.text(f)
	}
}

func (p *Unsubscribe) decode(r *reader, v Version) {
	p.ID = r.id()
	if v == V5 {
		for list := r.properties(unsubscribeProperties); list.next(r); {
			p.UserProperties = append(p.UserProperties, list.user())
		}
	}
	if r.err == nil && len(r.b) == 0 { // [MQTT-3.10.3-2] [v3 MQTT-3.10.3-2]
		r.fail(ProtocolError, "there is no topic filter")
	}
	for len(r.b) > 0 {
		filter := r.filter()
		if r.err != nil {
			return
		}
		if v == V5 {
			checkShared(r, filter, false)
		}
		p.Filters = append(p.Filters, string(filter))
	}
}

// Append adds the encoded packet to dst.
func (p *Unsuback) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(UNSUBACK)<<4, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Unsuback) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Unsuback) write(w *writer, v Version) {
	w.u16(p.ID)
	if v == V5 { // in 3.1.1 an UNSUBACK has no payload (v3 3.11.3)
		w.properties(func(w *writer) { w.info(&p.Info) })
		w.codes(p.Codes)
	}
}

var unsubackCodes = codesOf(Success, NoSubscriptionExisted, UnspecifiedError, ImplementationSpecificError, NotAuthorized,
	TopicFilterInvalid, PacketIdentifierInUse) // [MQTT-3.11.3-2]

func (p *Unsuback) decode(r *reader, v Version) {
	p.ID = r.id()
	if v == V5 {
		for list := r.properties(infoProperties); list.next(r); {
			list.info(&p.Info)
		}
		p.Codes = r.codes(&unsubackCodes)
	}
	r.end()
}
