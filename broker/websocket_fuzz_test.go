package broker_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// Whatever comes behind the upgrade, as packets in frames of any size or as frames
// themselves: the connection ends, what the server sent are whole frames, and nothing
// has panicked, which open looks at in the end.
func FuzzWebSocket(f *testing.F) {
	h := open(f, f.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	connect := (&packet.Connect{ClientID: "w", CleanStart: true}).Append(nil, packet.V5)
	asked := (&packet.Pingreq{}).Append(nil, packet.V5)
	publish := (&packet.Publish{Topic: []byte("a/b"), Payload: []byte("21.5"), QoS: 1, ID: 7}).Append(nil, packet.V5)
	f.Add(bytes.Join([][]byte{connect, asked, publish}, nil), uint8(0))
	f.Add(bytes.Join([][]byte{connect, publish, publish}, nil), uint8(3))
	f.Add(bytes.Join([][]byte{frame(binaryFrame, connect), frame(ping, nil), frame(text, asked)}, nil), uint8(128))
	f.Add(bytes.Join([][]byte{frame(moreFrame, connect[:4]), frame(last|cont, connect[4:]), frame(closed, []byte{3, 232})}, nil), uint8(130))
	f.Add([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 0x10}, uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, how uint8) {
		if len(data) > 4<<10 {
			return
		}
		piece := 1 + int(how&0x7f)
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := nc.SetDeadline(time.Now().Add(brokertest.Patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(nc, handshake(addr)); err != nil {
			t.Fatal(err)
		}
		_, _, s := upgraded(t, nc)
		for len(data) > 0 {
			part := data[:min(piece, len(data))]
			data = data[len(part):]
			if how < 0x80 {
				part = frame(binaryFrame, part)
			}
			if _, err := nc.Write(part); err != nil {
				break // it has been ended
			}
		}
		_ = nc.(*net.TCPConn).CloseWrite() // it may be over
		answer, err := io.ReadAll(s.in)
		if network, ok := err.(net.Error); ok && network.Timeout() {
			t.Fatal("the connection does not end")
		}
		if err == nil {
			whole(t, answer)
		}
	})
}

// whole wants frames of a server (RFC 6455, 5.1 and 5.5), each in one piece.
func whole(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 2 || b[0]&0x80 == 0 || b[1]&0x80 != 0 || b[1] > 126 {
			t.Fatalf("no frame: % x", b[:min(len(b), 32)])
		}
		size := 2 + int(b[1])
		if b[1] == 126 && len(b) > 4 {
			size = 4 + int(b[2])<<8 + int(b[3])
		}
		if size > len(b) {
			t.Fatalf("a frame that is cut: % x", b[:min(len(b), 32)])
		}
		b = b[size:]
	}
}
