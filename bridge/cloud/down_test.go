package cloud_test

import (
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

func down(payload string, id uint16, qos packet.QoS, dup bool) *packet.Publish {
	return &packet.Publish{Topic: []byte("acme/g/valve/set"), Payload: []byte(payload), ID: id, QoS: qos, DUP: dup}
}

func TestDown(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	got := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	m := down("zero", 0, 0, false)
	p.send(m)
	got.want(t, "g/valve/set", "zero")
	m = down("one", 10, 1, false)
	m.Retain = true
	m.Properties.Has, m.Properties.ResponseTopic = packet.HasResponseTopic, "answer"
	p.send(m)
	p.wantAck(packet.PUBACK, 10, 0)
	if one := got.want(t, "g/valve/set", "one"); !one.Retain || one.Properties == nil || one.Properties.ResponseTopic != "answer" || one.Origin != "cloud/acme" {
		t.Errorf("arrived as %+v", one)
	}
	p.send(down("two", 11, 2, false))
	p.wantAck(packet.PUBREC, 11, 0)
	got.want(t, "g/valve/set", "two")
	p.ack(packet.PUBREL, 11)
	p.wantAck(packet.PUBCOMP, 11, 0)
	p.ack(packet.PUBREL, 11)
	p.wantAck(packet.PUBCOMP, 11, packet.PacketIdentifierNotFound)
	p.send(down("three", 11, 2, false)) // the identifier is free again
	p.wantAck(packet.PUBREC, 11, 0)
	got.want(t, "g/valve/set", "three")
	r.until("counted", func(s cloud.Status) bool { return s.Received == 4 })
}

func TestDownExactlyOnce(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	got := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	p.send(down("a", 7, 2, false))
	p.wantAck(packet.PUBREC, 7, 0)
	got.want(t, "g/valve/set", "a")
	p.send(down("a", 7, 2, true))
	p.wantAck(packet.PUBREC, 7, 0)
	p.cut()

	p = s.welcome(true)
	p.send(down("a", 7, 2, true))
	p.wantAck(packet.PUBREC, 7, 0)
	p.cut()

	r.close()
	got.wantNothing(t)
	r.open()
	got = r.subscribe("g/+/set")
	r.run()
	p = s.welcome(true)
	p.send(down("a", 7, 2, true), down("b", 8, 2, false))
	p.wantAck(packet.PUBREC, 7, 0)
	p.wantAck(packet.PUBREC, 8, 0)
	got.want(t, "g/valve/set", "b")
	p.ack(packet.PUBREL, 7)
	p.wantAck(packet.PUBCOMP, 7, 0)
	p.cut()

	r.close()
	got.wantNothing(t)
	r.open()
	got = r.subscribe("g/+/set")
	r.run()
	p = s.welcome(true)
	p.send(down("new", 7, 2, false)) // the removal was on disk before PUBCOMP left
	p.wantAck(packet.PUBREC, 7, 0)
	got.want(t, "g/valve/set", "new")
	p.cut()

	p = s.welcome(false) // the server has forgotten: so do we
	p.send(down("newer", 7, 2, false), down("newest", 8, 2, false))
	p.wantAck(packet.PUBREC, 7, 0)
	p.wantAck(packet.PUBREC, 8, 0)
	got.want(t, "g/valve/set", "newer")
	got.want(t, "g/valve/set", "newest")
}

func TestAnswersWaitForTheDisk(t *testing.T) {
	s := newServer(t)
	r := newRigSync(t, testConfig(s.url()), nil, slow)
	got := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	sent := time.Now()
	p.send(down("a", 1, 2, false))
	p.wantAck(packet.PUBREC, 1, 0)
	if d := time.Since(sent); d < slow/2 {
		t.Errorf("PUBREC came after %v, before the identifier was on disk", d)
	}
	sent = time.Now()
	p.ack(packet.PUBREL, 1)
	p.wantAck(packet.PUBCOMP, 1, 0)
	if d := time.Since(sent); d < slow/2 {
		t.Errorf("PUBCOMP came after %v, before the removal was on disk", d)
	}
	got.want(t, "g/valve/set", "a")

	// A connection that ends while the message is on its way to the disk: the next
	// one gets the answer, and nobody gets the message twice.
	p.send(down("b", 2, 2, false))
	got.want(t, "g/valve/set", "b")
	p.cut()
	p = s.welcome(true)
	p.send(down("b", 2, 2, true))
	p.wantAck(packet.PUBREC, 2, 0)
	p.ack(packet.PUBREL, 2)
	p.wantAck(packet.PUBCOMP, 2, 0)
	got.wantNothing(t)
}

func TestDownDoesNotSpeakForTheGateway(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	got := r.subscribe("g/cloud/#")
	r.run()
	p := s.welcome(false)
	m := down("lie", 3, 1, false)
	m.Topic = []byte("acme/g/cloud/set") // on the route by its wildcard
	p.send(m)
	p.wantAck(packet.PUBACK, 3, packet.NotAuthorized)
	m = down("lie", 4, 2, false)
	m.Topic = []byte("acme/g/cloud/set")
	p.send(m)
	p.wantAck(packet.PUBREC, 4, packet.NotAuthorized)
	p.ack(packet.PUBREL, 4) // a PUBREC that refuses ends the handshake
	p.wantAck(packet.PUBCOMP, 4, packet.PacketIdentifierNotFound)
	m.Topic, m.ID = []byte("elsewhere"), 5
	p.send(m)
	p.wantAck(packet.PUBREC, 5, packet.ImplementationSpecificError)
	for len(got) > 0 {
		if m := <-got; string(m.Payload) == "lie" {
			t.Errorf("%s was published", m.Topic)
		}
	}
}

func TestTooManyUnderWay(t *testing.T) {
	s := newServer(t)
	r := newRigSync(t, testConfig(s.url()), nil, time.Second) // nothing is safe for a while
	r.run()
	p, c := s.accept()
	if c.ReceiveMaximum == 0 || c.ReceiveMaximum > 1000 || c.MaximumPacketSize == 0 {
		t.Fatalf("CONNECT says Receive Maximum %d and Maximum Packet Size %d", c.ReceiveMaximum, c.MaximumPacketSize)
	}
	p.connack(false)
	p.status("online")
	var flood []packet.Packet
	large := strings.Repeat("x", 100_000)
	for id := range 1000 { // without waiting for any answer
		flood = append(flood, down(large, uint16(id+1), 2, false))
	}
	go func() {
		var out []byte
		for _, m := range flood {
			out = m.Append(out, packet.V5)
		}
		p.conn.Write(out) // fails in the end
	}()
	for {
		pk, err := p.read(patience)
		if err != nil {
			t.Fatalf("want DISCONNECT, got %v", err)
		}
		if d, ok := pk.(*packet.Disconnect); ok {
			if d.Code != packet.ReceiveMaximumExceeded {
				t.Errorf("DISCONNECT %v", d.Code)
			}
			return
		}
	}
}

// Mosquitto counts what is under way anew in every connection: after many cuts it
// sends some thousands again at once, more than it was told to. All of them are taken.
func TestAServerThatHasTooManyUnderWayIsServed(t *testing.T) {
	const n = 5000
	s := newServer(t)
	r := newRigSync(t, testConfig(s.url()), nil, time.Second) // nothing is safe for a while
	came := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	go func() {
		var out []byte
		for id := range n {
			out = down("x", uint16(id+1), 2, false).Append(out, packet.V5)
		}
		p.conn.Write(out)
	}()
	for range n {
		if a := expect[*packet.Ack](p); a.Kind != packet.PUBREC || a.Code != packet.Success {
			t.Fatalf("got %v %d %v, want PUBREC", a.Kind, a.ID, a.Code)
		}
	}
	if len(came) != n {
		t.Errorf("%d messages came through, want %d", len(came), n)
	}
}
