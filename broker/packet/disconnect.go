package packet

// Disconnect ends a connection. Only a client may send it in 3.x, and it holds
// nothing there; in MQTT 5 both sides send it.
type Disconnect struct {
	// MQTT 5
	Code            ReasonCode
	SessionExpiry   *uint32 // seconds, 0xFFFFFFFF: never; nil: as it was in CONNECT. A server must not send it
	ServerReference string  // "" is not sent
	Info
}

func (*Disconnect) Type() Type { return DISCONNECT }

// Append adds the encoded packet to dst. A normal disconnection without
// properties takes the short form of two bytes (3.14.2.1).
func (p *Disconnect) Append(dst []byte, v Version) []byte {
	return appendPacket(dst, byte(DISCONNECT)<<4, func(w *writer) { p.write(w, v) })
}

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Disconnect) Size(v Version) int { return sizeOf(func(w *writer) { p.write(w, v) }) }

func (p *Disconnect) write(w *writer, v Version) {
	if v != V5 {
		return
	}
	bare := p.SessionExpiry == nil && p.ServerReference == "" && p.ReasonString == "" && len(p.UserProperties) == 0
	if bare && p.Code == NormalDisconnection {
		return
	}
	w.u8(byte(p.Code))
	if bare {
		return
	}
	w.properties(func(w *writer) {
		if p.SessionExpiry != nil {
			w.u8(propSessionExpiry)
			w.u32(*p.SessionExpiry)
		}
		w.textProperty(propServerReference, p.ServerReference)
		w.info(&p.Info)
	})
}

// Who may say what (3.14.2.1). [MQTT-3.14.2-1]
var (
	clientDisconnectCodes = codesOf(NormalDisconnection, DisconnectWithWillMessage, UnspecifiedError, MalformedPacket,
		ProtocolError, ImplementationSpecificError, TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid,
		PacketTooLarge, MessageRateTooHigh, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid)
	serverDisconnectCodes = codesOf(NormalDisconnection, UnspecifiedError, MalformedPacket, ProtocolError,
		ImplementationSpecificError, NotAuthorized, ServerBusy, ServerShuttingDown, BadAuthenticationMethod,
		KeepAliveTimeout, SessionTakenOver, TopicFilterInvalid, TopicNameInvalid, ReceiveMaximumExceeded,
		TopicAliasInvalid, PacketTooLarge, MessageRateTooHigh, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid,
		RetainNotSupported, QoSNotSupported, UseAnotherServer, ServerMoved, SharedSubscriptionsNotSupported,
		ConnectionRateExceeded, MaximumConnectTime, SubscriptionIdentifiersNotSupported, WildcardSubscriptionsNotSupported)
)

func (p *Disconnect) decode(r *reader, v Version, role Role) {
	if v == V5 && len(r.b) > 0 {
		p.Code = ReasonCode(r.u8())
		fromClient := role != Client && clientDisconnectCodes.has(p.Code)
		fromServer := role != Server && serverDisconnectCodes.has(p.Code)
		if !fromClient && !fromServer {
			r.fail(ProtocolError, unknownCode)
		}
		if len(r.b) > 0 {
			list := r.properties(disconnectProperties)
			for list.next(r) {
				list.info(&p.Info)
				switch list.id {
				case propSessionExpiry:
					p.SessionExpiry = new(list.num)
				case propServerReference:
					p.ServerReference = list.text()
				}
			}
			if role == Client && list.has(propSessionExpiry) { // [MQTT-3.14.2-2]
				r.fail(ProtocolError, "a server sent a session expiry interval")
			}
		}
	}
	r.end()
}
