package field_test

import (
	"testing"
	"testing/synctest"

	"edgegateway/bridge/homeassistant"
	"edgegateway/broker"
	"edgegateway/drivers"
)

func TestADeviceThatLeftAfterAKillIsNotOnlineForEver(t *testing.T) {
	h := newHome(t)
	// What an earlier run has left, which was killed, and what somebody else says.
	earlier, other := h.broker.Local("field", broker.Rights{}), h.broker.Local("other", broker.Rights{})
	for _, base := range []string{"p/gone", "p/x", "far/away/here"} {
		earlier.Publish(broker.Message{Topic: base + "/availability", Payload: []byte("online"), QoS: 1, Retain: true})
	}
	earlier.Publish(broker.Message{Topic: "p/off/availability", Payload: []byte("offline"), QoS: 1, Retain: true})
	other.Publish(broker.Message{Topic: "p/other/availability", Payload: []byte("online"), QoS: 1, Retain: true})
	synctest.Test(t, func(t *testing.T) {
		f := newFake(flow)
		h.during(homeassistant.DefaultConfig(), func() {
			sleep(gatherTime)
			for topic, want := range map[string]struct{ payload, reason string }{
				"p/gone/availability":        {"offline", "it has left the configuration"},
				"far/away/here/availability": {"offline", "it has left the configuration"},
				"p/off/availability":         {"offline", ""},
				"p/x/availability":           {"online", ""},
				"p/other/availability":       {"online", ""},
			} {
				m := h.broker.Retained(topic, 1)[0]
				reason := ""
				if m.Properties != nil {
					for _, p := range m.Properties.UserProperties {
						reason = p.Value
					}
				}
				if string(m.Payload) != want.payload || reason != want.reason {
					t.Errorf("%s is %s with the reason %q, want %s with %q", topic, m.Payload, reason, want.payload, want.reason)
				}
			}
		}, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
	})
}
