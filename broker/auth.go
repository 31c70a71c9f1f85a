package broker

import (
	"crypto/tls"
	"time"

	"edgegateway/broker/packet"
)

// authenticate decides whether a client may connect with the name and password
// that it gave, or the certificate that it showed.
func (d *door) authenticate(c *conn, p *packet.Connect) (packet.ReasonCode, string) {
	if d.config.TLS.Identity == "cn" {
		name, ok := commonName(c)
		if !ok {
			return packet.BadUserNameOrPassword, "the client certificate has no common name"
		}
		c.username, c.verified = name, true
		return packet.Success, ""
	}
	if !p.UsernameFlag {
		if d.anonymous {
			return packet.Success, ""
		}
		return packet.NotAuthorized, "a user name is needed here"
	}
	if d.passwords == nil {
		if d.anonymous { // nobody asked for the name
			return packet.Success, ""
		}
		return packet.BadUserNameOrPassword, "no password file is configured for this listener"
	}
	right, err := d.passwords.check(p.Username, p.Password, time.Now(), func() bool {
		return c.b.hashing.enter(c.b.cfg.ConnectTimeout, d.closing)
	}, c.b.hashing.leave)
	if err != nil {
		return packet.ServerBusy, err.Error()
	}
	if !right {
		return packet.BadUserNameOrPassword, "wrong user name or password"
	}
	c.verified = true
	return packet.Success, ""
}

func commonName(c *conn) (string, bool) {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return "", false
	}
	chain := t.ConnectionState().PeerCertificates
	if len(chain) == 0 || chain[0].Subject.CommonName == "" {
		return "", false
	}
	return chain[0].Subject.CommonName, true
}

// turn lets one at a time compute a hash that is meant to be slow and large.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// enter waits for the turn; false: it did not come in time, or closing was closed.
func (t turn) enter(patience time.Duration, closing <-chan struct{}) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		return true
	case <-timer.C:
	case <-closing:
	}
	return false
}

func (t turn) leave() { <-t }
