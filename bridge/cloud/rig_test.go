package cloud_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
	"edgegateway/internal/need"
)

// patience is how long a test waits for what must come.
const patience = need.Patience

// rig is a gateway around a bridge: store, broker, bridge.
type rig struct {
	t      *testing.T
	dir    string
	cfg    cloud.Config
	tune   func(*cloud.Bridge)
	store  *buffer.Store
	broker *broker.Broker
	bridge *cloud.Bridge
	stop   func()
	log    *syncBuffer
	sync   time.Duration // of the store
}

func newRig(t *testing.T, cfg cloud.Config, tune func(*cloud.Bridge)) *rig {
	return newRigSync(t, cfg, tune, 2*time.Millisecond)
}

func newRigSync(t *testing.T, cfg cloud.Config, tune func(*cloud.Bridge), sync time.Duration) *rig {
	r := &rig{t: t, dir: t.TempDir(), cfg: cfg, tune: tune, log: new(syncBuffer), sync: sync}
	r.open()
	t.Cleanup(func() {
		r.close()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", r.log)
		}
	})
	return r
}

func (r *rig) open() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.log, nil))
	bc := buffer.DefaultConfig()
	bc.Sync = r.sync
	st, err := buffer.Open(filepath.Join(r.dir, "store"), bc, log)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := broker.DefaultConfig()
	cfg.Listeners = nil
	br, err := broker.New(cfg, st, log)
	if err != nil {
		r.t.Fatal(err)
	}
	b, err := cloud.New(r.cfg, cloud.Env{
		ID: "g", Prefix: "g", Version: "test", DataDir: r.dir, Started: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC), ConfigHash: "c0ffee",
	}, br, st, log)
	if err != nil {
		r.t.Fatal(err)
	}
	b.SetBackoff(time.Millisecond, 20*time.Millisecond)
	b.SetReport(10 * time.Millisecond)
	if r.tune != nil {
		r.tune(b)
	}
	r.store, r.broker, r.bridge = st, br, b
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { br.Run(ctx) })
	r.stop = func() {
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			r.t.Errorf("close the store: %v", err)
		}
	}
}

// run starts the bridge; the function it returns stops it and waits for its end.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.bridge.Run(ctx); err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			r.t.Fatal("Run does not return")
		}
	})
	below := r.stop
	r.stop = func() { stop(); below() }
	return stop
}

func (r *rig) close() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// publish sends a message from a local publisher and returns when it is safe.
func (r *rig) publish(name, payload string, qos byte) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m := broker.Message{Topic: name, Payload: []byte(payload), QoS: qos}
	if err := r.broker.Local("test", broker.Rights{}).Publish(m).Wait(ctx); err != nil {
		r.t.Fatalf("publish %s: %v", payload, err)
	}
}

// offer is publish without the wait for the disk.
func (r *rig) offer(name, payload string, qos byte) {
	r.broker.Local("test", broker.Rights{}).Publish(broker.Message{Topic: name, Payload: []byte(payload), QoS: qos})
}

// sink collects what a local subscriber gets.
type sink chan broker.Message

func (s sink) Deliver(d *broker.Delivery) { s <- *d.Message }

func (r *rig) subscribe(filter string) sink {
	r.t.Helper()
	s := make(sink, 100_000)
	if err := r.broker.Local("watch", broker.Rights{}).Subscribe(filter, broker.SubscribeOptions{QoS: 2, RetainAsPublished: true}, s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (s sink) want(t *testing.T, topic, payload string) broker.Message {
	t.Helper()
	select {
	case m := <-s:
		if m.Topic != topic || string(m.Payload) != payload {
			t.Fatalf("got %s %q, want %s %q", m.Topic, m.Payload, topic, payload)
		}
		return m
	case <-time.After(patience):
		t.Fatalf("no message; want %s %q", topic, payload)
	}
	panic("unreachable")
}

func (s sink) wantNothing(t *testing.T) {
	t.Helper()
	select {
	case m := <-s:
		t.Fatalf("got %s %q, want nothing", m.Topic, m.Payload)
	default:
	}
}

// until waits for a condition that nothing announces.
func (r *rig) until(what string, ok func(cloud.Status) bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		s := r.bridge.Status()
		if ok(s) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("it never came to this: %s; status %+v", what, s)
		}
	}
}

func (r *rig) drained() {
	r.t.Helper()
	r.until("the queue is empty", func(s cloud.Status) bool { return s.Queued == 0 })
}

// server is a server that does what the test says. Once its listener is closed its
// address refuses connections.
type server struct {
	t  *testing.T
	ln net.Listener
}

func newServer(t *testing.T) *server {
	ln, err := net.Listen("tcp", need.Port(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &server{t, ln}
}

func (s *server) url() string { return "mqtt://" + s.ln.Addr().String() }

// accept waits for a connection and takes its CONNECT.
func (s *server) accept() (*peer, *packet.Connect) {
	s.t.Helper()
	s.ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := s.ln.Accept()
	if err != nil {
		s.t.Fatalf("no connection: %v", err)
	}
	s.t.Cleanup(func() { c.Close() })
	p := &peer{t: s.t, conn: c}
	return p, expect[*packet.Connect](p)
}

// welcome is accept and a CONNACK. It acknowledges the status as well.
func (s *server) welcome(present bool, more ...func(*packet.Connack)) *peer {
	s.t.Helper()
	p, _ := s.accept()
	p.connack(present, more...)
	p.status("online")
	return p
}

// peer is the server's end of one connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	dec  packet.Decoder
	buf  []byte
	skip int

	subscribed int  // SUBSCRIBE packets that were answered
	forgives   bool // a bridge that ends the connection

	objects func(*packet.Subscribe) bool // reports whether this one ends the connection; nil: none does
}

func (p *peer) connack(present bool, more ...func(*packet.Connack)) {
	ca := &packet.Connack{SessionPresent: present}
	for _, m := range more {
		m(ca)
	}
	p.send(ca)
}

func (p *peer) send(packets ...packet.Packet) {
	var out []byte
	for _, pk := range packets {
		out = pk.Append(out, packet.V5)
	}
	if _, err := p.conn.Write(out); err != nil && !p.forgives {
		p.t.Fatalf("send to the bridge: %v", err)
	}
}

func (p *peer) ack(kind packet.Type, id uint16, code ...packet.ReasonCode) {
	a := &packet.Ack{Kind: kind, ID: id}
	if len(code) > 0 {
		a.Code = code[0]
	}
	p.send(a)
}

// read returns the next packet, nil at the end of the connection. It answers
// pings and subscriptions by itself.
func (p *peer) read(wait time.Duration) (packet.Packet, error) {
	for {
		p.buf = p.buf[p.skip:]
		p.skip = 0
		pk, n, _, err := p.dec.Next(p.buf)
		if err != nil {
			p.t.Fatalf("the bridge sent what is not MQTT 5: %v", err)
		}
		if pk == nil {
			p.conn.SetReadDeadline(time.Now().Add(wait))
			more := make([]byte, 4096)
			n, err := p.conn.Read(more)
			if err != nil {
				return nil, err
			}
			p.buf = append(p.buf, more[:n]...)
			continue
		}
		p.skip = n
		switch k := pk.(type) {
		case *packet.Pingreq:
			p.send(&packet.Pingresp{})
		case *packet.Subscribe:
			if p.objects != nil && p.objects(k) {
				p.cut()
				return nil, io.EOF
			}
			p.subscribed++
			p.send(&packet.Suback{ID: k.ID, Codes: make([]packet.ReasonCode, len(k.Subscriptions))})
		case *packet.Publish:
			return k.Clone(), nil
		case *packet.Ack:
			a := *k
			return &a, nil
		default:
			return pk, nil
		}
	}
}

func expect[T packet.Packet](p *peer) T {
	p.t.Helper()
	pk, err := p.read(patience)
	if err != nil {
		var want T
		p.t.Fatalf("want %T, got %v", want, err)
	}
	got, ok := pk.(T)
	if !ok {
		p.t.Fatalf("want %T, got %T %+v", got, pk, pk)
	}
	return got
}

// status takes the status and acknowledges it.
func (p *peer) status(want string) {
	p.t.Helper()
	m := expect[*packet.Publish](p)
	if string(m.Topic) != "gateways/g/status" || string(m.Payload) != want || !m.Retain || m.QoS != 1 {
		p.t.Fatalf("got %s %q retain %v QoS %d, want the status %s", m.Topic, m.Payload, m.Retain, m.QoS, want)
	}
	p.ack(packet.PUBACK, m.ID)
}

// message takes a message and checks what it says.
func (p *peer) message(payload string, qos packet.QoS, dup bool) *packet.Publish {
	p.t.Helper()
	m := expect[*packet.Publish](p)
	if string(m.Payload) != payload || m.QoS != qos || m.DUP != dup {
		p.t.Fatalf("got %q QoS %d DUP %v, want %q QoS %d DUP %v", m.Payload, m.QoS, m.DUP, payload, qos, dup)
	}
	return m
}

// wantAck takes an acknowledgement.
func (p *peer) wantAck(kind packet.Type, id uint16, code packet.ReasonCode) {
	p.t.Helper()
	if a := expect[*packet.Ack](p); a.Kind != kind || a.ID != id || a.Code != code {
		p.t.Fatalf("got %v %d %v, want %v %d %v", a.Kind, a.ID, a.Code, kind, id, code)
	}
}

// subscribes waits until so many SUBSCRIBE packets were answered; nothing else may come.
func (p *peer) subscribes(n int) {
	p.t.Helper()
	for end := time.Now().Add(patience); p.subscribed < n; {
		pk, err := p.read(10 * time.Millisecond)
		switch {
		case err == nil:
			p.t.Fatalf("got %T %+v, want %d SUBSCRIBE", pk, pk, n)
		case !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end):
			p.t.Fatalf("%d SUBSCRIBE, want %d: %v", p.subscribed, n, err)
		}
	}
}

// quiet checks that nothing comes for a moment.
func (p *peer) quiet() {
	p.t.Helper()
	if pk, err := p.read(50 * time.Millisecond); err == nil {
		p.t.Fatalf("got %T %+v, want nothing", pk, pk)
	}
}

// ended waits for the end of the connection.
func (p *peer) ended() {
	p.t.Helper()
	if pk, err := p.read(patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got %T %+v, %v, want the end of the connection", pk, pk, err)
	}
}

func (p *peer) cut() { p.conn.Close() }

func testConfig(url string) cloud.Config {
	c := cloud.DefaultConfig()
	c.Name = "acme"
	c.Servers = []string{url}
	c.ClientID = "g-1"
	c.BirthTopic = "off"
	c.Up = []cloud.Route{{From: "g/+/state", To: "acme/g/+/state", QoS: 2}}
	c.Down = []cloud.Route{{From: "acme/g/+/set", To: "g/+/set", QoS: 2}}
	return c
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func number(i int) string { return fmt.Sprintf("%06d", i) }
