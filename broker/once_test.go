package broker_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// What a handshake may say before and after the disk has it. A commit comes a
// second after it was asked for, in virtual time: what leaves before was not on disk,
// and a copy of the files is what a kill would leave.

// openSlow starts a broker whose commits take their time.
func openSlow(t *testing.T, dir string, cfg broker.Config) *house {
	t.Helper()
	sc := storeConfig()
	sc.Sync, sc.Lazy = time.Second, time.Minute
	ln := newPipes()
	h := openOn(t, dir, cfg, sc, ln)
	h.pipes = ln
	synctest.Wait()
	return h
}

// copied returns a directory with what is on the disk of a store now.
func copied(t *testing.T, dir string) string {
	t.Helper()
	synctest.Wait()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// takes receives a message, to the end of its handshake.
func takes(c *brokertest.Client, m *packet.Publish) {
	c.Expect(m)
	id := c.IDs()[0]
	if m.QoS == 1 {
		c.Send(ack(packet.PUBACK, id))
		return
	}
	c.Send(ack(packet.PUBREC, id)).Expect(ack(packet.PUBREL, id)).Send(ack(packet.PUBCOMP, id))
}

func TestAQoS2MessageLeavesOnlyAfterItsCommitAndHoldsUpWhatIsBehindIt(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		subscribe(t, sub, "t", 2)
		start := time.Now()
		pub.Send(withID(message("t", "before", 1), 1), withID(message("t", "two", 2), 2), withID(message("t", "behind", 1), 3))
		sub.Expect(message("t", "before", 1)) // at QoS 1 nothing is wrong with being early
		passed(t, start, 0)
		sub.Expect(message("t", "two", 2), message("t", "behind", 1))
		passed(t, start, time.Second)
	})
}

// A PUBACK or PUBREC says that the message can not be lost any more. Killed a moment
// before, the gateway knows nothing, and the repetition is a new message; killed a
// moment after, it has message and identifier both.
func TestPUBACKAndPUBRECLeaveWhenTheMessageIsOnDisk(t *testing.T) {
	for qos, kind := range map[packet.QoS]packet.Type{1: packet.PUBACK, 2: packet.PUBREC} {
		t.Run(kind.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, dir string) {
				h := openSlow(t, dir, config())
				sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
				subscribe(t, sub, "t", 2)
				sub.Leave()
				time.Sleep(2 * time.Minute) // nothing else waits for the disk
				start := time.Now()
				pub.Send(withID(message("t", "x", qos), 7)).ExpectNothing()
				before := copied(t, dir)
				pub.Expect(ack(kind, 7))
				passed(t, start, time.Second)
				after := copied(t, dir)
				h.stop()
				for _, c := range []struct {
					dir   string
					times int // that sub gets it, when the publisher has sent it again
				}{{before, 1}, {after, 3 - int(qos)}} {
					h := openSlow(t, c.dir, config())
					sub, pub := connectAgain(t, h, packet.V5, "sub"), connectAgain(t, h, packet.V5, "pub")
					again := withID(message("t", "x", qos), 7)
					again.DUP = true
					pub.Send(again).Expect(ack(kind, 7))
					for range c.times {
						takes(sub, message("t", "x", qos))
					}
					time.Sleep(2 * time.Minute)
					sub.ExpectNothing()
					h.stop()
				}
			})
		})
	}
}

// After PUBCOMP the client gives the identifier to another message: had the
// gateway not forgotten it, it would take that for the old one.
func TestPUBCOMPLeavesWhenTheEndOfTheHandshakeIsOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		subscribe(t, sub, "t", 1)
		sub.Leave()
		pub.Send(withID(message("t", "old", 2), 7)).Expect(ack(packet.PUBREC, 7))
		time.Sleep(2 * time.Minute)
		start := time.Now()
		pub.Send(ack(packet.PUBREL, 7)).Expect(ack(packet.PUBCOMP, 7))
		passed(t, start, time.Second)
		after := copied(t, dir)
		h.stop()

		h = openSlow(t, after, config())
		sub, pub = connectAgain(t, h, packet.V5, "sub"), connectAgain(t, h, packet.V5, "pub")
		pub.Send(withID(message("t", "new", 2), 7)).Expect(ack(packet.PUBREC, 7))
		takes(sub, message("t", "old", 1))
		takes(sub, message("t", "new", 1))
		sub.ExpectNothing()
	})
}

// Once PUBREL is sent the receiver may forget the identifier, and would take the
// message for a new one: from then on it must never be sent again. Before, the
// message is sent again and PUBREL is not.
func TestPUBRELLeavesWhenTheReceivedMarkIsOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		subscribe(t, sub, "t", 2)
		first, second := message("t", "first", 2), message("t", "second", 2)
		pub.Send(withID(message("t", "first", 2), 1), withID(message("t", "second", 2), 2))
		sub.Expect(first, second)
		ids := sub.IDs()
		first.ID, first.DUP = ids[0], true
		second.ID, second.DUP = ids[1], true
		time.Sleep(2 * time.Minute)
		start := time.Now()
		sub.Send(ack(packet.PUBREC, second.ID)).ExpectNothing() // in any order, as receivers like it
		before := copied(t, dir)
		sub.Expect(ack(packet.PUBREL, second.ID))
		passed(t, start, time.Second)
		after := copied(t, dir)
		h.stop()

		h = openSlow(t, before, config())
		connectAgain(t, h, packet.V5, "sub").Expect(first, second).ExpectNothing()
		h.stop()
		h = openSlow(t, after, config())
		connectAgain(t, h, packet.V5, "sub").Expect(first, ack(packet.PUBREL, second.ID)).ExpectNothing()
	})
}

// A client that is tired of waiting connects again while the disk takes its time,
// and sends again what was not answered. Its QoS 2 message is that which is on its
// way to the disk, and the new connection gets the answer: one.
func TestAResendAfterATakeoverJoinsTheMessageThatIsOnItsWayToTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		sub := connect(t, h, packet.V5, "sub", false)
		subscribe(t, sub, "t", 2)
		old := connect(t, h, packet.V5, "pub", false)
		subscribe(t, old, "unrelated", 0)
		time.Sleep(2 * time.Minute)
		start := time.Now()
		old.Send(withID(message("t", "one", 1), 1), withID(message("t", "two", 2), 2)).ExpectNothing()
		time.Sleep(500 * time.Millisecond)
		pub := connectAgain(t, h, packet.V5, "pub")
		old.ExpectClosed(packet.SessionTakenOver) // no answer of the old connection's came
		again := withID(message("t", "two", 2), 2)
		again.DUP = true
		pub.Send(again).ExpectNothing()
		pub.Send(again).ExpectNothing()
		// Its own acknowledgements do not wait for those of the old connection.
		pub.Send(withID(message("nobody", "x", 1), 3)).Expect(ack(packet.PUBACK, 3))
		passed(t, start, 500*time.Millisecond)
		pub.Expect(ack(packet.PUBREC, 2), ack(packet.PUBREC, 2)) // one for each PUBLISH of this connection
		passed(t, start, time.Second)
		pub.Send(ack(packet.PUBREL, 2)).Expect(ack(packet.PUBCOMP, 2)).ExpectNothing()
		sub.Expect(message("t", "one", 1), message("t", "two", 2)).ExpectNothing()
	})
}

// The same on the other side: the mark of a receiver is on its way to the disk when
// it connects again. It gets PUBLISH or PUBREL, and the message is complete once.
func TestATakeoverWhileAMarkIsOnItsWayToTheDiskResumesTheHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		old, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		subscribe(t, old, "t", 2)
		pub.Send(withID(message("t", "x", 2), 1)).Expect(ack(packet.PUBREC, 1))
		old.Expect(message("t", "x", 2))
		id := old.IDs()[0]
		time.Sleep(2 * time.Minute)
		old.Send(ack(packet.PUBREC, id)).ExpectNothing()
		sub := connectAgain(t, h, packet.V5, "sub")
		old.ExpectClosed(packet.SessionTakenOver) // and no PUBREL
		sub.Expect(ack(packet.PUBREL, id)).Send(ack(packet.PUBCOMP, id)).ExpectNothing()
		time.Sleep(2 * time.Minute)
		sub.Drop()
		connectAgain(t, h, packet.V5, "sub").ExpectNothing()
	})
}

// A limit that the owner has set drops what waits, and never what may have been
// sent: its identifier is in use until the handshake has ended [MQTT-3.3.2-5].
func TestDropOldestSparesAMessageInItsHandshake(t *testing.T) {
	cfg := config()
	cfg.MaxQueuedMessages = 3
	timed(t, cfg, func(t *testing.T, h *house) {
		sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		subscribe(t, sub, "t", 2)
		publish := func(payloads ...string) {
			for _, p := range payloads {
				publishAt(pub, message("t", p, 2))
			}
		}
		publish("sent", "received")
		sub.Expect(message("t", "sent", 2), message("t", "received", 2))
		ids := sub.IDs()
		sub.Send(ack(packet.PUBREC, ids[1])).Expect(ack(packet.PUBREL, ids[1]))
		sub.Drop()
		publish("a", "b", "c", "d")
		sub = connectAgain(t, h, packet.V5, "sub")
		sent := withID(message("t", "sent", 2), ids[0])
		sent.DUP = true
		sub.Expect(sent, ack(packet.PUBREL, ids[1]), message("t", "d", 2))
		for _, id := range []uint16{ids[0], sub.IDs()[1]} {
			sub.Send(ack(packet.PUBREC, id)).Expect(ack(packet.PUBREL, id)).Send(ack(packet.PUBCOMP, id))
		}
		sub.Send(ack(packet.PUBCOMP, ids[1])).ExpectNothing()
		publish("e")
		sub.Expect(message("t", "e", 2)).ExpectNothing()
	})
}

// A client may send as many QoS 2 messages as it has identifiers before it sends the
// first PUBREL, and one that is full of ours may answer none of them meanwhile: the
// broker goes on reading, or neither would ever move.
func TestAWindowFullOfQoS2WithPUBLISHAheadOfPUBRELDoesNotDeadlock(t *testing.T) {
	const n = 3000
	cfg := config()
	cfg.MaxInflight = 10
	timed(t, cfg, func(t *testing.T, h *house) {
		both := connect(t, h, packet.V311, "both", false)
		subscribe(t, both, "down", 2)
		pub := connect(t, h, packet.V5, "pub", false)
		for i := range 20 { // ten of them fill the window
			publishAt(pub, message("down", fmt.Sprint(i), 2))
		}
		for i := range 10 {
			both.Expect(message("down", fmt.Sprint(i), 2))
		}
		ids := both.IDs()
		var flood []packet.Packet
		for id := uint16(1); id <= n; id++ {
			flood = append(flood, withID(message("up", "x", 2), id))
		}
		for id := uint16(1); id <= n; id++ {
			flood = append(flood, ack(packet.PUBREL, id))
		}
		for _, id := range ids { // behind all of it
			flood = append(flood, ack(packet.PUBREC, id))
		}
		sent := make(chan struct{})
		go func() { defer close(sent); both.Send(flood...) }()
		pubrecs, pubcomps, down := 0, 0, 10
		for down < 20 || pubcomps < n { // the window moves
			p := both.Receive()
			if m, ok := p.(*packet.Publish); ok {
				if string(m.Payload) != fmt.Sprint(down) {
					t.Fatalf("got %s, want %d", m.Payload, down)
				}
				down++
				continue
			}
			a := p.(*packet.Ack)
			switch a.Kind {
			case packet.PUBREC:
				if pubrecs++; int(a.ID) != pubrecs {
					t.Fatalf("PUBREC %d is the one with number %d", a.ID, pubrecs)
				}
			case packet.PUBCOMP:
				if pubcomps++; int(a.ID) != pubcomps {
					t.Fatalf("PUBCOMP %d is the one with number %d", a.ID, pubcomps)
				}
			case packet.PUBREL:
				go both.Send(ack(packet.PUBCOMP, a.ID))
			}
		}
		<-sent
	})
}

// The same holds for a retained message that a new subscription brings.
func TestARetainedQoS2MessageIsInTheQueueOnDiskBeforeItLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openSlow(t, dir, config())
		sub, pub := connect(t, h, packet.V5, "sub", false), connect(t, h, packet.V5, "pub", false)
		kept := withID(message("r", "kept", 2), 1)
		kept.Retain = true
		pub.Send(kept).Expect(ack(packet.PUBREC, 1))
		time.Sleep(2 * time.Minute)
		subscribe(t, sub, "r", 2)
		kept.ID = 0
		sub.Expect(kept)
		kept.ID, kept.DUP = sub.IDs()[0], true
		after := copied(t, dir)
		h.stop()
		h = openSlow(t, after, config())
		connectAgain(t, h, packet.V5, "sub").Expect(kept).ExpectNothing()
	})
}
