package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// Real clients, which know nothing of our codec.

func receive[T any](t *testing.T, from <-chan T) (m T) {
	t.Helper()
	select {
	case m = <-from:
	case <-time.After(brokertest.Patience):
		t.Fatal("nothing comes")
	}
	return m
}

func TestPahoForVersion5(t *testing.T) {
	h := open(t, t.TempDir(), config())
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	got := make(chan *paho.Publish, 1000)
	client := func(id string) *paho.Client {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		c := paho.NewClient(paho.ClientConfig{ClientID: id, Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { got <- p.Packet; return true, nil },
		}})
		ack, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30,
			WillMessage: &paho.WillMessage{Topic: "will", Payload: []byte("gone"), QoS: 1}})
		if err != nil {
			t.Fatalf("connect: %v (%+v)", err, ack)
		}
		return c
	}
	sub, pub := client("sub"), client("pub")
	if _, err := sub.Subscribe(ctx, &paho.Subscribe{
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: new(42)},
		Subscriptions: []paho.SubscribeOptions{{Topic: "t/#", QoS: 2}, {Topic: "will", QoS: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	const n = 100
	for qos := byte(0); qos <= 2; qos++ {
		for i := range n {
			r, err := pub.Publish(ctx, &paho.Publish{Topic: fmt.Sprint("t/", qos), QoS: qos, Payload: []byte(fmt.Sprint(i)),
				Properties: &paho.PublishProperties{ResponseTopic: "answer", User: paho.UserProperties{{Key: "k", Value: "v"}}}})
			if err != nil {
				t.Fatalf("publish: %v (%+v)", err, r)
			}
		}
	}
	next := [3]int{}
	for range 3 * n {
		m := receive(t, got)
		if string(m.Payload) != fmt.Sprint(next[m.QoS]) || *m.Properties.SubscriptionIdentifier != 42 ||
			m.Properties.ResponseTopic != "answer" || m.Properties.User.Get("k") != "v" {
			t.Fatalf("got %s at QoS %d with %+v, want %d", m.Payload, m.QoS, m.Properties, next[m.QoS])
		}
		next[m.QoS]++
	}
	if err := pub.Disconnect(&paho.Disconnect{ReasonCode: 4}); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got); string(m.Payload) != "gone" {
		t.Errorf("the will is %s", m.Payload)
	}
	if err := sub.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
}

// certificate makes a key and a certificate signed by ca, itself if that is nil.
func certificate(t *testing.T, name string, ca *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca == nil, BasicConstraintsValid: true,
	}
	parent, signer := template, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key in PEM.
func files(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLSWithClientCertificates(t *testing.T) {
	ca := certificate(t, "ca", nil)
	server, client, stranger := certificate(t, "server", &ca), certificate(t, "anna", &ca), certificate(t, "anna", nil)
	caFile, _ := files(t, ca)
	cert, key := files(t, server)
	h := open(t, t.TempDir(), config())
	addr := h.serveMore(broker.ListenerConfig{Address: "tls://127.0.0.1:0", TLS: broker.TLSConfig{Cert: cert, Key: key, ClientCA: caFile, Identity: "cn"}}).String()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{client}})
	if err != nil {
		t.Fatal(err)
	}
	c := brokertest.Over(t, nc, packet.V5)
	c.Send(&packet.Connect{ClientID: "c", CleanStart: true}).Expect(&packet.Connack{})
	subscribe(t, c, "#", 2)
	large := message("t", string(make([]byte, 500<<10)), 2)
	large.ID = 1
	c.Send(large)
	large.ID = 0
	c.ExpectInAnyOrder(ack(packet.PUBREC, 1), large)
	if u := h.Clients()[0].Username; u != "anna" {
		t.Errorf("the user name is %q, want the common name of the certificate", u)
	}
	nc, err = tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{stranger}})
	if err == nil { // in TLS 1.3 the refusal comes after the client's handshake
		_ = nc.SetDeadline(time.Now().Add(brokertest.Patience))
		_, err = nc.Read(make([]byte, 1))
		nc.Close()
	}
	if err == nil {
		t.Error("a certificate of another authority is accepted")
	}
}

func TestTLSSuite(t *testing.T) {
	// The suite dials plain sockets, so it goes through a relay that speaks TLS.
	ca := certificate(t, "ca", nil)
	cert, key := files(t, certificate(t, "server", &ca))
	h := open(t, t.TempDir(), config())
	addr := h.serveMore(broker.ListenerConfig{Address: "tls://127.0.0.1:0", TLS: broker.TLSConfig{Cert: cert, Key: key}}).String()
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	brokertest.Run(t, relay(t, func() (net.Conn, error) { return tls.Dial("tcp", addr, &tls.Config{RootCAs: pool}) }))
}

// relay accepts plain connections and pipes each to one that dial makes.
func relay(t *testing.T, dial func() (net.Conn, error)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				near.Close()
				continue
			}
			go pipe(near, far)
			go pipe(far, near)
		}
	}()
	return ln.Addr().String()
}

func pipe(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			to.Close()
			from.Close()
			return
		}
	}
}
