package cloud

import (
	"context"
	"crypto/tls"
	"net"
)

// dial opens what MQTT runs on: TCP, maybe through a proxy, TLS for mqtts and wss,
// and a WebSocket for ws and wss. Files are read here, so that renewed ones count.
func (c Config) dial(ctx context.Context, s server) (net.Conn, error) {
	var secure *tls.Config
	if s.tls { // before the server is troubled: a file may be missing
		var err error
		if secure, err = c.TLS.client(s.host); err != nil {
			return nil, err
		}
	}
	conn, err := c.reach(ctx, s)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		encrypted := tls.Client(conn, secure)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, c.TLS.explain(s, err)
		}
		conn = encrypted
	}
	if s.upgrade == nil {
		return conn, nil
	}
	web, err := upgrade(ctx, conn, s)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return web, nil
}

// reach opens a TCP connection to the server, or one that a proxy has opened.
func (c Config) reach(ctx context.Context, s server) (net.Conn, error) {
	p, err := c.proxyTo(s)
	if err != nil {
		return nil, err
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	address := s.address
	if p != nil {
		address = p.address
	}
	conn, err := dial(ctx, "tcp", address)
	switch {
	case err != nil && p != nil:
		return nil, explainDial("the proxy "+p.url, p.address, err)
	case err != nil:
		return nil, explainDial(s.url, s.address, err)
	}
	conn = prompt(conn)
	if p == nil {
		return conn, nil
	}
	release := abide(ctx, conn)
	err = p.open(conn, s.address)
	if cut := release(); cut != nil {
		err = cut
	}
	if err != nil {
		conn.Close()
		return nil, explainDial(s.url+" through the proxy "+p.url, p.address, err)
	}
	return conn, nil
}
