package cloud_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
	"edgegateway/internal/need"
)

// Packets travel in binary frames [MQTT-6.0.0-1], several in one or one in several
// [MQTT-6.0.0-2], under the subprotocol mqtt [MQTT-6.0.0-3].
func TestWebSocketCarriesManyPacketsInOneMessage(t *testing.T) {
	s := newServer(t)
	f := newFront(t, s, nil, true)
	cfg := testConfig("ws://" + f.address + "/mqtt?key=secret")
	var writes atomic.Int64
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return writeCounter{c, &writes}, err
	}
	r := newRig(t, cfg, nil)
	const n = 100
	for i := range n {
		r.publish("g/boiler/state", number(i), 1)
	}
	stop := r.run()
	ask := <-f.asked
	if ask.URL.RequestURI() != "/mqtt?key=secret" || ask.Header.Get("Sec-WebSocket-Protocol") != "mqtt" || ask.Host != f.address {
		t.Errorf("asked for %s of %s with subprotocol %q", ask.URL, ask.Host, ask.Header.Get("Sec-WebSocket-Protocol"))
	}
	p := s.welcome(false)
	for i := range n {
		m := p.message(number(i), 1, false)
		p.ack(packet.PUBACK, m.ID)
	}
	r.drained()
	// CONNECT, the status, SUBSCRIBE, a ping, and the backlog in a few.
	if got := f.messages.Load(); got > n/4 {
		t.Errorf("%d messages of WebSocket for %d of MQTT", got, n)
	}
	// Each in one write, after the one that asks for the upgrade. The last may be on its way.
	r.until("each write has brought a message", func(cloud.Status) bool { return writes.Load() <= f.messages.Load()+1 })
	if st := r.bridge.Status(); strings.Contains(st.Server, "secret") || st.Server != "ws://"+f.address+"/mqtt" {
		t.Errorf("the server is shown as %s", st.Server)
	}
	got := r.subscribe("g/+/set")
	p.send(down("comes in frames of seven bytes", 5, 2, false))
	p.wantAck(packet.PUBREC, 5, 0)
	got.want(t, "g/valve/set", "comes in frames of seven bytes")
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	p.status("offline")
	<-ended
}

// writeCounter counts what would be TLS records.
type writeCounter struct {
	net.Conn
	n *atomic.Int64
}

func (c writeCounter) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}

func TestWebSocketThatWasCutComesBack(t *testing.T) {
	s := newServer(t)
	f := newFront(t, s, nil, true)
	r := newRig(t, testConfig("ws://"+f.address+"/mqtt"), nil)
	r.run()
	p := s.welcome(false)
	p.subscribes(2) // the route's and the markers: nothing is under way that the cut could meet
	p.cut()
	r.until("the end is noticed", func(st cloud.Status) bool { return strings.Contains(st.LastError, "the server closed the connection") })
	s.welcome(true)
}

func TestWebSocketRedirectIsNotFollowed(t *testing.T) {
	s := newServer(t)
	f := newFront(t, s, nil, true)
	r := newRig(t, testConfig("ws://"+f.address+"/other"), nil)
	r.run()
	r.until("it says where", func(st cloud.Status) bool {
		return strings.Contains(st.LastError, `the server sends us to "/mqtt"`) && strings.Contains(st.LastError, "put that into servers")
	})
}

func TestWebSocketAtAPortOfPlainMQTT(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig("ws://"+s.ln.Addr().String()+"/mqtt"), nil)
	r.run()
	c, err := s.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	r.until("it says so", func(st cloud.Status) bool {
		return strings.Contains(st.LastError, "is it a port for WebSocket?")
	})
}

// A real broker behind a WebSocket, with and without TLS, both ways at QoS 2.
func TestMosquittoOverWebSocketAndTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.sign("server.test")
	secure := "certfile " + cert + "\nkeyfile " + key
	for _, c := range []struct{ scheme, path, settings string }{
		{"ws", "/mqtt", "protocol websockets"},
		{"wss", "/", "protocol websockets\n" + secure},
		{"mqtts", "", secure},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			other := need.Port(t)
			_, port, _ := net.SplitHostPort(other)
			// As root it would read the key as somebody else.
			address := mosquitto(t, "user root", "listener "+port+" 127.0.0.1", c.settings)
			cfg := testConfig(c.scheme + "://" + other + c.path)
			cfg.TLS.CA = a.file
			r := newRig(t, cfg, nil)
			upstream := observe(t, address, "acme/g/+/state")
			got := r.subscribe("g/+/set")
			const n = 500
			for i := range n {
				r.offer("g/boiler/state", number(i), 2)
			}
			r.run()
			for i := range n {
				if m := upstream.message(); string(m.Payload) != number(i) {
					t.Fatalf("got %s, want %s", m.Payload, number(i))
				}
			}
			r.drained()
			for i := range n {
				upstream.publish("acme/g/valve/set", number(i), 2)
			}
			for i := range n {
				got.want(t, "g/valve/set", number(i))
			}
		})
	}
}
