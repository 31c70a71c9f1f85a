package cloud_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// mosquitto starts a real broker on a port that the system gives.
func mosquitto(t testing.TB, settings ...string) (address string) {
	t.Helper()
	return brokertest.Mosquitto(t, strings.Join(append([]string{"persistence false", "max_queued_messages 0"}, settings...), "\n"))
}

// observer is a client at the cloud that sees everything below some filters.
type observer struct {
	t    testing.TB
	conn net.Conn
	got  chan *packet.Publish
	done chan struct{}

	mu   sync.Mutex
	free *sync.Cond
	open map[uint16]bool // identifiers of messages that it sent
	next uint16
}

func observe(t testing.TB, address string, filters ...string) *observer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{t: t, conn: conn, got: make(chan *packet.Publish, 1<<20), done: make(chan struct{}), open: map[uint16]bool{}}
	o.free = sync.NewCond(&o.mu)
	t.Cleanup(func() { conn.Close(); <-o.done })
	id := make([]byte, 8)
	binary.BigEndian.PutUint64(id, rand.Uint64())
	hello := &packet.Connect{Version: packet.V5, CleanStart: true, ClientID: fmt.Sprintf("observer-%x", id)}
	out := hello.Append(nil, packet.V5)
	s := &packet.Subscribe{ID: 1}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, packet.Subscription{Filter: f, QoS: 2, RetainAsPublished: true})
	}
	if len(filters) > 0 {
		out = s.Append(out, packet.V5)
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go o.read(ready, len(filters) > 0)
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the observer gets no answer from mosquitto")
	}
	return o
}

func (o *observer) read(ready chan struct{}, subscribed bool) {
	defer close(o.done)
	defer close(o.got)
	dec := packet.Decoder{Role: packet.Client, Version: packet.V5}
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := o.conn.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		var out []byte
		at := 0
		for {
			p, n, _, err := dec.Next(buf[at:])
			if err != nil {
				o.t.Errorf("mosquitto sent what is not MQTT 5: %v", err)
				return
			}
			if p == nil {
				break
			}
			at += n
			switch p := p.(type) {
			case *packet.Connack:
				if !subscribed {
					close(ready)
				}
			case *packet.Suback:
				close(ready)
			case *packet.Publish:
				o.got <- p.Clone()
				switch p.QoS {
				case 1:
					out = (&packet.Ack{Kind: packet.PUBACK, ID: p.ID}).Append(out, packet.V5)
				case 2:
					out = (&packet.Ack{Kind: packet.PUBREC, ID: p.ID}).Append(out, packet.V5)
				}
			case *packet.Ack:
				switch p.Kind {
				case packet.PUBREL:
					out = (&packet.Ack{Kind: packet.PUBCOMP, ID: p.ID}).Append(out, packet.V5)
				case packet.PUBREC:
					out = (&packet.Ack{Kind: packet.PUBREL, ID: p.ID}).Append(out, packet.V5)
				default:
					o.mu.Lock()
					delete(o.open, p.ID)
					o.mu.Unlock()
					o.free.Signal()
				}
			}
		}
		buf = append(buf[:0], buf[at:]...)
		if len(out) > 0 {
			if _, err := o.conn.Write(out); err != nil {
				return
			}
		}
	}
}

// publish sends a message, with at most 20 under way. Nothing answers one of QoS 0.
func (o *observer) publish(name, payload string, qos byte) {
	p := packet.Publish{Topic: []byte(name), Payload: []byte(payload), QoS: packet.QoS(qos)}
	if qos > 0 {
		o.mu.Lock()
		for len(o.open) >= 20 {
			o.free.Wait()
		}
		o.next = o.next%60000 + 1
		p.ID = o.next
		o.open[p.ID] = true
		o.mu.Unlock()
	}
	if _, err := o.conn.Write(p.Append(nil, packet.V5)); err != nil {
		o.t.Errorf("observer: %v", err)
	}
}

// next returns the next message, skipping the status.
func (o *observer) message() *packet.Publish {
	o.t.Helper()
	select {
	case m, ok := <-o.got:
		if !ok {
			o.t.Fatal("the observer lost its connection")
		}
		return m
	case <-time.After(patience):
		o.t.Fatal("no message at the cloud")
	}
	return nil
}

// tally watches a numbered stream from 0 to n-1.
type tally struct {
	name       string
	seen       map[int]bool
	highest    int // and one more
	duplicates int // came before
	late       int // came first after a higher one
}

func newTally(name string) *tally { return &tally{name: name, seen: map[int]bool{}} }

func (y *tally) take(payload string) {
	var n int
	fmt.Sscanf(payload, "%d", &n)
	switch {
	case y.seen[n]:
		y.duplicates++
	case n < y.highest:
		y.late++
	default:
		y.highest = n + 1
	}
	y.seen[n] = true
}

// tap follows what a server sends, packet by packet, over all connections: the
// order of first arrivals, and the QoS 2 messages that it sends twice as two.
type tap struct {
	mu       sync.Mutex
	tallys   map[string]*tally // by topic
	byID     map[uint16]string // payloads of QoS 2
	id       map[string]uint16
	released map[string]bool // PUBREL was sent for it
	repeated map[string]bool // under another identifier, or after PUBREL [MQTT-4.3.3-6]
}

func newTap(topics ...string) *tap {
	t := &tap{tallys: map[string]*tally{}, byID: map[uint16]string{}, id: map[string]uint16{}, released: map[string]bool{}, repeated: map[string]bool{}}
	for _, name := range topics {
		t.tallys[name] = newTally(name)
	}
	return t
}

func (t *tap) take(pk packet.Packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch pk := pk.(type) {
	case *packet.Publish:
		payload := string(pk.Payload)
		if y := t.tallys[string(pk.Topic)]; y != nil {
			y.take(payload)
		}
		if pk.QoS == 2 {
			if id, ok := t.id[payload]; ok && (id != pk.ID || t.released[payload]) {
				t.repeated[payload] = true
			}
			t.byID[pk.ID], t.id[payload] = payload, pk.ID
		}
	case *packet.Ack:
		if pk.Kind == packet.PUBREL {
			t.released[t.byID[pk.ID]] = true
		}
	}
}

// stream is one connection under a tap.
type stream struct {
	tap *tap
	dec packet.Decoder
	buf []byte
}

func (s *stream) write(p []byte) {
	s.buf = append(s.buf, p...)
	for {
		pk, n, _, err := s.dec.Next(s.buf)
		if err != nil || pk == nil {
			return
		}
		s.tap.take(pk)
		s.buf = s.buf[n:]
	}
}

// cutter is a dialer whose connections end in the middle of anything.
type cutter struct {
	mu   sync.Mutex
	rnd  *rand.Rand
	on   bool
	cuts int
	tap  *tap
}

func newCutter(t *testing.T) *cutter {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return &cutter{rnd: rand.New(rand.NewPCG(seed, 0)), on: true,
		tap: newTap("acme/g/q1/set", "acme/g/q2/set")}
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	watched := &stream{tap: c.tap, dec: packet.Decoder{Role: packet.Client, Version: packet.V5}}
	if !c.on {
		return &cutConn{Conn: conn, c: c, left: math.MaxInt, stream: watched}, nil
	}
	// Now and then so early that not even CONNACK comes through.
	limit := 100 + c.rnd.IntN(80_000)
	if c.rnd.IntN(5) == 0 {
		limit = c.rnd.IntN(400)
	}
	reset := c.rnd.IntN(2) == 0
	return &cutConn{Conn: conn, c: c, left: limit, reset: reset, stream: watched}, nil
}

// cutConn ends after a number of bytes in both directions together.
type cutConn struct {
	net.Conn
	c     *cutter
	reset bool
	*stream

	mu   sync.Mutex
	left int
}

func (c *cutConn) spend(n int) (allowed int, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 0 {
		return 0, false
	}
	allowed = min(n, c.left)
	c.left -= allowed
	return allowed, c.left == 0
}

func (c *cutConn) cut() {
	c.c.mu.Lock()
	c.c.cuts++
	c.c.mu.Unlock()
	if c.reset {
		c.Conn.(*net.TCPConn).SetLinger(0) // bytes on their way are lost as well
	}
	c.Conn.Close()
}

func (c *cutConn) Write(p []byte) (int, error) {
	allowed, cut := c.spend(len(p))
	n, err := c.Conn.Write(p[:allowed])
	if cut {
		c.cut()
	}
	if err == nil && n < len(p) {
		err = net.ErrClosed
	}
	return n, err
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	allowed, cut := c.spend(n)
	if c.tap != nil {
		c.stream.write(p[:allowed])
	}
	if cut {
		c.cut()
	}
	if allowed < n {
		return allowed, net.ErrClosed
	}
	return n, err
}

func TestRandomCutsLoseNothing(t *testing.T) {
	const n = 5000
	address := mosquitto(t, "max_inflight_messages 200")
	cuts := newCutter(t)
	cfg := testConfig("mqtt://" + address)
	cfg.Dial = cuts.dial
	r := newRig(t, cfg, nil)
	upstream := observe(t, address, "acme/g/+/state")
	locals := r.subscribe("g/+/set")
	stop := r.run()
	r.until("subscribed upstream", func(s cloud.Status) bool { return s.Connects > 0 })

	var publishers sync.WaitGroup
	for _, p := range []struct {
		name string
		qos  byte
	}{{"g/q1/state", 1}, {"g/q2/state", 2}} {
		publishers.Go(func() {
			for i := range n {
				if i%50 == 49 {
					r.publish(p.name, number(i), p.qos) // not faster than the disk
				} else {
					r.offer(p.name, number(i), p.qos)
				}
			}
		})
	}
	up := map[string]*tally{"acme/g/q1/state": newTally("up QoS 1"), "acme/g/q2/state": newTally("up QoS 2")}
	for half := false; ; {
		m := upstream.message()
		up[string(m.Topic)].take(string(m.Payload))
		q1, q2 := len(up["acme/g/q1/state"].seen), len(up["acme/g/q2/state"].seen)
		if q1 == n && q2 == n {
			break
		}
		if !half && q1+q2 > n/2 {
			// A restart in the middle of it: the store is closed and opened again.
			publishers.Wait()
			half = true
			stop()
			r.close()
			r.open()
			locals = r.subscribe("g/+/set")
			stop = r.run()
		}
	}
	r.drained()

	// And down. The server keeps the subscriptions, so no message can be missed.
	r.until("connected", func(s cloud.Status) bool { return s.Connected })
	downstream := observe(t, address)
	go func() {
		for i := range n {
			downstream.publish("acme/g/q1/set", number(i), 1)
			downstream.publish("acme/g/q2/set", number(i), 2)
		}
	}()
	dn := map[string]*tally{"g/q1/set": newTally("down QoS 1"), "g/q2/set": newTally("down QoS 2")}
	for len(dn["g/q1/set"].seen) < n || len(dn["g/q2/set"].seen) < n {
		select {
		case m := <-locals:
			dn[m.Topic].take(string(m.Payload))
		case <-time.After(patience):
			t.Fatalf("nothing comes down any more: %d and %d of %d came; status %+v", len(dn["g/q1/set"].seen), len(dn["g/q2/set"].seen), n, r.bridge.Status())
		}
	}
	st := r.bridge.Status()
	stop() // nothing is cut or comes any more
	t.Logf("%d cuts; status %+v", cuts.cuts, st)
	for _, y := range []*tally{up["acme/g/q1/state"], up["acme/g/q2/state"], dn["g/q1/set"], dn["g/q2/set"]} {
		t.Logf("%s: %d arrived, %d duplicates, %d late", y.name, len(y.seen), y.duplicates, y.late)
	}
	if y := up["acme/g/q2/state"]; y.duplicates > 0 {
		t.Errorf("%s: %d duplicates", y.name, y.duplicates)
	}
	// When two connections in a row are cut, Mosquitto 2.0.11 may send PUBLISH again
	// for what it sent PUBREL for before, against [MQTT-4.3.3-6]. By then the
	// identifier is free, and a message with it is a new one: to guess otherwise
	// would lose a command that is given twice.
	if y, sent := dn["g/q2/set"], len(cuts.tap.repeated); y.duplicates > sent {
		t.Errorf("%s: %d duplicates, of these %d were two messages on the wire", y.name, y.duplicates, sent)
	} else if sent > 0 {
		t.Logf("%s: %d messages were sent as two by the server", y.name, sent)
	}
	for _, y := range []*tally{up["acme/g/q1/state"], up["acme/g/q2/state"]} {
		if y.late > 0 {
			t.Errorf("%s: %d messages were overtaken", y.name, y.late)
		}
	}
	// Mosquitto 2.0.11 lets new messages overtake its backlog after a reconnect; what
	// is kept is the order in which they came over the wire.
	for _, y := range []*tally{dn["g/q1/set"], dn["g/q2/set"]} {
		sent := cuts.tap.tallys["acme/"+strings.Replace(y.name, "down QoS ", "g/q", 1)+"/set"]
		t.Logf("%s on the wire: %d arrived, %d duplicates, %d late", y.name, len(sent.seen), sent.duplicates, sent.late)
		if y.late > sent.late {
			t.Errorf("%s: %d messages were overtaken, of these %d before they came here", y.name, y.late, sent.late)
		}
	}
	if cuts.cuts < 20 {
		t.Errorf("only %d cuts: this proved little", cuts.cuts)
	}
	if st.SessionsLost > 0 {
		t.Errorf("%d sessions lost: mosquitto kept them all", st.SessionsLost)
	}
}

func TestStatusAtTheCloud(t *testing.T) {
	address := mosquitto(t)
	cuts := &cutter{rnd: rand.New(rand.NewPCG(1, 2))}
	var last net.Conn
	var mu sync.Mutex
	cfg := testConfig("mqtt://" + address)
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := cuts.dial(ctx, network, address)
		mu.Lock()
		last = c
		mu.Unlock()
		return c, err
	}
	r := newRig(t, cfg, func(b *cloud.Bridge) { b.SetBackoff(50*time.Millisecond, 50*time.Millisecond) })
	o := observe(t, address, "gateways/+/status")
	want := func(status string) {
		t.Helper()
		if m := o.message(); string(m.Topic) != "gateways/g/status" || string(m.Payload) != status || !m.Retain {
			t.Fatalf("got %s %q retain %v, want %s", m.Topic, m.Payload, m.Retain, status)
		}
	}
	stop := r.run()
	want("online")
	mu.Lock()
	last.Close() // without DISCONNECT: the will speaks
	mu.Unlock()
	want("offline")
	want("online")
	stop()
	want("offline")
	if late := observe(t, address, "gateways/+/status").message(); string(late.Payload) != "offline" {
		t.Errorf("retained is %q", late.Payload)
	}
}

func BenchmarkDrain(b *testing.B) {
	for _, inflight := range []int{20, 1000} {
		for _, qos := range []byte{1, 2} {
			b.Run(fmt.Sprintf("qos%d/receive-maximum%d", qos, inflight), func(b *testing.B) {
				address := mosquitto(b, fmt.Sprintf("max_inflight_messages %d", inflight))
				drain(b, address, qos)
			})
		}
	}
}
