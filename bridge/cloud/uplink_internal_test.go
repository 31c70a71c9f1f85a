package cloud

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// An entry waits until the identifiers before it are free on disk. A store that has
// ended fails that at once, every time: the link ends with the store's reason, and
// the pump does not ask again.
func TestAClosedStoreEndsTheLinkThatWaitsForAnIdentifier(t *testing.T) {
	st, err := buffer.Open(filepath.Join(t.TempDir(), "store"), buffer.DefaultConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := &Bridge{store: st, table: st.Table("t"), tuning: tuning{modulus: 10}, oldest: 20, newest: 30}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer far.Close()
	_ = far.SetReadDeadline(time.Now().Add(10 * time.Second))
	l := b.newLink(server{}, newWire(near, maxInbound))
	l.window = 2
	e := buffer.Entry{Seq: 20}
	if l.identifierFree(e) {
		t.Fatal("the identifier counts as free")
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // the link's end closes it
		t.Fatalf("the connection says %v", err)
	}
	if err := l.reason(); !errors.Is(err, buffer.ErrClosed) {
		t.Errorf("the link ended with %v, want the store's reason", err)
	}
	l.identifierFree(e)
	if !l.barrier {
		t.Error("the commit is not known as begun: the pump tries again")
	}
}

// Nothing answers a status of QoS 0. It counts as taken after it was sent: DISCONNECT,
// which takes the will back, follows offline, and must not overtake it.
func TestAStatusOfQoS0IsNotTakenBeforeItIsSent(t *testing.T) {
	l := new(Bridge).newLink(server{}, newWire(nil, maxInbound))
	l.window, l.maxPacket, l.stopping = 10, packet.MaxSize, true
	taken := 0
	l.say(offlineID, "s", "offline", func(packet.ReasonCode) { taken++ })
	buf, _, _ := l.collect(nil)
	if len(buf) == 0 || taken != 0 || len(l.unanswered) != 1 {
		t.Errorf("%d bytes are to be sent, the status was taken %d times and %d wait to be sent; want 0 and 1", len(buf), taken, len(l.unanswered))
	}
}

// A number for a topic may make two lengths a byte longer: where that is too much for
// the server, the message goes without.
func TestAPacketStaysSmallEnoughWithATopicAlias(t *testing.T) {
	for size := range 300 {
		p := packet.Publish{Topic: []byte("a/topic"), Payload: make([]byte, size), Properties: packet.Properties{
			UserProperties: []packet.UserProperty{{Key: "k", Value: string(make([]byte, size/2))}},
		}}
		before := p.Size(packet.V5)
		p.Properties.Has, p.Properties.TopicAlias = packet.HasTopicAlias, 1
		if after := p.Size(packet.V5); after > before+aliasMost {
			t.Fatalf("from %d to %d bytes", before, after)
		}
	}
}

// A server that floods what is to be answered and reads none of it is left before
// the answers take the memory.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	for name, ask := range map[string]func(l *link){
		"PUBREC": func(l *link) { l.pubrec(1, packet.Success) },
		"PUBREL": func(l *link) { l.pubrel(1) },
		"PUBREL behind one that waits for the disk": func(l *link) {
			if len(l.pubcomps.wait) == 0 {
				l.take(&l.pubcomps, 2)
			}
			l.pubrel(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			b := &Bridge{inbound: &inbound{ids: make(map[uint16]*arrival)}}
			l := b.newLink(server{}, newWire(near, maxInbound))
			asked := 0
			for ; l.fault == nil && asked < 1<<20; asked++ {
				ask(l)
			}
			if !errors.Is(l.fault, errDeaf) || asked < mostUnsafe {
				t.Errorf("after %d of them: %v", asked, l.fault)
			}
		})
	}
}
