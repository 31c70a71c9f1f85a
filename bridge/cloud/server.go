package cloud

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
)

// server is one place to connect to: an entry of Config.Servers, or what a server
// named in its place.
type server struct {
	url     string   // how it is shown, and whose session it is: without a query, which may be a secret
	address string   // host:port
	host    string   // whom the certificate must name
	tls     bool     // mqtts, wss
	upgrade *url.URL // of the WebSocket, with path and query; nil: MQTT on the connection itself
}

// schemes are what a URL may begin with, and the ports that IANA or custom give them.
var schemes = map[string]struct {
	port    string
	tls, ws bool
}{
	"mqtt":  {port: "1883"},
	"mqtts": {port: "8883", tls: true},
	"ws":    {port: "80", ws: true},
	"wss":   {port: "443", tls: true, ws: true},
}

func parseServer(s string) (server, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return server{}, fmt.Errorf("must be a URL such as \"mqtts://mqtt.example.com:8883\", not %q", shown(s))
	}
	scheme, ok := schemes[u.Scheme]
	srv := server{url: u.Scheme + "://" + u.Host, host: u.Hostname(), tls: scheme.tls}
	switch {
	case !ok:
		return server{}, fmt.Errorf("%q must begin with mqtt://, mqtts://, ws:// or wss://", shown(s))
	case u.User != nil:
		return server{}, fmt.Errorf("must not carry a user name or password; use username and password_file")
	case u.Fragment != "":
		return server{}, fmt.Errorf("%q must not have a part behind #: it would never reach the server", shown(s))
	case scheme.ws:
		srv.upgrade = u
		srv.url += u.EscapedPath()
	case u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return server{}, fmt.Errorf("%q must be scheme, host and port only; a path belongs to ws:// and wss://", shown(s))
	}
	port := u.Port()
	if port == "" {
		port = scheme.port
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || srv.host == "" {
		return server{}, fmt.Errorf("%q must name a host and a port from 1 to 65535", shown(s))
	}
	srv.address = net.JoinHostPort(srv.host, port)
	return srv, nil
}

// secrets are where a URL may hold some, however badly it is written: in front of the
// last @, and from the query on.
var secrets = regexp.MustCompile(`^([^:/]+://)?.*@|[?#].*$`)

// shown is a URL from a person, without what may be a secret, for an error.
func shown(url string) string { return secrets.ReplaceAllString(url, "$1") }
