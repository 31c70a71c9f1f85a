package packet

// Auth is a step of an authentication exchange (MQTT 5).
type Auth struct {
	Code           ReasonCode      // Success, ContinueAuthentication or Reauthenticate
	Authentication *Authentication // nil only in the short form: Success and nothing else
	Info
}

func (*Auth) Type() Type { return AUTH }

// Append adds the encoded packet to dst. 3.x has no AUTH; the caller sees to it
// that none is sent there.
func (p *Auth) Append(dst []byte, _ Version) []byte { return appendPacket(dst, byte(AUTH)<<4, p.write) }

// Size is the number of bytes that Append would add; above MaxSize if the packet
// can not be encoded.
func (p *Auth) Size(Version) int { return sizeOf(p.write) }

func (p *Auth) write(w *writer) {
	if p.Code == Success && p.Authentication == nil && p.ReasonString == "" && len(p.UserProperties) == 0 {
		return // 3.15.2.1
	}
	w.u8(byte(p.Code))
	w.properties(func(w *writer) {
		w.auth(p.Authentication)
		w.info(&p.Info)
	})
}

// Who may say what (3.15.2.1). [MQTT-3.15.2-1]
var (
	clientAuthCodes = codesOf(ContinueAuthentication, Reauthenticate)
	serverAuthCodes = codesOf(Success, ContinueAuthentication)
)

func (p *Auth) decode(r *reader, role Role) {
	if len(r.b) > 0 {
		p.Code = ReasonCode(r.u8())
		list := r.properties(authProperties)
		for list.next(r) {
			list.info(&p.Info)
			list.auth(&p.Authentication)
		}
		if r.err == nil && !list.has(propAuthenticationMethod) { // 3.15.2.2.2
			r.fail(ProtocolError, "there is no authentication method")
		}
	}
	fromClient := role != Client && clientAuthCodes.has(p.Code)
	fromServer := role != Server && serverAuthCodes.has(p.Code)
	if !fromClient && !fromServer {
		r.fail(ProtocolError, unknownCode)
	}
	r.end()
}
