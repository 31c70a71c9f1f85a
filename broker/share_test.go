package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// publishAt publishes and waits until the broker has routed the message.
func publishAt(c *brokertest.Client, m *packet.Publish) {
	p := *m
	p.ID = 9
	switch p.QoS {
	case 0:
		p.ID = 0
		c.Send(&p).ExpectNothing()
	case 1:
		c.Send(&p).Expect(ack(packet.PUBACK, 9))
	case 2:
		c.Send(&p).Expect(ack(packet.PUBREC, 9)).Send(ack(packet.PUBREL, 9)).Expect(ack(packet.PUBCOMP, 9))
	}
}

func TestSharedSubscriptionTakesTurns(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for qos := packet.QoS0; qos <= packet.QoS2; qos++ {
			t.Run(fmt.Sprint("MQTT ", v, " QoS ", qos), func(t *testing.T) {
				h := open(t, t.TempDir(), config())
				pub := connect(t, h, v, "pub", true)
				alone := connect(t, h, v, "alone", true)
				subscribe(t, alone, "a/#", qos)
				var members []*brokertest.Client
				for i := range 3 {
					members = append(members, connect(t, h, v, fmt.Sprint("m", i), true))
					subscribe(t, members[i], "$share/g/a/+", qos)
				}
				for i := range 6 {
					publishAt(pub, message("a/b", fmt.Sprint(i), qos))
				}
				for i, m := range members {
					m.Expect(message("a/b", fmt.Sprint(i), qos), message("a/b", fmt.Sprint(i+3), qos)).ExpectNothing()
					for _, id := range m.IDs() {
						if qos == 1 { // or the others would get them when this one leaves
							m.Send(ack(packet.PUBACK, id))
						}
					}
				}
				for i := range 6 { // whoever is not a member gets all
					alone.Expect(message("a/b", fmt.Sprint(i), qos))
				}
				if st := h.Stats(); st.Shared != 3 || st.Subscriptions != 4 {
					t.Errorf("%d shared of %d subscriptions, want 3 of 4", st.Shared, st.Subscriptions)
				}
				members[1].Send(&packet.Unsubscribe{ID: 7, Filters: []string{"$share/g/a/+"}}).
					Expect(&packet.Unsuback{ID: 7, Codes: []packet.ReasonCode{0}})
				members[2].Leave()
				for i := range 2 { // only the first is left
					publishAt(pub, message("a/b", fmt.Sprint("late", i), qos))
					members[0].Expect(message("a/b", fmt.Sprint("late", i), qos))
				}
				members[1].ExpectNothing()
			})
		}
	}
}

func TestStrategyOfTheConfigurationCounts(t *testing.T) {
	for _, c := range []struct {
		strategy       string
		sameClient     bool // all messages of a client go to one member
		sameTopic      bool
		perMember, all int // how many of 30 topics one member must get, and at most
	}{
		{"round-robin", false, false, 30, 30},
		{"random", false, false, 10, 50},
		{"sticky", true, true, 0, 60},
		{"hash-client", true, true, 0, 60},
		{"hash-topic", false, true, 10, 50},
	} {
		t.Run(c.strategy, func(t *testing.T) {
			cfg := config()
			cfg.SharedStrategy = c.strategy
			h := open(t, t.TempDir(), cfg)
			pub := connect(t, h, packet.V5, "pub", true)
			var members []*brokertest.Client
			for i := range 2 {
				members = append(members, connect(t, h, packet.V5, fmt.Sprint("m", i), true))
				subscribe(t, members[i], "$share/g/#", 0)
			}
			for i := range 30 {
				pub.Send(message(fmt.Sprint("t", i), "1", 0), message(fmt.Sprint("t", i), "2", 0))
			}
			pub.ExpectNothing()
			at, count := make(map[string]int), [2]int{}
			split := false
			for i, m := range members {
				m.Send(&packet.Pingreq{})
				for {
					p, ok := m.Receive().(*packet.Publish)
					if !ok {
						break
					}
					count[i]++
					if before, seen := at[string(p.Topic)]; seen && before != i {
						split = true
					}
					at[string(p.Topic)] = i
				}
			}
			if count[0]+count[1] != 60 {
				t.Fatalf("%v messages arrived, want 60 in all", count)
			}
			for _, n := range count {
				if n < c.perMember || n > c.all {
					t.Errorf("the members got %v, want from %d to %d", count, c.perMember, c.all)
				}
			}
			if c.sameClient && count[0] != 0 && count[1] != 0 {
				t.Errorf("the members got %v, want all at one", count)
			}
			if c.sameTopic == split {
				t.Errorf("a topic came to both members: %v", split)
			}
		})
	}
}

func TestInvalidSharesAreRefused(t *testing.T) {
	h := open(t, t.TempDir(), config())
	for _, filter := range []string{"$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#", "$share/+"} { // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		connect(t, h, packet.V311, "three", true).
			Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.TopicFilterInvalid}})
		connect(t, h, packet.V5, "five", true).
			Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter}}}).
			ExpectClosed(packet.TopicFilterInvalid)
	}
	connect(t, h, packet.V5, "five", true). // [MQTT-3.8.3-4]
						Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "$share/g/a", NoLocal: true}}}).
						ExpectClosed(packet.ProtocolError)
	if err := h.Local("l", broker.Rights{}).Subscribe("$share/g/a", broker.SubscribeOptions{}, nil); err == nil || !strings.Contains(err.Error(), "shared") {
		t.Errorf("a Local: got %v, want an error", err)
	}
}

func TestConnackOffersSharedSubscriptions(t *testing.T) {
	h := open(t, t.TempDir(), config())
	if _, a := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{CleanStart: true, ClientID: "a"}); a.SharedUnavailable { // 3.2.2.3.13
		t.Error("the CONNACK says that there are none")
	}
}

// Each member gets its own QoS, its own subscription identifier and RETAIN as it
// asked for it; and no retained messages when it joins.
func TestMembersKeepTheirOptions(t *testing.T) {
	h := open(t, t.TempDir(), config())
	pub := connect(t, h, packet.V5, "pub", true)
	m := message("t", "x", 2)
	m.Retain = true
	publishAt(pub, m)
	a, b := connect(t, h, packet.V5, "a", true), connect(t, h, packet.V5, "b", true)
	a.Send(&packet.Subscribe{ID: 1, SubscriptionID: 5, Subscriptions: []packet.Subscription{{Filter: "$share/g/t", QoS: 1, RetainAsPublished: true}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{1}}).ExpectNothing()
	b.Send(&packet.Subscribe{ID: 1, SubscriptionID: 6, Subscriptions: []packet.Subscription{{Filter: "$share/g/t", QoS: 0}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}}).ExpectNothing()
	publishAt(pub, m)
	publishAt(pub, m)
	toA, toB := message("t", "x", 1), message("t", "x", 0) // [MQTT-4.8.2-3]
	toA.Retain = true
	toA.Properties.SubscriptionIDs, toB.Properties.SubscriptionIDs = []uint32{5}, []uint32{6}
	a.Expect(toA).ExpectNothing()
	b.Expect(toB).ExpectNothing()
	// Two shares and an own subscription are three copies (4.8.2).
	subscribe(t, a, "$share/other/#", 0)
	a.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "t", RetainHandling: packet.NoRetained}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{0}})
	m.Retain = false
	publishAt(pub, m)
	toA.Retain = false
	a.ExpectInAnyOrder(toA, message("t", "x", 0), message("t", "x", 0)).ExpectNothing()
}

func TestAbsentMembersAreLeftOutWhileOneIsThere(t *testing.T) {
	h := open(t, t.TempDir(), config())
	pub := connect(t, h, packet.V5, "pub", true)
	a, b := connect(t, h, packet.V5, "a", false), connect(t, h, packet.V311, "b", false)
	subscribe(t, a, "$share/g/t", 1)
	subscribe(t, b, "$share/g/t", 1)
	a.Leave()
	for i := range 3 {
		publishAt(pub, message("t", fmt.Sprint(i), 1))
		b.Expect(message("t", fmt.Sprint(i), 1)).Send(ack(packet.PUBACK, b.IDs()[0]))
	}
	b.Leave()
	publishAt(pub, message("t", "lost", 0)) // QoS 0 waits for nobody
	for i := range 4 {
		publishAt(pub, message("t", fmt.Sprint("waits", i), 1))
	}
	got := make(map[string]int)
	for _, c := range []*brokertest.Client{connect(t, h, packet.V5, "a", false), connect(t, h, packet.V311, "b", false)} {
		for range 2 { // in turn
			p := c.Receive().(*packet.Publish)
			got[string(p.Payload)]++
		}
		c.ExpectNothing()
	}
	for i := range 4 {
		if got[fmt.Sprint("waits", i)] != 1 {
			t.Errorf("got %v, want each once", got)
		}
	}
}

func TestShareSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir, config())
	pub := connect(t, h, packet.V5, "pub", true)
	a, b := connect(t, h, packet.V5, "a", false), connect(t, h, packet.V5, "b", false)
	subscribe(t, a, "$share/g/t", 1)
	subscribe(t, b, "$share/g/t", 1)
	a.Leave()
	b.Leave()
	for i := range 2 {
		publishAt(pub, message("t", fmt.Sprint(i), 1))
	}
	h.stop()
	h = open(t, dir, config())
	a, b = connect(t, h, packet.V5, "a", false), connect(t, h, packet.V5, "b", false)
	a.Expect(message("t", "0", 1))
	b.Expect(message("t", "1", 1))
	pub = connect(t, h, packet.V5, "pub", true)
	publishAt(pub, message("t", "one", 1))
	publishAt(pub, message("t", "two", 1))
	for _, c := range []*brokertest.Client{a, b} { // one each; whose turn it is, is not kept
		if p := c.Receive().(*packet.Publish); len(p.Payload) != 3 {
			t.Errorf("got %q", p.Payload)
		}
		c.ExpectNothing()
	}
}

// What an ended session has not acknowledged goes to another member as new, but
// for QoS 2 messages that may have been sent [MQTT-4.8.2-5].
func TestEndedSessionLeavesItsMessagesToOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		clean bool // the session that ends is one in memory
	}{{"in memory", true}, {"on disk", false}} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, t.TempDir(), config())
			pub := connect(t, h, packet.V5, "pub", true)
			// a has a window of two: the others are certainly not sent.
			a, _ := brokertest.Connect(t, h.addr, packet.V5, &packet.Connect{ClientID: "a", CleanStart: c.clean, SessionExpiry: expiryOf(c.clean), ReceiveMaximum: 2})
			subscribe(t, a, "$share/g/#", 2)
			subscribe(t, a, "own", 2)
			publishAt(pub, message("own", "its own", 1))
			publishAt(pub, message("t", "one sent", 1))
			a.Expect(message("own", "its own", 1))
			a.Expect(message("own", "its own", 1)) // by the share
			own := a.IDs()
			a.Send(ack(packet.PUBACK, own[0])).Expect(message("t", "one sent", 1))
			a.Send(ack(packet.PUBACK, own[1]))
			publishAt(pub, message("t", "two sent", 2))
			a.Expect(message("t", "two sent", 2))
			publishAt(pub, message("t", "one waits", 1))
			publishAt(pub, message("t", "two waits", 2))
			publishAt(pub, message("own", "waits", 1)) // twice
			a.ExpectNothing()
			b := connect(t, h, packet.V5, "b", false)
			b.Send(&packet.Subscribe{ID: 1, SubscriptionID: 3, Subscriptions: []packet.Subscription{{Filter: "$share/g/#", QoS: 2}}}).
				Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{2}})
			if c.clean {
				a.Drop()
			} else {
				connect(t, h, packet.V5, "a", true).Send(&packet.Unsubscribe{ID: 2, Filters: []string{"none"}}) // the old session ends
			}
			for _, m := range []*packet.Publish{message("t", "one sent", 1), message("t", "one waits", 1), message("t", "two waits", 2), message("own", "waits", 1)} {
				m.Properties.SubscriptionIDs = []uint32{3}
				b.Expect(m) // without DUP
			}
			b.ExpectNothing()
			if n := h.Stats().PublishDropped; n != 1 {
				t.Errorf("%d messages dropped, want the one of QoS 2 that was sent", n)
			}
		})
	}
}

// The access rules are those of the member that would get the message.
func TestSharesGoToMembersThatMayRead(t *testing.T) {
	h := open(t, t.TempDir(), config())
	h.addr = h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", ACLFile: rulesFile(t, "topic write #\npattern read t/%c\n")}).String()
	a, b := connect(t, h, packet.V5, "a", false), connect(t, h, packet.V5, "b", true)
	subscribe(t, a, "$share/g/#", 1)
	subscribe(t, b, "$share/g/#", 1)
	pub := connect(t, h, packet.V5, "pub", true)
	for range 2 {
		publishAt(pub, message("t/a", "for a", 1))
		publishAt(pub, message("t/c", "for nobody", 1))
	}
	a.Expect(message("t/a", "for a", 1), message("t/a", "for a", 1)).ExpectNothing()
	a.Drop() // and the queue of an absent one counts as he does
	connect(t, h, packet.V5, "a", true).ExpectNothing()
	b.ExpectNothing()
}

// A QoS 2 message that is being sent stays with its member [MQTT-4.8.2-4], and one
// that a member turns away goes to nobody else [MQTT-4.8.2-6].
func TestMessageStaysWithItsMember(t *testing.T) {
	h := open(t, t.TempDir(), config())
	pub := connect(t, h, packet.V5, "pub", true)
	a := connect(t, h, packet.V5, "a", false)
	subscribe(t, a, "$share/g/t", 2)
	publishAt(pub, message("t", "begun", 2))
	a.Expect(message("t", "begun", 2))
	begun := message("t", "begun", 2)
	begun.ID, begun.DUP = a.IDs()[0], true
	b := connect(t, h, packet.V5, "b", true)
	subscribe(t, b, "$share/g/t", 2)
	a.Drop()
	b.ExpectNothing()
	a = connect(t, h, packet.V5, "a", false)
	a.Expect(begun).Send(ack(packet.PUBREC, begun.ID)).Expect(ack(packet.PUBREL, begun.ID)).Send(ack(packet.PUBCOMP, begun.ID))
	a.IDs()
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		publishAt(pub, message("t", "for a", qos)) // in turn
		a.Expect(message("t", "for a", qos))
		kind := packet.PUBACK
		if qos == packet.QoS2 {
			kind = packet.PUBREC
		}
		a.Send(&packet.Ack{Kind: kind, ID: a.IDs()[0], Code: packet.UnspecifiedError}).ExpectNothing()
		publishAt(pub, message("t", "for b", qos))
		b.Expect(message("t", "for b", qos)).ExpectNothing()
	}
	a.Drop() // and not when the session ends, either
	connect(t, h, packet.V5, "a", true).ExpectNothing()
	b.ExpectNothing()
}

// With hash-client the messages of one publisher stay together when their receiver
// ends, whether they were in memory or on disk, and those of all of them do not.
func TestEndedSessionLeavesTheMessagesOfAPublisherToOne(t *testing.T) {
	cfg := config()
	cfg.SharedStrategy = "hash-client"
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, cfg)
		a := connect(t, h, packet.V5, "a", false)
		subscribe(t, a, "$share/g/#", 1)
		a.Leave()
		for i := range 20 {
			p := connect(t, h, packet.V5, fmt.Sprint("pub", i), true)
			for range 3 {
				publishAt(p, message("t", fmt.Sprint(i), 1))
			}
			p.Leave()
		}
		h.stop()
		h = openTimed(t, dir, cfg)
		for i := range 2 {
			heir := connect(t, h, packet.V5, fmt.Sprint("heir", i), false)
			subscribe(t, heir, "$share/g/#", 1)
			heir.Leave()
		}
		connect(t, h, packet.V5, "a", true) // the old session ends
		synctest.Wait()
		owners := make(map[string]string) // of the messages of a publisher
		messages := make(map[string]int)
		for _, l := range recordsOf(t, h) {
			queue, record, _ := strings.Cut(l, " ")
			publisher := strings.Split(record, `"`)[1]
			if owner, ok := owners[publisher]; ok && owner != queue {
				t.Errorf("what pub%s published is with %s and %s", publisher, owner, queue)
			}
			owners[publisher] = queue
			messages[queue]++
		}
		if messages["client/heir0"]+messages["client/heir1"] != 60 || len(messages) != 2 {
			t.Errorf("%v, want 60 with both heirs", messages)
		}
	})
}
