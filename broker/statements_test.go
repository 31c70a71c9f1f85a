package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// A client that takes only small packets gets every answer without its reason, and
// none that is larger.
func TestReasonsAreLeftOutWhereTheyDoNotFit(t *testing.T) {
	h := open(t, t.TempDir(), config())
	small := func(id string, most uint32) *packet.Connect {
		return &packet.Connect{ClientID: id, CleanStart: true, MaximumPacketSize: most}
	}
	// [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.1.2-24]
	c, _ := brokertest.Connect(t, h.addr, packet.V5, small("c", 30))
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		m := message("$SYS/broker/mine", "x", qos)
		m.ID = 1
		got, ok := c.Send(m).Receive().(*packet.Ack)
		if !ok || got.Code != packet.NotAuthorized || got.ReasonString != "" {
			t.Errorf("QoS %d: got %+v, want 0x87 without reason", qos, got)
		}
	}
	many := &packet.Subscribe{ID: 1}
	for i := range 40 {
		many.Subscriptions = append(many.Subscriptions, packet.Subscription{Filter: fmt.Sprint(i)})
	}
	c.Send(many).ExpectNothing() // its SUBACK has 45 bytes [MQTT-3.1.2-25]
	// [MQTT-3.14.2-3]
	c.Send(&packet.Auth{Code: packet.Reauthenticate, Authentication: &packet.Authentication{Method: "m"}})
	if d, ok := c.Receive().(*packet.Disconnect); !ok || d.Code != packet.ProtocolError || d.ReasonString != "" {
		t.Errorf("got %+v, want DISCONNECT 0x82 without reason", d)
	}
	// [MQTT-3.2.2-19]
	refused := small("d", 30)
	refused.Authentication = &packet.Authentication{Method: "none such"}
	d := brokertest.Dial(t, h.addr, packet.V5).Send(refused)
	if ack, ok := d.Receive().(*packet.Connack); !ok || ack.Code != packet.BadAuthenticationMethod || ack.ReasonString != "" {
		t.Errorf("got %+v, want CONNACK 0x8C without reason", ack)
	}
	d.ExpectClosed()
	// Who takes no CONNACK of success can not be served, and one who takes nothing
	// at all is not answered [MQTT-3.1.2-24].
	brokertest.Dial(t, h.addr, packet.V5).Send(small("e", 8)).
		Expect(&packet.Connack{Code: packet.ImplementationSpecificError}).ExpectClosed()
	brokertest.Dial(t, h.addr, packet.V5).Send(small("f", 2)).ExpectClosed()
}

// A member of a share keeps what was sent to it at QoS 2 [MQTT-4.8.2-4], and what it
// refuses goes to nobody else [MQTT-4.8.2-6].
func TestMemberKeepsWhatItHasBegun(t *testing.T) {
	h := open(t, t.TempDir(), config())
	pub := connect(t, h, packet.V5, "pub", true)
	a, b := connect(t, h, packet.V5, "a", false), connect(t, h, packet.V5, "b", false)
	subscribe(t, a, "$share/g/t", 2)
	subscribe(t, b, "$share/g/t", 2)
	publishAt(pub, message("t", "begun", 2))
	a.Expect(message("t", "begun", 2))
	id := a.IDs()[0]
	a.Drop()
	b.ExpectNothing()
	a = connect(t, h, packet.V5, "a", false)
	again := message("t", "begun", 2)
	again.ID, again.DUP = id, true
	a.Expect(again).Send(&packet.Ack{Kind: packet.PUBREC, ID: id, Code: packet.QuotaExceeded}).ExpectNothing()
	b.ExpectNothing()
	publishAt(pub, message("t", "next", 1))
	b.Expect(message("t", "next", 1)).
		Send(&packet.Ack{Kind: packet.PUBACK, ID: b.IDs()[0], Code: packet.UnspecifiedError}).ExpectNothing()
	a.ExpectNothing()
}

// Packets before CONNECT, and a CONNECT that promises very much, cost only what has
// arrived, whatever is allowed to clients.
func TestLargePacketsBeforeConnectCostNothing(t *testing.T) {
	cfg := config()
	cfg.MaxPacketSize = 256 << 20
	h := open(t, t.TempDir(), cfg)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const hundredMB = "\x80\x80\x80\x30" // 100,663,296
	body := bytes.Repeat([]byte("x"), 4<<20)
	for _, first := range []byte{0x30, 0x10} {
		for range 14 {
			c := brokertest.Dial(t, h.addr, packet.V5)
			c.TrySend([]byte(string(first) + hundredMB)).TrySend(body).ExpectClosed()
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 28*1<<20 {
		t.Errorf("28 packets that promise 100 MB each cost %d bytes", n)
	}
	connect(t, h, packet.V5, "fine", true).ExpectNothing()
	large := message("t", strings.Repeat("x", 2<<20), 1)
	large.ID = 1
	connect(t, h, packet.V5, "large", true).Send(large).Expect(ack(packet.PUBACK, 1))
}

// sendAll sends bytes and reads until the broker has closed the connection.
func sendAll(t *testing.T, addr string, b []byte) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = nc.Write(b) // the broker may have closed in the middle
	_ = nc.(*net.TCPConn).CloseWrite()
	if err := nc.SetReadDeadline(time.Now().Add(brokertest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the broker does not close after % x", b)
	}
}

// Packets with bytes changed, cut and put in at random end their connection or do
// not; they harm nobody else, and no goroutine panics.
func TestDamagedPacketsHarmNobody(t *testing.T) {
	h := open(t, t.TempDir(), config())
	watch := connect(t, h, packet.V311, "watch", true)
	subscribe(t, watch, "fine", 1)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 600 {
		v := []packet.Version{packet.V31, packet.V311, packet.V5}[i%3]
		m := message("t/x", "payload", 2)
		m.ID = 3
		m.Properties = packet.Properties{Has: packet.HasMessageExpiry | packet.HasContentType, MessageExpiry: 5, ContentType: "c",
			UserProperties: []packet.UserProperty{{Key: "k", Value: "v"}}}
		var b []byte
		for _, p := range []packet.Packet{
			&packet.Connect{ClientID: "damaged", CleanStart: i%2 == 0, SessionExpiry: 60, UsernameFlag: true, Username: "u",
				Will: &packet.Will{Topic: "w", Payload: []byte("gone"), QoS: 1, Delay: 1}},
			&packet.Subscribe{ID: 1, SubscriptionID: 7, Subscriptions: []packet.Subscription{{Filter: "t/#", QoS: 2}, {Filter: "$share/g/+", QoS: 1}}},
			m, ack(packet.PUBREL, 3), ack(packet.PUBREC, 1), ack(packet.PUBACK, 2), ack(packet.PUBCOMP, 3),
			&packet.Unsubscribe{ID: 4, Filters: []string{"t/#"}}, &packet.Pingreq{}, &packet.Disconnect{Code: packet.DisconnectWithWillMessage},
		} {
			b = p.Append(b, v)
		}
		from := 0
		if i%4 != 0 { // most connect, and err later
			from = int(b[1]) + 2
		}
		for range 1 + random.IntN(3) {
			switch at := from + random.IntN(len(b)-from); random.IntN(4) {
			case 0:
				b[at] ^= 1 << random.IntN(8)
			case 1:
				b[at] = byte(random.Uint32())
			case 2:
				b = slices.Delete(b, at, at+1)
			case 3:
				b = slices.Insert(b, at, byte(random.Uint32()))
			}
		}
		sendAll(t, h.addr, b)
		if i%100 == 99 {
			watch.Send(message("fine", fmt.Sprint(i), 0)).Expect(message("fine", fmt.Sprint(i), 0))
		}
	}
	watch.Leave()
	connect(t, h, packet.V5, "after", true).ExpectNothing()
}
