package packet

import (
	"encoding/binary"
	"unicode/utf8"
)

// maxVarint is the largest Variable Byte Integer: four bytes of seven bits.
const maxVarint = 268_435_455

// varint reads a Variable Byte Integer. width is the number of its bytes, 0 if b
// ends before it does, and -1 if it has more than the four bytes that both
// standards allow (1.5.5, v3 2.2.3).
func varint(b []byte) (value, width int) {
	for i := 0; i < 4; i++ {
		if i == len(b) {
			return 0, 0
		}
		value |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return value, i + 1
		}
	}
	return 0, -1
}

// varintWidth is the least number of bytes for value.
func varintWidth(value int) int {
	switch {
	case value < 1<<7:
		return 1
	case value < 1<<14:
		return 2
	case value < 1<<21:
		return 3
	}
	return 4
}

// reader takes the fields of one packet apart. The first failure stays; after it
// every read gives zero, so that a packet is read straight down and asked once.
type reader struct {
	b   []byte // what is left
	err *Error
}

func (r *reader) fail(code ReasonCode, reason string) {
	if r.err == nil {
		r.err = &Error{Code: code, Reason: reason}
	}
	r.b = nil
}

const truncated = "a field ends beyond the end of the packet"

func (r *reader) u8() byte {
	if len(r.b) < 1 {
		r.fail(MalformedPacket, truncated)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) u16() uint16 {
	if len(r.b) < 2 {
		r.fail(MalformedPacket, truncated)
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

func (r *reader) u32() uint32 {
	if len(r.b) < 4 {
		r.fail(MalformedPacket, truncated)
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

func (r *reader) varint() uint32 {
	v, width := varint(r.b)
	switch {
	case width == 0:
		r.fail(MalformedPacket, truncated)
		return 0
	case width < 0:
		r.fail(MalformedPacket, "a variable byte integer has more than four bytes")
		return 0
	case width != varintWidth(v): // [MQTT-1.5.5-1]
		r.fail(MalformedPacket, "a variable byte integer takes more bytes than it needs")
		return 0
	}
	r.b = r.b[width:]
	return uint32(v)
}

// take returns the next n bytes, which alias the packet.
func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.fail(MalformedPacket, truncated)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// binary reads Binary Data: two bytes of length and as many bytes.
func (r *reader) binary() []byte { return r.take(int(r.u16())) }

// text reads a UTF-8 Encoded String.
func (r *reader) text() []byte {
	s := r.binary()
	if fault := textFault(s); fault != "" {
		r.fail(MalformedPacket, fault)
		return nil
	}
	return s
}

// id reads a Packet Identifier. 0 is no identifier [MQTT-2.2.1-3] [v3
// MQTT-2.3.1-1].
func (r *reader) id() uint16 {
	v := r.u16()
	if v == 0 {
		r.fail(ProtocolError, "the packet identifier is 0")
	}
	return v
}

// end refuses bytes that no field accounts for.
func (r *reader) end() {
	if len(r.b) > 0 {
		r.fail(MalformedPacket, "bytes follow the last field")
	}
}

const (
	notUTF8  = "a string is not well-formed UTF-8"     // [MQTT-1.5.4-1] [v3 MQTT-1.5.3-1]
	holdsNUL = "a string holds the null character"     // [MQTT-1.5.4-2] [v3 MQTT-1.5.3-2]
	noTopic  = "the topic is empty"                    // [MQTT-4.7.3-1] [v3 MQTT-4.7.3-1]
	wildcard = "the topic name holds a wildcard"       // [MQTT-4.7.0-1] [v3 MQTT-4.7.1-1]
	badHash  = "'#' is not the last level on its own"  // [MQTT-4.7.1-1] [v3 MQTT-4.7.1-2]
	badPlus  = "'+' does not stand alone in its level" // [MQTT-4.7.1-2] [v3 MQTT-4.7.1-3]
)

// textFault says what is wrong with a UTF-8 Encoded String, or "". A byte order
// mark is text like any other and stays [MQTT-1.5.4-3] [v3 MQTT-1.5.3-3].
func textFault(s []byte) string {
	var seen byte
	for _, c := range s {
		if c == 0 {
			return holdsNUL
		}
		seen |= c
	}
	// Surrogates and overlong forms are no UTF-8 to utf8.Valid either.
	if seen >= utf8.RuneSelf && !utf8.Valid(s) {
		return notUTF8
	}
	return ""
}

// nameFault says what is wrong with a topic name that is not empty, in one pass:
// this runs for every PUBLISH.
func nameFault(s []byte) (code ReasonCode, fault string) {
	var seen byte
	for _, c := range s {
		switch c {
		case 0:
			return MalformedPacket, holdsNUL
		case '+', '#': // [MQTT-3.3.2-2] [v3 MQTT-3.3.2-2]
			return TopicNameInvalid, wildcard
		}
		seen |= c
	}
	if seen >= utf8.RuneSelf && !utf8.Valid(s) {
		return MalformedPacket, notUTF8
	}
	return 0, ""
}

// filterFault says what is wrong with the levels of a topic filter, or "".
func filterFault(s []byte) string {
	if len(s) == 0 {
		return noTopic
	}
	for i, c := range s {
		alone := (i == 0 || s[i-1] == '/') && (i == len(s)-1 || s[i+1] == '/')
		if c == '+' && !alone {
			return badPlus
		}
		if c == '#' && (!alone || i != len(s)-1) {
			return badHash
		}
	}
	return ""
}

// filter reads a Topic Filter.
func (r *reader) filter() []byte {
	s := r.text()
	if r.err != nil {
		return nil
	}
	if fault := filterFault(s); fault != "" {
		r.fail(TopicFilterInvalid, fault)
	}
	return s
}
