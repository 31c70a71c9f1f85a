package cloud_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
)

func TestClientIDStaysTheSame(t *testing.T) {
	s := newServer(t)
	cfg := testConfig(s.url())
	cfg.ClientID = ""
	r := newRig(t, cfg, nil)
	r.run()
	p, first := s.accept()
	if !regexp.MustCompile(`^g-[0-9a-f]{6}$`).MatchString(first.ClientID) {
		t.Errorf("client id %q, want the gateway's id and six hex digits", first.ClientID)
	}
	p.connack(false)
	p.status("online")
	p.cut()
	r.close()
	r.open()
	r.run()
	if _, again := s.accept(); again.ClientID != first.ClientID {
		t.Errorf("client id %q after %q", again.ClientID, first.ClientID)
	}
	info, err := os.Stat(filepath.Join(r.dir, "gateway-id"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode != 0o600 { // who knows it can take the session over where a server asks for no password
		t.Errorf("gateway-id has mode %v", mode)
	}
}

func TestPasswordIsReadAtEveryConnect(t *testing.T) {
	s := newServer(t)
	cfg := testConfig(s.url())
	cfg.Username, cfg.PasswordFile = "gw", filepath.Join(t.TempDir(), "pw")
	r := newRig(t, cfg, nil)
	r.run()
	r.until("the missing file is named", func(st cloud.Status) bool { return strings.Contains(st.LastError, "password_file") })
	for _, c := range []struct{ file, want string }{{"secret\n", "secret"}, {"renewed", "renewed"}} {
		if err := os.WriteFile(cfg.PasswordFile+"~", []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(cfg.PasswordFile+"~", cfg.PasswordFile); err != nil {
			t.Fatal(err)
		}
		for { // attempts with the earlier file are on their way
			p, connect := s.accept()
			p.cut()
			if connect.Username == "gw" && string(connect.Password) == c.want {
				break
			}
			if strings.HasSuffix(string(connect.Password), "\n") {
				t.Fatalf("password %q, want %q", connect.Password, c.want)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"mqtt.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	t.Cleanup(func() { ln.Close() })
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // the handshake runs with the first read
				if c.(*tls.Conn).Handshake() == nil {
					accepted <- c
				}
			}()
		}
	}()
	cfg := testConfig("mqtts://" + plain.Addr().String())
	for _, c := range []struct {
		name, ca, host, want string
	}{
		{"unknown authority", "", "mqtt.test", "tls.ca names the file"},
		{"another host", ca, "", "tls.server_name"},
		{"no such file", ca + "x", "mqtt.test", "read tls.ca"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg.TLS.CA, cfg.TLS.ServerName = c.ca, c.host
			r := newRig(t, cfg, nil)
			r.run()
			r.until("the error says what to do", func(st cloud.Status) bool { return strings.Contains(st.LastError, c.want) })
		})
	}
	t.Run("all right", func(t *testing.T) {
		cfg.TLS.CA, cfg.TLS.ServerName = ca, "mqtt.test"
		r := newRig(t, cfg, nil)
		r.run()
		select {
		case c := <-accepted:
			p := &peer{t: t, conn: c}
			defer c.Close()
			for {
				if pk, err := p.read(patience); err != nil {
					t.Fatal(err)
				} else if pk.Type() == 1 {
					break
				}
			}
			p.connack(false)
			p.status("online")
		case <-time.After(patience):
			t.Fatalf("no TLS connection: %+v", r.bridge.Status())
		}
	})
}
