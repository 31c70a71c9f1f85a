package cloud_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
)

// say publishes as a client of this process with a name.
func (r *rig) say(name string, m broker.Message) *broker.Receipt {
	return r.broker.Local(name, broker.Rights{}).Publish(m)
}

// taken acknowledges n messages and returns them as "topic payload".
func (p *peer) taken(n int) (list []string) {
	p.t.Helper()
	for range n {
		m := expect[*packet.Publish](p)
		p.ack(packet.PUBACK, m.ID)
		list = append(list, fmt.Sprintf("%s %s", m.Topic, m.Payload))
	}
	return list
}

func (p *peer) wantTaken(want ...string) {
	p.t.Helper()
	if got := p.taken(len(want)); !slices.Equal(got, want) {
		p.t.Errorf("got %q, want %q", got, want)
	}
}

func withRoutes(routes ...cloud.Route) cloud.Config {
	cfg := testConfig("mqtt://a:1883")
	cfg.Up = routes
	return cfg
}

func TestAMessageOlderThanTheTTLOfItsRouteStaysHere(t *testing.T) {
	cfg := withRoutes(
		cloud.Route{From: "g/+/state", To: "acme/+/state", QoS: 1, TTL: time.Minute},
		cloud.Route{From: "g/+/event", To: "acme/+/event", QoS: 1},
	)
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		s := servers["a:1883"]
		r.run()
		p := s.welcome(false)
		r.offer("g/boiler/state", "sent, and maybe there", 1)
		p.message("sent, and maybe there", 1, false)
		s.up.Store(false)
		p.cut()
		settle()
		r.offer("g/boiler/state", "old", 1)
		r.offer("g/boiler/event", "kept", 1)
		time.Sleep(2 * time.Minute)
		r.offer("g/boiler/state", "new", 1)
		settle()
		s.up.Store(true)
		p = s.welcome(true)
		m := p.message("sent, and maybe there", 1, true) // [MQTT-3.3.2-5] does not reach what has begun
		p.ack(packet.PUBACK, m.ID)
		p.wantTaken("acme/boiler/event kept", "acme/boiler/state new")
		p.settle()
		if st := r.bridge.Status(); st.Expired != 1 || st.Queued != 0 {
			t.Errorf("%d expired, %d queued; want 1 and 0", st.Expired, st.Queued)
		}
	})
}

func TestALongTTLIsForEver(t *testing.T) {
	const longest = 2562047 * time.Hour // that a configuration file can have: 47 minutes less than a Duration
	bubble(t, withRoutes(cloud.Route{From: "g/#", To: "acme/#", QoS: 1, TTL: longest}), nil, func(t *testing.T, r *rig, servers servers) {
		s := servers["a:1883"]
		s.up.Store(false)
		r.run()
		time.Sleep(time.Hour)
		r.offer("g/boiler/state", "kept", 1)
		time.Sleep(time.Hour)
		s.up.Store(true)
		s.welcome(false).wantTaken("acme/boiler/state kept")
		if st := r.bridge.Status(); st.Expired != 0 {
			t.Errorf("%d expired", st.Expired)
		}
	})
}

func TestTheServerIsToldWhatIsLeftOfTheMessageExpiryNotOfTheTTL(t *testing.T) {
	cfg := withRoutes(cloud.Route{From: "g/#", To: "acme/#", QoS: 1, TTL: 10 * time.Minute})
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		expiring := func(topic string, seconds uint32, retain bool) {
			r.say("test", broker.Message{Topic: topic, QoS: 1, Retain: retain, Properties: &packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: seconds}})
		}
		expiring("g/long", 3600, false)
		expiring("g/short", 400, false)
		r.say("test", broker.Message{Topic: "g/none", QoS: 1})
		expiring("g/over", 60, false)
		time.Sleep(5 * time.Minute)
		r.run()
		p := servers["a:1883"].welcome(false)
		for _, want := range []struct {
			topic string
			left  uint32 // 0: none
		}{{"acme/long", 3300}, {"acme/short", 100}, {"acme/none", 0}} {
			m := expect[*packet.Publish](p)
			p.ack(packet.PUBACK, m.ID)
			told := m.Properties.Has&packet.HasMessageExpiry != 0
			if string(m.Topic) != want.topic || told != (want.left > 0) || told && (m.Properties.MessageExpiry > want.left+2 || m.Properties.MessageExpiry < want.left-2) {
				t.Errorf("%s expires in %d s (%v), want %s in %d s", m.Topic, m.Properties.MessageExpiry, told, want.topic, want.left)
			}
		}
		p.settle()
	})
}

func TestARouteSaysWhatIsRetainedAtTheServer(t *testing.T) {
	yes, no := true, false
	cfg := withRoutes(
		cloud.Route{From: "yes/#", To: "acme/yes/#", QoS: 1, Retain: &yes},
		cloud.Route{From: "no/#", To: "acme/no/#", QoS: 1, Retain: &no},
		cloud.Route{From: "said/#", To: "acme/said/#", QoS: 1},
	)
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		r.run()
		p := servers["a:1883"].welcome(false)
		for _, c := range []struct {
			topic           string
			published, want bool
		}{
			{"yes/a", true, true}, {"yes/b", false, true}, {"no/a", true, false}, {"no/b", false, false}, {"said/a", true, true}, {"said/b", false, false},
		} {
			r.say("test", broker.Message{Topic: c.topic, QoS: 1, Retain: c.published})
			m := expect[*packet.Publish](p)
			p.ack(packet.PUBACK, m.ID)
			if m.Retain != c.want {
				t.Errorf("%s published with RETAIN %v goes up with %v, want %v", c.topic, c.published, m.Retain, c.want)
			}
		}
	})
}

func TestKeepLastOfOneRouteLeavesTheOthersAlone(t *testing.T) {
	cfg := withRoutes(
		cloud.Route{From: "g/+/state", To: "acme/+/state", QoS: 1, WhenFull: "keep-last"},
		cloud.Route{From: "g/+/event", To: "acme/+/event", QoS: 1},
	)
	cfg.WhenFull, cfg.MaxQueuedMessages = "refuse", 5
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		for i := range 3 {
			r.publish("g/a/state", fmt.Sprint(i), 1)
			r.publish("g/b/state", fmt.Sprint(i), 1)
			r.publish("g/a/event", fmt.Sprint(i), 1)
		}
		// Five wait now. A newer value takes the place of an older one, anything else has none.
		r.publish("g/a/state", "last", 1)
		var refused broker.ErrRefused
		for _, topic := range []string{"g/a/event", "g/c/state"} {
			err := r.say("test", broker.Message{Topic: topic, QoS: 1}).Wait(t.Context())
			if !errors.As(err, &refused) || refused.Code != packet.QuotaExceeded || refused.Reason != "queue local/cloud/acme is full" {
				t.Errorf("%s with a full queue: %v, want it to be refused in the name of the queue", topic, err)
			}
		}
		if st := r.bridge.Status(); st.Queued != 5 || st.Replaced != 5 {
			t.Errorf("%d queued, %d replaced; want 5 and 5", st.Queued, st.Replaced)
		}
		r.run()
		p := servers["a:1883"].welcome(false)
		p.wantTaken("acme/a/event 0", "acme/a/event 1", "acme/b/state 2", "acme/a/event 2", "acme/a/state last")
	})
}

func TestDropOldestOfARouteOfAKeepLastCloudKeepsAll(t *testing.T) {
	cfg := withRoutes(
		cloud.Route{From: "g/+/state", To: "acme/+/state", QoS: 1},
		cloud.Route{From: "g/+/event", To: "acme/+/event", QoS: 1, WhenFull: "drop-oldest"},
	)
	cfg.WhenFull = "keep-last"
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		for i := range 2 {
			r.publish("g/a/state", fmt.Sprint(i), 1)
			r.publish("g/a/event", fmt.Sprint(i), 1)
		}
		r.run()
		servers["a:1883"].welcome(false).wantTaken("acme/a/event 0", "acme/a/state 1", "acme/a/event 1")
	})
}

// A wide route would fill the queue, and wear the card, with what never leaves.
func TestWhatNeverGoesUpIsNotQueued(t *testing.T) {
	bubble(t, withRoutes(cloud.Route{From: "#", To: "acme/#", QoS: 1}), nil, func(t *testing.T, r *rig, _ servers) {
		settle()
		before := r.store.Stats().Records
		for _, topic := range []string{"g/status", "g/cloud/acme/state", "g/cloud/other/state", "g/alarm/disk", "$SYS/broker/connection/x/state"} {
			r.say("test", broker.Message{Topic: topic, QoS: 1})
		}
		r.say("cloud/other", broker.Message{Topic: "from/another/cloud", QoS: 1})
		settle()
		if st := r.bridge.Status(); st.Queued != 0 || st.Dropped != 0 || st.Refused != 0 {
			t.Errorf("%d queued, %d dropped, %d refused; want none", st.Queued, st.Dropped, st.Refused)
		}
		if n := r.store.Stats().Records - before; n != 0 {
			t.Errorf("%d records were written", n)
		}
		r.publish("g/boiler/state", "this goes", 1)
		if st := r.bridge.Status(); st.Queued != 1 {
			t.Errorf("%d queued, want 1", st.Queued)
		}
	})
}

func TestTheFirstRouteThatTakesATopicCounts(t *testing.T) {
	cfg := withRoutes(
		cloud.Route{From: "g/boiler/state", To: "acme/first", QoS: 0},
		cloud.Route{From: "g/#", To: "acme/#", QoS: 1, Priority: 9},
	)
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		r.say("test", broker.Message{Topic: "g/boiler/state", Payload: []byte("kept"), QoS: 1, Retain: true})
		r.publish("g/boiler/set", "later, and more urgent", 1)
		settle()
		r.run()
		p := servers["a:1883"].welcome(false)
		p.ack(packet.PUBACK, p.message("later, and more urgent", 1, false).ID)
		p.message("kept", 0, false)
		p.settle()
		// What is retained goes up once more when its route is another one: by that one,
		// not by each.
		for _, to := range []string{"acme/first", "acme/other", "acme/other"} {
			r.close()
			r.cfg.Up[0].To = to
			r.open()
			settle()
			want := 0
			if to != "acme/first" {
				want = 1
			}
			if st := r.bridge.Status(); st.Queued != want {
				t.Errorf("%d queued after a restart with the route to %s, want %d", st.Queued, to, want)
			}
		}
	})
}

// It would go round whenever a route changes.
func TestWhatACloudHadRetainedDoesNotGoBackToItAfterARestart(t *testing.T) {
	cfg := withRoutes(cloud.Route{From: "remote/#", To: "acme/remote/#", QoS: 1})
	cfg.Down = []cloud.Route{{From: "acme/remote/#", To: "remote/#", QoS: 1}}
	cfg.Transit = true
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		got := r.subscribe("remote/#")
		r.run()
		p := servers["a:1883"].welcome(false)
		p.send(&packet.Publish{Topic: []byte("acme/remote/a"), Payload: []byte("x"), QoS: 1, ID: 7, Retain: true})
		p.wantAck(packet.PUBACK, 7, 0)
		got.want(t, "remote/a", "x")
		p.settle()
		r.close()
		r.cfg.Up[0].To = "other/remote/#" // so that the subscription is new
		r.open()
		settle()
		if st := r.bridge.Status(); st.Queued != 0 {
			t.Errorf("%d queued after a restart, want none", st.Queued)
		}
	})
}

// While the link is down a queue must not grow by every retained value at every restart.
func TestARestartQueuesNoRetainedMessageAgain(t *testing.T) {
	cfg := withRoutes(cloud.Route{From: "g/#", To: "acme/#", QoS: 1})
	bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
		for i := range 20 {
			r.say("test", broker.Message{Topic: fmt.Sprintf("g/boiler/%d", i), Payload: []byte("x"), QoS: 1, Retain: true})
		}
		settle()
		want := func(n int) {
			t.Helper()
			if st := r.bridge.Status(); st.Queued != n {
				t.Errorf("%d queued, want %d", st.Queued, n)
			}
		}
		want(20)
		for range 3 {
			r.close()
			r.open()
			settle()
			want(20)
		}
		r.close()
		r.cfg.Servers = []string{"mqtt://b"} // which has had none of them
		r.open()
		settle()
		want(40)
	})
}
