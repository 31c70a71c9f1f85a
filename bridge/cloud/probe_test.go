package cloud_test

import (
	"context"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

func TestProbeTellsWhatTheServerSays(t *testing.T) {
	a, s := newAuthority(t), newServer(t)
	ends := time.Now().Add(40 * 24 * time.Hour).Truncate(time.Second)
	f := newFront(t, s, a.server(func(c *x509.Certificate) { c.NotAfter = ends }), true)
	cfg := testConfig("wss://" + f.address + "/mqtt")
	cfg.TLS.CA = a.file
	cfg.Username, cfg.PasswordFile = "gw", password(t, "secret")
	type result struct {
		cloud.Found
		err error
	}
	probe := func() chan result {
		done := make(chan result, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			found, err := cfg.Probe(ctx, cfg.Servers[0], "g-1-check")
			done <- result{found, err}
		}()
		return done
	}

	done := probe()
	p, c := s.accept()
	if c.ClientID != "g-1-check" || !c.CleanStart || c.Will != nil || c.Username != "gw" || string(c.Password) != "secret" {
		t.Errorf("CONNECT %+v", c)
	}
	p.connack(false, func(ca *packet.Connack) {
		ca.SessionExpiry, ca.MaximumQoS, ca.RetainUnavailable = new(uint32(3600)), new(packet.QoS1), true
		ca.MaximumPacketSize, ca.ReceiveMaximum, ca.WildcardUnavailable = 1000, 10, true
		ca.ServerKeepAlive = new(uint16(20))
	})
	if d := expect[*packet.Disconnect](p); d.SessionExpiry == nil || *d.SessionExpiry != 0 {
		t.Errorf("DISCONNECT %+v leaves a session behind", d)
	}
	got := <-done
	if got.err != nil || !got.Answered || got.Code != packet.Success || got.TLS != "TLS 1.3" || !got.Expires.Equal(ends) || got.Address != f.address {
		t.Errorf("found %+v", got)
	}
	all := strings.Join(got.Limits, "\n")
	for _, want := range []string{"session for 1h0m0s", "QoS 1 at most", "no retained", "1000 bytes", "10 messages at a time", `down[0].from "acme/g/+/set"`, "every 20 s"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}

	done = probe()
	p, _ = s.accept()
	p.connack(false, func(ca *packet.Connack) { ca.Code = packet.BadUserNameOrPassword })
	if got := <-done; got.err != nil || got.Code != packet.BadUserNameOrPassword || !strings.Contains(got.Means, "password_file") {
		t.Errorf("refused: %+v", got)
	}

	done = probe()
	p, _ = s.accept()
	p.cut()
	if got := <-done; got.err != nil || got.Answered {
		t.Errorf("cut: %+v", got)
	}

	done = probe()
	p, _ = s.accept()
	p.connack(false)
	if got := <-done; len(got.Limits) > 0 || slices.Contains(got.Limits, "") {
		t.Errorf("a server without limits has %q", got.Limits)
	}
}
