package packet_test

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// Every packet of the table is cut at every byte: the decoder asks for more, for
// never less than one byte and never more than the whole.
func TestACutPacketIsAskedForAgain(t *testing.T) {
	for _, c := range accepted {
		b := wire(t, clean(c.wire))
		for cut := range b {
			d := packet.Decoder{Role: c.role, Version: c.v}
			p, n, need, err := d.Next(b[:cut:cut])
			if p != nil || n != 0 || err != nil || need <= cut || need > len(b) {
				t.Fatalf("%s, %d of %d bytes: packet %v, n %d, need %d, error %v", c.name, cut, len(b), p, n, need, err)
			}
			if d.Version != c.v {
				t.Fatalf("%s, %d of %d bytes: the version is %v already", c.name, cut, len(b), d.Version)
			}
		}
	}
}

// The length fields inside a packet are held to the packet, not to the buffer.
func TestAPacketIsNotReadBeyondItsEnd(t *testing.T) {
	for _, c := range refused {
		b := wire(t, c.wire)
		more := append(b[:len(b):len(b)], "\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01\x00\x01"...)
		if e := refusal(t, &packet.Decoder{Role: c.role, Version: c.v}, more); e.Code != c.code {
			t.Errorf("%s, with more behind: %v, want 0x%02X", c.name, e, byte(c.code))
		}
	}
}

// A refused packet whose fault is in its first bytes does not wait for the rest.
func TestAHeaderIsRefusedBeforeTheRestArrives(t *testing.T) {
	for _, c := range []struct {
		name string
		d    packet.Decoder
		wire string
		code packet.ReasonCode
	}{
		{"no connect", packet.Decoder{}, `30`, protocol},
		{"flags", packet.Decoder{}, `1f`, malformed},
		{"length of five bytes", packet.Decoder{}, `10 80808080`, malformed},
		{"too large", packet.Decoder{MaxPacketSize: 100}, `10 62`, 0},
		{"too large by one", packet.Decoder{MaxPacketSize: 100}, `10 63`, packet.PacketTooLarge},
		{"256 MB", packet.Decoder{MaxPacketSize: 1 << 20}, `10 ffffff7f`, packet.PacketTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, need, err := c.d.Next(wire(t, c.wire))
			if c.code == 0 {
				if err != nil || need != 100 {
					t.Errorf("need %d, error %v; want need 100", need, err)
				}
				return
			}
			var e *packet.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Errorf("error %v, want code 0x%02X", err, byte(c.code))
			}
		})
	}
}

func TestFiveBytesThatPromise256MegabytesCostNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		d    packet.Decoder
		wire string
	}{
		{"connect", packet.Decoder{}, `10 ffffff7f`},
		{"publish", packet.Decoder{Version: v5}, `30 ffffff7f`},
		{"subscribe", packet.Decoder{Version: v311}, `82 ffffff7f`},
		{"suback", packet.Decoder{Role: client, Version: v5}, `90 ffffff7f`},
		{"properties", packet.Decoder{Version: v5}, `30 ["a" ffffff7f]`},
	} {
		b := wire(t, c.wire)
		if allocated := allocatedBy(c.d, b, 4096); allocated > 4096 {
			t.Errorf("%s: %d bytes promise 256 MB and cost %d bytes", c.name, len(b), allocated)
		}
	}
}

// allocatedBy is how many bytes of memory it costs to decode a packet. The whole process
// is counted, so what is more than enough is counted again: the packet costs it each time,
// the rest of the process does not.
func allocatedBy(d packet.Decoder, b []byte, enough uint64) (allocated uint64) {
	for range 10 {
		var before, after runtime.MemStats
		again := d
		runtime.ReadMemStats(&before)
		_, _, _, _ = again.Next(b)
		runtime.ReadMemStats(&after)
		if allocated = after.TotalAlloc - before.TotalAlloc; allocated <= enough {
			break
		}
	}
	return allocated
}

func TestPacketsInOneBufferAreReadInTurn(t *testing.T) {
	b := wire(t, `10 ["MQTT" 05 02 003c [] "c"] 30 ["a" [] 31] 32 ["b" 0001 [23 0001 26 "k" "v"] 32] 30 ["c" [] 33] 40 [0001] c0 [] e0 []`)
	var d packet.Decoder
	var got []string
	for len(b) > 0 {
		p, n, _, err := d.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		name := p.Type().String()
		if p, ok := p.(*packet.Publish); ok {
			name += " " + string(p.Topic) + "=" + string(p.Payload)
			if has := !p.Properties.IsZero(); has != (p.ID == 1) {
				t.Errorf("%s: properties %v", name, p.Properties)
			}
		}
		got = append(got, name)
		b = b[n:]
	}
	want := "CONNECT, PUBLISH a=1, PUBLISH b=2, PUBLISH c=3, PUBACK, PINGREQ, DISCONNECT"
	if got := strings.Join(got, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestACloneOutlivesTheBufferAndTheNextPacket(t *testing.T) {
	b := wire(t, `3b ["a/b" 0007 [01 01 08 "re" 09 "cd" 03 "ct" 0b 05 26 "k" "v"] 6869]`)
	d := packet.Decoder{Role: client, Version: v5}
	first := one(t, &d, b).(*packet.Publish)
	if !bytes.Equal(first.Topic, []byte("a/b")) || &first.Topic[0] != &b[4] || &first.Payload[0] != &b[len(b)-2] {
		t.Error("topic and payload are copies; they must lie in the buffer")
	}
	clone := first.Clone()
	want := clone.Clone()
	clear(b)
	one(t, &d, wire(t, `30 ["x" [0b 09 26 "x" "y"] 78]`))
	if !reflect.DeepEqual(clone, want) {
		t.Errorf("got %+v\nwant %+v", clone, want)
	}
	if string(clone.Topic) != "a/b" || string(clone.Payload) != "hi" || string(clone.Properties.CorrelationData) != "cd" ||
		clone.Properties.UserProperties[0].Key != "k" || clone.Properties.SubscriptionIDs[0] != 5 {
		t.Errorf("the clone changed: %+v", clone)
	}
}

// One message with many user properties must not stay in memory for as long as
// its connection lives.
func TestManyUserPropertiesAreLetGo(t *testing.T) {
	big := strings.Repeat(`26 "k" "v" `, 10_000)
	first := one(t, &packet.Decoder{Version: v5}, wire(t, `30 ["a" [`+big+`]]`)).(*packet.Publish)
	if len(first.Properties.UserProperties) != 10_000 {
		t.Fatalf("%d user properties, want 10000", len(first.Properties.UserProperties))
	}
	for _, c := range []struct {
		name string
		buf  []byte
	}{
		{"after the next message", wire(t, `30 ["a" []]`)},
		{"when nothing follows", nil},
		{"when half a header follows", []byte{0x30}},
		{"when half a packet follows", []byte{0x30, 9}},
	} {
		d := packet.Decoder{Version: v5}
		p := one(t, &d, wire(t, `30 ["a" [`+big+`]]`)).(*packet.Publish)
		if _, _, _, err := d.Next(c.buf); err != nil {
			t.Fatal(err)
		}
		if room := cap(p.Properties.UserProperties); room > 100 {
			t.Errorf("%s room for %d user properties is kept", c.name, room)
		}
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name string
		v    packet.Version
		wire string
	}{
		{"3.1.1 QoS 0", v311, `30 ["sensors/boiler/temperature" 3231]`},
		{"3.1.1 QoS 1", v311, `32 ["sensors/boiler/temperature" 0001 3231]`},
		{"5 QoS 0", v5, `30 ["sensors/boiler/temperature" [] 3231]`},
		{"5 QoS 2", v5, `34 ["sensors/boiler/temperature" 0001 [] 3231]`},
		{"5 with alias and expiry", v5, `32 ["" 0001 [02 0000003c 23 0001] 3231]`},
		{"3.1.1 puback", v311, `40 [0001]`},
		{"5 pubrec", v5, `50 [0001]`},
		{"5 pubrel with code", v5, `62 [0001 92]`},
		{"5 pubcomp", v5, `70 [0001]`},
		{"pingreq", v5, `c0 []`},
	} {
		b, out := wire(t, c.wire), make([]byte, 0, 256)
		d := packet.Decoder{Version: c.v}
		allocs := testing.AllocsPerRun(100, func() {
			p, _, _, err := d.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			if p.Size(c.v) != len(b) {
				t.Fatalf("%s: size %d, want %d", c.name, p.Size(c.v), len(b))
			}
			out = p.Append(out[:0], c.v)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", c.name, allocs)
		}
	}
}
