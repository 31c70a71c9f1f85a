package cloud

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// environment is the value of Config.Proxy that asks the environment.
const environment = "environment"

// proxy is a proxy for one connect.
type proxy struct {
	url      string // without the password
	address  string // host:port
	socks    bool
	name     string // to log in with; "": not asked for
	password string
}

// parseProxy takes http://[user@]host[:port] and socks5://[user@]host[:port]. The
// ports are those of custom (3128) and of RFC 1928 (1080).
func parseProxy(u *url.URL) (*proxy, error) {
	p := &proxy{url: u.Scheme + "://" + u.Host, name: u.User.Username()}
	p.password, _ = u.User.Password()
	port := "3128"
	switch u.Scheme {
	case "http":
	case "socks5", "socks5h":
		p.socks, port = true, "1080"
	default:
		return nil, fmt.Errorf("must begin with http:// or socks5://")
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("must be scheme, user, host and port only, such as \"http://proxy.example:3128\"")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	p.address = net.JoinHostPort(u.Hostname(), port)
	return p, nil
}

// validateProxy checks the keys of the proxy.
func (c Config) validateProxy() error {
	if c.Proxy == "" || c.Proxy == environment {
		if c.ProxyPasswordFile != "" {
			return errors.New("proxy_password_file needs proxy = \"http://user@host:3128\" or socks5://")
		}
		return nil
	}
	u, err := url.Parse(c.Proxy)
	if err != nil {
		return fmt.Errorf("proxy must be a URL such as \"http://proxy.example:3128\", not %q", shown(c.Proxy))
	}
	p, err := parseProxy(u)
	switch {
	case err != nil:
		return fmt.Errorf("proxy %w", err)
	case p.password != "":
		return errors.New("proxy must not carry a password; use proxy_password_file")
	case (p.name == "") != (c.ProxyPasswordFile == ""):
		return errors.New("proxy_password_file and the user name in proxy must be given together")
	}
	return nil
}

// proxyTo is the proxy on the way to a server, nil for none.
func (c Config) proxyTo(s server) (*proxy, error) {
	switch c.Proxy {
	case "":
		return nil, nil
	case environment:
		// HTTPS_PROXY for what is encrypted, HTTP_PROXY for the rest, and not for
		// NO_PROXY: as everybody else on the machine reads them.
		target := &url.URL{Scheme: "http", Host: s.address}
		if s.tls {
			target.Scheme = "https"
		}
		u, err := http.ProxyFromEnvironment(&http.Request{URL: target})
		if err != nil { // it repeats the URL, which may hold a password
			return nil, errors.New("the proxy of the environment is no URL such as \"http://proxy.example:3128\": see HTTP_PROXY and HTTPS_PROXY")
		}
		if u == nil {
			return nil, nil
		}
		p, err := parseProxy(u)
		if err != nil {
			return nil, fmt.Errorf("the proxy of the environment, %s, %w", u.Redacted(), err)
		}
		return p, nil
	}
	u, _ := url.Parse(c.Proxy) // checked by Validate
	p, err := parseProxy(u)
	if err == nil && c.ProxyPasswordFile != "" {
		p.password, err = readSecret("proxy_password_file", c.ProxyPasswordFile)
	}
	return p, err
}

// open has the proxy connect to address. After that the connection is the
// server's.
func (p *proxy) open(conn net.Conn, address string) error {
	if p.socks {
		return p.openSOCKS(conn, address)
	}
	var ask strings.Builder
	fmt.Fprintf(&ask, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)
	if p.name != "" {
		login := base64.StdEncoding.EncodeToString([]byte(p.name + ":" + p.password))
		fmt.Fprintf(&ask, "Proxy-Authorization: Basic %s\r\n", login)
	}
	ask.WriteString("\r\n")
	if _, err := io.WriteString(conn, ask.String()); err != nil {
		return err
	}
	head, err := readHead(conn)
	if err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return fmt.Errorf("it does not answer as an HTTP proxy: %w", err)
	case answer.StatusCode == http.StatusProxyAuthRequired:
		return errors.New("it wants another user name or password (407): see proxy and proxy_password_file")
	case answer.StatusCode/100 != 2:
		return fmt.Errorf("it refuses: %s (may it connect to port %s?)", answer.Status, address[strings.LastIndexByte(address, ':')+1:])
	}
	return nil
}

// readHead reads up to the empty line of an HTTP answer and not a byte further:
// what follows is the server's.
func readHead(conn io.Reader) ([]byte, error) {
	const most = 16 << 10
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if len(head) == most {
			return nil, fmt.Errorf("its answer has no end within %d bytes: is it an HTTP proxy?", most)
		}
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, fmt.Errorf("it ended the connection: %w", err)
		}
		head = append(head, b[0])
	}
	return head, nil
}
