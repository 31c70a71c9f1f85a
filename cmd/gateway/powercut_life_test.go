package main_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// live starts the gateway on what the power cut left, and everyone goes on: publishers
// send again what nobody answered, and get the rest of their handshakes; subscribers take
// what there is. At QoS 2 everything has to arrive once.
func (w *world) live(t *testing.T, config string) {
	t.Helper()
	g := start(t, config)
	sentAgain := make(map[string]bool)
	for client, s := range w.sender {
		if strings.HasPrefix(client, "publisher") {
			w.resume(t, g, client, s, sentAgain)
		}
	}
	last, _ := g.dial("last", 0)
	for i, m := range []string{lastMessage, lastShared} {
		last.Send(&packet.Publish{Topic: []byte(topicOf(m)), Payload: payload(m), QoS: packet.QoS1, ID: uint16(i + 1)}).Receive()
	}
	for _, c := range []struct {
		client, last string
		version      packet.Version
	}{{"absent", lastShared, packet.V5}, {"present", lastMessage, packet.V311}} {
		get := w.getter["client/"+c.client]
		came := w.drain(t, g, c.client, c.last, c.version, get)
		for m, n := range w.heard {
			switch {
			case !get.wants(m) || m == c.last || !w.safe[m] && !sentAgain[m]:
			case get.done[m]:
				if w.qos2[m] && came[m] > 0 {
					t.Errorf("%s completed %q, and it came again", c.client, m)
				}
			case came[m] == 0:
				t.Errorf("%s never got %q", c.client, m)
			case w.qos2[m] && came[m] > 1 || came[m] > n+1:
				t.Errorf("%s got %q %d times", c.client, m, came[m])
			}
		}
	}
	g.stop()
}

// resume brings the handshakes of a publisher to their ends.
func (w *world) resume(t *testing.T, g *running, client string, s *sending, sentAgain map[string]bool) {
	t.Helper()
	c, a := brokertest.Connect(t, g.mqtt, s.version, &packet.Connect{ClientID: client, SessionExpiry: 3600})
	if !a.SessionPresent {
		t.Errorf("the session of %s is lost", client)
	}
	c.WaitFor(tooLong)
	var open []uint16
	for id, m := range s.published {
		if s.free[id] || w.safe[m] && !w.qos2[m] {
			continue
		}
		open = append(open, id)
	}
	slices.SortFunc(open, func(a, b uint16) int { return cmp.Compare(numberOf(s.published[a]), numberOf(s.published[b])) })
	for _, id := range open {
		m := s.published[id]
		if w.qos2[m] && w.safe[m] && !s.known[id] { // PUBREL was read
			c.Send(&packet.Ack{Kind: packet.PUBREL, ID: id}).Receive()
			continue
		}
		qos := packet.QoS1
		if w.qos2[m] {
			qos = packet.QoS2 // PUBREC may have been lost on the way
		}
		sentAgain[m] = true
		c.Send(&packet.Publish{Topic: []byte(topicOf(m)), Payload: payload(m), QoS: qos, ID: id, DUP: true, Retain: strings.HasSuffix(m, " kept")})
		if a, ok := c.Receive().(*packet.Ack); !ok || a.ID != id || a.Code.IsError() {
			t.Errorf("%s sent %q again: %v", client, m, a)
		}
		if qos == packet.QoS2 {
			c.Send(&packet.Ack{Kind: packet.PUBREL, ID: id}).Receive()
		}
	}
}

// drain takes what waits for a subscriber, up to a message, and counts what is new to it:
// all but the repetition of a PUBLISH whose handshake it has open.
func (w *world) drain(t *testing.T, g *running, client, last string, version packet.Version, get *receiving) map[string]int {
	t.Helper()
	c, a := brokertest.Connect(t, g.mqtt, version, &packet.Connect{ClientID: client, SessionExpiry: 3600})
	if !a.SessionPresent {
		t.Errorf("the session of %s is lost", client)
	}
	c.WaitFor(tooLong)
	came := make(map[string]int)
	open := make(map[uint16]string)
	for id, m := range get.by {
		if w.qos2[m] {
			came[m]++ // before
			if !get.released[m] {
				open[id] = m
			}
		}
	}
	for {
		switch p := c.Receive().(type) {
		case *packet.Publish:
			m, whole := messageIn(p.Payload)
			if !whole {
				t.Fatalf("%s got %q", client, p.Payload)
			}
			if p.QoS == packet.QoS1 {
				came[m]++
				c.Send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
				if m == last {
					return came
				}
				continue
			}
			if open[p.ID] == "" {
				came[m]++
			} else if open[p.ID] != m {
				t.Errorf("%s got %q with the identifier of %q", client, m, open[p.ID])
			}
			open[p.ID] = m
			c.Send(&packet.Ack{Kind: packet.PUBREC, ID: p.ID})
		case *packet.Ack:
			delete(open, p.ID)
			c.Send(&packet.Ack{Kind: packet.PUBCOMP, ID: p.ID})
		}
	}
}
