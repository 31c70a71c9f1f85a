package cloud

import (
	"bytes"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"

	"edgegateway/broker/packet"
)

// Acknowledgements are taken out of the stream wherever the reads end; everything
// else, and an acknowledgement with properties or with flags that are wrong, is left
// for the library, at its place.
func TestAcknowledgementsAreTakenOutOfTheStream(t *testing.T) {
	connack := []byte{0x20, 3, 0, 0, 0}
	rest := slices.Concat(
		[]byte{0x30, 4, 0, 1, 'a', 0},           // PUBLISH
		[]byte{0x40, 6, 0, 9, 0x10, 2, 0x1f, 0}, // PUBACK with properties
		[]byte{0x60, 2, 0, 9},                   // PUBREL without its flag [MQTT-3.6.1-1]
		[]byte{0x40, 1, 0},                      // PUBACK that is too short
		[]byte{0xd0, 0},                         // PINGRESP
		[]byte{0x40, 0x82, 0, 0, 9},             // PUBACK with a length in two bytes
		[]byte{0x90, 4, 0, 1, 0, 2}, []byte{0xd0, 0})
	var stream []byte
	stream = append(stream, connack...)
	acks := [][]byte{{0x40, 2, 1, 2}, {0x50, 2, 1, 3}, {0x62, 2, 1, 4}, {0x70, 3, 1, 5, 0x92}, {0x40, 3, 1, 6, 0x10}}
	at := 0
	for i, n := range []int{6, 8, 4, 3, 2, 5, 6, 2} { // one or more in front of each
		for range i%3 + 1 {
			stream = append(stream, acks[(at+i)%len(acks)]...)
		}
		stream = append(stream, rest[at:at+n]...)
		at += n
	}
	for name, way := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			var got []packet.Ack
			w := newWire(readOnly{Reader: way(bytes.NewReader(stream))}, 1000)
			w.onAcks = func(a []packet.Ack) { got = append(got, a...) }
			left, err := io.ReadAll(w)
			if err != nil || !bytes.Equal(left, slices.Concat(connack, rest)) {
				t.Errorf("the library gets % x, %v; want % x", left, err, slices.Concat(connack, rest))
			}
			if len(got) != 15 || got[0].Kind != packet.PUBACK || got[0].ID != 0x102 {
				t.Errorf("%d acknowledgements, %+v", len(got), got)
			}
			for _, a := range got {
				want := map[uint16]packet.ReasonCode{0x105: packet.PacketIdentifierNotFound, 0x106: packet.NoMatchingSubscribers}[a.ID]
				if a.Code != want {
					t.Errorf("%+v, want the code %v", a, want)
				}
			}
		})
	}
}

// What came before the connection was cut counts.
func TestAcknowledgementsBeforeACutCount(t *testing.T) {
	var got []packet.Ack
	w := newWire(readOnly{Reader: bytes.NewReader([]byte{0x20, 3, 0, 0, 0, 0x40, 2, 0, 1, 0x40, 2, 0})}, 1000)
	w.onAcks = func(a []packet.Ack) { got = append(got, a...) }
	if _, err := io.ReadAll(w); err != nil {
		t.Error(err)
	}
	if len(got) != 1 || got[0].ID != 1 {
		t.Errorf("got %+v, want the one for 1", got)
	}
}

type readOnly struct {
	net.Conn
	io.Reader
}

func (r readOnly) Read(p []byte) (int, error) { return r.Reader.Read(p) }

// A pump that waits for room is not woken for each place that becomes free, and is
// for a quarter of the window, and for the status.
func TestThePumpWaitsForMoreThanOnePlace(t *testing.T) {
	l := &link{window: 8, full: true, kick: make(chan struct{}, 1), flights: flights{byID: map[uint16]flight{}}}
	woken := func() bool {
		l.roomy()
		select {
		case <-l.kick:
			return true
		default:
			return false
		}
	}
	for id := range uint16(8) {
		l.flights.add(id, flight{qos: 1})
	}
	l.flights.remove(0)
	if woken() {
		t.Error("woken for one place of eight")
	}
	l.control = []control{{}}
	if !woken() {
		t.Error("not woken although the status waits")
	}
	l.control = nil
	l.flights.remove(1)
	if !woken() {
		t.Error("not woken for two places of eight")
	}
	l.flights.add(0, flight{qos: 1})
	if l.full = false; !woken() {
		t.Error("not woken although it did not wait for room")
	}
}
