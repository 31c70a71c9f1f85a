package broker_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/buffer"
)

// house is a broker with its store, on a port of its own.
type house struct {
	*broker.Broker
	t     testing.TB
	store *buffer.Store
	addr  string
	pipes *pipes // inside a bubble: the listener instead of addr
	stop  func()

	panics int64 // that the test provoked
}

func logger(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

func storeConfig() buffer.Config {
	c := buffer.DefaultConfig()
	c.Sync = time.Millisecond // a test has no card to spare
	c.Lazy = 5 * time.Millisecond
	return c
}

// open starts a broker on the store in dir.
func open(t testing.TB, dir string, cfg broker.Config) *house {
	t.Helper()
	return openStore(t, dir, cfg, storeConfig())
}

func openStore(t testing.TB, dir string, cfg broker.Config, sc buffer.Config) *house {
	t.Helper()
	ln, err := broker.Listen(loopback)
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, dir, cfg, sc, ln)
}

var loopback = broker.ListenerConfig{Address: "tcp://127.0.0.1:0"}

// openOn starts a broker on the store in dir, with a listener that it closes.
func openOn(t testing.TB, dir string, cfg broker.Config, sc buffer.Config, ln net.Listener, opts ...buffer.Option) *house {
	t.Helper()
	store, err := buffer.Open(filepath.Join(dir, "gateway.db"), sc, logger(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, store: store, addr: ln.Addr().String()}
	if h.Broker, err = broker.New(cfg, store, logger(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- h.Serve(ctx, ln, loopback) }()
	go func() { ended <- h.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if n := h.Stats().Panics; n != h.panics {
			t.Errorf("%d panics in connections", n)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(h.stop)
	return h
}

func config() broker.Config {
	c := broker.DefaultConfig()
	c.SysInterval = 0
	c.ConnectTimeout = time.Hour // else it would end within a test's patience what the broker should have refused
	return c
}

// serveMore opens another listener of the same broker.
func (h *house) serveMore(l broker.ListenerConfig) net.Addr {
	h.t.Helper()
	ln, err := broker.Listen(l)
	if err != nil {
		h.t.Fatal(err)
	}
	h.serveOn(ln, l)
	return ln.Addr()
}

// serveOn serves a listener until the end of the test.
func (h *house) serveOn(ln net.Listener, l broker.ListenerConfig) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln, l) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
}

func TestSuiteOverTCP(t *testing.T) {
	brokertest.Run(t, open(t, t.TempDir(), config()).addr)
}

func TestSuiteOverUnixSocket(t *testing.T) {
	h := open(t, t.TempDir(), config())
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	h.serveMore(broker.ListenerConfig{Address: "unix://" + path})
	brokertest.Run(t, "unix://"+path)
}

func TestSuiteOverWebSocket(t *testing.T) {
	h := open(t, t.TempDir(), config())
	at := h.serveMore(broker.ListenerConfig{Address: "ws://127.0.0.1:0"})
	brokertest.Run(t, "ws://"+at.String()+"/mqtt")
}

func TestSuiteOverSecureWebSocket(t *testing.T) {
	h := open(t, t.TempDir(), config())
	cert, key := files(t, certificate(t, "the gateway", nil))
	at := h.serveMore(broker.ListenerConfig{Address: "wss://127.0.0.1:0", Path: "/m", TLS: broker.TLSConfig{Cert: cert, Key: key}})
	brokertest.Run(t, "wss://"+at.String()+"/m")
}

// The suite itself is tested by a broker that is not ours.
func TestSuiteAgainstMosquitto(t *testing.T) {
	addr := brokertest.Mosquitto(t, "")
	brokertest.Run(t, addr,
		"a second connection takes over",                                      // without DISCONNECT 0x8E
		"PUBREL for nothing is answered",                                      // with success
		"a second CONNECT ends the connection",                                // without DISCONNECT 0x82
		"the client's Receive Maximum is kept",                                // not at the second message
		"a delayed will is not published if the client is back in time",       // not published when the session ends either
		"a will with a delay longer than the session is published at its end", // with its delay
		"DISCONNECT with any other code than 0 keeps the will",                // with 0x04 only
		"an unknown protocol level is refused",                                // in the words of 3.x, also to MQTT 5
		"overlapping subscriptions: the highest QoS counts",                   // a copy for each of them
		"one copy carries the identifiers of all overlapping subscriptions",   // the same
		"a subscription that is replaced loses its identifier and options",    // No Local stays
		"AUTH without an authentication method ends the connection",           // without DISCONNECT 0x82
		"an acknowledgement that does not fit the QoS ends the connection",    // without DISCONNECT 0x82
		"a subscription identifier from a client ends the connection",         // it is taken
		"a SUBSCRIBE without filters",                                         // in 3.1 an empty SUBACK
		"an UNSUBSCRIBE without filters",                                      // in 3.1 it is answered
		"a SUBSCRIBE of MQTT 5 with No Local on a share",                      // granted
		"a PUBLISH of QoS 0 with DUP",                                         // these are taken
		"a PUBLISH of MQTT 5 of QoS 0 with DUP",
		"a PUBLISH of MQTT 5 with a wildcard in its response topic",
		"a PUBACK with bytes behind",
		"a PUBACK of MQTT 5 with bytes behind",
		"a PUBACK of MQTT 5 with an unknown reason code",
		"a PUBREC of MQTT 5 with an unknown reason code",
		"a PUBREL of MQTT 5 with an unknown reason code",
		"a PUBCOMP of MQTT 5 with an unknown reason code",
		"a PINGREQ with wrong flags",
		"a PINGREQ with a body",
		"a PUBLISH of MQTT 5 with topic alias 0",    // with 0x81
		"a PUBLISH of MQTT 5 with a property twice", // these without DISCONNECT
		"a PUBACK with identifier 0",
		"a PUBREL of MQTT 5 with wrong flags",
		"a DISCONNECT of MQTT 5 with wrong flags",
		"a DISCONNECT of MQTT 5 with an unknown reason code",
		"an AUTH with wrong flags",
		"a CONNACK from a client",
		"a remaining length of five bytes",
	)
}

func TestMain(m *testing.M) {
	if strings.HasPrefix(os.Getenv("BROKER_TEST_ROLE"), "victim") {
		victim()
		return
	}
	os.Exit(m.Run())
}
