package cloud_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// backup writes a backup of the running store.
func (r *rig) backup() (path string) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), "backup")
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = r.store.Backup(r.t.Context(), f)
	if err := errors.Join(err, f.Close(), buffer.ForgetRun(path)); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// restore stops the gateway, puts a backup in place and opens it again.
func (r *rig) restore(from string) {
	r.t.Helper()
	r.close()
	if _, err := buffer.Restore(filepath.Join(r.dir, "store"), from); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// TestARestoredBackupReplacesTheSessionOfTheServer: the server says that it has the
// session, and means the one that went on after the backup.
func TestARestoredBackupReplacesTheSessionOfTheServer(t *testing.T) {
	s := newServer(t)
	r := newRig(t, testConfig(s.url()), nil)
	got := r.subscribe("g/+/set")
	r.run()
	p := s.welcome(false)
	down := &packet.Publish{Topic: []byte("acme/g/a/set"), Payload: []byte("before"), QoS: 2, ID: 7}
	p.send(down)
	p.wantAck(packet.PUBREC, 7, packet.Success)
	got.want(t, "g/a/set", "before")
	r.publish("g/a/state", "up", 2)
	m := p.message("up", 2, false)
	p.ack(packet.PUBREC, m.ID)
	p.wantAck(packet.PUBREL, m.ID, packet.Success)
	from := r.backup() // it knows identifier 7, and "up" as received
	p.ack(packet.PUBCOMP, m.ID)
	p.ack(packet.PUBREL, 7)
	p.wantAck(packet.PUBCOMP, 7, packet.Success)
	r.drained()

	p.cut()
	r.restore(from)
	got = r.subscribe("g/+/set")
	r.run()
	p, hello := s.accept()
	if hello.CleanStart {
		t.Error("the session is discarded without a look at it")
	}
	p.connack(true)
	expect[*packet.Disconnect](p)
	p.ended()
	p, hello = s.accept()
	if !hello.CleanStart {
		t.Error("the session that the backup does not know is not discarded")
	}
	p.connack(false)
	p.status("online")
	p.message("up", 2, false) // anew: no PUBREL, no DUP
	down.Payload = []byte("after")
	p.send(down)
	p.wantAck(packet.PUBREC, 7, packet.Success)
	got.want(t, "g/a/set", "after")
}

// listens waits until what is published at the server arrives: SUBSCRIBE follows
// CONNACK, and what comes in between goes nowhere.
func listens(t *testing.T, o *observer, got sink) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		o.publish("acme/g/a/set", "anybody there?", 0)
		select {
		case <-got:
			o.publish("acme/g/a/set", "so listen", 0)
			for string((<-got).Payload) != "so listen" {
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("the bridge does not subscribe")
		}
	}
}

// severer dials, and cuts the connection when the server says what it is armed for.
type severer struct {
	mu    sync.Mutex
	armed packet.Type // 0: not
	cut   chan struct{}
}

func (c *severer) arm(kind packet.Type) {
	c.mu.Lock()
	c.armed, c.cut = kind, make(chan struct{})
	c.mu.Unlock()
}

func (c *severer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &severedConn{Conn: conn, c: c, dec: packet.Decoder{Role: packet.Client, Version: packet.V5}}, nil
}

type severedConn struct {
	net.Conn
	c   *severer
	dec packet.Decoder
	buf []byte
}

func (c *severedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	c.buf = append(c.buf, b[:n]...)
	for {
		pk, used, _, derr := c.dec.Next(c.buf)
		if pk == nil || derr != nil {
			return n, err
		}
		c.buf = c.buf[used:]
		if a, ok := pk.(*packet.Ack); ok && a.Kind == c.c.armed {
			c.c.armed = 0
			c.Conn.Close()
			close(c.c.cut)
			return 0, net.ErrClosed
		}
	}
}

// TestARestoredBackupLosesNothingAtMosquitto: Mosquitto holds the identifier of a
// message that it never got PUBREL for. The backup is older and uses it again.
func TestARestoredBackupLosesNothingAtMosquitto(t *testing.T) {
	address := mosquitto(t)
	cut := new(severer)
	cfg := testConfig("mqtt://" + address)
	cfg.Dial = cut.dial
	const modulus = 7
	r := newRig(t, cfg, func(b *cloud.Bridge) { b.SetModulus(modulus) })
	o := observe(t, address, "acme/g/+/state")
	stop := r.run()
	r.publish("g/a/state", "before", 2)
	r.drained()
	from := r.backup()
	cut.arm(packet.PUBREC)
	// The same content each time: Mosquitto forgives another one under an identifier in
	// use, and takes it as new.
	r.offer("g/a/state", "again", 2)
	<-cut.cut
	stop()
	r.restore(from)
	r.run()
	for range 2 * modulus { // with each identifier there is
		r.offer("g/a/state", "again", 2)
	}
	r.offer("g/a/state", "end", 2)
	if m := string(o.message().Payload); m != "before" {
		t.Fatalf("got %q", m)
	}
	for n := 0; ; n++ {
		if m := string(o.message().Payload); m == "end" {
			if n != 2*modulus {
				t.Errorf("%d messages of %d arrived", n, 2*modulus)
			}
			return
		}
	}
}

// TestARestoredBackupTakesWhatMosquittoSends: the backup holds the identifier of a
// message whose handshake has ended since. Mosquitto uses it again.
func TestARestoredBackupTakesWhatMosquittoSends(t *testing.T) {
	address := mosquitto(t)
	cut := new(severer)
	cfg := testConfig("mqtt://" + address)
	cfg.Dial = cut.dial
	r := newRig(t, cfg, nil)
	o := observe(t, address)
	cut.arm(packet.PUBREL)
	got := r.subscribe("g/+/set")
	stop := r.run()
	listens(t, o, got)
	o.publish("acme/g/a/set", "before", 2)
	got.want(t, "g/a/set", "before")
	<-cut.cut
	stop()
	from := r.backup()
	r.close()
	r.open()
	got = r.subscribe("g/+/set")
	r.run()
	o.publish("acme/g/a/set", "after the backup", 2) // and the handshake of the first one ends
	got.want(t, "g/a/set", "after the backup")

	r.restore(from)
	got = r.subscribe("g/+/set")
	r.run()
	listens(t, o, got)
	for i := range 5 {
		o.publish("acme/g/a/set", number(i), 2)
		got.want(t, "g/a/set", number(i))
	}
}
