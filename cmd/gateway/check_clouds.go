package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"edgegateway/bridge/cloud"
)

// probeTimeout is how long a server may take to answer, with name lookup and TLS.
const probeTimeout = 8 * time.Second

// clouds tries to reach every server, all at the same time. Nothing of MQTT is sent: a second client of the
// same name would throw a running gateway out.
func (c *checker) clouds(ctx context.Context, clouds []cloud.Config) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	type attempt struct {
		cloud, server string
		err           error
	}
	var all []*attempt
	var probes sync.WaitGroup
	for _, one := range clouds {
		for _, server := range one.Servers {
			a := &attempt{cloud: one.Name, server: server}
			all = append(all, a)
			probes.Go(func() { a.err = probe(ctx, one, server) })
		}
	}
	probes.Wait()
	if len(all) == 0 {
		c.ok("clouds", "none configured")
	}
	for _, a := range all {
		if a.err != nil {
			c.problem("cloud "+a.cloud, "%s: %v%s", a.server, a.err, netHint(a.err))
			continue
		}
		c.ok("cloud "+a.cloud, "%s answers; user name and password are not tried here", a.server)
	}
}

// probe opens a connection to one server, with TLS where its URL asks for it, and closes it again.
func probe(ctx context.Context, c cloud.Config, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return err
	}
	port := u.Port()
	secure := u.Scheme == "mqtts"
	switch {
	case port != "":
	case secure:
		port = "8883"
	default:
		port = "1883"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if !secure {
		return nil
	}
	settings, err := tlsSettings(c.TLS, u.Hostname())
	if err != nil {
		return err
	}
	return tls.Client(conn, settings).HandshakeContext(ctx)
}

// tlsSettings trusts whom the bridge would trust.
func tlsSettings(t cloud.TLS, host string) (*tls.Config, error) {
	s := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if t.ServerName != "" {
		s.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		s.RootCAs = x509.NewCertPool()
		if !s.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		s.Certificates = []tls.Certificate{pair}
	}
	return s, nil
}

// netHint says what to look at.
func netHint(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &authority):
		return ": set tls.ca to the file of the certificate that signed the server's"
	case errors.As(err, &name):
		return ": set tls.server_name to a name that the server's certificate has"
	case errors.As(err, &dns):
		return ": check the name, and the name server of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": the machine is there and nothing listens at this port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return ": check the network, the address and firewalls on the way"
	}
	return ""
}
