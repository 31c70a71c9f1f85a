package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// away is a durable client that has subscribed to everything below x and left.
func away(t *testing.T, h *house) {
	t.Helper()
	awayFrom(t, h, "x/#")
}

func awayFrom(t *testing.T, h *house, filter string) {
	t.Helper()
	c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "away", SessionExpiry: 7200})
	c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: packet.QoS1}}}).
		Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{1}})
	c.Drop()
	synctest.Wait()
}

// back connects the client again, which gets these messages and no more.
func back(t *testing.T, h *house, want ...string) {
	t.Helper()
	c, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "away", SessionExpiry: 7200})
	for _, text := range want {
		p, ok := c.Receive().(*packet.Publish)
		if !ok {
			t.Fatalf("the client got a %T, want %s", p, text)
		}
		if got := fmt.Sprintf("%s %s", p.Topic, p.Payload); got != text {
			t.Errorf("the client got %s, want %s", got, text)
		}
	}
	c.ExpectNothing()
	c.Drop()
}

func TestAnAbsentClientGetsTheLastMessageOfEachTopic(t *testing.T) {
	cfg := config()
	cfg.WhenFull = "keep-last"
	timed(t, cfg, func(t *testing.T, h *house) {
		away(t, h)
		l := h.Local("l", broker.Rights{})
		for i := range 10 {
			for _, topic := range []string{"x/a", "x/b"} {
				l.Publish(broker.Message{Topic: topic, Payload: []byte(fmt.Sprint(i)), QoS: 1})
			}
		}
		synctest.Wait()
		if st := h.Stats(); st.Queued != 2 || st.PublishReplaced != 18 || st.PublishDropped != 0 {
			t.Errorf("%d queued, %d replaced, %d dropped; want 2, 18 and 0", st.Queued, st.PublishReplaced, st.PublishDropped)
		}
		back(t, h, "x/a 9", "x/b 9")
		if c := h.Clients()[0]; c.Replaced != 18 || c.Dropped != 0 {
			t.Errorf("of the client %d were replaced and %d dropped, want 18 and 0", c.Replaced, c.Dropped)
		}
	})
}

func TestWhatWaitedTooLongForAnAbsentClientIsDropped(t *testing.T) {
	cfg := config()
	cfg.MaxQueuedAge = time.Hour
	timed(t, cfg, func(t *testing.T, h *house) {
		away(t, h)
		l := h.Local("l", broker.Rights{})
		publish := func(text string) {
			l.Publish(broker.Message{Topic: "x", Payload: []byte(text), QoS: 1})
		}
		publish("old")
		time.Sleep(50 * time.Minute)
		publish("new")
		time.Sleep(20 * time.Minute)
		if st := h.Stats(); st.Queued != 1 || st.PublishDropped != 1 {
			t.Errorf("%d queued, %d dropped; want 1 and 1", st.Queued, st.PublishDropped)
		}
		back(t, h, "x new")
	})
}

func TestWhatTheQueuesOfEndedSessionsDroppedStaysCounted(t *testing.T) {
	cfg := config()
	cfg.MaxQueuedMessages = 3
	timed(t, cfg, func(t *testing.T, h *house) {
		away(t, h)
		l := h.Local("l", broker.Rights{})
		for range 10 {
			l.Publish(broker.Message{Topic: "x", QoS: 1})
		}
		synctest.Wait()
		if n := h.Stats().PublishDropped; n != 7 {
			t.Errorf("%d dropped, want 7", n)
		}
		time.Sleep(3 * time.Hour)
		if st := h.Stats(); st.Sessions != 0 || st.PublishDropped != 7 {
			t.Errorf("%d sessions, %d dropped; want 0 and 7", st.Sessions, st.PublishDropped)
		}
	})
}
