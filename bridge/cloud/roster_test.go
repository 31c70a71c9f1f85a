package cloud_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// up reports whether the bridge is connected to the server.
func (r *rig) up(url string) bool {
	synctest.Wait()
	st := r.bridge.Status()
	return st.Connected && st.Server == url
}

func TestTheFirstServerGetsTheLinkBack(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, nil, func(w *web, r *rig) {
		seen := make(chan *packet.Publish, 1000)
		w.at(hostB, w.works(hostB, &packet.Connack{}, seen))
		r.run()
		pass(10 * time.Second)
		if !r.up("mqtt://" + hostB) {
			t.Fatalf("not at the second: %+v", r.bridge.Status())
		}
		w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
		pass(3 * time.Minute)
		if !r.up("mqtt://"+hostB) || len(w.connects(hostA)) > 0 {
			t.Errorf("it went back after three minutes, or sent CONNECT to look: %d", len(w.connects(hostA)))
		}
		pass(6 * time.Minute)
		if !r.up("mqtt://"+hostA) || len(w.connects(hostA)) != 1 || len(w.connects(hostB)) != 1 {
			t.Errorf("not back at the first: %+v", r.bridge.Status())
		}
		close(seen)
		var said []string
		for m := range seen {
			said = append(said, string(m.Payload))
		}
		if !slices.Equal(said, []string{"online", "offline"}) {
			t.Errorf("the second was told %q", said)
		}
		if !strings.Contains(r.log.String(), "goes back to the first server") {
			t.Error("the log does not say why")
		}
	})
}

// One that answers now and then is not there.
func TestTheFirstServerHasToLast(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, nil, func(w *web, r *rig) {
		w.at(hostB, w.works(hostB, &packet.Connack{}, nil))
		r.run()
		for range 10 {
			pass(2 * time.Minute)
			w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
			pass(2 * time.Minute)
			w.at(hostA, nil)
		}
		if n := len(w.connects(hostA)); n > 0 || !r.up("mqtt://"+hostB) {
			t.Errorf("%d connects to a server that comes and goes", n)
		}
	})
}

func TestReturnWaitsForAQuietMoment(t *testing.T) {
	for _, x := range []struct {
		name   string
		shared bool
	}{{"each with its own sessions", false}, {"of a cluster", true}} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, func(cfg *cloud.Config) { cfg.ServersShareSession = x.shared }, func(w *web, r *rig) {
				answer := make(chan struct{})
				w.at(hostB, func(p *peer) {
					if !w.greet(p, hostB) {
						return
					}
					p.send(&packet.Connack{})
					for {
						pk, err := p.read(forever)
						if err != nil {
							return
						}
						switch pk := pk.(type) {
						case *packet.Publish:
							if pk.QoS == 2 {
								p.ack(packet.PUBREC, pk.ID)
								continue
							}
							p.ack(packet.PUBACK, pk.ID)
						case *packet.Ack: // PUBREL: the handshake stays open
							id := pk.ID
							go func() {
								<-answer
								p.conn.Write((&packet.Ack{Kind: packet.PUBCOMP, ID: id}).Append(nil, packet.V5))
							}()
						}
					}
				})
				r.bridge.SetOverdue(forever)
				r.run()
				pass(10 * time.Second)
				r.publish("g/boiler/state", "under way", 2)
				pass(time.Second)
				hold := r.bridge.Status().InFlight
				w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
				pass(time.Hour)
				if moved := r.up("mqtt://" + hostA); moved != x.shared || hold != 1 {
					t.Errorf("moved %v with %d under way", moved, hold)
				}
				close(answer)
				pass(time.Hour)
				if !r.up("mqtt://" + hostA) {
					t.Errorf("not back at the first: %+v", r.bridge.Status())
				}
			})
		})
	}
}

// A PUBREL that never comes leaves no quiet moment, ever. Messages wait while one is
// looked for, so that is done less and less often, and told once.
func TestAHandshakeThatNeverEndsDoesNotStallTheWayUpForEver(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, nil, func(w *web, r *rig) {
		var stalls atomic.Int64
		w.at(hostB, func(p *peer) {
			if !w.greet(p, hostB) {
				return
			}
			p.send(&packet.Connack{}, down("old", 7, 2, false))
			last := time.Now()
			for {
				pk, err := p.read(forever)
				if err != nil {
					return
				}
				if m, ok := pk.(*packet.Publish); ok {
					if time.Since(last) > 8*time.Second {
						stalls.Add(1)
					}
					last = time.Now()
					p.ack(packet.PUBACK, m.ID)
				}
			}
		})
		r.run()
		pass(10 * time.Second)
		w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
		for i := range 4 * 60 * 15 { // 4 h
			r.offer("g/boiler/state", number(i), 1)
			pass(4 * time.Second)
		}
		if n := stalls.Load(); n < 3 || n > 8 {
			t.Errorf("the way up stood still %d times in 4 h, want some 6", n)
		}
		if n := strings.Count(r.log.String(), "can not go back to the first server yet"); n != 1 {
			t.Errorf("the log says so %d times", n)
		}
	})
}

// Under steady traffic there is no quiet moment: it is made.
func TestReturnMakesAQuietMoment(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, nil, func(w *web, r *rig) {
		w.at(hostB, func(p *peer) {
			if !w.greet(p, hostB) {
				return
			}
			p.send(&packet.Connack{})
			for {
				pk, err := p.read(forever)
				if err != nil {
					return
				}
				if m, ok := pk.(*packet.Publish); ok {
					ack := (&packet.Ack{Kind: packet.PUBACK, ID: m.ID}).Append(nil, packet.V5)
					time.AfterFunc(time.Second, func() { p.conn.Write(ack) })
				}
			}
		})
		r.run()
		pass(10 * time.Second)
		w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
		for i := range 2400 {
			r.offer("g/boiler/state", number(i), 1)
			time.Sleep(250 * time.Millisecond)
		}
		pass(time.Minute)
		if st := r.bridge.Status(); !r.up("mqtt://"+hostA) || st.Resent != 0 || st.Queued != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// The server that has the session is asked first: another one would begin anew.
func TestTheServerOfTheSessionIsAskedFirst(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB}, func(cfg *cloud.Config) { cfg.ReturnAfter = 0 }, func(w *web, r *rig) {
		var last *peer
		w.at(hostB, func(p *peer) {
			if w.greet(p, hostB) {
				p.send(&packet.Connack{SessionPresent: len(w.connects(hostB)) > 1})
				last = p
				p.obey(nil)
			}
		})
		r.run()
		pass(time.Minute)
		w.at(hostA, w.works(hostA, &packet.Connack{}, nil))
		last.cut()
		pass(10 * time.Second)
		if !r.up("mqtt://"+hostB) || len(w.connects(hostA)) > 0 || len(w.connects(hostB)) != 2 {
			t.Errorf("after a cut: %+v", r.bridge.Status())
		}
	})
}

func TestServerReference(t *testing.T) {
	for _, x := range []struct {
		name   string
		code   packet.ReasonCode
		later  bool   // with DISCONNECT
		answer string // Server Reference
		want   string // address that gets the CONNECT
	}{
		{"another for now", packet.UseAnotherServer, false, "b.test", hostB},
		{"moved", packet.ServerMoved, false, "b.test:1883", hostB},
		{"in DISCONNECT", packet.UseAnotherServer, true, "mqtt://b.test", hostB},
		{"the second of the list", packet.UseAnotherServer, false, "b.test:x b.test:1234", "b.test:1234"},
		{"an address", packet.ServerMoved, true, "[::1]:1234", "[::1]:1234"},
		{"another code", packet.ServerBusy, false, "b.test", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
				sent := &packet.Connack{Code: x.code, ServerReference: x.answer}
				then := []packet.Packet{}
				if x.later {
					sent, then = &packet.Connack{}, []packet.Packet{&packet.Disconnect{Code: x.code, ServerReference: x.answer}}
				}
				w.at(hostA, w.says(hostA, sent, then...))
				var last *peer
				if x.want != "" {
					w.at(x.want, func(p *peer) {
						if w.greet(p, x.want) {
							p.send(&packet.Connack{SessionPresent: len(w.connects(x.want)) > 1 && x.code == packet.UseAnotherServer && !x.later})
							last = p
							p.obey(nil)
						}
					})
				}
				r.run()
				pass(5 * time.Second)
				if st := r.bridge.Status(); st.Connected != (x.want != "") {
					t.Fatalf("status %+v", st)
				}
				if x.want == "" {
					return
				}
				pass(time.Minute)
				last.cut()
				pass(10 * time.Second)
				asked := len(w.connects(hostA))
				if want := map[packet.ReasonCode]int{packet.UseAnotherServer: 2, packet.ServerMoved: 1}[x.code]; asked != want || len(w.connects(x.want)) < 2 {
					t.Errorf("%d CONNECTs at the first, want %d, and %d at the other", asked, want, len(w.connects(x.want)))
				}
			})
		})
	}
}

// Servers that send us to each other get no more than one attempt per second.
func TestReferencesInACircle(t *testing.T) {
	for _, code := range []packet.ReasonCode{packet.UseAnotherServer, packet.ServerMoved} {
		timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
			w.at(hostA, w.says(hostA, &packet.Connack{Code: code, ServerReference: "b.test"}))
			w.at(hostB, w.says(hostB, &packet.Connack{Code: code, ServerReference: "a.test"}))
			r.run()
			pass(time.Minute)
			if n := len(w.tried(hostA)) + len(w.tried(hostB)); n > 60 || n < mostHops {
				t.Errorf("%d attempts in a minute", n)
			}
			pass(time.Hour)
			if n := len(w.tried(hostA)) + len(w.tried(hostB)); n > 200 {
				t.Errorf("%d attempts in an hour", n)
			}
			if log := r.log.String(); !strings.Contains(log, "servers send us around") {
				t.Errorf("the log does not say so:\n%s", log)
			}
		})
	}
}

const mostHops = 5

func TestAReferenceNeverLeavesTLS(t *testing.T) {
	au, s, other := newAuthority(t), newServer(t), newServer(t)
	f := newFront(t, s, au.server(), false)
	cfg := testConfig("mqtts://" + f.address)
	cfg.TLS.CA = au.file
	r := newRig(t, cfg, nil)
	r.run()
	for range 3 {
		p, _ := s.accept()
		p.connack(false, func(c *packet.Connack) {
			c.Code, c.ServerReference = packet.ServerMoved, other.url()
		})
	}
	r.until("it says so", func(cloud.Status) bool {
		return strings.Contains(r.log.String(), "is without TLS, and this connection has it")
	})
}
