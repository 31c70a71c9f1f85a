package field

import (
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// The gateway may write to topics that the sender of a command may not.
func TestWhoMayNotWriteToItsResponseTopicGetsNothingThere(t *testing.T) {
	asks := packet.Properties{Has: packet.HasResponseTopic | packet.HasCorrelationData, ResponseTopic: "reply", CorrelationData: []byte{1}}
	for noReply, want := range map[bool]string{false: "reply", true: ""} {
		s := senderOf(&broker.Message{Topic: "p/x/set", Properties: &asks, NoReply: noReply})
		if s.response != want || len(s.correlation) != 1 {
			t.Errorf("NoReply %v: %+v", noReply, s)
		}
	}
}
