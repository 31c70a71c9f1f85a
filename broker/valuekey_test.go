package broker_test

import (
	"testing"
	"testing/synctest"

	"edgegateway/broker"
)

// TestNobodyCanMakeOneTopicReplaceAnother takes two topics that have the same FNV-1a of
// 64 bits, before a restart and behind it.
func TestNobodyCanMakeOneTopicReplaceAnother(t *testing.T) {
	cfg := config()
	cfg.WhenFull = "keep-last"
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, cfg)
		topics := []string{"8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"}
		publish := func(text string) {
			for _, topic := range topics {
				h.Local("l", broker.Rights{}).Publish(broker.Message{Topic: topic, Payload: []byte(text), QoS: 1})
			}
			synctest.Wait()
		}
		awayFrom(t, h, "+")
		publish("old")
		if st := h.Stats(); st.Queued != 2 || st.PublishReplaced != 0 {
			t.Errorf("%d queued, %d replaced; want 2 and 0", st.Queued, st.PublishReplaced)
		}
		h.stop()
		h = openTimed(t, dir, cfg)
		publish("new")
		if st := h.Stats(); st.Queued != 2 || st.PublishReplaced != 2 {
			t.Errorf("after a restart: %d queued, %d replaced; want 2 and 2", st.Queued, st.PublishReplaced)
		}
		back(t, h, topics[0]+" new", topics[1]+" new")
	})
}
