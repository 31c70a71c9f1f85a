package cloud_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/broker/packet"
)

// raw hands every packet over, pings too, until the connection ends.
func (p *peer) raw(take func(packet.Packet)) {
	for {
		p.buf = p.buf[p.skip:]
		p.skip = 0
		pk, n, _, err := p.dec.Next(p.buf)
		if err != nil {
			p.t.Errorf("the bridge sent what is not MQTT 5: %v", err)
			return
		}
		if pk == nil {
			more := make([]byte, 4096)
			n, err := p.conn.Read(more)
			if err != nil {
				return
			}
			p.buf = append(p.buf, more[:n]...)
			continue
		}
		p.skip = n
		take(pk)
	}
}

// A server whose end of the connection is gone takes bytes and says nothing.
func TestHalfOpenLinkIsNoticedInTwoKeepAlives(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		var up, down time.Time
		pings := 0
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{})
			if len(w.connects(hostA)) > 1 {
				p.obey(nil)
				return
			}
			up = time.Now()
			p.raw(func(pk packet.Packet) {
				switch pk := pk.(type) {
				case *packet.Pingreq:
					pings++
				case *packet.Subscribe:
					p.send(&packet.Suback{ID: pk.ID, Codes: []packet.ReasonCode{2}})
				}
			})
			down = time.Now()
		})
		r.run()
		pass(2 * time.Minute)
		if d := down.Sub(up); d < 59*time.Second || d > time.Minute+time.Second || pings != 1 {
			t.Errorf("noticed after %v and %d pings, want a minute and one", d, pings)
		}
		if st := r.bridge.Status(); !strings.Contains(r.log.String(), "nothing has come for 30s") {
			t.Errorf("last error %q", st.LastError)
		}
	})
}

// On a slow line the answer to a ping is a long time behind other packets.
func TestALineThatIsSlowIsNotDead(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{})
			stop := make(chan struct{})
			go func() { // something always comes, and never the answer to a ping
				for {
					select {
					case <-stop:
						return
					case <-time.After(25 * time.Second):
						p.conn.Write((&packet.Publish{Topic: []byte("acme/g/x/set")}).Append(nil, packet.V5))
					}
				}
			}()
			p.raw(func(pk packet.Packet) {
				switch pk := pk.(type) {
				case *packet.Publish:
					p.ack(packet.PUBACK, pk.ID)
				case *packet.Subscribe:
					p.send(&packet.Suback{ID: pk.ID, Codes: []packet.ReasonCode{2}})
				}
			})
			close(stop)
		})
		r.run()
		pass(time.Hour)
		if st := r.bridge.Status(); !st.Connected || st.Connects != 1 {
			t.Errorf("connected %v, %d connects", st.Connected, st.Connects)
		}
	})
}

// The Server Keep Alive counts, and a ping more often than it asks for is allowed
// [MQTT-3.2.2-21].
func TestServerKeepAlive(t *testing.T) {
	for _, x := range []struct {
		name   string
		server *uint16
		every  time.Duration
	}{
		{"ours", nil, 30 * time.Second},
		{"a shorter one", new(uint16(10)), 10 * time.Second},
		{"a longer one", new(uint16(300)), 30 * time.Second},
		{"none", new(uint16(0)), 30 * time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
				var at []time.Time
				w.at(hostA, func(p *peer) {
					if !w.greet(p, hostA) {
						return
					}
					p.send(&packet.Connack{ServerKeepAlive: x.server})
					p.raw(func(pk packet.Packet) {
						switch pk := pk.(type) {
						case *packet.Pingreq:
							at = append(at, time.Now())
							p.send(&packet.Pingresp{})
						case *packet.Publish:
							p.ack(packet.PUBACK, pk.ID)
						case *packet.Subscribe:
							p.send(&packet.Suback{ID: pk.ID, Codes: []packet.ReasonCode{2}})
						}
					})
				})
				r.run()
				pass(10*time.Minute + time.Second)
				synctest.Wait()
				if want := int(10 * time.Minute / x.every); len(at) < want-1 || len(at) > want {
					t.Errorf("%d pings in ten minutes, want one every %v", len(at), x.every)
				}
			})
		})
	}
}

// A server that answers pings and has forgotten a message: the link is given up, and
// within one connection nothing is sent twice.
func TestWatchdog(t *testing.T) {
	for _, x := range []struct {
		name string
		// answer says what the server does with the nth message of a connection.
		answer func(n int) bool
		moving bool // messages keep coming
		bites  bool
	}{
		{"nothing is acknowledged", func(int) bool { return false }, false, true},
		{"one of many is not", func(n int) bool { return n != 3 }, true, true},
		{"all is", func(int) bool { return true }, true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
				var lasted []time.Duration
				w.at(hostA, func(p *peer) {
					if !w.greet(p, hostA) {
						return
					}
					begin, n, ids := time.Now(), 0, map[uint16]bool{}
					p.send(&packet.Connack{SessionPresent: len(w.connects(hostA)) > 1})
					for {
						pk, err := p.read(forever)
						if err != nil {
							break
						}
						m, ok := pk.(*packet.Publish)
						if !ok {
							continue
						}
						if string(m.Payload) == "online" {
							p.ack(packet.PUBACK, m.ID)
							continue
						}
						if ids[m.ID] {
							t.Errorf("%s came twice in one connection", m.Payload)
						}
						if n++; x.answer(n) {
							p.ack(packet.PUBACK, m.ID)
						} else {
							ids[m.ID] = true
						}
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					lasted = append(lasted, time.Since(begin))
				})
				r.run()
				pass(time.Second)
				for i := range 120 {
					if i < 5 || x.moving {
						r.publish("g/boiler/state", number(i), 1)
					}
					pass(5 * time.Second)
				}
				st := r.bridge.Status()
				if bitten := strings.Contains(r.log.String(), "answers pings and does not acknowledge"); bitten != x.bites || (st.Connects > 1) != x.bites {
					t.Fatalf("bitten %v after %d connects; log:\n%s", bitten, st.Connects, r.log)
				}
				if !x.bites {
					return
				}
				if lasted[0] < 30*time.Second || lasted[0] > time.Minute+30*time.Second {
					t.Errorf("the first connection lasted %v", lasted[0])
				}
				if !x.moving && (len(lasted) < 3 || len(lasted) > 6 || lasted[2] < 2*time.Minute) {
					t.Errorf("it does not become more patient: %v", lasted)
				}
			})
		})
	}
}

// A server that is only slow keeps its connection, with hours of work in the window.
func TestASlowServerIsNotStuck(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{})
			due := time.Now()
			ack := func(id uint16) {
				due = later(due, time.Now()).Add(10 * time.Second)
				time.AfterFunc(time.Until(due), func() { p.conn.Write((&packet.Ack{Kind: packet.PUBACK, ID: id}).Append(nil, packet.V5)) })
			}
			for {
				pk, err := p.read(forever)
				if err != nil {
					return
				}
				if m, ok := pk.(*packet.Publish); ok {
					ack(m.ID)
				}
			}
		})
		for i := range 100 {
			r.publish("g/boiler/state", number(i), 1)
		}
		r.run()
		pass(30 * time.Minute)
		if st := r.bridge.Status(); st.Connects != 1 || st.Queued != 0 {
			t.Errorf("%d connects, %d queued", st.Connects, st.Queued)
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A server that stops reading holds nothing up but its own link.
func TestAServerThatDoesNotReadIsLeft(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			p.send(&packet.Connack{SessionPresent: len(w.connects(hostA)) > 1})
			if len(w.connects(hostA)) > 1 {
				p.obey(nil)
				return
			}
			for range 2 { // the status and the subscription
				p.read(time.Second)
			}
			time.Sleep(forever) // and then never again
		})
		r.run()
		pass(time.Second)
		for i := range 2000 {
			r.offer("g/boiler/state", number(i), 1)
		}
		r.publish("g/boiler/state", "the last", 1) // nobody waits for the cloud
		pass(2 * time.Minute)
		if st := r.bridge.Status(); st.Connects != 2 || st.Queued != 0 {
			t.Errorf("%d connects, %d queued; last error %q", st.Connects, st.Queued, st.LastError)
		}
		r.close()
		time.Sleep(forever) // for the server that sleeps
	})
}
