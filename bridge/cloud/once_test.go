package cloud_test

import (
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

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
