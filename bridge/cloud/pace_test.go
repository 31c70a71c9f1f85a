package cloud_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

const hostA, hostB, hostC = "a.test:1883", "b.test:1883", "c.test:1883"

// A server that accepts and throws out is no reason to ask it again and again: one
// attempt per second on average, in every minute, and much less in the long run.
func TestNoStormAgainstAServerThatThrowsUsOut(t *testing.T) {
	for _, then := range [][]packet.Packet{{&packet.Disconnect{Code: packet.ServerShuttingDown}}, nil} {
		timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
			w.at(hostA, w.says(hostA, &packet.Connack{}, then...))
			r.run()
			pass(time.Hour)
			at := w.tried(hostA)
			for i := range at {
				if n := len(slices.DeleteFunc(slices.Clone(at), func(d time.Duration) bool { return d < at[i] || d >= at[i]+time.Minute })); n > 60 {
					t.Errorf("%d attempts within one minute", n)
				}
			}
			// Waits of half a minute on average after the first six.
			if n := len(at); n < 90 || n > 170 {
				t.Errorf("%d attempts in an hour, want about 126", n)
			}
			short, long := 0, 0
			for _, g := range gaps(at)[6:] {
				switch {
				case g < 20*time.Second:
					short++
				case g > 40*time.Second:
					long++
				}
			}
			if short < 10 || long < 10 {
				t.Errorf("%d short and %d long waits: no jitter", short, long)
			}
		})
	}
}

func TestServersAreNotAskedAllAtOnce(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA, "mqtt://" + hostB, "mqtt://" + hostC}, nil, func(w *web, r *rig) {
		r.run()
		pass(10 * time.Minute)
		if one, two := w.tried(hostA)[0], w.tried(hostB)[0]; one == two {
			t.Errorf("two servers are asked at the same moment, %v", one)
		}
		n := len(w.tried(hostA)) + len(w.tried(hostB)) + len(w.tried(hostC))
		if n > 600 || n < 30 || len(w.tried(hostC)) == 0 {
			t.Errorf("%d attempts in ten minutes", n)
		}
	})
}

func TestHowSoonAfterEachSortOfRefusal(t *testing.T) {
	refused := func(code packet.ReasonCode) []packet.Packet { return []packet.Packet{&packet.Connack{Code: code}} }
	thrown := func(code packet.ReasonCode) []packet.Packet {
		return []packet.Packet{&packet.Connack{}, &packet.Disconnect{Code: code}}
	}
	for _, x := range []struct {
		name        string
		packets     []packet.Packet
		least, most time.Duration // of a wait, but for the first ones
		say         string
	}{
		{"unavailable", refused(packet.ServerUnavailable), 0, time.Minute, "not ready"},
		{"busy", refused(packet.ServerBusy), 5 * time.Minute, 10 * time.Minute, "too much to do"},
		{"password", refused(packet.BadUserNameOrPassword), 7 * time.Minute, 15 * time.Minute, "check username and password_file"},
		{"taken over", thrown(packet.SessionTakenOver), 5 * time.Minute, 10 * time.Minute, "another client uses this client_id"},
		{"not authorized later", thrown(packet.NotAuthorized), 5 * time.Minute, 10 * time.Minute, "what the server lets this user"},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
				w.at(hostA, w.says(hostA, x.packets[0].(*packet.Connack), x.packets[1:]...))
				r.run()
				pass(4 * time.Hour)
				g := gaps(w.tried(hostA))
				if len(g) < 10 {
					t.Fatalf("%d attempts in 4 hours", len(g)+1)
				}
				if x.least > 0 && g[0] < 30*time.Second {
					t.Errorf("the first wait is %v", g[0])
				}
				if x.name == "password" && g[1] < 7*time.Minute {
					t.Errorf("the second wait is %v, and one minute was enough for a server that starts", g[1])
				}
				for _, d := range g[6:] {
					if d < x.least || d > x.most+time.Minute+time.Second {
						t.Errorf("a wait of %v, want %v to %v", d, x.least, x.most)
					}
				}
				if st := r.bridge.Status(); !strings.Contains(st.LastError, x.say) {
					t.Errorf("last error %q does not say %q", st.LastError, x.say)
				}
			})
		})
	}
}

// A password that was put right is tried at once, however long the wait had become.
func TestAFileThatChangedEndsTheWait(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	spoil := func(cfg *cloud.Config) { cfg.Username, cfg.PasswordFile = "gw", file }
	timed(t, []string{"mqtt://" + hostA}, spoil, func(w *web, r *rig) {
		w.at(hostA, w.says(hostA, &packet.Connack{Code: packet.BadUserNameOrPassword}))
		r.run()
		pass(time.Hour)
		before := len(w.connects(hostA))
		if err := os.WriteFile(file, []byte("right one"), 0o600); err != nil {
			t.Fatal(err)
		}
		pass(6 * time.Second)
		all := w.connects(hostA)
		if len(all) != before+1 || string(all[before].Password) != "right one" {
			t.Errorf("%d attempts before the change and %d six seconds after, the last with %q", before, len(all), all[len(all)-1].Password)
		}
	})
}

// Waits start anew after a connection that lasted, and not after one that did not.
func TestAConnectionCountsAfterItHasLasted(t *testing.T) {
	for _, x := range []struct {
		name   string
		lasts  time.Duration
		status bool // acknowledged
		quick  bool
	}{
		{"nine seconds", 9 * time.Second, true, false},
		{"eleven seconds", 11 * time.Second, true, true},
		{"a server that acknowledges nothing", 40 * time.Second, false, false},
		{"a minute without an acknowledgement", 61 * time.Second, false, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, func(cfg *cloud.Config) { cfg.KeepAlive = 5 * time.Minute }, func(w *web, r *rig) {
				w.at(hostA, func(p *peer) {
					if !w.greet(p, hostA) {
						return
					}
					p.send(&packet.Connack{SessionPresent: len(w.connects(hostA)) > 1})
					p.conn.SetReadDeadline(time.Now().Add(x.lasts))
					end := time.AfterFunc(x.lasts, func() { p.conn.Close() })
					defer end.Stop()
					for {
						pk, err := p.read(forever)
						if err != nil {
							return
						}
						if m, ok := pk.(*packet.Publish); ok && x.status {
							p.ack(packet.PUBACK, m.ID)
						}
					}
				})
				r.run()
				pass(2 * time.Hour)
				var sum time.Duration
				g := gaps(w.tried(hostA))[8:]
				for _, d := range g {
					sum += d - x.lasts
				}
				if mean := sum / time.Duration(len(g)); (mean < 2*time.Second) != x.quick {
					t.Errorf("the mean wait is %v", mean)
				}
			})
		})
	}
}

// A link that breaks every few seconds and carries messages meanwhile is tried again no
// later than it lasted, and is up for most of the time; one that carries none is left
// alone for longer and longer.
func TestALinkThatBreaksAndServesIsTriedAgainSoon(t *testing.T) {
	for _, x := range []struct {
		name   string
		lasts  time.Duration
		serves bool
		least  int // attempts in ten minutes
		most   int
	}{
		{"serves for 3 s", 3 * time.Second, true, 130, 175},           // 3 s and up to 2 s
		{"serves for 1.5 s", 1500 * time.Millisecond, true, 265, 345}, // 1.5 s and up to 1 s
		{"serves for half a second", 500 * time.Millisecond, true, 12, 45},
		{"lasts for 3 s and takes no message", 3 * time.Second, false, 12, 45},
	} {
		t.Run(x.name, func(t *testing.T) {
			timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
				w.at(hostA, func(p *peer) {
					if !w.greet(p, hostA) {
						return
					}
					p.send(&packet.Connack{SessionPresent: len(w.connects(hostA)) > 1})
					end := time.AfterFunc(x.lasts, func() { p.conn.Close() })
					defer end.Stop()
					for {
						pk, err := p.read(forever)
						if err != nil {
							return
						}
						// The status is not a message of anybody's.
						if m, ok := pk.(*packet.Publish); ok && (x.serves || m.Retain) {
							p.ack(packet.PUBACK, m.ID)
						}
					}
				})
				r.run()
				for range 600 {
					r.offer("g/boiler/state", "21", 1)
					pass(time.Second)
				}
				if n := len(w.tried(hostA)); n < x.least || n > x.most {
					t.Errorf("%d attempts in ten minutes, want %d to %d", n, x.least, x.most)
				}
			})
		})
	}
}

func TestAServerOfMQTT311IsNamed(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, func(p *peer) {
			if w.greet(p, hostA) {
				p.conn.Write((&packet.Connack{Code: packet.UnsupportedProtocolVersion}).Append(nil, packet.V311))
			}
		})
		r.run()
		pass(time.Hour)
		synctest.Wait()
		if st := r.bridge.Status(); !strings.Contains(st.LastError, "answers CONNECT in MQTT 3.1.1") || len(w.tried(hostA)) > 8 {
			t.Errorf("%d attempts in an hour; last error %q", len(w.tried(hostA)), st.LastError)
		}
	})
}

// The will asks for what the server can: no refusal lasts over that.
func TestTheWillAsksForLess(t *testing.T) {
	timed(t, []string{"mqtt://" + hostA}, nil, func(w *web, r *rig) {
		w.at(hostA, func(p *peer) {
			if !w.greet(p, hostA) {
				return
			}
			all := w.connects(hostA)
			switch will := all[len(all)-1].Will; {
			case will.QoS > 0:
				p.send(&packet.Connack{Code: packet.QoSNotSupported})
			case will.Retain:
				p.send(&packet.Connack{Code: packet.RetainNotSupported})
			default:
				p.send(&packet.Connack{MaximumQoS: new(packet.QoS0), RetainUnavailable: true})
				p.obey(nil)
			}
		})
		r.run()
		pass(10 * time.Second)
		if st := r.bridge.Status(); !st.Connected || len(w.tried(hostA)) != 3 {
			t.Errorf("connected %v after %d attempts; last error %q", st.Connected, len(w.tried(hostA)), st.LastError)
		}
	})
}
