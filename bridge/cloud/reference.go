package cloud

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// referred is the server that s names in a Server Reference (4.11): the first of a
// list, separated by spaces, that is at least as safe as s. Each is host, host:port
// or [address]:port, for the scheme and path of s, or a URL. Without a port it is
// that of s: what comes through to one comes through to the other.
func (s server) referred(list string) (server, error) {
	why := "it names none"
	for one := range strings.FieldsSeq(list) {
		text := one
		if !strings.Contains(text, "://") {
			text = s.sibling(one)
		}
		to, err := parseServer(text)
		switch {
		case err != nil:
			why = fmt.Sprintf("%q can not be read", one)
		case s.tls && !to.tls:
			why = fmt.Sprintf("%q is without TLS, and this connection has it", one)
		default:
			return to, nil
		}
	}
	return server{}, fmt.Errorf("%s sends us to another server, and %s", s.url, why)
}

// sibling is the URL of another host that is reached as s is.
func (s server) sibling(host string) string {
	u, err := url.Parse(s.url)
	if err != nil {
		return ""
	}
	_, port, _ := net.SplitHostPort(s.address)
	if s.upgrade != nil {
		u.RawQuery = s.upgrade.RawQuery
	}
	u.Host = host
	if _, _, err := net.SplitHostPort(host); err != nil {
		u.Host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return u.String()
}
