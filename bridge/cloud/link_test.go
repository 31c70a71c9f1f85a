package cloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

func TestStatusAndWillAgree(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.publish("g/boiler/state", "queued long before", 1)
	stop := r.run()
	p, c := s.accept()
	if w := c.Will; w == nil || string(w.Topic) != "gateways/g/status" || string(w.Payload) != "offline" || !w.Retain || w.QoS != 1 {
		t.Fatalf("will = %+v", c.Will)
	}
	p.connack(false)
	p.status("online") // before the backlog
	p.message("queued long before", 1, false)
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	p.status("offline")
	if d := expect[*packet.Disconnect](p); d.Code != packet.NormalDisconnection {
		t.Errorf("DISCONNECT %v; the server has the status, it needs no will", d.Code)
	}
	p.ended()
	<-ended
	noneLeft(t)
}

// noneLeft checks that nothing of a link runs any more. The library's own last
// steps may follow the end of its client by a moment.
func noneLeft(t *testing.T) {
	t.Helper()
	var stacks string
	for end := time.Now().Add(patience); time.Now().Before(end); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "paho.golang/") && !strings.Contains(stacks, "cloud.(*link)") && !strings.Contains(stacks, "cloud.(*Bridge)") {
			return
		}
	}
	t.Errorf("goroutines of the link are left:\n%s", stacks)
}

func TestStopWithoutAnswerLeavesItToTheWill(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	stop := r.run()
	p := s.welcome(false)
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	if m := expect[*packet.Publish](p); string(m.Payload) != "offline" {
		t.Fatalf("got %q", m.Payload)
	}
	if d := expect[*packet.Disconnect](p); d.Code != packet.DisconnectWithWillMessage {
		t.Errorf("DISCONNECT %v, want the one that makes the server send the will", d.Code)
	}
	<-ended
}

func TestLocalStateFollowsTheLink(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	states, flags := r.subscribe("g/cloud/acme/state"), r.subscribe("$SYS/broker/connection/+/state")
	stop := r.run()
	flags.want(t, "$SYS/broker/connection/g-1/state", "0")
	p := s.welcome(false)
	flags.want(t, "$SYS/broker/connection/g-1/state", "1")
	p.cut()
	flags.want(t, "$SYS/broker/connection/g-1/state", "0")
	p = s.welcome(true)
	flags.want(t, "$SYS/broker/connection/g-1/state", "1")
	p.cut()
	s.ln.Close()
	flags.want(t, "$SYS/broker/connection/g-1/state", "0")
	r.publish("g/boiler/state", "waits", 1)
	for {
		select {
		case m := <-states:
			var st struct {
				Connected bool
				Server    string
				Since     time.Time
				Queued    int
				LastError string `json:"last_error"`
			}
			if err := json.Unmarshal(m.Payload, &st); err != nil || !m.Retain {
				t.Fatalf("state %s retained %v: %v", m.Payload, m.Retain, err)
			}
			if st.Queued == 1 && !st.Connected && st.Server == s.url() && st.LastError == "connect to "+s.url()+": connection refused (is it running at "+s.ln.Addr().String()+"?)" {
				stop()
				return
			}
		case <-time.After(patience):
			t.Fatalf("no state says it all; status %+v", r.bridge.Status())
		}
	}
}

func TestFailureIsLoggedOnce(t *testing.T) {
	s := newServer(t)
	s.ln.Close()
	tries := make(chan struct{}, 1000)
	cfg := testConfig(s.url())
	dialer := net.Dialer{}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		tries <- struct{}{}
		return dialer.DialContext(ctx, network, address)
	}
	r := newRig(t, cfg, nil)
	stop := r.run()
	for range 10 {
		<-tries
	}
	stop()
	log := r.log.String()
	if n := strings.Count(log, "cloud link down"); n != 1 || !strings.Contains(log, "is it running at") {
		t.Errorf("%d lines for ten tries, want one with the next step:\n%s", n, log)
	}
}

// That the server closed the connection is known when it cannot be reached any more for a reason of its own.
func TestWhyThereIsNoNewLinkIsLoggedToo(t *testing.T) {
	s := newServer(t)
	tries := make(chan struct{}, 1000)
	cfg := testConfig(s.url())
	dialer := net.Dialer{}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		tries <- struct{}{}
		return dialer.DialContext(ctx, network, address)
	}
	r := newRig(t, cfg, nil)
	stop := r.run()
	p := s.welcome(false)
	r.until("connected", func(st cloud.Status) bool { return st.Connected })
	s.ln.Close()
	p.conn.Close()
	for range 10 {
		<-tries
	}
	stop()
	var reasons []string
	for line := range strings.Lines(r.log.String()) {
		if _, err, ok := strings.Cut(line, "err="); ok && strings.Contains(line, "cloud link down") {
			reasons = append(reasons, err)
		}
	}
	if len(reasons) != 2 || !strings.Contains(reasons[1], "is it running at") || strings.Contains(reasons[0], "is it running at") {
		t.Errorf("the log says %q; want why the link ended, and why there is no new one", reasons)
	}
}

func TestNextServerWhenOneFails(t *testing.T) {
	a, b := newServer(t), newServer(t)
	cfg := testConfig(a.url())
	cfg.Servers = append(cfg.Servers, b.url())
	a.ln.Close()
	r := newRig(t, cfg, nil)
	r.run()
	b.welcome(false)
	r.until("connected to the second", func(s cloud.Status) bool { return s.Connected && s.Server == b.url() })
}

func TestCutInTheMiddleOfAPacket(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	got := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	whole := down("halved", 5, 2, false).Append(nil, packet.V5)
	if _, err := p.conn.Write(whole[:len(whole)/2]); err != nil {
		t.Fatal(err)
	}
	p.cut()
	p = s.welcome(true)
	p.send(down("halved", 5, 2, true))
	p.wantAck(packet.PUBREC, 5, 0)
	got.want(t, "g/valve/set", "halved")
	got.wantNothing(t)
}

func TestRefusedConnectSaysWhatToDo(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.run()
	p, _ := s.accept()
	p.connack(false, func(c *packet.Connack) { c.Code, c.ReasonString = packet.BadUserNameOrPassword, "no such user" })
	r.until("refused", func(st cloud.Status) bool {
		return strings.Contains(st.LastError, "bad user name or password") && strings.Contains(st.LastError, "no such user")
	})
	p, _ = s.accept()
	p.connack(false)
	if log := r.log.String(); !strings.Contains(log, "check username and password_file") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}
}

func TestGarbageInsteadOfMQTT(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	r.run()
	p, _ := s.accept()
	p.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) // looks like the beginning of a PUBACK
	p.cut()
	r.until("it says so", func(st cloud.Status) bool { return strings.Contains(st.LastError, "MQTT") })
	p, _ = s.accept()
	p.conn.Write([]byte{0, 0}) // no packet type
	p.ended()
	p = s.welcome(false)
	p.conn.Write([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}) // 256 MB to come
	p.ended()
	r.until("it says so", func(st cloud.Status) bool { return strings.Contains(st.LastError, "maximum packet size") })
	s.welcome(true)
}

func TestStopBeforeTheServerAnswers(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	stop := r.run()
	p, _ := s.accept() // and no CONNACK
	stop()
	p.ended()
}

func TestDialErrors(t *testing.T) {
	cfg := testConfig("mqtts://127.0.0.1:1")
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("cut on purpose") }
	r := newRig(t, cfg, nil)
	r.run()
	r.until("the error is shown", func(st cloud.Status) bool {
		return strings.Contains(st.LastError, "cut on purpose") && time.Since(st.LastErrorAt) < patience
	})
}
