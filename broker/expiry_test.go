package broker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// present connects once more and reports whether the session is there. The network
// connection of before has ended.
func present(t *testing.T, h *house, v packet.Version, id string) bool {
	t.Helper()
	c, a := h.join(t, v, &packet.Connect{ClientID: id, SessionExpiry: 7200})
	c.Drop()
	synctest.Wait()
	return a.SessionPresent
}

// A session is there until its time has passed after the end of the connection,
// and then it is not [MQTT-3.1.2-23] [MQTT-4.1.0-2].
func TestSessionExpires(t *testing.T) {
	cfg := config()
	cfg.MaxSessionExpiry = 2 * time.Hour
	drop := (*brokertest.Client).Drop
	leave := func(expiry uint32) func(*brokertest.Client) {
		return func(c *brokertest.Client) {
			c.Send(&packet.Disconnect{SessionExpiry: &expiry}).ExpectClosed()
		}
	}
	for _, c := range []struct {
		name    string
		version packet.Version
		asked   uint32
		end     func(*brokertest.Client)
		want    time.Duration
	}{
		{"MQTT 3.1, by max_session_expiry", packet.V31, 0, drop, 2 * time.Hour},
		{"MQTT 3.1.1, by max_session_expiry", packet.V311, 0, drop, 2 * time.Hour},
		{"MQTT 3.1.1, after DISCONNECT", packet.V311, 0, (*brokertest.Client).Leave, 2 * time.Hour},
		{"a second", packet.V5, 1, drop, time.Second},
		{"an hour", packet.V5, 3600, drop, time.Hour},
		{"after DISCONNECT", packet.V5, 3600, (*brokertest.Client).Leave, time.Hour},
		{"more than max_session_expiry", packet.V5, 10000, drop, 2 * time.Hour},
		{"never is more, too", packet.V5, 0xFFFFFFFF, drop, 2 * time.Hour},
		{"DISCONNECT makes it shorter", packet.V5, 3600, leave(60), time.Minute},
		{"DISCONNECT makes it longer", packet.V5, 60, leave(3600), time.Hour},
		{"DISCONNECT with more than max_session_expiry", packet.V5, 60, leave(10000), 2 * time.Hour},
	} {
		for _, after := range []time.Duration{c.want - 5*time.Millisecond, c.want + 5*time.Millisecond} {
			t.Run(fmt.Sprint(c.name, ", after ", after), func(t *testing.T) {
				timed(t, cfg, func(t *testing.T, h *house) {
					client, a := h.join(t, c.version, &packet.Connect{ClientID: "c", SessionExpiry: c.asked})
					granted := c.asked
					if a.SessionExpiry != nil {
						granted = *a.SessionExpiry
					}
					if want := min(c.asked, 7200); c.version == packet.V5 && granted != want {
						t.Errorf("it is told %d s, want %d", granted, want)
					}
					time.Sleep(3 * time.Hour) // [MQTT-4.1.0-1] [v3 MQTT-4.1.0-2]
					c.end(client)
					synctest.Wait()
					start := time.Now()
					sleepUntil(start, after)
					want := after < c.want
					if n := h.Stats().SessionsExpired; (n == 0) != want {
						t.Errorf("%d sessions have expired", n)
					}
					// MQTT 3.1 has no way to say that a session is present.
					if got := present(t, h, c.version, "c"); got != (want && c.version != packet.V31) {
						t.Errorf("session present: %v", got)
					}
				})
			})
		}
	}
}

// A connection in between begins the time anew.
func TestWhoComesBackKeepsTheSession(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		for i := range 5 {
			if got := present(t, h, packet.V5, "c"); got != (i > 0) {
				t.Fatalf("connection %d: session present %v", i+1, got)
			}
			time.Sleep(7190 * time.Second)
		}
		time.Sleep(20 * time.Second)
		if present(t, h, packet.V5, "c") {
			t.Error("the session is still there")
		}
	})
}

// Time goes on where it was when the gateway stopped: a board without a clock does
// not know how long it was off. After a power cut it goes on from the last note, so
// that what expires does so later, never earlier.
func TestSessionExpiryGoesOnAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name     string
		cut      bool
		ran      time.Duration // after the client has gone
		from, to time.Duration // when the session ends after the start
	}{
		{"stopped in order", false, 40 * time.Minute, 20*time.Minute - time.Second, 20 * time.Minute},
		// The clock is noted at least every ten minutes, with whatever is written.
		{"power cut", true, 40 * time.Minute, 20 * time.Minute, 31 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, dir string) {
				h := openTimed(t, dir, config())
				for _, id := range []string{"a", "b"} {
					a, _ := h.join(t, packet.V5, &packet.Connect{ClientID: id, SessionExpiry: 3600})
					a.Leave()
				}
				time.Sleep(c.ran)
				if c.cut {
					dir = h.powerCut(dir)
				} else {
					h.stop()
				}
				time.Sleep(100 * time.Hour) // without power
				h = openTimed(t, dir, config())
				start := time.Now()
				sleepUntil(start, c.from)
				if !present(t, h, packet.V5, "a") {
					t.Errorf("the session has ended %v after the start", c.from)
				}
				sleepUntil(start, c.to+time.Second)
				if present(t, h, packet.V5, "b") {
					t.Errorf("the session is there %v after the start", c.to)
				}
			})
		})
	}
}

// Who was connected when the power went has its whole time after the start.
func TestSessionsOfConnectedClientsBeginToExpireAtTheStart(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, config())
		h.join(t, packet.V5, &packet.Connect{ClientID: "a", SessionExpiry: 60})
		h.join(t, packet.V5, &packet.Connect{ClientID: "b", SessionExpiry: 60})
		time.Sleep(time.Hour)
		h = openTimed(t, h.powerCut(dir), config())
		start := time.Now()
		sleepUntil(start, 59*time.Second)
		if !present(t, h, packet.V5, "a") {
			t.Error("the session has ended")
		}
		sleepUntil(start, 61*time.Second)
		if present(t, h, packet.V5, "b") {
			t.Error("the session is still there")
		}
	})
}

func expiring(topic, payload string, qos packet.QoS, seconds uint32) *packet.Publish {
	m := message(topic, payload, qos)
	m.Properties = packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: seconds}
	return m
}

// What waits for a client is given to it until its time has passed, with what is
// left of it [MQTT-3.3.2-6], and not afterwards [MQTT-3.3.2-5]; the same holds for
// what is retained.
func TestMessagesExpire(t *testing.T) {
	for _, c := range []struct {
		name string
		wait time.Duration
		left uint32 // 0: it has expired
	}{
		{"at once", 0, 100},
		{"a second later", time.Second, 99},
		{"in between", 40*time.Second + 500*time.Millisecond, 60}, // never less than is left
		{"in the last second", 99*time.Second + 900*time.Millisecond, 1},
		{"at its end", 100 * time.Second, 0},
		{"later", 50 * time.Minute, 0},
	} {
		for _, restart := range []bool{false, true} {
			if restart && c.wait == 0 {
				continue // a stop takes its time
			}
			t.Run(fmt.Sprint(c.name, ", restart ", restart), func(t *testing.T) {
				inBubble(t, func(t *testing.T, dir string) {
					h := openTimed(t, dir, config())
					b, three := connect(t, h, packet.V5, "b", false), connect(t, h, packet.V311, "three", false)
					subscribe(t, b, "t", 2)
					subscribe(t, three, "t", 2)
					b.Leave()
					three.Leave()
					a := connect(t, h, packet.V5, "a", true)
					retained := expiring("r", "retained", 1, 100)
					retained.Retain = true
					start := time.Now()
					a.Send(withID(expiring("t", "one", 1, 100), 1), withID(expiring("t", "two", 2, 100), 2),
						withID(message("t", "stays", 1), 3), withID(retained, 4)).
						ExpectInAnyOrder(ack(packet.PUBACK, 1), ack(packet.PUBREC, 2), ack(packet.PUBACK, 3), ack(packet.PUBACK, 4))
					if restart {
						sleepUntil(start, c.wait/2)
						h.stop() // takes its time, which counts
						ran := time.Since(start)
						time.Sleep(time.Hour) // without power
						h = openTimed(t, dir, config())
						start = time.Now().Add(-ran)
					}
					sleepUntil(start, c.wait)
					b, three = connectAgain(t, h, packet.V5, "b"), connectAgain(t, h, packet.V311, "three")
					if c.left > 0 {
						b.Expect(expiring("t", "one", 1, c.left), expiring("t", "two", 2, c.left))
						three.Expect(message("t", "one", 1), message("t", "two", 2))
					}
					b.Expect(message("t", "stays", 1)).ExpectNothing()
					three.Expect(message("t", "stays", 1)).ExpectNothing()
					subscribe(t, b, "r", 0)
					if c.left > 0 {
						retained := expiring("r", "retained", 0, c.left)
						retained.Retain = true
						b.Expect(retained)
					}
					b.ExpectNothing()
				})
			})
		}
	}
}

func withID(m *packet.Publish, id uint16) *packet.Publish {
	m.ID = id
	return m
}

func connectAgain(t *testing.T, h *house, v packet.Version, id string) *brokertest.Client {
	t.Helper()
	c, a := h.join(t, v, &packet.Connect{ClientID: id, SessionExpiry: 3600})
	if !a.SessionPresent {
		t.Fatalf("the session of %q is gone", id)
	}
	return c
}

// What may have been sent does not expire: the handshake goes to its end, that of the
// receiver [MQTT-4.3.3-7] and that of the publisher [MQTT-4.3.3-13].
func TestWhatMayHaveBeenSentDoesNotExpire(t *testing.T) {
	timed(t, config(), func(t *testing.T, h *house) {
		b := connect(t, h, packet.V5, "b", false)
		subscribe(t, b, "t", 2)
		a := connect(t, h, packet.V5, "a", true)
		a.Send(withID(expiring("t", "x", 2, 10), 1)).Expect(ack(packet.PUBREC, 1))
		b.Expect(expiring("t", "x", 2, 10))
		again := expiring("t", "x", 2, 0)
		again.ID, again.DUP = b.IDs()[0], true
		b.Drop()
		time.Sleep(time.Minute)
		a.Send(ack(packet.PUBREL, 1)).Expect(ack(packet.PUBCOMP, 1))
		b = connectAgain(t, h, packet.V5, "b")
		b.Expect(again).Send(ack(packet.PUBREC, again.ID)).Expect(ack(packet.PUBREL, again.ID)).
			Send(ack(packet.PUBCOMP, again.ID)).ExpectNothing()
	})
}

// Expired retained messages leave memory and disk, though nobody asks for them.
func TestExpiredRetainedMessagesAreTakenAway(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, config())
		a := connect(t, h, packet.V5, "a", true)
		for i, seconds := range []uint32{30, 90, 100000} {
			m := expiring(fmt.Sprint("r/", i), "x", 1, seconds)
			m.Retain = true
			publishAt(a, m)
		}
		h.Local("l", broker.Rights{}).Publish(broker.Message{Topic: "r/never", Payload: []byte("x"), Retain: true})
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{29 * time.Second, 4}, {61 * time.Second, 3}, {121 * time.Second, 2}, {24 * time.Hour, 2}, {28 * time.Hour, 1}} {
			time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(c.after)))
			if n := h.Stats().RetainedMessages; n != c.want {
				t.Errorf("%d retained messages after %v, want %d", n, c.after, c.want)
			}
		}
		h.stop()
		h = openTimed(t, dir, config())
		if n := h.Stats().RetainedMessages; n != 1 {
			t.Errorf("%d retained messages after the restart, want 1", n)
		}
	})
}

// Whatever the wall clock says, and however it is set while there is no power, what
// expires does so when the gateway has run for so long. A bubble begins in 2000; one
// that sleeps first stands for a clock that was set, or was not yet.
func TestTheWallClockMakesNothingExpire(t *testing.T) {
	const years50 = 50 * 365 * 24 * time.Hour
	for _, c := range []struct {
		name          string
		first, second time.Duration // the wall clock of the two runs, since 2000
		at            time.Time     // what the readings of a device say
	}{
		{"it is right", 0, 0, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"it is set forward", 0, years50, time.Date(1970, 1, 1, 0, 0, 5, 0, time.UTC)},
		{"it is set back", years50, 0, time.Date(2076, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(c.first)
				h := openTimed(t, dir, config())
				b := connect(t, h, packet.V5, "b", false)
				subscribe(t, b, "t", 1)
				b.Leave()
				willed, _ := h.join(t, packet.V5, &packet.Connect{ClientID: "w", SessionExpiry: 7200, CleanStart: true,
					Will: &packet.Will{Topic: "w", Payload: []byte("gone"), Retain: true, Delay: 3000}})
				willed.Drop()
				l := h.Local("device", broker.Rights{})
				for _, topic := range []string{"t", "r"} {
					r := l.Publish(broker.Message{Topic: topic, Payload: []byte("x"), QoS: 1, Retain: topic == "r", At: c.at,
						Properties: &packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: 3000}})
					if err := r.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(1000 * time.Second)
				h.stop()
			})
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(c.second)
				h := openTimed(t, dir, config())
				time.Sleep(1000 * time.Second)
				b := connectAgain(t, h, packet.V5, "b")
				b.Expect(expiring("t", "x", 1, 1000))
				subscribe(t, b, "r", 0)
				retained := expiring("r", "x", 0, 1000)
				retained.Retain = true
				b.Expect(retained)
				if got := h.Retained("w", 0); len(got) != 0 {
					t.Errorf("the will is published a thousand seconds early")
				}
				time.Sleep(1001 * time.Second)
				subscribe(t, b, "r", 0)
				b.ExpectNothing()
				if got := h.Retained("w", 0); len(got) != 1 {
					t.Errorf("the will is not published in time")
				}
				b.Leave()
				time.Sleep(3500 * time.Second)
				if !present(t, h, packet.V5, "b") {
					t.Error("the session ended early")
				}
			})
		})
	}
}

// The note of a store whose queues were at rest is that of the broker.
func TestTheClockOfTheStoreGoesOnFromTheNoteOfTheBroker(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		h := openTimed(t, dir, config())
		time.Sleep(time.Hour)
		was := h.store.Clock()
		h = openTimed(t, h.powerCut(dir), config())
		if now := h.store.Clock(); now > was || now < was-11*time.Minute {
			t.Errorf("it goes on at %v, and was at %v", now, was)
		}
	})
}
