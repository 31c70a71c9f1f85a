package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// web opens a ws listener beside the plain one of h.
func (h *house) web(l broker.ListenerConfig) (addr string) {
	h.t.Helper()
	l.Address = "ws://127.0.0.1:0"
	return h.serveMore(l).String()
}

// handshake is an upgrade request as mqtt.js in a browser sends it; each change is
// a header line that replaces the one of its name, and is left out if it has no
// value.
func handshake(addr string, changes ...string) string {
	lines := []string{
		"Host: " + addr,
		"Connection: Upgrade",
		"Upgrade: websocket",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Protocol: mqtt",
	}
	path := "/mqtt"
	for _, c := range changes {
		if strings.HasPrefix(c, "/") {
			path = c
			continue
		}
		name, value, _ := strings.Cut(c, ":")
		kept := lines[:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		lines = kept
		if value != "" {
			lines = append(lines, c)
		}
	}
	return "GET " + path + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// request sends bytes on a connection of their own and reads the HTTP answer.
func request(t *testing.T, addr, text string) (*http.Response, string, *socket) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(brokertest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	return upgraded(t, nc)
}

// upgraded reads the answer to an upgrade request.
func upgraded(t *testing.T, nc net.Conn) (*http.Response, string, *socket) {
	t.Helper()
	in := bufio.NewReader(nc)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("the answer to the upgrade request: %v", err)
	}
	body := ""
	if answer.StatusCode != http.StatusSwitchingProtocols {
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	}
	return answer, body, &socket{t: t, nc: nc, in: in}
}

// socket is the client's end of a WebSocket, frame by frame.
type socket struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func dialSocket(t *testing.T, addr string, changes ...string) *socket {
	t.Helper()
	answer, body, s := request(t, addr, handshake(addr, changes...))
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade is refused with %s: %s", answer.Status, body)
	}
	return s
}

// Opcodes of RFC 6455, 5.2, with FIN.
const (
	moreFrame   = 0x02 // a binary frame that is continued
	cont        = 0x00
	last        = 0x80
	text        = 0x81
	binaryFrame = 0x82
	closed      = 0x88 // close
	ping        = 0x89
	pong        = 0x8a
)

// frame is a masked frame, as clients send them.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i, p := range payload {
		b = append(b, p^mask[i%4])
	}
	return b
}

func (s *socket) send(frames ...[]byte) *socket {
	s.t.Helper()
	if _, err := s.nc.Write(bytes.Join(frames, nil)); err != nil {
		s.t.Fatal(err)
	}
	return s
}

// receive returns the next frame of the server, which has to be whole and not
// masked.
func (s *socket) receive() (first byte, payload []byte) {
	s.t.Helper()
	var head [10]byte
	s.read(head[:2])
	n := uint64(head[1])
	switch n {
	case 126:
		s.read(head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		s.read(head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if n > 1<<24 {
		s.t.Fatalf("a frame of %d bytes", n)
	}
	payload = make([]byte, n)
	s.read(payload)
	return head[0], payload
}

func (s *socket) read(b []byte) {
	s.t.Helper()
	if _, err := io.ReadFull(s.in, b); err != nil {
		s.t.Fatalf("receive: %v", err)
	}
}

func (s *socket) expect(first byte, payload []byte) *socket {
	s.t.Helper()
	gotFirst, got := s.receive()
	if gotFirst != first || !bytes.Equal(got, payload) {
		s.t.Fatalf("received frame %#x % x, want %#x % x", gotFirst, got, first, payload)
	}
	return s
}

// expectClosed wants a close frame with a code, and the end of the connection.
func (s *socket) expectClosed(code uint16) {
	s.t.Helper()
	s.expect(closed, binary.BigEndian.AppendUint16(nil, code))
	s.expectEOF()
}

func (s *socket) expectEOF() {
	s.t.Helper()
	if b, err := s.in.ReadByte(); err != io.EOF {
		s.t.Fatalf("received %#x, %v, want the end of the connection", b, err)
	}
}

var connectBytes = (&packet.Connect{ClientID: "w", CleanStart: true}).Append(nil, packet.V311)

func connackBytes() []byte { return []byte{0x20, 2, 0, 0} }

func TestUpgradeIsAnsweredAsTheStandardSays(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	answer, _, s := request(t, addr, handshake(addr))
	for name, want := range map[string]string{
		"Upgrade":                "websocket",
		"Connection":             "Upgrade",
		"Sec-Websocket-Accept":   "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", // RFC 6455, 1.3
		"Sec-Websocket-Protocol": "mqtt",                         // [MQTT-6.0.0-4] [v3 MQTT-6.0.0-4]
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	s.send(frame(binaryFrame, connectBytes)).expect(binaryFrame, connackBytes()) // [MQTT-6.0.0-1] [v3 MQTT-6.0.0-1]

	for asked, want := range map[string]string{"mqttv3.1": "mqttv3.1", "mqttv3.1, mqtt": "mqtt", "chat, mqtt": "mqtt"} {
		answer, _, _ := request(t, addr, handshake(addr, "Sec-WebSocket-Protocol: "+asked))
		if got := answer.Header.Get("Sec-Websocket-Protocol"); got != want {
			t.Errorf("asked for %q the subprotocol is %q, want %q", asked, got, want)
		}
	}
}

func TestWhatIsNotAnUpgradeIsAnsweredInWords(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	for _, c := range []struct {
		name, request string
		status        int
		says          string
	}{
		{"a browser", "GET /mqtt HTTP/1.1\r\nHost: " + addr + "\r\nAccept: text/html\r\n\r\n", 426, "MQTT over WebSocket"},
		{"another path", handshake(addr, "/"), 404, "/mqtt"},
		{"a path below", handshake(addr, "/mqtt/x"), 404, "/mqtt"},
		{"no subprotocol", handshake(addr, "Sec-WebSocket-Protocol:"), 400, `"mqtt"`}, // [MQTT-6.0.0-3] [v3 MQTT-6.0.0-3]
		{"another subprotocol", handshake(addr, "Sec-WebSocket-Protocol: chat, mqtt5"), 400, `"mqtt"`},
		{"an old version", handshake(addr, "Sec-WebSocket-Version: 8"), 400, "13"},
		{"no key", handshake(addr, "Sec-WebSocket-Key:"), 400, "Sec-WebSocket-Key"},
		{"no Host", handshake(addr, "Host:"), 400, "Host"},
		{"POST", strings.Replace(handshake(addr), "GET", "POST", 1), 405, "GET"},
		{"HTTP/1.0", strings.Replace(handshake(addr), "HTTP/1.1", "HTTP/1.0", 1), 426, "HTTP/1.1"},
		{"nonsense", "GET\r\n\r\n", 400, "not an HTTP request"},
		{"a large header", handshake(addr, "Cookie: "+strings.Repeat("x", 20<<10)), 431, "16384 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, body, s := request(t, addr, c.request)
			if answer.StatusCode != c.status || !strings.Contains(body, c.says) {
				t.Errorf("the answer is %s %q, want %d and %q", answer.Status, body, c.status, c.says)
			}
			s.expectEOF()
		})
	}
}

func TestPlainMQTTOnAWebSocketPortIsClosedAtOnce(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	brokertest.Dial(t, addr, packet.V311).TrySend(connectBytes).ExpectClosed()
	if n := h.Stats().NotMQTT; n != 1 {
		t.Errorf("%d are counted as not MQTT, want 1", n)
	}
	brokertest.Dial(t, h.addr, packet.V311).TrySend([]byte(handshake(addr))).ExpectClosed() // and the other way round
}

func TestForeignPagesAreRefused(t *testing.T) {
	h := open(t, t.TempDir(), config())
	listed := []string{"https://panel.example", "http://10.0.0.5:3000/"}
	strict, open := h.web(broker.ListenerConfig{Origins: listed}), h.web(broker.ListenerConfig{Origins: []string{"*"}})
	_, port, err := net.SplitHostPort(strict)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, origin, host string
		allowed            bool
	}{
		{"no browser", "", "gateway:9001", true},
		{"the same host", "http://127.0.0.1:8080", strict, true},
		{"the same host on its port", "http://" + strict, strict, true},
		{"localhost", "http://localhost:8080", "localhost:" + port, true},
		{"IPv6", "http://[::1]:8080", "[::1]:" + port, true},
		{"upper case", "HTTP://LocalHost", "localhost:" + port, true},
		{"another host", "http://evil.example", strict, false},
		{"localhost is not 127.0.0.1", "http://localhost:8080", strict, false},
		{"a name that begins alike", "http://127.0.0.1.evil.example", strict, false},
		{"a name that resolves to loopback", "http://evil.example:" + port, "evil.example:" + port, false},
		{"a file", "null", strict, false},
		{"not a URL", "://", strict, false},
		{"a listed one", "https://panel.example", strict, true},
		{"a listed one with a port", "http://10.0.0.5:3000", strict, true},
		{"a listed host on another port", "http://10.0.0.5:3001", strict, false},
		{"a listed host by another scheme", "http://panel.example", strict, false},
		{"two origins", "https://panel.example\r\nOrigin: http://evil.example", strict, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			origin := "Origin: " + c.origin
			if c.origin == "" {
				origin = "Origin:"
			}
			answer, body, s := request(t, strict, handshake(strict, "Host: "+c.host, origin))
			switch {
			case c.allowed && answer.StatusCode != 101:
				t.Errorf("refused with %s %q", answer.Status, body)
			case !c.allowed && (answer.StatusCode != 403 || !strings.Contains(body, "origins")):
				t.Errorf("the answer is %s %q, want 403", answer.Status, body)
			case !c.allowed:
				s.expectEOF()
			}
			if answer, _, _ := request(t, open, handshake(open, "Host: "+c.host, origin)); answer.StatusCode != 101 && c.origin != "" && !strings.Contains(c.origin, "\n") {
				t.Errorf("with \"*\" refused with %s", answer.Status)
			}
		})
	}
}

// Where a page has to know a password, a name that is both in Origin and in Host
// will do.
func TestNamesAreTrustedWherePasswordsAreNeeded(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{AllowAnonymous: new(bool)})
	for origin, status := range map[string]int{"http://greenhouse.local": 101, "http://evil.example": 403} {
		answer, body, _ := request(t, addr, handshake(addr, "Host: Greenhouse.local:9001", "Origin: "+origin))
		if answer.StatusCode != status {
			t.Errorf("a page of %s: %s %q, want %d", origin, answer.Status, body, status)
		}
	}
}

func TestPacketsMayBeginAndEndAnywhereInFrames(t *testing.T) { // [MQTT-6.0.0-2] [v3 MQTT-6.0.0-2]
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	sub := connect(t, h, packet.V311, "sub", true)
	subscribe(t, sub, "t", 1)
	publish := message("t", "seventeen bytes..", 1)
	publish.ID = 9
	stream := publish.Append(bytes.Clone(connectBytes), packet.V311)
	check := func(t *testing.T, s *socket) {
		t.Helper()
		if _, got := s.receive(); len(got) == 8 {
			if !bytes.Equal(got, append(connackBytes(), 0x40, 2, 0, 9)) {
				t.Fatalf("received % x", got)
			}
		} else if !bytes.Equal(got, connackBytes()) {
			t.Fatalf("received % x, want a CONNACK", got)
		} else {
			s.expect(binaryFrame, []byte{0x40, 2, 0, 9})
		}
		sub.Expect(message("t", "seventeen bytes..", 1)).Send(ack(packet.PUBACK, sub.IDs()[0]))
		s.send(frame(closed, []byte{3, 232})).expectClosed(1000)
	}
	for i := 0; i <= len(stream); i++ {
		a, b := stream[:i], stream[i:]
		t.Run(fmt.Sprintf("two messages, cut at %d", i), func(t *testing.T) {
			check(t, dialSocket(t, addr).send(frame(binaryFrame, a), frame(binaryFrame, b)))
		})
		t.Run(fmt.Sprintf("two fragments, cut at %d, a ping between", i), func(t *testing.T) {
			s := dialSocket(t, addr).send(frame(moreFrame, a), frame(ping, []byte("?")), frame(last, b))
			// The pong comes before the answers, or between them.
			var mqtt []byte
			pongs := 0
			for len(mqtt) < 8 || pongs == 0 {
				first, p := s.receive()
				switch first {
				case pong:
					pongs++
				case binaryFrame:
					mqtt = append(mqtt, p...)
				default:
					t.Fatalf("received frame %#x % x", first, p)
				}
			}
			if !bytes.Equal(mqtt, append(connackBytes(), 0x40, 2, 0, 9)) {
				t.Fatalf("received % x", mqtt)
			}
			sub.Expect(message("t", "seventeen bytes..", 1)).Send(ack(packet.PUBACK, sub.IDs()[0]))
			s.send(frame(closed, nil)).expect(closed, nil).expectEOF()
		})
	}
	t.Run("a frame per byte", func(t *testing.T) {
		var frames [][]byte
		for _, b := range stream {
			frames = append(frames, frame(binaryFrame, []byte{b}), frame(binaryFrame, nil))
		}
		check(t, dialSocket(t, addr).send(frames...))
	})
	t.Run("a fragment per byte, each byte of the wire by itself", func(t *testing.T) {
		s := dialSocket(t, addr)
		for i, b := range stream {
			first := byte(cont)
			switch i {
			case 0:
				first = moreFrame
			case len(stream) - 1:
				first = last
			}
			for _, w := range frame(first, []byte{b}) {
				s.send([]byte{w})
			}
		}
		check(t, s)
	})
	t.Run("with the request in one write", func(t *testing.T) {
		answer, _, s := request(t, addr, handshake(addr)+string(frame(binaryFrame, stream)))
		if answer.StatusCode != 101 {
			t.Fatal(answer.Status)
		}
		check(t, s)
	})
}

func TestWhatIsNotABinaryFrameEndsTheConnection(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.web(broker.ListenerConfig{})
	unmasked := append([]byte{binaryFrame, byte(len(connectBytes))}, connectBytes...)
	for _, c := range []struct {
		name  string
		bytes []byte
		code  uint16
	}{
		{"a text frame", frame(text, connectBytes), 1003}, // [MQTT-6.0.0-1] [v3 MQTT-6.0.0-1]
		{"a continuation of nothing", frame(last, connectBytes), 1002},
		{"a reserved bit", frame(binaryFrame|0x40, connectBytes), 1002}, // no extension was agreed on
		{"an unknown opcode", frame(0x83, connectBytes), 1002},
		{"a fragmented ping", frame(0x09, nil), 1002},
		{"a ping of 126 bytes", frame(ping, make([]byte, 126)), 1002},
		{"a new message inside of another", append(frame(moreFrame, connectBytes[:3]), frame(binaryFrame, connectBytes[3:])...), 1002},
		{"no mask", unmasked, 1002},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := h.Stats().ProtocolErrors
			s := dialSocket(t, addr).send(c.bytes)
			first, payload := s.receive()
			if first != closed || len(payload) < 2 || binary.BigEndian.Uint16(payload) != c.code {
				t.Fatalf("received frame %#x % x, want a close frame with %d", first, payload, c.code)
			}
			s.expectEOF()
			if h.Stats().ProtocolErrors != before+1 {
				t.Error("it is not counted as a protocol error")
			}
		})
	}
	t.Run("a text frame later", func(t *testing.T) {
		watch := connect(t, h, packet.V311, "watch", true)
		subscribe(t, watch, "will", 0)
		c := (&packet.Connect{ClientID: "w", CleanStart: true, Will: &packet.Will{Topic: "will", Payload: []byte("gone")}}).Append(nil, packet.V311)
		s := dialSocket(t, addr).send(frame(binaryFrame, c)).expect(binaryFrame, connackBytes())
		s.send(frame(text, []byte{0xc0, 0})).expectClosed(1003)
		watch.Expect(message("will", "gone", 0))
	})
}

func TestPingsAreAnsweredAndPongsIgnored(t *testing.T) {
	h := open(t, t.TempDir(), config())
	s := dialSocket(t, h.web(broker.ListenerConfig{}))
	s.send(frame(ping, []byte("before CONNECT"))).expect(pong, []byte("before CONNECT"))
	s.send(frame(binaryFrame, connectBytes)).expect(binaryFrame, connackBytes())
	s.send(frame(pong, []byte("unasked")), frame(ping, nil)).expect(pong, nil)
	s.send(frame(ping, make([]byte, 125))).expect(pong, make([]byte, 125))
	s.send(frame(binaryFrame, []byte{0xc0, 0})).expect(binaryFrame, []byte{0xd0, 0})
}

func TestOneFlushIsOneFrame(t *testing.T) {
	h := open(t, t.TempDir(), config())
	s := dialSocket(t, h.web(broker.ListenerConfig{})).send(frame(binaryFrame, connectBytes)).expect(binaryFrame, connackBytes())
	s.send(frame(binaryFrame, (&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t"}}}).Append(nil, packet.V311))).
		expect(binaryFrame, []byte{0x90, 3, 0, 1, 0})
	pub := connect(t, h, packet.V311, "pub", true)
	for _, size := range []int{0, 100, 120, 121, 122, 123, 124, 4000, 4096, 65529, 65530, 65531, 65532, 300000} {
		m := message("t", strings.Repeat("x", size), 0)
		pub.Send(m)
		s.expect(binaryFrame, m.Append(nil, packet.V311))
	}
	var several []byte
	for i := range 40 { // handled together, so answered together
		p := message("t", fmt.Sprint(i), 0)
		several = p.Append(several, packet.V311)
	}
	s.send(frame(binaryFrame, several)).expect(binaryFrame, several)
}

func TestAFrameMayBeLargeAndAPacketNot(t *testing.T) {
	cfg := config()
	cfg.MaxPacketSize = 2000
	h := open(t, t.TempDir(), cfg)
	addr := h.web(broker.ListenerConfig{})
	hello := (&packet.Connect{ClientID: "w", CleanStart: true}).Append(nil, packet.V5)
	s := dialSocket(t, addr).send(frame(binaryFrame, hello))
	s.receive()
	var many []byte
	for range 100 { // 100 KB in one frame
		many = message("t", strings.Repeat("x", 1000), 0).Append(many, packet.V5)
	}
	s.send(frame(binaryFrame, append(many, 0xc0, 0))).expect(binaryFrame, []byte{0xd0, 0})

	// A frame that announces 2^60 bytes, and a packet of 256 MB in it: it is
	// refused by what has come.
	s.send([]byte{binaryFrame, 0xff, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f, 'x'})
	s.send(make([]byte, 64<<10))
	first, p := s.receive()
	if first != binaryFrame || p[0] != 0xe0 || packet.ReasonCode(p[2]) != packet.PacketTooLarge {
		t.Fatalf("received frame %#x % x, want DISCONNECT 0x95", first, p)
	}
	s.expect(closed, []byte{0x03, 0xf0})
}

func TestStoppingClosesWebSocketsInOrder(t *testing.T) {
	h := open(t, t.TempDir(), config())
	l := broker.ListenerConfig{Address: "ws://127.0.0.1:0"}
	ln, err := broker.Listen(l)
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln, l) }()
	hello := (&packet.Connect{ClientID: "w", CleanStart: true}).Append(nil, packet.V5)
	s := dialSocket(t, addr).send(frame(binaryFrame, hello))
	s.receive()
	half := dialSocket(t, addr) // without CONNECT
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "GET /mq"); err != nil { // not even that
		t.Fatal(err)
	}
	stop()
	first, p := s.receive()
	if first != binaryFrame || p[0] != 0xe0 || packet.ReasonCode(p[2]) != packet.ServerShuttingDown {
		t.Fatalf("received frame %#x % x, want DISCONNECT 0x8b", first, p)
	}
	s.expectClosed(1001)
	half.expectClosed(1001)
	if err := nc.SetDeadline(time.Now().Add(brokertest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) { // reset if it was not accepted yet
		t.Error("a connection in its upgrade is not closed")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := h.Stats().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
