package broker

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// webRules are what a ws or wss listener asks of an upgrade request.
type webRules struct {
	path      string
	origins   []string // in lower case, beside those of the same host
	anonymous bool     // whoever gets to CONNECT is in
}

func newWebRules(l ListenerConfig, anonymous bool) *webRules {
	w := &webRules{path: l.WebPath(), anonymous: anonymous}
	for _, o := range l.Origins {
		w.origins = append(w.origins, strings.ToLower(strings.TrimSuffix(o, "/")))
	}
	return w
}

// admit refuses requests that do not lead to MQTT, or come from a page that has no
// business here. Its error is a *httpError.
func (w *webRules) admit(r *http.Request) error {
	switch {
	case r.URL.Path != w.path:
		return &httpError{http.StatusNotFound, "Nothing is here. MQTT over WebSocket is at " + w.path + "."}
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return &httpError{http.StatusUpgradeRequired, "This is MQTT over WebSocket: connect with an MQTT client, not with a browser alone."}
	case r.Host == "": // RFC 9112, 3.2
		return &httpError{http.StatusBadRequest, "The request has no Host."}
	case !w.trusts(r.Header.Values("Origin"), r.Host):
		return &httpError{http.StatusForbidden, fmt.Sprintf("Pages of %q may not connect to %q: origins of this listener does not list them.",
			r.Header.Get("Origin"), r.Host)}
	}
	for _, s := range subprotocols {
		if hasToken(r.Header, "Sec-Websocket-Protocol", s) {
			return nil
		}
	}
	return &httpError{http.StatusBadRequest, `The request does not ask for the subprotocol "mqtt".`} // [MQTT-6.0.0-3] [v3 MQTT-6.0.0-3]
}

// trusts judges the origin of a request. A browser lets every page connect to
// everywhere, with the network position of its user, and tells in Origin which
// page it is; refusing foreign ones is left to the server (RFC 6455, 10.2). Other
// clients send no Origin, or what they like: this is not an authentication.
func (w *webRules) trusts(origins []string, host string) bool {
	switch len(origins) {
	case 0:
		return true
	case 1:
	default:
		return false
	}
	origin := strings.ToLower(origins[0])
	if slices.Contains(w.origins, "*") || slices.Contains(w.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // "null" is a page of a file, or one in a sandbox
		return false
	}
	name := hostname(host)
	// The port may differ: this one serves no pages.
	if u.Hostname() != name {
		return false
	}
	// A foreign page can have the name of its host resolved to 127.0.0.1 once it is
	// loaded. Origin and Host then agree; but an address or localhost they are not.
	// Where clients need a password, it has none.
	return !w.anonymous || name == "localhost" || net.ParseIP(name) != nil
}

// hostname is the host of a Host header in lower case, without port and brackets.
func hostname(host string) string {
	return strings.ToLower((&url.URL{Host: host}).Hostname())
}

// hasToken reports whether a header that is a list names a token (RFC 9110, 5.6.1).
func hasToken(h http.Header, key, token string) bool {
	for _, line := range h.Values(key) {
		for _, t := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// validOrigin reports whether o can be an Origin as browsers write it.
func validOrigin(o string) bool {
	u, err := url.Parse(strings.TrimSuffix(o, "/"))
	return o == "*" || err == nil && u.Scheme != "" && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}
