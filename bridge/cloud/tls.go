package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// tlsVersions are the values of tls.min_version.
var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// validate says what is wrong, in sentences that begin with the key.
func (t TLS) validate() error {
	var errs []error
	if (t.Cert == "") != (t.Key == "") {
		errs = append(errs, errors.New("tls.cert and tls.key must be given together"))
	}
	if tlsVersions[t.MinVersion] == 0 {
		errs = append(errs, fmt.Errorf("tls.min_version must be \"1.2\" or \"1.3\", not %q", t.MinVersion))
	}
	for _, name := range t.ALPN {
		if name == "" || len(name) > 255 { // RFC 7301, 3.1
			errs = append(errs, fmt.Errorf("tls.alpn must hold names of 1 to 255 bytes, not %q", name))
		}
	}
	return errors.Join(errs...)
}

// client is the TLS configuration for one connect to host.
func (t TLS) client(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tlsVersions[t.MinVersion], NextProtos: t.ALPN}
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read tls.ca: %s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read tls.cert and tls.key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// distrust is a handshake that failed over a certificate or a setting: without a
// person it fails again.
type distrust struct{ error }

func (d distrust) Unwrap() error { return d.error }

// explain adds the next step to an error of the handshake.
func (t TLS) explain(s server, err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	say := func(format string, args ...any) error {
		return distrust{fmt.Errorf("TLS with %s: %w (%s)", s.url, err, fmt.Sprintf(format, args...))}
	}
	switch {
	case errors.As(err, &unknown) && t.CA != "":
		return say("the authority that signed the server's certificate is not in %s; tls.ca must name its file", t.CA)
	case errors.As(err, &unknown):
		return say("the authority that signed the server's certificate is none of this system's; tls.ca names its file")
	case errors.As(err, &host):
		return say("tls.server_name names another one")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		// No distrust: a clock that was wrong is set without anyone's doing.
		return fmt.Errorf("TLS with %s: the certificate of %q is good from %s to %s, and this machine's clock says %s (is the clock right? if so, the server's certificate must be renewed): %w",
			s.url, c.Subject.CommonName, day(c.NotBefore), day(c.NotAfter), time.Now().UTC().Format("2006-01-02 15:04"), err)
	case errors.As(err, &plain):
		return say("no TLS is spoken at %s: is it the port of mqtt://?", s.address)
	}
	if step := alertStep(err); step != "" {
		return say("%s", step)
	}
	return fmt.Errorf("TLS with %s: %w", s.url, err)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// alertStep is the next step after an alert that the server sent (RFC 8446, 6.2).
// The library gives alerts no type, only these texts. With TLS 1.3 the server's
// opinion of our certificate comes after the handshake, to the first read.
func alertStep(err error) string {
	if err == nil {
		return ""
	}
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	if !ok {
		return ""
	}
	for _, a := range []struct{ text, step string }{
		{"certificate required", "the server wants a certificate of ours: set tls.cert and tls.key"},
		{"bad certificate", "the server does not accept our certificate: see tls.cert, or set it"},
		{"unknown certificate authority", "the server does not know who signed our certificate: see tls.cert"},
		{"unknown certificate", "the server does not accept our certificate: see tls.cert"},
		{"expired certificate", "our certificate has expired: renew tls.cert"},
		{"revoked certificate", "our certificate was revoked: renew tls.cert"},
		{"no application protocol", "the server does not know the protocol: see tls.alpn"},
		{"protocol version not supported", "the server speaks an older TLS only: see tls.min_version"},
		{"handshake failure", "no common settings; many servers say so when they want a certificate: see tls.cert"},
		{"unrecognized name", "the server does not go by this name: see tls.server_name"},
		{"access denied", "the server lets our certificate not in: see tls.cert"},
	} {
		if strings.HasPrefix(alert, a.text) {
			return a.step
		}
	}
	return ""
}
