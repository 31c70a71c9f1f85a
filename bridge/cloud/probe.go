package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"edgegateway/broker/packet"
)

// Found is what a server showed of itself when it was probed.
type Found struct {
	Server  string    // its URL
	Address string    // host:port that was connected to: the proxy's, if there is one
	TLS     string    // version, "" without
	Expires time.Time // when the server's certificate ends
	Ours    time.Time // when our own ends; zero: none was shown

	Answered bool // with a CONNACK
	Code     packet.ReasonCode
	Means    string   // what to do about Code, if it is a refusal
	Limits   []string // what CONNACK says, where that bounds this configuration
}

// Probe connects to one of the servers as the bridge would, with the login and the
// proxy, and asks to be let in under another client identifier: with its own, the
// bridge would be thrown out. Nothing stays on the server. The error says why there
// is no connection; a server that does not answer CONNECT is no error, as some close
// on names that they do not know.
func (c Config) Probe(ctx context.Context, url, clientID string) (Found, error) {
	s, err := parseServer(url)
	if err != nil {
		return Found{}, err
	}
	who, err := c.login()
	if err != nil {
		return Found{}, err
	}
	f := Found{Server: s.url}
	watched := c
	watched.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dial := c.Dial
		if dial == nil {
			dial = new(net.Dialer).DialContext
		}
		conn, err := dial(ctx, network, address)
		if err == nil {
			f.Address = conn.RemoteAddr().String()
		}
		return conn, err
	}
	conn, err := watched.dial(ctx, s)
	if err != nil {
		return f, err
	}
	defer conn.Close()
	f.certificates(c, conn)
	release := abide(ctx, conn)
	defer release()
	ca, err := c.askIn(conn, who, clientID)
	switch {
	case alertStep(err) != "": // TLS 1.3: only now the server says what it thinks of our certificate
		return f, c.TLS.explain(s, err)
	case errors.Is(err, errOldServer):
		return f, err
	case err != nil:
		return f, nil
	}
	f.Answered, f.Code = true, ca.Code
	if ca.Code.IsError() {
		f.Means = reason(ca.Code).say
		return f, nil
	}
	f.Limits = c.limits(ca)
	bye := packet.Disconnect{SessionExpiry: new(uint32(0))}
	_, _ = conn.Write(bye.Append(nil, packet.V5)) // if it does not come through, the session ends later
	return f, nil
}

// certificates notes what TLS has shown.
func (f *Found) certificates(c Config, conn net.Conn) {
	if w, ok := conn.(*webConn); ok {
		conn = w.Conn
	}
	t, ok := conn.(*tls.Conn)
	if !ok {
		return
	}
	state := t.ConnectionState()
	f.TLS, f.Expires = tls.VersionName(state.Version), state.PeerCertificates[0].NotAfter
	if c.TLS.Cert == "" {
		return
	}
	if pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key); err == nil && pair.Leaf != nil {
		f.Ours = pair.Leaf.NotAfter
	}
}

// askIn sends CONNECT and reads CONNACK.
func (c Config) askIn(conn net.Conn, who login, clientID string) (*packet.Connack, error) {
	expiry, _ := parseExpiry(c.SessionExpiry) // checked by Validate
	ask := packet.Connect{
		CleanStart: true, KeepAlive: uint16(c.KeepAlive / time.Second), ClientID: clientID,
		UsernameFlag: who.hasName, Username: who.name, PasswordFlag: who.password != nil, Password: who.password,
		SessionExpiry: expiry, MaximumPacketSize: maxInbound, ReceiveMaximum: receiveMaximum,
	}
	w := newWire(conn, maxInbound)
	if err := w.send(ask.Append(nil, packet.V5)); err != nil {
		return nil, err
	}
	dec := packet.Decoder{Role: packet.Client, Version: packet.V5}
	var buf []byte
	for more := make([]byte, 1024); ; {
		n, err := w.Read(more)
		if err != nil {
			return nil, err
		}
		buf = append(buf, more[:n]...)
		switch p, _, _, err := dec.Next(buf); ca := p.(type) {
		case *packet.Connack:
			return ca, nil
		case nil:
			if err != nil {
				return nil, err
			}
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// limits are the sentences about a CONNACK.
func (c Config) limits(ca *packet.Connack) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if want, _ := parseExpiry(c.SessionExpiry); ca.SessionExpiry != nil && *ca.SessionExpiry < want {
		say("it keeps the session for %v: exactly once holds through cuts as long as that", time.Duration(*ca.SessionExpiry)*time.Second)
	}
	if ca.MaximumQoS != nil && *ca.MaximumQoS < packet.QoS2 {
		say("it takes QoS %d at most: routes with a higher one go with that", *ca.MaximumQoS)
	}
	if ca.RetainUnavailable {
		say("it keeps no retained messages: the status is only seen by those who listen at the time")
	}
	if ca.MaximumPacketSize > 0 {
		say("it takes packets of %d bytes at most: larger messages are set aside", ca.MaximumPacketSize)
	}
	if n := ca.ReceiveMaximum; n > 0 && n <= 20 {
		say("it takes %d messages at a time: a backlog drains slowly over a line with a long delay", n)
	}
	for i, r := range c.Down {
		if ca.WildcardUnavailable && wildcards(r.From) != nil {
			say("it takes no wildcards: down[%d].from %q brings nothing", i, r.From)
		}
	}
	if ca.ServerKeepAlive != nil && time.Duration(*ca.ServerKeepAlive)*time.Second < c.KeepAlive {
		say("it wants a packet every %d s", *ca.ServerKeepAlive)
	}
	return all
}
