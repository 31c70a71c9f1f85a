package cloud_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// Markers are ours, not what somebody configured: a server that ends the connection
// over them is served without them.
func TestAServerThatEndsTheConnectionOverMarkersIsServedWithoutThem(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		for i := range 10 {
			p, _ := s["a:1"].accept()
			p.objects = func(k *packet.Subscribe) bool { return strings.Contains(k.Subscriptions[0].Filter, "session-marker") }
			p.connack(i > 0)
			err := error(nil)
			for err == nil {
				_, err = p.read(20 * time.Second)
			}
			if err != io.EOF {
				return // it lasts
			}
		}
		t.Error("ten connections ended over markers")
	})
}

func TestMarkersAreNoLargerThanTheServerTakes(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _ := s["a:1"].accept()
		p.objects = func(k *packet.Subscribe) bool {
			if n := len(k.Append(nil, packet.V5)); n > 150 {
				t.Errorf("SUBSCRIBE of %d bytes, and the server takes 150", n)
			}
			return false
		}
		p.connack(false, func(c *packet.Connack) { c.MaximumPacketSize = 150 })
		p.status("online")
		p.quiet()
		if p.subscribed != 1+8 {
			t.Errorf("%d subscriptions, want the route's and 8 markers", p.subscribed)
		}
	})
}

// Else every message would be larger than the server takes, and be set aside.
func TestMaximumPacketSize0IsNotBelieved(t *testing.T) {
	bubble(t, testConfig("mqtt://a:1"), nil, func(t *testing.T, r *rig, s servers) {
		r.offer("g/boiler/state", "kept", 1)
		r.run()
		p, _ := s["a:1"].accept()
		if _, err := p.conn.Write([]byte{0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		p.ended()
		p = s["a:1"].welcome(false)
		p.message("kept", 1, false)
	})
}

func TestASubscriptionLargerThanTheServerTakesDoesNotEndTheLink(t *testing.T) {
	cfg := testConfig("mqtt://a:1")
	long := strings.Repeat("x", 200)
	cfg.Down = []cloud.Route{{From: "acme/" + long, To: "g/" + long, QoS: 1}}
	bubble(t, cfg, nil, func(t *testing.T, r *rig, s servers) {
		r.run()
		p, _ := s["a:1"].accept()
		p.connack(false, func(c *packet.Connack) { c.MaximumPacketSize = 150 })
		p.status("online")
		p.quiet()
		if st := r.bridge.Status(); p.subscribed != 0 || !strings.Contains(st.LastError, "shorter from") {
			t.Errorf("%d subscriptions, and the status says %q", p.subscribed, st.LastError)
		}
	})
}
