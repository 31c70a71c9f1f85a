package broker_test

import (
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

func gone(delay uint32) *packet.Will {
	return &packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1, Delay: delay}
}

// The will comes when its delay has passed or the session ends, whichever is first
// [MQTT-3.1.2-8] [v3 MQTT-3.1.2-8].
func TestWillComesAfterItsDelayOrWithTheEndOfTheSession(t *testing.T) {
	withWill := func(c *brokertest.Client) {
		c.Send(&packet.Disconnect{Code: packet.DisconnectWithWillMessage}).ExpectClosed()
	}
	withWillAndExpiry := func(c *brokertest.Client) {
		c.Send(&packet.Disconnect{Code: packet.DisconnectWithWillMessage, SessionExpiry: new(uint32(5))}).ExpectClosed()
	}
	for _, c := range []struct {
		name          string
		version       packet.Version
		delay, expiry uint32
		end           func(*brokertest.Client)
		want          time.Duration
	}{
		{"MQTT 3.1", packet.V31, 0, 0, (*brokertest.Client).Drop, 0},
		{"MQTT 3.1.1", packet.V311, 0, 0, (*brokertest.Client).Drop, 0},
		{"no delay", packet.V5, 0, 600, (*brokertest.Client).Drop, 0},
		{"a delay", packet.V5, 90, 600, (*brokertest.Client).Drop, 90 * time.Second},
		{"a delay after DISCONNECT with will", packet.V5, 90, 600, withWill, 90 * time.Second},
		{"a session that ends before", packet.V5, 600, 90, (*brokertest.Client).Drop, 90 * time.Second},
		{"a session that DISCONNECT makes end before", packet.V5, 90, 600, withWillAndExpiry, 5 * time.Second},
		{"a session that ends with the connection", packet.V5, 600, 0, (*brokertest.Client).Drop, 0},
		{"a session that ends at the same time", packet.V5, 60, 60, (*brokertest.Client).Drop, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			timed(t, config(), func(t *testing.T, h *house) {
				w := connect(t, h, packet.V5, "watch", true)
				subscribe(t, w, "#", 0)
				b, _ := h.join(t, c.version, &packet.Connect{ClientID: "b", SessionExpiry: c.expiry, Will: gone(c.delay)})
				time.Sleep(time.Hour)
				start := time.Now()
				c.end(b)
				w.Expect(message("will", "gone", 0))
				passed(t, start, c.want)
				time.Sleep(time.Hour)
				w.ExpectNothing() // once [MQTT-3.1.2-10] [v3 MQTT-3.1.2-10]
			})
		})
	}
}

// A client that is back in time has its will not published [MQTT-3.1.3-9]; the next
// end of its connection begins the delay anew.
func TestWhoIsBackInTimeTakesTheWillAlong(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		w := connect(t, h, packet.V5, "watch", true)
		subscribe(t, w, "#", 0)
		var start time.Time
		for range 3 {
			b, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "b", SessionExpiry: 600, Will: gone(60)})
			b.Drop()
			start = time.Now()
			time.Sleep(59 * time.Second)
			w.ExpectNothing()
		}
		w.Expect(message("will", "gone", 0))
		passed(t, start, time.Minute)
	})
}

// A delay goes on after a restart where it was.
func TestDelayOfAWillGoesOnAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, config())
		b, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "b", SessionExpiry: 3600, Will: gone(600)})
		b.Drop()
		start := time.Now()
		time.Sleep(400 * time.Second)
		ran := time.Since(start)
		h.stop()
		time.Sleep(time.Hour) // without power
		h = openTimed(t, dir, config())
		start = time.Now().Add(-ran)
		w := connect(t, h, packet.V5, "watch", true)
		subscribe(t, w, "#", 0)
		w.Expect(message("will", "gone", 0))
		passed(t, start, 600*time.Second)
	})
}

// It is not the clients that go when the gateway does: they have 30 seconds to come
// back, or the delay of the will if that is longer, or what their session lasts.
func TestWillOfAClientThatWasConnectedWhenTheGatewayWent(t *testing.T) {
	for name, cut := range map[string]bool{"stopped in order": false, "power cut": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, dir string) {
				h := openTimed(t, dir, config())
				for _, c := range []struct {
					id            string
					delay, expiry uint32
				}{
					{"lost", 0, 0}, {"lasting", 0, 3600}, {"back", 0, 0}, {"delayed", 100, 3600},
					{"brief", 100, 20}, {"lasting and back", 0, 3600}, {"delayed and back", 100, 3600},
				} {
					h.join(t, packet.V5, &packet.Connect{ClientID: c.id, CleanStart: true, SessionExpiry: c.expiry,
						Will: &packet.Will{Topic: "will/" + c.id, Payload: []byte("gone"), QoS: 1, Delay: c.delay}})
				}
				time.Sleep(time.Minute)    // the store is lazy about wills
				var stopping time.Duration // during which time goes on for sessions
				if cut {
					dir = h.powerCut(dir)
				} else {
					begun := time.Now()
					h.stop()
					stopping = time.Since(begun)
				}
				time.Sleep(time.Hour) // without power
				h = openTimed(t, dir, config())
				start := time.Now()
				w := connect(t, h, packet.V5, "watch", true)
				subscribe(t, w, "will/#", 0)
				time.Sleep(10 * time.Second)
				for _, id := range []string{"back", "lasting and back", "delayed and back"} {
					h.join(t, packet.V5, &packet.Connect{ClientID: id, SessionExpiry: 3600})
				}
				w.Expect(message("will/brief", "gone", 0))
				passed(t, start, 20*time.Second-stopping)
				w.ExpectInAnyOrder(message("will/lost", "gone", 0), message("will/lasting", "gone", 0))
				passed(t, start, 30*time.Second)
				w.Expect(message("will/delayed", "gone", 0))
				passed(t, start, 100*time.Second)
				time.Sleep(2 * time.Hour)
				w.ExpectNothing()
			})
		})
	}
}
