package cloud_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// Numbers stand for topics within one connection and no longer, and only as many as
// the server takes [MQTT-3.2.2-17].
func TestTopicAliases(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		type seen struct {
			topic   string
			alias   uint16
			payload string
		}
		var got [][]seen
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{SessionPresent: len(w.connects(hostA)) > 1, TopicAliasMaximum: 1})
			nth := len(w.connects(hostA)) - 1
			got = append(got, nil)
			for {
				pk, err := p.read(forever)
				if err != nil {
					return
				}
				m, ok := pk.(*packet.Publish)
				if !ok {
					continue
				}
				if !m.Retain {
					got[nth] = append(got[nth], seen{string(m.Topic), m.Properties.TopicAlias, string(m.Payload)})
				}
				if string(m.Payload) == "cut" && nth == 0 {
					p.cut()
					return
				}
				p.ack(packet.PUBACK, m.ID)
			}
		})
		r.run()
		pass(time.Second)
		for _, text := range []string{"1", "2", "3", "cut"} {
			r.publish("g/boiler/state", text, 1)
			pass(time.Second)
		}
		pass(time.Minute)
		r.publish("g/boiler/state", "5", 1)
		pass(time.Second)
		const name = "acme/g/boiler/state"
		want := [][]seen{
			{{name, 0, "1"}, {name, 1, "2"}, {"", 1, "3"}, {"", 1, "cut"}},
			{{name, 0, "cut"}, {name, 1, "5"}},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

func TestSessionExpiryOfTheServer(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, w.works(hostA, &packet.Connack{SessionExpiry: new(uint32(3600))}, nil))
		r.run()
		pass(time.Second)
		if st := r.bridge.Status(); st.SessionExpiry != time.Hour {
			t.Errorf("session expiry %v, want the hour that the server said", st.SessionExpiry)
		}
		if log := r.log.String(); !strings.Contains(log, "for a shorter time than asked") || !strings.Contains(log, "session_expiry=1h0m0s") {
			t.Errorf("the log does not say so:\n%s", log)
		}
	})
}

func TestAssignedClientIdentifierIsKept(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		var last *peer
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			ca := &packet.Connack{SessionPresent: len(w.connects(hostA)) > 1}
			if !ca.SessionPresent {
				ca.AssignedClientID = "chosen-by-the-server"
			}
			p.send(ca)
			last = p
			p.obey(nil)
		})
		r.run()
		pass(time.Minute)
		last.cut()
		pass(time.Minute)
		all := w.connects(hostA)
		if len(all) != 2 || all[0].ClientID != "g-1" || all[1].ClientID != "chosen-by-the-server" || r.bridge.Status().SessionsLost != 0 {
			t.Errorf("connects %+v", all)
		}
	})
}

// A server without wildcards is not asked for one: it would end the connection.
func TestServerWithoutWildcards(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, func(cfg *cloud.Config) {
		cfg.Down = append(cfg.Down, cloud.Route{From: "acme/g/pump/go", To: "g/pump/go", QoS: 1})
	}, func(w *web, r *rig) {
		var asked []string
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{WildcardUnavailable: true, SharedUnavailable: true, SubscriptionIDUnavailable: true})
			p.raw(func(pk packet.Packet) {
				switch pk := pk.(type) {
				case *packet.Publish:
					p.ack(packet.PUBACK, pk.ID)
				case *packet.Pingreq:
					p.send(&packet.Pingresp{})
				case *packet.Subscribe:
					for _, s := range pk.Subscriptions {
						asked = append(asked, s.Filter)
					}
					p.send(&packet.Suback{ID: pk.ID, Codes: []packet.ReasonCode{2}})
				}
			})
		})
		r.run()
		pass(time.Minute)
		st := r.bridge.Status()
		if len(asked) == 0 || asked[0] != "acme/g/pump/go" || strings.ContainsAny(strings.Join(asked, ""), "+#") {
			t.Errorf("subscribed to %q", asked)
		}
		if !st.Connected || st.Connects != 1 || !strings.Contains(st.LastError, "does not support wildcards") || st.LastErrorAt.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}
