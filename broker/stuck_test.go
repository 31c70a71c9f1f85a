package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// card is a disk that stops to answer when it is told to.
type card struct {
	takesNothing, givesNothing atomic.Bool
	answer                     chan struct{}
}

// onCard runs fn in a bubble, with a broker whose store is on a card and has 64 KiB
// of memory. The card answers again at the end.
func onCard(t *testing.T, fn func(t *testing.T, h *house, c *card)) {
	t.Helper()
	inBubble(t, func(t *testing.T, dir string) {
		c := &card{answer: make(chan struct{})}
		sc := storeConfig()
		sc.Memory = 64 << 10
		ln := newPipes()
		h := openOn(t, dir, config(), sc, ln, buffer.WithFaults(buffer.Faults{
			Commit: func() error { c.wait(&c.takesNothing); return nil },
			Read:   func() { c.wait(&c.givesNothing) },
		}))
		h.pipes = ln
		synctest.Wait()
		defer func() {
			c.takesNothing.Store(false)
			c.givesNothing.Store(false)
			close(c.answer)
			synctest.Wait()
			h.stop()
		}()
		fn(t, h, c)
	})
}

func (c *card) wait(stuck *atomic.Bool) {
	if stuck.Load() {
		<-c.answer
	}
}

// at checks that fn takes no time at all.
func at(t *testing.T, what string, fn func()) {
	t.Helper()
	start := time.Now()
	fn()
	if d := time.Since(start); d > 20*time.Millisecond {
		t.Errorf("%s took %v", what, d)
	}
}

func publish(topic, payload string, id uint16) *packet.Publish {
	return &packet.Publish{Topic: []byte(topic), Payload: []byte(payload), QoS: packet.QoS1, ID: id}
}

func subscribed(t *testing.T, c *brokertest.Client, filter string, qos packet.QoS) {
	t.Helper()
	c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: qos}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.ReasonCode(qos)}})
}

// absent makes a lasting session that subscribes and leaves.
func absent(t *testing.T, h *house, id, filter string) {
	t.Helper()
	c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: id, SessionExpiry: 3600})
	subscribed(t, c, filter, packet.QoS1)
	c.Drop()
	synctest.Wait()
}

// fill publishes to an absent session until the memory of the store is used up, and
// returns the publisher.
func fill(t *testing.T, h *house) *brokertest.Client {
	t.Helper()
	p, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "filler"})
	for id := uint16(1); h.store.Admits(1000); id++ {
		p.Send(publish("kept", string(make([]byte, 1000)), id))
		synctest.Wait()
	}
	return p
}

func TestAStuckDiskDelaysOnlyWhatItHasToKeep(t *testing.T) {
	onCard(t, func(t *testing.T, h *house, card *card) {
		absent(t, h, "absent", "kept")
		sub, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "sub"})
		subscribed(t, sub, "passed/#", packet.QoS2)
		pub, _ := h.join(t, packet.V311, &packet.Connect{ClientID: "pub", CleanStart: true})
		card.takesNothing.Store(true)
		fill(t, h)
		large := string(make([]byte, 4000))

		pass := func(when string) {
			at(t, "QoS 1 between sessions in memory, "+when, func() {
				pub.Send(publish("passed/x", when, 7)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 7})
			})
			m := sub.Receive().(*packet.Publish)
			sub.Send(&packet.Ack{Kind: packet.PUBACK, ID: m.ID})
		}
		pass("with the memory for the disk used up")
		late, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "late"})
		start := time.Now()
		late.Send(publish("kept", large, 8))
		synctest.Wait()
		pass("while another one waits")
		if a := late.Receive().(*packet.Ack); a.Code != packet.QuotaExceeded {
			t.Errorf("%v", a)
		}
		passed(t, start, 10*time.Second)

		for n := 0; h.store.Room() == nil; n++ { // sessions that are made take memory, too
			c := h.dial(t, packet.V5)
			c.Connect(&packet.Connect{ClientID: fmt.Sprint("made", n), SessionExpiry: 3600})
		}
		pass("with no room at all")
		pub.Send(publish("kept", large, 9)).ExpectClosed() // 3.x has no other word
	})
}

func TestPUBACKLeavesWhenAllHaveAcknowledgedThoughTheDiskIsStuck(t *testing.T) {
	onCard(t, func(t *testing.T, h *house, card *card) {
		sub, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "sub", SessionExpiry: 3600})
		subscribed(t, sub, "t", packet.QoS1)
		pub, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "pub"})
		card.takesNothing.Store(true)
		for id := uint16(1); id <= 3; id++ {
			pub.Send(publish("t", "x", id))
			m := sub.Receive().(*packet.Publish)
			time.Sleep(time.Second) // by now it is being written, or waits for its turn
			sub.Send(&packet.Ack{Kind: packet.PUBACK, ID: m.ID})
			at(t, "PUBACK", func() { pub.Expect(&packet.Ack{Kind: packet.PUBACK, ID: id}) })
		}
		pub.Send(publish("t", "x", 4))
		sub.Receive()
		time.Sleep(time.Hour)
		pub.ExpectNothing() // nobody has it but the memory
	})
}

func TestAConnectionGoesOnWhileItsQueueIsReadFromAStuckDisk(t *testing.T) {
	onCard(t, func(t *testing.T, h *house, card *card) {
		absent(t, h, "c", "t")
		pub, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "pub"})
		for id := uint16(1); id <= 20; id++ {
			pub.Send(publish("t", fmt.Sprint(id), id)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: id})
		}
		time.Sleep(time.Second)
		card.givesNothing.Store(true)
		c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "c", SessionExpiry: 3600})
		time.Sleep(time.Second) // by now it reads
		at(t, "PINGRESP", func() { c.Send(&packet.Pingreq{}).Expect(&packet.Pingresp{}) })
		at(t, "PUBACK", func() {
			c.Send(publish("other", "x", 3)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 3})
		})
		at(t, "a take-over", func() { c, _ = h.join(t, packet.V5, &packet.Connect{ClientID: "c", SessionExpiry: 3600}) })
		at(t, "a message of another", func() { pub.Send(publish("t", "21", 21)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 21}) })

		card.givesNothing.Store(false)
		card.answer <- struct{}{}
		for n := 1; n <= 21; n++ {
			m := c.Receive().(*packet.Publish)
			if string(m.Payload) != fmt.Sprint(n) {
				t.Fatalf("%q, want %d", m.Payload, n)
			}
			c.Send(&packet.Ack{Kind: packet.PUBACK, ID: m.ID})
		}
	})
}

// TestClientsThatComeAndGoTakeNoMemoryWhileTheDiskIsStuck is about days, in which
// clients give up, come back and ask again.
func TestClientsThatComeAndGoTakeNoMemoryWhileTheDiskIsStuck(t *testing.T) {
	onCard(t, func(t *testing.T, h *house, card *card) {
		absent(t, h, "c", "t")
		absent(t, h, "absent", "kept")
		pub, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "pub"})
		pub.Send(publish("t", "x", 1)).Expect(&packet.Ack{Kind: packet.PUBACK, ID: 1})
		first, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "two", SessionExpiry: 3600})
		first.Send(&packet.Publish{Topic: []byte("n"), QoS: packet.QoS2, ID: 5}).Expect(&packet.Ack{Kind: packet.PUBREC, ID: 5})
		first.Drop()
		synctest.Wait()
		card.takesNothing.Store(true)
		var before, after buffer.Stats
		for n := range 300 {
			c, a := h.join(t, packet.V5, &packet.Connect{ClientID: "c", SessionExpiry: 3600})
			if !a.SessionPresent {
				t.Fatal("no session")
			}
			at(t, "SUBACK of what is subscribed", func() { subscribed(t, c, "t", packet.QoS1) })
			two, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "two", SessionExpiry: 3600})
			at(t, "PUBCOMP of what nobody knows", func() {
				two.Send(&packet.Ack{Kind: packet.PUBREL, ID: 99}).Expect(&packet.Ack{Kind: packet.PUBCOMP, ID: 99, Code: packet.PacketIdentifierNotFound})
			})
			two.Send(&packet.Ack{Kind: packet.PUBREL, ID: 5}).Send(&packet.Ack{Kind: packet.PUBREL, ID: 5})
			brief, _ := h.join(t, packet.V311, &packet.Connect{ClientID: fmt.Sprint("brief", n), CleanStart: true, Will: gone(0)})
			time.Sleep(10 * time.Second)
			c.Drop()
			two.Drop()
			if n%2 == 0 {
				brief.Leave()
			}
			brief.Drop()
			synctest.Wait()
			if n == 1 {
				before = h.store.Stats()
			}
		}
		if after = h.store.Stats(); after.PendingBytes > before.PendingBytes+1024 || after.Pending > before.Pending+1 {
			t.Errorf("%d changes with %d bytes wait, %d with %d did at first", after.Pending, after.PendingBytes, before.Pending, before.PendingBytes)
		}

		fill(t, h)
		var made []*brokertest.Client
		for n := 0; h.store.Room() == nil && n < 10_000; n++ {
			c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: fmt.Sprint("made", n), SessionExpiry: 3600})
			made = append(made, c)
		}
		for _, c := range []struct {
			name string
			v    packet.Version
			p    packet.Connect
			code packet.ReasonCode
		}{
			{"a new session, MQTT 5", packet.V5, packet.Connect{ClientID: "new5", SessionExpiry: 60}, packet.ServerUnavailable},
			{"a new session, MQTT 3.1.1", packet.V311, packet.Connect{ClientID: "new3"}, packet.ServerUnavailable},
			{"an old session", packet.V5, packet.Connect{ClientID: "c", SessionExpiry: 60}, packet.Success},
			{"a session in memory", packet.V311, packet.Connect{ClientID: "memory", CleanStart: true}, packet.Success},
		} {
			client := h.dial(t, c.v)
			a := client.Send(&c.p).Receive().(*packet.Connack)
			if a.Code != c.code {
				t.Errorf("%s: %v", c.name, a)
			}
		}
		made[0].Send(&packet.Subscribe{ID: 3, Subscriptions: []packet.Subscription{{Filter: "new", QoS: 1}}}).
			Expect(&packet.Suback{ID: 3, Codes: []packet.ReasonCode{packet.QuotaExceeded}})
	})
}
