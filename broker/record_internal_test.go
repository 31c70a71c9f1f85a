package broker

import (
	"bytes"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// What a damaged store may hold is refused, or is a message that can be sent.
func FuzzRecords(f *testing.F) {
	message := (&packet.Publish{Topic: []byte("a/b"), Payload: []byte("21.5"), QoS: 1, ID: 7,
		Properties: packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: 60}}).Append(nil, packet.V5)
	head := recordHead{id: []byte{1, 2, 3, 4, 5}, at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), deadline: 1000, timed: true, origin: "x", share: "s"}
	f.Add([]byte("12345678"), append(head.append(nil), message...))
	head.id, head.timed, head.share = make([]byte, fullID), false, ""
	f.Add([]byte("123456789012"), append(head.append(nil), message...))
	f.Add([]byte("12345678"), append([]byte{record1, record1Deadline | record1Share, 25: 0, 33: 0, 34: 1, 35: 's', 36: 1, 37: 'x'}, message...))
	f.Add([]byte("12345678"), (&will{client: "c", message: packet.Publish{Topic: []byte("a"), Payload: []byte("gone")}}).value())
	f.Add([]byte("123456781234"), (&subscription{filter: "a/+", qos: 1, lane: 9, id: 5}).value())
	f.Add([]byte("123456781234"), (&subscription{filter: "a/+", lane: buffer.Lanes}).value())
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if _, s, ok := decodeSubscription(key, value); ok && (s.lane >= buffer.Lanes || s.qos > packet.QoS2 || s.filter == "") {
			t.Errorf("a subscription to %q, QoS %d, lane %d", s.filter, s.qos, s.lane)
		}
		if w, err := decodeWill(key, value); err == nil && len(w.message.Topic) == 0 {
			t.Errorf("a will without a topic: %+v", w.message)
		}
		v, err := viewRecord(value)
		if err != nil {
			return
		}
		topic, size := v.topic(), v.payloadSize()
		for _, version := range []packet.Version{packet.V311, packet.V5} {
			encoded, err := v.appendPublish([]byte("before"), version, 9, true, 30)
			if err != nil {
				continue
			}
			d := packet.Decoder{Role: packet.Either, Version: version}
			p, n, _, err := d.Next(encoded[len("before"):])
			if err != nil {
				continue // it was no packet before, which nobody but its receiver looks at
			}
			if sent, ok := p.(*packet.Publish); !ok || n != len(encoded)-len("before") || string(sent.Topic) != topic || len(sent.Payload) != size {
				t.Errorf("%d bytes on %q became %+v", size, topic, p)
			}
		}
		if !bytes.HasSuffix(value, v.packet) {
			t.Errorf("the packet % x is no end of % x", v.packet, value)
		}
	})
}
