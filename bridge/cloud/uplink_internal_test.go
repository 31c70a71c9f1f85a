package cloud

import (
	"testing"

	"edgegateway/broker/packet"
)

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
