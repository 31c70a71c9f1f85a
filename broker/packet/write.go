package packet

import "encoding/binary"

// writer lays a packet out. It runs twice over the same code: once only to count,
// then to write, so that a length can not disagree with what follows it.
type writer struct {
	dst     []byte
	n       int  // bytes so far
	count   bool // count, do not write
	tooLong bool // a field has more than 65,535 bytes, or the packet more than maxVarint
}

// add counts n bytes. It stops at what a packet can hold: 32 bits would not do for
// a long string that is there ten thousand times.
func (w *writer) add(n int) {
	if w.n += n; w.n > maxVarint {
		w.n, w.tooLong = maxVarint, true
	}
}

// appendPacket writes a fixed header and what body lays out.
func appendPacket(dst []byte, first byte, body func(*writer)) []byte {
	measure := writer{count: true}
	body(&measure)
	if measure.tooLong {
		panic("packet: append a packet that its Size calls too large")
	}
	w := writer{dst: append(dst, first)}
	w.varint(measure.n)
	body(&w)
	return w.dst
}

// sizeOf is the encoded size of a packet with this body.
func sizeOf(body func(*writer)) int {
	w := writer{count: true}
	body(&w)
	if w.tooLong {
		return MaxSize + 1
	}
	return 1 + varintWidth(w.n) + w.n
}

func (w *writer) u8(v byte) {
	w.add(1)
	if !w.count {
		w.dst = append(w.dst, v)
	}
}

func (w *writer) u16(v uint16) {
	w.add(2)
	if !w.count {
		w.dst = binary.BigEndian.AppendUint16(w.dst, v)
	}
}

func (w *writer) u32(v uint32) {
	w.add(4)
	if !w.count {
		w.dst = binary.BigEndian.AppendUint32(w.dst, v)
	}
}

func (w *writer) varint(v int) {
	w.add(varintWidth(v))
	if !w.count {
		w.dst = appendVarint(w.dst, v)
	}
}

func (w *writer) text(s string) {
	if len(s) > 0xffff {
		w.tooLong = true
	}
	w.add(2 + len(s))
	if !w.count {
		w.dst = binary.BigEndian.AppendUint16(w.dst, uint16(len(s)))
		w.dst = append(w.dst, s...)
	}
}

func (w *writer) binary(b []byte) {
	if len(b) > 0xffff {
		w.tooLong = true
	}
	w.add(2 + len(b))
	if !w.count {
		w.dst = binary.BigEndian.AppendUint16(w.dst, uint16(len(b)))
		w.dst = append(w.dst, b...)
	}
}

func (w *writer) codes(list []ReasonCode) {
	for _, c := range list {
		w.u8(byte(c))
	}
}

// properties writes the Property Length and what list lays out.
func (w *writer) properties(list func(*writer)) {
	measure := writer{count: true}
	list(&measure)
	w.varint(measure.n)
	w.tooLong = w.tooLong || measure.tooLong
	if w.count {
		w.add(measure.n)
		return
	}
	list(w)
}

func (w *writer) info(i *Info) {
	w.textProperty(propReasonString, i.ReasonString)
	w.userProperties(i.UserProperties)
}

func (w *writer) auth(a *Authentication) {
	if a == nil {
		return
	}
	w.u8(propAuthenticationMethod)
	w.text(a.Method)
	if a.Data != nil {
		w.u8(propAuthenticationData)
		w.binary(a.Data)
	}
}

func (w *writer) userProperties(list []UserProperty) {
	for i := range list {
		w.u8(propUserProperty)
		w.text(list[i].Key)
		w.text(list[i].Value)
	}
}

// The properties that follow are left out when they are zero.

func (w *writer) textProperty(id byte, s string) {
	if s != "" {
		w.u8(id)
		w.text(s)
	}
}

func (w *writer) u16Property(id byte, v uint16) {
	if v != 0 {
		w.u8(id)
		w.u16(v)
	}
}

func (w *writer) u32Property(id byte, v uint32) {
	if v != 0 {
		w.u8(id)
		w.u32(v)
	}
}

// flagProperty writes a property of value v if it is wanted.
func (w *writer) flagProperty(id byte, wanted bool, v byte) {
	if wanted {
		w.u8(id)
		w.u8(v)
	}
}

func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}
