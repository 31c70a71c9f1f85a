package packet_test

import (
	"reflect"
	"testing"

	"edgegateway/broker/packet"
)

// FuzzDecoder holds the decoder to what the package promises for any bytes: no
// panic, no byte beyond the packet, memory by the bytes that are there, and a
// packet that was accepted can be written and reads the same again.
func FuzzDecoder(f *testing.F) {
	for _, c := range accepted {
		f.Add(byte(c.role), byte(c.v), wire(f, clean(c.wire)))
	}
	for _, c := range refused {
		f.Add(byte(c.role), byte(c.v), wire(f, c.wire))
	}
	f.Fuzz(func(t *testing.T, role, version byte, data []byte) {
		d := packet.Decoder{Role: packet.Role(role % 3)}
		if v := packet.Version(version % 6); v >= packet.V31 {
			d.Version = v
		}
		buf := data[:len(data):len(data)]
		for len(buf) > 0 {
			before := d.Version
			// A user property of 5 bytes becomes two string headers and, while the
			// list grows, their copies.
			limit := uint64(64*len(buf) + 64<<10)
			if cost := allocatedBy(packet.Decoder{Role: d.Role, Version: before}, buf, limit); cost > limit {
				t.Fatalf("%d bytes cost %d bytes of memory", len(buf), cost)
			}
			p, n, need, err := d.Next(buf)
			if err != nil {
				if p != nil || n != 0 || err.Error() == "" {
					t.Fatalf("refused (%v) with packet %v of %d bytes", err, p, n)
				}
				return
			}
			if p == nil {
				if n != 0 || need <= len(buf) || need > packet.MaxSize {
					t.Fatalf("%d bytes are not enough: n %d, need %d", len(buf), n, need)
				}
				return
			}
			if n < 2 || n > len(buf) {
				t.Fatalf("took %d of %d bytes", n, len(buf))
			}
			// The bytes behind the packet have no part in it.
			alone := packet.Decoder{Role: d.Role, Version: before}
			if got := one(t, &alone, buf[:n:n]); !reflect.DeepEqual(got, detached(p)) {
				t.Fatalf("alone %#v\nwith more behind %#v", got, p)
			}
			checkWritten(t, d.Role, d.Version, detached(p), nil, false)
			buf = buf[n:]
		}
	})
}

// detached is a copy of what the decoder uses again, without the room that it
// keeps for the next packet.
func detached(p packet.Packet) packet.Packet {
	switch p := p.(type) {
	case *packet.Publish:
		c := *p
		if len(c.Properties.SubscriptionIDs) == 0 {
			c.Properties.SubscriptionIDs = nil
		}
		if len(c.Properties.UserProperties) == 0 {
			c.Properties.UserProperties = nil
		}
		return &c
	case *packet.Ack:
		c := *p
		return &c
	}
	return p
}
