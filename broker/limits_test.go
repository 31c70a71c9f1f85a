package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A client that is told of a new session must not meet the old one again after a
// crash: an identifier that the old one knew would make a new message of QoS 2 look
// like a repetition, which is acknowledged and lost.
func TestAReplacedSessionDoesNotComeBackAfterACrash(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		t.Run(v.String(), func(t *testing.T) {
			dir, crashed := t.TempDir(), t.TempDir()
			slow := storeConfig()
			slow.Sync = 300 * time.Millisecond
			h := openStore(t, dir, config(), slow)
			m := message("t", "old", 2)
			m.ID = 7
			c := connect(t, h, v, "c", false)
			c.Send(m).Expect(ack(packet.PUBREC, 7))
			c.Drop()

			brokertest.Dial(t, h.addr, v).
				Send(&packet.Connect{ClientID: "c", CleanStart: true}).Expect(&packet.Connack{})
			for _, name := range []string{"gateway.db", "gateway.db.state"} { // what a kill -9 would leave now
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(crashed, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.stop()

			h = open(t, crashed, config())
			var in inbox
			if err := h.Local("l", broker.Rights{}).Subscribe("t", broker.SubscribeOptions{QoS: 2}, &in); err != nil {
				t.Fatal(err)
			}
			m.Payload = []byte("new")
			connect(t, h, v, "c", false).Send(m).Expect(ack(packet.PUBREC, 7))
			if got := in.list(); len(got) != 1 || !strings.HasPrefix(got[0], "t=new ") {
				t.Errorf("an acknowledged message was not routed; got %q", got)
			}
		})
	}
}

// A message that is larger than the memory for what waits for the disk is written
// like any other: it is acknowledged, so it has to be there.
func TestAnAcknowledgedMessageIsThereHoweverSmallTheMemoryOfTheStore(t *testing.T) {
	dir := t.TempDir()
	small := storeConfig()
	small.Memory = 64 << 10
	h := openStore(t, dir, config(), small)
	sub := connect(t, h, packet.V5, "sub", false)
	subscribe(t, sub, "t", 1)
	sub.Leave()
	payload := strings.Repeat("x", 200<<10)
	m := message("t", payload, 1)
	m.ID = 7
	connect(t, h, packet.V5, "pub", true).Send(m).Expect(ack(packet.PUBACK, 7))
	h.stop()

	h = open(t, dir, config())
	sub, present := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "sub", SessionExpiry: 3600})
	if !present.SessionPresent {
		t.Fatal("the session is gone")
	}
	sub.Expect(message("t", payload, 1))
}

// A client that asks and asks and never reads the answers is closed before they
// take the memory of all others.
func TestWhoReadsNoAnswersIsClosed(t *testing.T) {
	asks := map[string]packet.Packet{
		"PINGREQ":   &packet.Pingreq{},
		"PUBREL":    ack(packet.PUBREL, 1),
		"SUBSCRIBE": &packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "#", QoS: 0}}},
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			h := open(t, t.TempDir(), config())
			for i := range 100 {
				h.Local("l", broker.Rights{}).Publish(broker.Message{
					Topic: fmt.Sprint("r/", i), Payload: make([]byte, 64<<10), Retain: true,
				})
			}
			nc, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if err := nc.(*net.TCPConn).SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			brokertest.Over(t, nc, packet.V311).Send(&packet.Connect{ClientID: "c", CleanStart: true}).Expect(&packet.Connack{})
			var many []byte
			for len(many) < 1<<20 {
				many = ask.Append(many, packet.V311)
			}
			if err := nc.SetWriteDeadline(time.Now().Add(brokertest.Patience)); err != nil {
				t.Fatal(err)
			}
			for i := 0; err == nil; i++ {
				if i == 64 {
					t.Fatalf("after %d MiB of %s without reading anything the connection is still there", i, name)
				}
				_, err = nc.Write(many)
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("after a flood of %s: %v, want the end of the connection", name, err)
			}
		})
	}
}

// A client may subscribe many times before it reads: it gets everything that is
// retained, for each subscription, though nothing else ever moves its connection.
func TestManySubscriptionsAtOnceAllGetWhatIsRetained(t *testing.T) {
	const filters, topics = 40, 300
	h := open(t, t.TempDir(), config())
	l := h.Local("l", broker.Rights{})
	for f := range filters {
		for i := range topics {
			l.Publish(broker.Message{Topic: fmt.Sprintf("%d/%d", f, i), Payload: make([]byte, 1<<10), Retain: true})
		}
	}
	c := connect(t, h, packet.V311, "c", true)
	for f := range filters {
		c.Send(&packet.Subscribe{ID: uint16(f + 1), Subscriptions: []packet.Subscription{{Filter: fmt.Sprintf("%d/#", f)}}})
	}
	got := make(map[string]bool)
	for acks := 0; acks < filters || len(got) < filters*topics; {
		switch p := c.Receive().(type) {
		case *packet.Suback:
			acks++
		case *packet.Publish:
			got[string(p.Topic)] = true
		}
	}
}

// However fast a publisher is, what its Receipt calls safe is in the queue: when too
// much waits for the disk it is told so.
func TestWhatIsCalledSafeIsInTheQueueWhenTheDiskIsBehind(t *testing.T) {
	small := storeConfig()
	small.Memory = 64 << 10
	h := openStore(t, t.TempDir(), config(), small)
	s, err := h.Local("sub", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Subscribe("t", broker.SubscribeOptions{QoS: 1}); err != nil {
		t.Fatal(err)
	}
	l := h.Local("pub", broker.Rights{})
	var receipts []*broker.Receipt
	for range 100 {
		receipts = append(receipts, l.Publish(broker.Message{Topic: "t", Payload: make([]byte, 100<<10), QoS: 1}))
	}
	safe, behind := 0, 0
	for _, r := range receipts {
		switch err := wait(t, r); {
		case err == nil:
			safe++
		case errors.Is(err, buffer.ErrFull):
			behind++
		default:
			t.Error(err)
		}
	}
	if got := s.Queue().Stats().Messages; got != safe {
		t.Errorf("%d messages are safe and %d refused, but %d are in the queue", safe, behind, got)
	}
}
