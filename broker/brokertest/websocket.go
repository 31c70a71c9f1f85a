package brokertest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// dialWeb connects to ws://host:port/path or wss://. Certificates are not checked:
// the ones of tests are signed by nobody.
func dialWeb(t testing.TB, address, subprotocol string) (web, below net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		below = nc
		if err == nil && strings.HasPrefix(address, "wss://") {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		}
		return nc, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial}}
	c, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{subprotocol}})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = c.CloseNow() }) // it may be closed
	return websocket.NetConn(context.Background(), c, websocket.MessageBinary), below
}
