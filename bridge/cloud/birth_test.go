package cloud_test

import (
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
)

func TestBirth(t *testing.T) {
	for _, c := range []struct{ name, status, birth, want string }{
		{"beside the default", "", "", "gateways/g/birth"},
		{"beside the status", "fleet/7/up", "", "fleet/7/birth"},
		{"of one level", "up", "", "birth"},
		{"as it says", "", "born/g", "born/g"},
		{"off", "", "off", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig("mqtt://a:1883")
			cfg.StatusTopic, cfg.BirthTopic = c.status, c.birth
			bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
				r.run()
				for n := range 2 { // at every connect
					p, _ := servers["a:1883"].accept()
					p.connack(n > 0)
					online := expect[*packet.Publish](p) // first of all
					if string(online.Payload) != "online" {
						t.Fatalf("got %s %q, want the status", online.Topic, online.Payload)
					}
					p.ack(packet.PUBACK, online.ID)
					if c.want != "" {
						m := p.message(`{"id":"g","version":"test","started":"2026-05-04T03:02:01.000Z","config":"c0ffee"}`, 1, false)
						if string(m.Topic) != c.want || !m.Retain {
							t.Errorf("it is at %s, retained: %v; want %s, true", m.Topic, m.Retain, c.want)
						}
						p.ack(packet.PUBACK, m.ID)
					}
					p.settle()
					p.cut()
				}
			})
		})
	}
}

func TestABirthMessageThatTheServerDoesNotTakeIsToldAndHarmsNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*packet.Connack)
		sent   bool
		want   string
	}{
		{"refused", func(*packet.Connack) {}, true, "not authorized"},
		{"too large", func(c *packet.Connack) { c.MaximumPacketSize = 60 }, false, "packet too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig("mqtt://a:1883")
			cfg.BirthTopic = ""
			cfg.Down = nil
			bubble(t, cfg, nil, func(t *testing.T, r *rig, servers servers) {
				r.run()
				p, _ := servers["a:1883"].accept()
				p.connack(false, c.change)
				p.status("online")
				if c.sent {
					p.ack(packet.PUBACK, expect[*packet.Publish](p).ID, packet.NotAuthorized)
				}
				p.settle()
				if s := r.bridge.Status(); !s.Connected || !strings.Contains(s.LastError, "birth message") || !strings.Contains(strings.ToLower(s.LastError), c.want) {
					t.Errorf("connected %v, last error %q; want it to name the birth message and %q", s.Connected, s.LastError, c.want)
				}
			})
		})
	}
}

// People find out without having looked.
func TestRejectedMessagesRaiseAnAlarm(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	alarms := r.subscribe("g/alarm/#")
	stop := r.run()
	p := s.welcome(false)
	for i, want := range []string{"Cloud acme will never take 1 of", "Cloud acme will never take 2 of"} {
		r.publish("g/boiler/state", number(i), 1)
		p.ack(packet.PUBACK, p.message(number(i), 1, false).ID, packet.TopicNameInvalid)
		var m broker.Message
		select {
		case m = <-alarms:
		case <-time.After(patience):
			t.Fatal("no alarm")
		}
		if m.Topic != "g/alarm/rejected-acme" || !m.Retain || !strings.Contains(string(m.Payload), want) || !strings.Contains(string(m.Payload), "topic name invalid") {
			t.Errorf("alarm %s, retained %v: %s; want it to say %q, and why", m.Topic, m.Retain, m.Payload, want)
		}
	}
	// It does not come back after somebody has seen it.
	r.until("both are set aside", func(s cloud.Status) bool { return s.Rejected == 2 && s.Queued == 0 })
	stop()
	r.close()
	r.open()
	alarms = r.subscribe("g/alarm/#")
	for len(alarms) > 0 {
		<-alarms // the retained one
	}
	r.run()
	p = s.welcome(true)
	r.publish("g/boiler/state", "taken", 1)
	p.ack(packet.PUBACK, p.message("taken", 1, false).ID)
	r.drained()
	alarms.wantNothing(t)
}
