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
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		got := r.subscribe("g/+/set")
		r.run()
		p := s["a:1"].welcome(false)
		p.settle()
		sent := time.Now()
		p.send(down("a", 1, 2, false))
		p.wantAck(packet.PUBREC, 1, 0)
		if d := time.Since(sent); d != time.Second {
			t.Errorf("PUBREC came after %v; the identifier was on disk after 1s", d)
		}
		p.settle()
		sent = time.Now()
		p.ack(packet.PUBREL, 1)
		p.wantAck(packet.PUBCOMP, 1, 0)
		if d := time.Since(sent); d != time.Second {
			t.Errorf("PUBCOMP came after %v; the removal was on disk after 1s", d)
		}
		got.want(t, "g/valve/set", "a")

		// A connection that ends while the message is on its way to the disk: the next
		// one gets the answer, and nobody gets the message twice.
		p.settle()
		p.send(down("b", 2, 2, false))
		got.want(t, "g/valve/set", "b")
		p.cut()
		p = s["a:1"].welcome(true)
		p.send(down("b", 2, 2, true))
		p.wantAck(packet.PUBREC, 2, 0)
		p.ack(packet.PUBREL, 2)
		p.wantAck(packet.PUBCOMP, 2, 0)
		got.wantNothing(t)
	})
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
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, c := s["a:1"].accept()
		if c.ReceiveMaximum == 0 || c.ReceiveMaximum > 1000 || c.MaximumPacketSize == 0 {
			t.Fatalf("CONNECT says Receive Maximum %d and Maximum Packet Size %d", c.ReceiveMaximum, c.MaximumPacketSize)
		}
		p.connack(false)
		p.status("online")
		p.settle()
		large := strings.Repeat("x", 100_000)
		go func() {
			for id := range uint16(1000) { // without waiting for any answer
				if _, err := p.conn.Write(down(large, id+1, 2, false).Append(nil, packet.V5)); err != nil {
					return // in the end
				}
			}
		}()
		// Before the first of them is on disk.
		if d := expect[*packet.Disconnect](p); d.Code != packet.ReceiveMaximumExceeded {
			t.Errorf("DISCONNECT %v", d.Code)
		}
	})
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
