package broker

import (
	"encoding/binary"
	"slices"

	"edgegateway/broker/packet"
)

// aliasWorth is the shortest topic that gets an alias: the property takes 3 bytes
// in every message, so a topic of 6 has earned them with its second.
const aliasWorth = 6

// aliases are the topic aliases that a client has let us use (3.3.2.3.4). The first
// topics get them, and keep them for the life of the connection [MQTT-3.3.2-7]: to
// give one away costs as much as it saves, if topics come once. It has no lock.
type aliases struct {
	most int // aliases [MQTT-3.1.2-26] [MQTT-3.1.2-27]
	size int // bytes of a packet that the client takes; 0: any
	of   map[string]uint16
	head []byte // memory
}

// topicAlias is the property (3.3.2.3.4).
const topicAlias = 0x23

// shorten puts an alias into the MQTT 5 PUBLISH from start to the end of b: in
// place of the topic, if the client knows it, else beside the topic. If there is
// nothing to gain, the packet stays as it is.
func (a *aliases) shorten(b []byte, start int) []byte {
	p := b[start:]
	s, err := publishShape(p)
	if err != nil {
		return b
	}
	name := p[s.topic+2:][:binary.BigEndian.Uint16(p[s.topic:])]
	alias, known := a.of[string(name)]
	if !known && (len(name) < aliasWorth || len(a.of) >= a.most) {
		return b
	}
	at := s.topic + 2 + len(name) // of the length of the properties
	var id []byte
	if s.idAt > 0 {
		id = p[s.idAt : s.idAt+2]
		at += 2
	}
	props, width := binary.Uvarint(p[at:])
	if !known {
		alias = uint16(len(a.of) + 1)
	} else {
		name = nil
	}
	// Behind the fixed header, from the back to the front.
	rest := len(p) - at - width + 3 + uvarintSize(props+3) + len(id) + 2 + len(name)
	if size := 1 + uvarintSize(uint64(rest)) + rest; size > packet.MaxSize || a.size > 0 && size > a.size {
		return b // [MQTT-3.1.2-24]
	}
	h := binary.AppendUvarint(append(a.head[:0], p[0]), uint64(rest)) // the form of 1.5.5 is that of a uvarint
	h = binary.BigEndian.AppendUint16(h, uint16(len(name)))
	h = append(append(h, name...), id...)
	h = binary.AppendUvarint(h, props+3)
	h = binary.BigEndian.AppendUint16(append(h, topicAlias), alias)
	if !known {
		if a.of == nil {
			a.of = make(map[string]uint16)
		}
		a.of[string(name)] = alias
	}
	if a.head = h; cap(h) > smallChunk {
		a.head = nil
	}
	return slices.Replace(b, start, start+at+width, h...)
}

func uvarintSize(n uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], n)
}
