package packet_test

import (
	"testing"

	"edgegateway/broker/packet"
)

// The messages of the benchmarks have 100 bytes of payload under a topic of usual
// length.
func sample(qos packet.QoS) *packet.Publish {
	p := &packet.Publish{Topic: []byte("greenhouse/boiler/state"), Payload: make([]byte, 100), QoS: qos}
	if qos > 0 {
		p.ID = 1
	}
	return p
}

var cases = []struct {
	name string
	v    packet.Version
	p    packet.Packet
}{
	{"v311QoS0", v311, sample(0)},
	{"v311QoS1", v311, sample(1)},
	{"v5QoS0", v5, sample(0)},
	{"v5QoS1", v5, sample(1)},
	{"v5Properties", v5, &packet.Publish{Topic: []byte("greenhouse/boiler/state"), Payload: make([]byte, 100),
		Properties: packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: 60,
			UserProperties: []packet.UserProperty{{Key: "id", Value: "6ba7b8109dad11d1"}, {Key: "ts", Value: "2026-01-02T03:04:05.006Z"}}}}},
	{"v311Puback", v311, &packet.Ack{Kind: packet.PUBACK, ID: 1}},
	{"v5Puback", v5, &packet.Ack{Kind: packet.PUBACK, ID: 1}},
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			d := packet.Decoder{Version: c.v}
			buf := c.p.Append(nil, c.v)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, _, _, err := d.Next(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			buf := c.p.Append(nil, c.v)
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				buf = c.p.Append(buf[:0], c.v)
			}
		})
	}
}

// BenchmarkFanOut is what one more receiver of a message costs.
func BenchmarkFanOut(b *testing.B) {
	template, idAt := sample(1).AppendAt(nil, v5)
	out := make([]byte, 0, 2*len(template))
	b.ReportAllocs()
	b.SetBytes(int64(len(template)))
	var id uint16
	for b.Loop() {
		out = append(out[:0], template...)
		id++
		packet.SetID(out, idAt, id)
	}
}
