package cloud_test

import (
	"fmt"
	"io"
	"strings"
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
				r.run()
				p, received, sent := inHandshake(t, r, s["a:1"])
				settle()
				p.cut()
				p, _ = s["a:1"].accept()
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
		r.run()
		p, received, sent := inHandshake(t, r, s["a:1"])
		settle()
		p.cut()
		p, _ = s["a:1"].accept()
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
		r.run()
		p, received, sent := inHandshake(t, r, s["a:1"])
		settle()
		p.cut()
		s["a:1"].accept()
		for n := range 8 {
			r.crash()
			r.run()
			p, _ = s["a:1"].accept()
			p.connack(true)
			name := marker
			if n > 0 {
				name = fmt.Sprintf("acme/g/session-marker-%d/set", n)
			}
			asked(t, p, name)
		}
		r.crash()
		r.run()
		p = s["a:1"].welcome(true)
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
		r.run()
		p, received, _ := inHandshake(t, r, s["a:1"])
		settle()
		p.cut()
		p, _ = s["a:1"].accept()
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

func TestAQoS2MessageGoesUpOnlyAfterItsCommitAndHoldsUpWhatIsBehindIt(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		p.settle()
		start := time.Now()
		r.offer("g/boiler/state", "before", 1)
		r.offer("g/boiler/state", "two", 2)
		r.offer("g/boiler/state", "behind", 1)
		p.message("before", 1, false)
		if d := time.Since(start); d != 0 {
			t.Errorf("QoS 1 left after %v, want at once", d)
		}
		p.message("two", 2, false)
		if d := time.Since(start); d != time.Second {
			t.Errorf("QoS 2 left after %v; its commit came after 1s", d)
		}
		p.message("behind", 1, false)
	})
}

// A message of QoS 1 may leave before it is on disk. If the gateway is killed then,
// the message is its publisher's to send again; but its identifier is known to the
// server and must not come with another message.
func TestAnIdentifierThatLeftBeforeItsCommitIsNotGivenAwayAfterAKill(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		p.settle()
		r.offer("g/boiler/state", "lost", 1)
		lost := p.message("lost", 1, false).ID
		r.crash()
		r.run()
		p = s["a:1"].welcome(true)
		for i := range 5 {
			r.offer("g/boiler/state", number(i), 2)
			if m := p.message(number(i), 2, false); m.ID == lost {
				t.Fatalf("message %d got identifier %d, which the server knows from a message that was lost", i, lost)
			}
		}
	})
}

// A message that may have been sent, and may not be any more, keeps its identifier
// until the server has let go of it. What was certainly never sent just goes.
func TestAMessageThatMayNotGoUpAnyMoreKeepsItsIdentifierUntilPUBCOMP(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, received, sent := inHandshake(t, r, s["a:1"])
		p.settle()
		r.close()
		r.cfg.Up = []cloud.Route{{From: "other/+/state", To: "acme/other/+/state", QoS: 2}}
		r.open()
		r.offer("g/boiler/state", "nobody takes this up", 2)
		r.run()
		p = s["a:1"].welcome(true)
		p.wantAck(packet.PUBREL, received, 0)
		p.wantAck(packet.PUBREL, sent, 0)
		p.ack(packet.PUBCOMP, received)
		p.ack(packet.PUBCOMP, sent, packet.PacketIdentifierNotFound)
		p.settle()
		if st := r.bridge.Status(); st.Queued != 0 || st.Rejected != 1 || st.Sent != 1 {
			t.Errorf("%d queued, %d set aside, %d sent; want 0, 1 and 1", st.Queued, st.Rejected, st.Sent)
		}
	})
}

// With seven identifiers and two priorities: while one message is in its handshake,
// no other of either priority comes round to its identifier.
func TestIdentifiersOfTwoPrioritiesNeverMeet(t *testing.T) {
	cfg := testConfig("mqtt://a:1")
	cfg.Up = []cloud.Route{
		{From: "slow/+/state", To: "acme/slow/+/state", QoS: 2},
		{From: "urgent/+/state", To: "acme/urgent/+/state", QoS: 2, Priority: 9},
	}
	bubble(t, cfg, func(b *cloud.Bridge) { b.SetModulus(7) }, func(t *testing.T, r *rig, s servers) {
		const n = 20
		for i := range n {
			r.offer([]string{"slow/boiler/state", "urgent/boiler/state"}[i%2], number(i), 2)
		}
		settle()
		r.run()
		p := s["a:1"].welcome(false)
		open := p.message(number(1), 2, false).ID // and no answer to it
		complete := 0
		drain := func() {
			for {
				pk, err := p.read(5 * time.Second)
				if err != nil {
					return
				}
				switch k := pk.(type) {
				case *packet.Publish:
					if k.ID == open || k.ID > 7 {
						t.Fatalf("message %s came with identifier %d while that with %d is open", k.Payload, k.ID, open)
					}
					p.ack(packet.PUBREC, k.ID)
				case *packet.Ack:
					complete++
					p.ack(packet.PUBCOMP, k.ID)
				}
			}
		}
		drain()
		if complete < 1 || complete > 6 {
			t.Errorf("%d messages were complete while the first one is open, want some and less than there are identifiers", complete)
		}
		p.ack(packet.PUBREC, open)
		open = 0
		drain()
		if complete != n {
			t.Errorf("%d of %d messages are complete", complete, n)
		}
	})
}

// A message that may have been sent with QoS 2 keeps that when its route goes down to
// QoS 1: with another QoS the server would pass it on a second time, and keep its
// identifier for a message that never comes.
func TestAMessageThatMayHaveBeenSentKeepsItsQoSWhenTheRouteChanges(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		r.offer("g/boiler/state", "sent", 2)
		id := p.message("sent", 2, false).ID
		r.close()
		r.cfg.Up[0].QoS = 1
		r.open()
		r.offer("g/boiler/state", "later", 2)
		r.run()
		p = s["a:1"].welcome(true)
		if again := p.message("sent", 2, true).ID; again != id {
			t.Errorf("sent again as %d, was %d", again, id)
		}
		p.ack(packet.PUBREC, id)
		later := p.message("later", 1, false).ID
		p.ack(packet.PUBACK, later)
		p.wantAck(packet.PUBREL, id, 0)
		p.ack(packet.PUBCOMP, id)
		r.drained()
	})
}

// The older message of the lower priority leaves when the younger ones are done with.
// One of them had its identifier, and comes back after a kill until its removal is on
// disk: so that comes first.
func TestTheLowerPriorityWaitsForTheRemovalOfYoungerMessages(t *testing.T) {
	cfg := testConfig("mqtt://a:1")
	cfg.Up = []cloud.Route{
		{From: "slow/+/state", To: "acme/slow/+/state", QoS: 2},
		{From: "urgent/+/state", To: "acme/urgent/+/state", QoS: 1, Priority: 9},
	}
	bubble(t, cfg, func(b *cloud.Bridge) { b.SetModulus(7) }, func(t *testing.T, r *rig, s servers) {
		r.offer("slow/boiler/state", "slow", 2)
		for i := range 8 {
			r.offer("urgent/boiler/state", number(i), 2)
		}
		settle()
		r.run()
		p := s["a:1"].welcome(false)
		var last, id uint16
		for i := range 8 {
			last, id = id, p.message(number(i), 1, false).ID
			p.ack(packet.PUBACK, id)
		}
		if slow := p.message("slow", 2, false).ID; slow != last {
			t.Fatalf("the older message has identifier %d, and the test is about %d", slow, last)
		}
		r.crash()
		r.run()
		p = s["a:1"].welcome(true)
		p.message("slow", 2, true)
		p.settle()
	})
}

// The server has its window full of QoS 2 messages to us and sends no PUBREL before
// it has PUBREC for all of them; ours to it is full as well, and its PUBRECs come
// behind. The bridge reads on, and both windows move.
func TestWindowsFullOfQoS2InBothDirectionsMove(t *testing.T) {
	const ours, theirs = 20, 500
	bubble(t, testConfig("mqtt://a:1"), func(b *cloud.Bridge) { b.SetWindow(5) }, func(t *testing.T, r *rig, s servers) {
		for i := range ours {
			r.offer("g/boiler/state", number(i), 2)
		}
		r.run()
		p := s["a:1"].welcome(false)
		var up []uint16
		for i := range 5 {
			up = append(up, p.message(number(i), 2, false).ID)
		}
		for id := range uint16(theirs) {
			p.send(down("x", id+1, 2, false))
		}
		for _, id := range up {
			p.ack(packet.PUBREC, id)
		}
		pubrecs, pubcomps, complete := 0, 0, 0
		for complete < ours || pubcomps < theirs {
			switch k := expect[packet.Packet](p).(type) {
			case *packet.Publish:
				p.ack(packet.PUBREC, k.ID)
			case *packet.Ack:
				switch k.Kind {
				case packet.PUBREC:
					if pubrecs++; pubrecs == theirs {
						for id := range uint16(theirs) {
							p.ack(packet.PUBREL, id+1)
						}
					}
				case packet.PUBCOMP:
					pubcomps++
				case packet.PUBREL:
					complete++
					p.ack(packet.PUBCOMP, k.ID)
				}
			}
		}
	})
}

// The end of the old session is on disk before anything is said in the new one.
func TestSessionPresent0IsOnDiskBeforeAnythingElseHappens(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _, _ := inHandshake(t, r, s["a:1"])
		settle()
		p.cut()
		p, _ = s["a:1"].accept()
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

// "Not now" is asked again after a pause that grows, and nothing overtakes meanwhile.
func TestWhatTheServerDoesNotTakeNowWaitsAndNothingOvertakesIt(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		p.settle()
		start := time.Now()
		r.offer("g/boiler/state", "first", 1)
		for range 5 { // pauses of up to 1, 2, 4, 8, 16 seconds
			p.ack(packet.PUBACK, p.message("first", 1, false).ID, packet.QuotaExceeded)
		}
		if d := time.Since(start); d < 50*time.Millisecond {
			t.Errorf("asked five times in %v", d)
		}
		r.offer("g/boiler/state", "second", 1)
		p.ack(packet.PUBACK, p.message("first", 1, false).ID)
		p.ack(packet.PUBACK, p.message("second", 1, false).ID)
		p.settle()
	})
}

// In doubt nothing is taken from the queue: what is known of it may be of no worth
// a moment later.
func TestADoubtAtAServerThatTakesOneAtATimeLosesNothing(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _, _ := inHandshake(t, r, s["a:1"])
		settle()
		p.cut()
		p, _ = s["a:1"].accept()
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

// A message of QoS 1 has no handshake that PUBREL could end, and a server without
// QoS 2 may take PUBREL for an error, in each connection anew.
func TestNoPUBRELForAMessageOfQoS1ThatMayNotGoUpAnyMore(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p := s["a:1"].welcome(false)
		r.offer("g/boiler/state", "sent", 1)
		p.message("sent", 1, false)
		r.close()
		r.cfg.Up = []cloud.Route{{From: "other/+/state", To: "acme/other/+/state", QoS: 1}}
		r.open()
		r.run()
		p = s["a:1"].welcome(true, func(c *packet.Connack) { c.MaximumQoS = new(packet.QoS1) })
		p.quiet()
		settle()
		if st := r.bridge.Status(); st.Queued != 0 || st.Rejected != 1 {
			t.Errorf("%d queued, %d set aside; want 0 and 1", st.Queued, st.Rejected)
		}
	})
}

// Markers are ours, not what somebody configured: a server that ends the connection
// over them is served without them.
func TestAServerThatEndsTheConnectionOverMarkersIsServedWithoutThem(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		for i := range 10 {
			p, _ := s["a:1"].accept()
			p.objects = func(k *packet.Subscribe) bool { return strings.Contains(k.Subscriptions[0].Filter, "session-marker") }
			p.connack(i > 0)
			err := error(nil)
			for err == nil {
				_, err = p.read(20 * time.Second)
			}
			if err != io.EOF {
				return // it lasts
			}
		}
		t.Error("ten connections ended over markers")
	})
}

func TestMarkersAreNoLargerThanTheServerTakes(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _ := s["a:1"].accept()
		p.objects = func(k *packet.Subscribe) bool {
			if n := len(k.Append(nil, packet.V5)); n > 150 {
				t.Errorf("SUBSCRIBE of %d bytes, and the server takes 150", n)
			}
			return false
		}
		p.connack(false, func(c *packet.Connack) { c.MaximumPacketSize = 150 })
		p.status("online")
		p.quiet()
		if p.subscribed != 1+8 {
			t.Errorf("%d subscriptions, want the route's and 8 markers", p.subscribed)
		}
	})
}

// Else every message would be larger than the server takes, and be set aside.
func TestMaximumPacketSize0IsNotBelieved(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.offer("g/boiler/state", "kept", 1)
		r.run()
		p, _ := s["a:1"].accept()
		if _, err := p.conn.Write([]byte{0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		p.ended()
		p = s["a:1"].welcome(false)
		p.message("kept", 1, false)
	})
}

func TestASubscriptionLargerThanTheServerTakesDoesNotEndTheLink(t *testing.T) {
	cfg := testConfig("mqtt://a:1")
	long := strings.Repeat("x", 200)
	cfg.Down = []cloud.Route{{From: "acme/" + long, To: "g/" + long, QoS: 1}}
	bubble(t, cfg, nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _ := s["a:1"].accept()
		p.connack(false, func(c *packet.Connack) { c.MaximumPacketSize = 150 })
		p.status("online")
		p.quiet()
		if st := r.bridge.Status(); p.subscribed != 0 || !strings.Contains(st.LastError, "shorter from") {
			t.Errorf("%d subscriptions, and the status says %q", p.subscribed, st.LastError)
		}
	})
}
