package broker_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

func TestConnectionLimit(t *testing.T) {
	cfg := config()
	cfg.MaxConnections = 2
	h := open(t, t.TempDir(), cfg)
	a := connect(t, h, packet.V311, "a", true)
	connect(t, h, packet.V311, "b", true)
	for v, code := range map[packet.Version]packet.ReasonCode{packet.V31: packet.ServerUnavailable, packet.V311: packet.ServerUnavailable, packet.V5: packet.ServerBusy} {
		brokertest.Dial(t, h.addr, v).Send(&packet.Connect{ClientID: "c", CleanStart: true}).
			Expect(&packet.Connack{Code: code}).ExpectClosed()
	}
	if st := h.Stats(); st.Connections != 2 || st.ConnectionsRefused != 3 {
		t.Errorf("%d connections and %d refused, want 2 and 3", st.Connections, st.ConnectionsRefused)
	}
	a.Leave()
	h.free(1)
	connect(t, h, packet.V311, "c", true).ExpectNothing()
}

// free waits until the places of connections that have ended can be taken.
func (h *house) free(left int) {
	h.t.Helper()
	for until := time.Now().Add(brokertest.Patience); h.Stats().Connections > left; {
		if time.Now().After(until) {
			h.t.Fatalf("%d connections, want %d", h.Stats().Connections, left)
		}
	}
}

func TestListenersHaveLimitsOfTheirOwn(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", MaxConnections: 1, ConnectTimeout: time.Second}).String()
	web := "ws://" + h.serveMore(broker.ListenerConfig{Address: "ws://127.0.0.1:0", MaxConnections: 1}).String() + "/mqtt"
	for _, addr := range []string{addr, web} {
		one, _ := brokertest.Connect(t, addr, packet.V5, &packet.Connect{ClientID: "one" + addr, CleanStart: true})
		brokertest.Dial(t, addr, packet.V5).Send(&packet.Connect{ClientID: "two", CleanStart: true}).
			Expect(&packet.Connack{Code: packet.ServerBusy}).ExpectClosed()
		before := h.Stats().Connections
		connect(t, h, packet.V311, "elsewhere"+addr, true)
		one.Leave()
		h.free(before)
		brokertest.Connect(t, addr, packet.V5, &packet.Connect{ClientID: "two", CleanStart: true})
	}
	// A connection of an upgrade that is not finished counts as well.
	upgrading := h.serveMore(broker.ListenerConfig{Address: "ws://127.0.0.1:0", MaxConnections: 1}).String()
	nc, err := net.Dial("tcp", upgrading)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	brokertest.Dial(t, "ws://"+upgrading+"/mqtt", packet.V5).Send(&packet.Connect{ClientID: "three", CleanStart: true}).
		Expect(&packet.Connack{Code: packet.ServerBusy}).ExpectClosed()
}

func TestListenerKeysAreChecked(t *testing.T) {
	for text, l := range map[string]broker.ListenerConfig{
		"":                 {Address: "ws://127.0.0.1:0", Path: "/x/y", Origins: []string{"https://a.example", "http://[::1]:80", "*"}},
		"path must begin":  {Address: "ws://127.0.0.1:0", Path: "mqtt"},
		"path is for":      {Address: "tcp://127.0.0.1:0", Path: "/mqtt"},
		"belongs into":     {Address: "ws://127.0.0.1:0/mqtt"},
		"origins is for":   {Address: "tls://127.0.0.1:0", Origins: []string{"*"}, TLS: broker.TLSConfig{Cert: "c", Key: "k"}},
		"origins[1] must":  {Address: "ws://127.0.0.1:0", Origins: []string{"http://a", "a.example"}},
		"tls.cert and":     {Address: "wss://127.0.0.1:0"},
		"tls is set":       {Address: "ws://127.0.0.1:0", TLS: broker.TLSConfig{Cert: "c", Key: "k"}},
		"max_connections":  {Address: "tcp://127.0.0.1:0", MaxConnections: -1},
		"connect_timeout":  {Address: "tcp://127.0.0.1:0", ConnectTimeout: time.Millisecond},
		"address must be ": {Address: "http://127.0.0.1:0"},
	} {
		err := l.Validate()
		if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
			t.Errorf("%+v: got %v, want %q", l, err, text)
		}
	}
}
