package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A client on the network may call itself as it likes: it is not a Local of the name.
func TestASessionChoosesAmongLocalsNotClients(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		s, err := h.Local("cloud/a", broker.Rights{}).Session(buffer.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		s.Choose(
			func(string) (broker.Plan, bool) { return broker.Plan{QoS: 1}, true },
			func(local string) bool { return local != "cloud/b" })
		if err := s.Subscribe("#", broker.SubscribeOptions{QoS: 2}); err != nil {
			t.Fatal(err)
		}
		want := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			if got := s.Queue().Stats().Messages; got != n {
				t.Errorf("%s: %d queued, want %d", what, got, n)
			}
		}
		h.Local("cloud/b", broker.Rights{}).Publish(broker.Message{Topic: "a", QoS: 1})
		want("of a local that it does not listen to", 0)
		h.Local("cloud/c", broker.Rights{}).Publish(broker.Message{Topic: "a", QoS: 1})
		want("of another local", 1)
		c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "cloud/b", CleanStart: true})
		c.Send(&packet.Publish{Topic: []byte("a"), QoS: 1, ID: 1}).Receive()
		want("of a client with that name", 2)
		change := h.store.Begin()
		change.Attach(s.Queue(), buffer.Sync)
		change.Commit(nil)
		h.Local("x", broker.Rights{}).Publish(broker.Message{Topic: "a", QoS: 2})
		want("of QoS 2", 3)
		time.Sleep(time.Second) // it is on disk
		for range 3 {
			e, _, err := s.Queue().Next()
			if err != nil {
				t.Fatal(err)
			}
			if r, err := h.Decoder().Decode(e); err != nil || r.QoS != 1 {
				t.Errorf("a message has QoS %d (%v), want 1 as the plan says", r.QoS, err)
			}
		}
	})
}

// A queue that refuses must not refuse what it would not get.
func TestAFullQueueRefusesOnlyWhatItWants(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		s, err := h.Local("cloud/a", broker.Rights{}).Session(buffer.Limits{Messages: 1, WhenFull: buffer.Refuse})
		if err != nil {
			t.Fatal(err)
		}
		s.Choose(
			func(topic string) (broker.Plan, bool) { return broker.Plan{QoS: 1}, topic != "no" },
			func(local string) bool { return local != "cloud/b" })
		if err := s.Subscribe("#", broker.SubscribeOptions{QoS: 1}); err != nil {
			t.Fatal(err)
		}
		publish := func(local, topic string) error {
			return h.Local(local, broker.Rights{}).Publish(broker.Message{Topic: topic, QoS: 1}).Wait(t.Context())
		}
		if err := publish("x", "yes"); err != nil {
			t.Fatal(err)
		}
		if err := publish("x", "yes"); err == nil {
			t.Error("a message too many was taken")
		}
		if err := publish("x", "no"); err != nil {
			t.Errorf("of a topic that it does not want: %v", err)
		}
		if err := publish("cloud/b", "yes"); err != nil {
			t.Errorf("of a local that it does not listen to: %v", err)
		}
	})
}
