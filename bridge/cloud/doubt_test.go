package cloud_test

import (
	"fmt"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// The markers, in the order in which they are asked for.
const marker, secondMarker = "acme/g/session-marker/set", "acme/g/session-marker-1/set"

// inHandshake brings a bridge to the middle of everything: "received" waits for
// PUBCOMP, "sent" for any answer, and 7 is the identifier of "old" from above, whose
// PUBREL has not come. It returns the identifiers of the first two.
func inHandshake(t *testing.T, r *rig, s *pipeServer) (p *peer, received, sent uint16) {
	t.Helper()
	got := r.subscribe("g/+/set")
	p = s.welcome(false)
	r.offer("g/boiler/state", "received", 2)
	r.offer("g/boiler/state", "sent", 2)
	received, sent = p.message("received", 2, false).ID, p.message("sent", 2, false).ID
	p.ack(packet.PUBREC, received)
	p.wantAck(packet.PUBREL, received, 0)
	p.send(down("old", 7, 2, false))
	p.wantAck(packet.PUBREC, 7, 0)
	got.want(t, "g/valve/set", "old")
	return p, received, sent
}

// interrupted cuts the link in the middle of everything.
func interrupted(t *testing.T, r *rig, s *pipeServer) (received, sent uint16) {
	t.Helper()
	r.run()
	p, received, sent := inHandshake(t, r, s)
	settle()
	p.cut()
	return received, sent
}

// The three ways to go on. resumed: this is the session of inHandshake.
func resumed(t *testing.T, r *rig, p *peer, received, sent uint16) {
	t.Helper()
	got := r.subscribe("g/+/set")
	p.wantAck(packet.PUBREL, received, 0)
	if m := p.message("sent", 2, true); m.ID != sent {
		t.Errorf("sent again as %d, want %d as before", m.ID, sent)
	}
	p.send(down("old", 7, 2, true))
	p.wantAck(packet.PUBREC, 7, 0)
	p.ack(packet.PUBREL, 7)
	p.wantAck(packet.PUBCOMP, 7, 0)
	got.wantNothing(t)
}

// begun: this is another session. Nothing is lost: what was not complete is sent
// again, and what comes from above is new, even if its first copy was cut off.
func begun(t *testing.T, r *rig, p *peer) {
	t.Helper()
	got := r.subscribe("g/+/set")
	p.message("received", 2, false)
	p.message("sent", 2, false)
	p.send(down("new", 7, 2, true))
	p.wantAck(packet.PUBREC, 7, 0)
	got.want(t, "g/valve/set", "new")
	got.wantNothing(t)
}

// asked takes the status and the question for a marker, which come in any order,
// and nothing else: the queue waits for the answer.
func asked(t *testing.T, p *peer, marker string) (id uint16) {
	t.Helper()
	for range 2 {
		switch k := expect[packet.Packet](p).(type) {
		case *packet.Publish:
			if string(k.Payload) != "online" {
				t.Fatalf("%q left before it was known which session this is", k.Payload)
			}
			p.ack(packet.PUBACK, k.ID)
		case *packet.Unsubscribe:
			if len(k.Filters) != 1 || k.Filters[0] != marker {
				t.Fatalf("UNSUBSCRIBE %q, want %q", k.Filters, marker)
			}
			id = k.ID
		default:
			t.Fatalf("got %T before it was known which session this is", k)
		}
	}
	p.quiet()
	return id
}

// unsubscribed answers the question.
func unsubscribed(t *testing.T, p *peer, marker string, code packet.ReasonCode) {
	t.Helper()
	p.send(&packet.Unsuback{ID: asked(t, p, marker), Codes: []packet.ReasonCode{code}})
}

// The server has lost the session and says so, and the gateway is killed before it
// has noted that. Whatever the server says then, nothing is lost; and if it still
// has the old session after all, nothing comes twice either.
func TestACrashBeforeSessionPresent0IsNoted(t *testing.T) {
	for name, after := range map[string]func(t *testing.T, r *rig, p *peer, received, sent uint16){
		"then 0 again": func(t *testing.T, r *rig, p *peer, _, _ uint16) {
			p.connack(false)
			p.status("online")
			begun(t, r, p)
		},
		"then 1, for the session that began meanwhile": func(t *testing.T, r *rig, p *peer, _, _ uint16) {
			p.connack(true)
			unsubscribed(t, p, marker, packet.NoSubscriptionExisted)
			begun(t, r, p)
		},
		"then 1, for the old session": func(t *testing.T, r *rig, p *peer, received, sent uint16) {
			p.connack(true)
			unsubscribed(t, p, marker, packet.Success)
			resumed(t, r, p, received, sent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
				received, sent := interrupted(t, r, s["a:1"])
				p, _ := s["a:1"].accept()
				p.connack(false)
				r.crash()
				r.run()
				p, _ = s["a:1"].accept()
				after(t, r, p, received, sent)
			})
		})
	}
}

// A doubt lasts until it is decided, through kills and attempts that nobody answers,
// and then it is over.
func TestADoubtLastsUntilTheServerHasDecidedIt(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		received, sent := interrupted(t, r, s["a:1"])
		p, _ := s["a:1"].accept()
		p.cut()
		p, _ = s["a:1"].accept()
		p.connack(true)
		asked(t, p, marker)
		r.crash() // with the question open: that marker may be gone
		r.run()
		p, _ = s["a:1"].accept()
		p.connack(true)
		unsubscribed(t, p, secondMarker, packet.Success)
		resumed(t, r, p, received, sent)
		settle()
		p.cut()
		p = s["a:1"].welcome(true) // and no question
		p.wantAck(packet.PUBREL, received, 0)
	})
}

// Each question uses a marker up, also one that a kill left without an answer. When
// none is left the session is believed in, and gets new markers.
func TestWhenTheMarkersAreUsedUpTheSessionIsBelievedInAndGetsNewOnes(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		received, sent := interrupted(t, r, s["a:1"])
		s["a:1"].accept()
		for n := range 8 {
			r.crash()
			r.run()
			p, _ := s["a:1"].accept()
			p.connack(true)
			name := marker
			if n > 0 {
				name = fmt.Sprintf("acme/g/session-marker-%d/set", n)
			}
			asked(t, p, name)
		}
		r.crash()
		r.run()
		p := s["a:1"].welcome(true)
		resumed(t, r, p, received, sent)
		settle()
		p.cut()
		p, _ = s["a:1"].accept()
		p.cut()
		p, _ = s["a:1"].accept()
		p.connack(true)
		asked(t, p, marker)
	})
}

// Some servers let nobody subscribe to the marker. There the old session is
// believed in, but a message without DUP is new.
func TestADoubtWithoutAMarkerTakesAMessageWithoutDUPForANewOne(t *testing.T) {
	cfg := testConfig("mqtt://a:1")
	cfg.Down = []cloud.Route{{From: "acme/g/valve/set", To: "g/valve/set", QoS: 2}} // no wildcard, no marker
	bubble(t, cfg, nil, func(t *testing.T, r *rig, s servers) {
		received, _ := interrupted(t, r, s["a:1"])
		p, _ := s["a:1"].accept()
		p.cut()
		p = s["a:1"].welcome(true)
		p.wantAck(packet.PUBREL, received, 0)
		p.message("sent", 2, true)
		got := r.subscribe("g/+/set")
		p.send(down("old", 7, 2, true))
		p.wantAck(packet.PUBREC, 7, 0)
		got.wantNothing(t)
		p.send(down("new", 7, 2, false))
		p.wantAck(packet.PUBREC, 7, 0)
		got.want(t, "g/valve/set", "new")
	})
}

// From one server to another and back. Marks and identifiers of the one mean nothing
// to the other, and a session that has waited at the first one is replaced.
func TestFailoverToAnotherServerAndBackUsesNoStateOfTheOther(t *testing.T) {
	bubble(t, testTwoServers(), nil, func(t *testing.T, r *rig, s servers) {
		a, b := s["a:1"], s["b:1"]
		r.run()
		p, _, _ := inHandshake(t, r, a)
		settle()
		a.up.Store(false)
		p.cut()
		begun(t, r, b.welcome(false))

		a.up.Store(true)
		b.up.Store(false)
		settle()
		r.crash() // what was noted at b holds
		r.run()
		p, c := a.accept()
		if c.CleanStart {
			t.Error("the server is told to discard a session before it was asked for one")
		}
		p.connack(true)
		expect[*packet.Disconnect](p)
		p.ended()
		p, c = a.accept()
		if !c.CleanStart {
			t.Error("the session that waited at the first server is used again")
		}
		p.connack(false)
		p.status("online")
		begun(t, r, p)
	})
}

// The other server was asked in vain: the session at the first one is the one of
// before, or the one that began unseen there.
func TestFailoverThatCameToNothingResumesTheSessionOfTheFirstServer(t *testing.T) {
	for _, seen := range []bool{true, false} {
		bubble(t, testTwoServers(), nil, func(t *testing.T, r *rig, s servers) {
			a, b := s["a:1"], s["b:1"]
			r.run()
			p, received, sent := inHandshake(t, r, a)
			settle()
			if seen {
				a.up.Store(false)
			}
			p.cut()
			if !seen {
				p, _ = a.accept()
				p.cut()
			}
			p, _ = b.accept()
			a.up.Store(true)
			p.cut()
			p, _ = a.accept()
			p.connack(true)
			if seen {
				p.status("online")
				resumed(t, r, p, received, sent)
				return
			}
			unsubscribed(t, p, marker, packet.NoSubscriptionExisted)
			begun(t, r, p)
		})
	}
}

func TestServersThatShareSessionsResumeEachOthers(t *testing.T) {
	cfg := testTwoServers()
	cfg.ServersShareSession = true
	bubble(t, cfg, nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, received, sent := inHandshake(t, r, s["a:1"])
		settle()
		s["a:1"].up.Store(false)
		p.cut()
		resumed(t, r, s["b:1"].welcome(true), received, sent)
	})
}

func testTwoServers() cloud.Config {
	cfg := testConfig("mqtt://a:1")
	cfg.Servers = append(cfg.Servers, "mqtt://b:1")
	return cfg
}

// The end of the old session is on disk before anything is said in the new one.
func TestSessionPresent0IsOnDiskBeforeAnythingElseHappens(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		interrupted(t, r, s["a:1"])
		p, _ := s["a:1"].accept()
		start := time.Now()
		p.connack(false)
		p.send(down("new", 7, 2, false)) // right behind it
		p.status("online")
		if d := time.Since(start); d != time.Second {
			t.Errorf("the first packet left after %v; the commit came after 1s", d)
		}
		p.message("received", 2, false)
		p.message("sent", 2, false)
		p.wantAck(packet.PUBREC, 7, 0)
	})
}

// In doubt nothing is taken from the queue: what is known of it may be of no worth
// a moment later.
func TestADoubtAtAServerThatTakesOneAtATimeLosesNothing(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		interrupted(t, r, s["a:1"])
		p, _ := s["a:1"].accept()
		p.cut()
		p, _ = s["a:1"].accept()
		p.connack(true, func(c *packet.Connack) { c.ReceiveMaximum = 1 })
		question := expect[*packet.Unsubscribe](p).ID
		p.quiet()
		p.send(&packet.Unsuback{ID: question, Codes: []packet.ReasonCode{packet.NoSubscriptionExisted}})
		p.status("online")
		p.message("received", 2, false)
	})
}
