package cloud_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
)

func TestSecureWebSocketWithOwnAuthority(t *testing.T) {
	a, s := newAuthority(t), newServer(t)
	f := newFront(t, s, a.server(), true)
	cfg := testConfig("wss://" + f.address + "/mqtt")
	cfg.TLS.CA = a.file
	r := newRig(t, cfg, nil)
	r.run()
	s.welcome(false)
	r.until("connected", func(st cloud.Status) bool { return st.Connected })
}

func TestApplicationProtocolAndVersion(t *testing.T) {
	a, s := newAuthority(t), newServer(t)
	secure := a.server()
	secure.NextProtos = []string{"x-amzn-mqtt-ca"}
	var mu sync.Mutex
	var seen []tls.ConnectionState
	secure.VerifyConnection = func(c tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, c)
		return nil
	}
	f := newFront(t, s, secure, false)
	cfg := testConfig("mqtts://" + f.address)
	cfg.TLS.CA, cfg.TLS.ALPN, cfg.TLS.MinVersion = a.file, []string{"x-amzn-mqtt-ca"}, "1.3"
	r := newRig(t, cfg, nil)
	r.run()
	s.welcome(false)
	mu.Lock()
	defer mu.Unlock()
	if seen[0].NegotiatedProtocol != "x-amzn-mqtt-ca" || seen[0].Version != tls.VersionTLS13 {
		t.Errorf("protocol %q, version %x", seen[0].NegotiatedProtocol, seen[0].Version)
	}
}

// A certificate that was renewed on disk is the one of the next connect.
func TestRenewedCertificateIsUsedAtTheNextConnect(t *testing.T) {
	a, s := newAuthority(t), newServer(t)
	secure := a.server()
	secure.ClientAuth, secure.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
	serials := make(chan string, 10)
	secure.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		c, err := x509.ParseCertificate(raw[0])
		if err == nil {
			serials <- c.SerialNumber.String()
		}
		return err
	}
	f := newFront(t, s, secure, false)
	cfg := testConfig("mqtts://" + f.address)
	cfg.TLS.CA = a.file
	cfg.TLS.Cert, cfg.TLS.Key = a.sign("client.test")
	r := newRig(t, cfg, nil)
	r.run()
	p := s.welcome(false)
	old := <-serials
	a.sign("client.test") // in place
	p.cut()
	s.welcome(true)
	if renewed := <-serials; renewed == old {
		t.Error("the old certificate was shown again")
	}
}

func TestFaultsOfTLSSayWhatToDo(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	expired := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2021, 3, 4, 0, 0, 0, 0, time.UTC)
	}
	for _, c := range []struct {
		name   string
		secure *tls.Config // of the server; nil: none
		spoil  func(*cloud.Config)
		want   []string
	}{
		{"authority of another file", other.server(), nil, []string{"is not in " + a.file, "tls.ca must name"}},
		{"authority of the system", a.server(), func(c *cloud.Config) { c.TLS.CA = "" }, []string{"none of this system's; tls.ca names"}},
		{"expired", a.server(expired), nil, []string{`"server.test" is good from 2020-01-02 to 2021-03-04`, "this machine's clock says 20", "is the clock right?"}},
		{"another name", a.server(), func(c *cloud.Config) { c.TLS.ServerName = "broker.test" }, []string{"not broker.test", "tls.server_name"}},
		{"no TLS", nil, nil, []string{"no TLS is spoken at 127.0.0.1:"}},
		{"wants a certificate", func() *tls.Config { s := a.server(); s.ClientAuth = tls.RequireAnyClientCert; return s }(), nil, []string{"set tls.cert and tls.key"}},
		{"an old server", func() *tls.Config { s := a.server(); s.MaxVersion = tls.VersionTLS12; return s }(), func(c *cloud.Config) { c.TLS.MinVersion = "1.3" }, []string{"see tls.min_version"}},
		{"another protocol", func() *tls.Config { s := a.server(); s.NextProtos = []string{"h2"}; return s }(), func(c *cloud.Config) { c.TLS.ALPN = []string{"mqtt"} }, []string{"see tls.alpn"}},
		{"no file", a.server(), func(c *cloud.Config) { c.TLS.CA = "/nonexistent" }, []string{"read tls.ca: open /nonexistent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			address := s.ln.Addr().String()
			if c.secure != nil {
				address = newFront(t, s, c.secure, false).address
			} else {
				go func() { // a server that answers what it does not understand
					if conn, err := s.ln.Accept(); err == nil {
						conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
						conn.Read(make([]byte, 1000))
						conn.Close()
					}
				}()
			}
			cfg := testConfig("mqtts://" + address)
			cfg.TLS.CA = a.file
			if c.spoil != nil {
				c.spoil(&cfg)
			}
			r := newRig(t, cfg, nil)
			r.run()
			r.until("the sentence", func(st cloud.Status) bool {
				for _, w := range c.want {
					if !strings.Contains(st.LastError, w) {
						return false
					}
				}
				return true
			})
		})
	}
}
