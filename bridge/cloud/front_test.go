package cloud_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // the authority's certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = filepath.Join(a.dir, "ca.pem")
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// sign makes a certificate and its key, for 127.0.0.1 and the name.
func (a *authority) sign(name string, change ...func(*x509.Certificate)) (certFile, keyFile string) {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, c := range change {
		c(template)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(a.t, certFile, "CERTIFICATE", der)
	writePEM(a.t, keyFile, "EC PRIVATE KEY", raw)
	return certFile, keyFile
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// server is the TLS configuration of a server with a fresh certificate.
func (a *authority) server(change ...func(*x509.Certificate)) *tls.Config {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.sign("server.test", change...))
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// front stands before a scripted server, and speaks TLS and WebSocket for it.
type front struct {
	address string
	asked   chan *http.Request // upgrades

	messages, bytes atomic.Int64 // WebSocket messages from the bridge
}

// newFront speaks TLS if secure is not nil, and WebSocket if web is set.
func newFront(t *testing.T, s *server, secure *tls.Config, web bool) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{address: ln.Addr().String(), asked: make(chan *http.Request, 100)}
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	if web {
		all.Go(func() {
			http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f.asked <- r
				if r.URL.Path != "/mqtt" {
					http.Redirect(w, r, "/mqtt", http.StatusFound)
					return
				}
				frames, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mqtt"}})
				if err != nil {
					return
				}
				f.carry(s, frames)
			}))
		})
		return f
	}
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { join(c, s.ln.Addr().String()) })
		}
	})
	return f
}

// carry passes on what one WebSocket brings.
func (f *front) carry(s *server, frames *websocket.Conn) {
	defer frames.CloseNow()
	behind, err := net.Dial("tcp", s.ln.Addr().String())
	if err != nil {
		return
	}
	defer behind.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		buf := make([]byte, 7) // packets fall apart into several frames
		for {
			n, err := behind.Read(buf)
			if err != nil {
				frames.Close(websocket.StatusNormalClosure, "")
				return
			}
			if frames.Write(ctx, websocket.MessageBinary, buf[:n]) != nil {
				return
			}
		}
	}()
	for {
		_, b, err := frames.Read(ctx)
		if err != nil {
			return
		}
		f.messages.Add(1)
		f.bytes.Add(int64(len(b)))
		if _, err := behind.Write(b); err != nil {
			return
		}
	}
}

// join passes bytes between a connection and a new one to address, until one ends.
func join(c net.Conn, address string) {
	defer c.Close()
	if s, ok := c.(*tls.Conn); ok && s.Handshake() != nil {
		return
	}
	behind, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer behind.Close()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(behind, c); behind.Close(); c.Close() })
	both.Go(func() { io.Copy(c, behind); behind.Close(); c.Close() })
	both.Wait()
}
