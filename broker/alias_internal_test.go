package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"edgegateway/broker/packet"
)

// What shorten makes of a packet has to be read as the packet that it was, and to
// be as long as it has to be.
func TestShorten(t *testing.T) {
	long := strings.Repeat("x", 200)
	props := packet.Properties{
		Has: packet.HasContentType | packet.HasMessageExpiry, ContentType: "text/plain", MessageExpiry: 7,
		UserProperties: []packet.UserProperty{{Key: "k", Value: "v"}}, SubscriptionIDs: []uint32{300},
	}
	pub := func(topic string, qos packet.QoS, props packet.Properties, payload string) *packet.Publish {
		p := &packet.Publish{Topic: []byte(topic), QoS: qos, Properties: props, Payload: []byte(payload), DUP: qos > 0, Retain: true}
		if qos > 0 {
			p.ID = 0x1234
		}
		return p
	}
	type step struct {
		p     *packet.Publish
		saves int    // bytes; negative: it takes some
		alias uint16 // 0: none
		topic bool   // it is there
	}
	plain := packet.Properties{}
	for _, c := range []struct {
		name       string
		most, size int
		steps      []step
	}{
		{"a topic is said once", 2, 0, []step{
			{pub("a/topic", 0, plain, "1"), -3, 1, true}, {pub("a/topic", 0, plain, "2"), 4, 1, false}}},
		{"at every QoS, beside other properties", 2, 0, []step{
			{pub("a/topic", 1, props, "1"), -3, 1, true}, {pub("a/topic", 2, props, ""), 4, 1, false}, {pub("a/topic", 0, plain, "x"), 4, 1, false}}},
		{"lengths grow and shrink by a byte with what they count", 2, 0, []step{
			{pub("a/topic", 0, plain, long[:116]), -4, 1, true}, {pub("a/topic", 0, plain, long[:117]), 4, 1, false}, {pub("a/topic", 0, plain, long[:119]), 5, 1, false}}},
		{"a long topic", 2, 0, []step{
			{pub(long, 1, plain, "1"), -3, 1, true}, {pub(long, 1, plain, "2"), 198, 1, false}}},
		{"a short topic gets none", 2, 0, []step{
			{pub("a/top", 0, plain, ""), 0, 0, true}, {pub("a/top", 0, plain, ""), 0, 0, true}, {pub("a/topi", 0, plain, ""), -3, 1, true}}},
		{"no more than the client takes", 2, 0, []step{
			{pub("topic/1", 0, plain, ""), -3, 1, true}, {pub("topic/2", 0, plain, ""), -3, 2, true}, {pub("topic/3", 0, plain, ""), 0, 0, true}, {pub("topic/2", 0, plain, ""), 4, 2, false}}},
		{"the client's packet size is kept", 2, 16, []step{
			{pub("a/topic", 0, plain, "123"), 0, 0, true}, {pub("a/topic", 0, plain, "1"), -3, 1, true}, {pub("a/topic", 0, plain, "123"), 4, 1, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := aliases{most: c.most, size: c.size}
			for i, s := range c.steps {
				before := []byte("before")
				plain := s.p.Append(nil, packet.V5)
				b := a.shorten(append(bytes.Clone(before), plain...), len(before))
				if !bytes.HasPrefix(b, before) {
					t.Fatalf("%d: what was there before has changed: %q", i, b)
				}
				b = b[len(before):]
				if saved := len(plain) - len(b); saved != s.saves {
					t.Errorf("%d: saves %d bytes of %d, want %d", i, saved, len(plain), s.saves)
				}
				d := packet.Decoder{Role: packet.Client, Version: packet.V5}
				got, n, _, err := d.Next(b)
				if err != nil || n != len(b) {
					t.Fatalf("%d: %d of %d bytes are a packet, %v", i, n, len(b), err)
				}
				want := *s.p
				if s.alias > 0 {
					want.Properties.Has |= packet.HasTopicAlias
					want.Properties.TopicAlias = s.alias
				}
				if !s.topic {
					want.Topic = nil
				}
				if w := want.Append(nil, packet.V5); !bytes.Equal(w, got.(*packet.Publish).Append(nil, packet.V5)) {
					t.Errorf("%d: got %+v\nwant %+v", i, got, want)
				}
			}
		})
	}
}

func TestShortenKnownTopicAllocatesNothing(t *testing.T) {
	a := aliases{most: 1}
	p := (&packet.Publish{Topic: []byte("a/topic"), Payload: []byte("x")}).Append(nil, packet.V5)
	buf := a.shorten(append(make([]byte, 0, 1000), p...), 0)
	if n := testing.AllocsPerRun(100, func() { buf = a.shorten(append(buf[:0], p...), 0) }); n > 0 {
		t.Error(fmt.Sprint(n), "allocations per message")
	}
}
