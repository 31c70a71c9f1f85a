package cloud_test

import (
	"fmt"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// A kill between the arrival of a QoS 2 message and its commit leaves neither the
// message nor its identifier, one behind it leaves both: whatever comes again is there
// once.
func TestAMessageFromTheCloudIsHereOnceWheneverTheGatewayIsKilled(t *testing.T) {
	for _, at := range []time.Duration{0, 500 * time.Millisecond, 999 * time.Millisecond, 1001 * time.Millisecond, 5 * time.Second} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			bubble(t, testConfig("mqtt://a:1883"), nil, func(t *testing.T, r *rig, servers servers) {
				keeper := func() *buffer.Queue {
					t.Helper()
					s, err := r.broker.Local("keeper", broker.Rights{}).Session(buffer.Limits{})
					if err != nil {
						t.Fatal(err)
					}
					if err := s.Subscribe("g/+/set", broker.SubscribeOptions{QoS: 2}); err != nil {
						t.Fatal(err)
					}
					return s.Queue()
				}
				keeper()
				r.run()
				p := servers["a:1883"].welcome(false)
				p.settle()
				p.send(down("open", 7, 2, false))
				time.Sleep(at)
				r.crash()
				q := keeper()
				before := q.Stats().Messages
				if before > 1 || at < time.Second && before > 0 || at > time.Second && before == 0 {
					t.Errorf("killed %v after its arrival there are %d of the message on disk", at, before)
				}
				r.run()
				p = servers["a:1883"].welcome(true)
				p.send(down("open", 7, 2, true))
				p.wantAck(packet.PUBREC, 7, 0)
				if n := q.Stats().Messages; n != 1 {
					t.Errorf("killed %v after its arrival, and sent again, it is here %d times", at, n)
				}
				r.until("counted", func(s cloud.Status) bool { return s.Duplicates == int64(before) })
			})
		})
	}
}
