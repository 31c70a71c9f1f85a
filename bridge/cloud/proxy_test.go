package cloud_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edgegateway/bridge/cloud"
	"edgegateway/broker/packet"
)

// standInProxy is an HTTP or SOCKS proxy that wants the user u and the password p.
type standInProxy struct {
	t       *testing.T
	address string
	targets chan string

	mu   sync.Mutex
	left int // bytes from the server until the next connection is cut; 0: never
}

func newProxy(t *testing.T, serve func(*standInProxy, net.Conn) (target string, ok bool)) *standInProxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &standInProxy{t: t, address: ln.Addr().String(), targets: make(chan string, 100)}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if target, ok := serve(p, c); ok {
					p.targets <- target
					p.tunnel(c, target)
				}
			})
		}
	})
	return p
}

// tunnel joins the two; the limit counts what the server sends.
func (p *standInProxy) tunnel(c net.Conn, target string) {
	target = strings.Replace(target, "cloud.test", "127.0.0.1", 1) // only the proxy knows the name
	behind, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer behind.Close()
	p.mu.Lock()
	from := io.Reader(behind)
	if p.left > 0 {
		from = io.LimitReader(behind, int64(p.left))
	}
	p.left = 0
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(behind, c); behind.Close(); c.Close() })
	both.Go(func() { io.Copy(c, from); behind.Close(); c.Close() })
	both.Wait()
}

func httpProxy(t *testing.T) *standInProxy {
	return newProxy(t, func(_ *standInProxy, c net.Conn) (string, bool) {
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		switch {
		case err != nil || r.Method != http.MethodConnect || in.Buffered() > 0:
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		case r.Header.Get("Proxy-Authorization") != "Basic dTpw": // u:p
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
		case strings.HasSuffix(r.Host, ":1"):
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
		default:
			io.WriteString(c, "HTTP/1.1 200 Connection established\r\nX-Long: "+strings.Repeat("x", 5000)+"\r\n\r\n")
			return r.Host, true
		}
		return "", false
	})
}

// socksProxy takes names and addresses (RFC 1928), and a login (RFC 1929).
func socksProxy(t *testing.T) *standInProxy {
	return newProxy(t, func(_ *standInProxy, c net.Conn) (string, bool) {
		take := func(n int) []byte {
			b := make([]byte, n)
			if _, err := io.ReadFull(c, b); err != nil {
				return make([]byte, n)
			}
			return b
		}
		if hello := take(2); hello[0] != 5 || !bytes.Contains(take(int(hello[1])), []byte{2}) {
			c.Write([]byte{5, 0xff})
			return "", false
		}
		c.Write([]byte{5, 2})
		name := string(take(int(take(2)[1])))
		password := string(take(int(take(1)[0])))
		if name != "u" || password != "p" {
			c.Write([]byte{1, 1})
			return "", false
		}
		c.Write([]byte{1, 0})
		var host string
		switch head := take(4); head[3] {
		case 1:
			host = net.IP(take(4)).String()
		case 3:
			host = string(take(int(take(1)[0])))
		}
		port := take(2)
		if port[0] == 0 && port[1] == 1 {
			c.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
			return "", false
		}
		c.Write(append([]byte{5, 0, 0, 3, 5}, "bound\x00\x00"...))
		return fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1])), true
	})
}

// webServer and garbage are no proxies.
func webServer(t *testing.T) *standInProxy {
	return newProxy(t, func(_ *standInProxy, c net.Conn) (string, bool) {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		c.Read(make([]byte, 1000))
		return "", false
	})
}

func garbage(t *testing.T) *standInProxy {
	return newProxy(t, func(_ *standInProxy, c net.Conn) (string, bool) {
		io.WriteString(c, "220 mail.test\r\n\r\n")
		c.Read(make([]byte, 1000))
		return "", false
	})
}

func password(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestThroughProxies(t *testing.T) {
	for _, c := range []struct {
		name, scheme string
		proxy        func(*testing.T) *standInProxy
	}{{"HTTP", "http", httpProxy}, {"SOCKS", "socks5", socksProxy}} {
		t.Run(c.name, func(t *testing.T) {
			a, s, p := newAuthority(t), newServer(t), c.proxy(t)
			f := newFront(t, s, a.server(), true)
			_, port, _ := net.SplitHostPort(f.address)
			cfg := testConfig("wss://cloud.test:" + port + "/mqtt") // a name that only the proxy knows
			cfg.TLS.CA, cfg.TLS.ServerName = a.file, "server.test"
			cfg.Proxy, cfg.ProxyPasswordFile = c.scheme+"://u@"+p.address, password(t, "p")
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, cfg, nil)
			r.run()
			s.welcome(false)
			if got := <-p.targets; got != "cloud.test:"+port {
				t.Errorf("the proxy was asked for %s", got)
			}
		})
	}
}

func TestProxyThatCutsInTheMiddleOfAPacket(t *testing.T) {
	s, p := newServer(t), socksProxy(t)
	cfg := testConfig(s.url())
	cfg.Proxy, cfg.ProxyPasswordFile = "socks5://u@"+p.address, password(t, "p")
	cfg.Down = []cloud.Route{{From: "acme/g/valve/set", To: "g/valve/set", QoS: 2}} // no wildcard: one subscription, no markers
	r := newRig(t, cfg, nil)
	got := r.subscribe("g/+/set")
	hello := (&packet.Connack{}).Size(packet.V5) + (&packet.Ack{Kind: packet.PUBACK, ID: 1}).Size(packet.V5)
	p.mu.Lock()
	p.left = hello + (&packet.Suback{ID: 1, Codes: make([]packet.ReasonCode, 1)}).Size(packet.V5) + 10
	p.mu.Unlock()
	r.run()
	peer := s.welcome(false)
	peer.subscribes(1) // whatever else comes before, some bytes of the message come through
	whole := down("halved", 5, 2, false)
	peer.conn.Write(whole.Append(nil, packet.V5))
	peer.ended()
	peer = s.welcome(true)
	peer.send(down("halved", 5, 2, true))
	peer.wantAck(packet.PUBREC, 5, 0)
	got.want(t, "g/valve/set", "halved")
	got.wantNothing(t)
}

func TestFaultsOfProxiesSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, scheme, password, server string
		proxy                          func(*testing.T) *standInProxy
		want                           string
	}{
		{"HTTP password", "http", "wrong", "mqtt://127.0.0.1:2", httpProxy, "wants another user name or password (407): see proxy"},
		{"HTTP refuses", "http", "p", "mqtt://127.0.0.1:1", httpProxy, "it refuses: 403 Forbidden (may it connect to port 1?)"},
		{"SOCKS password", "socks5", "wrong", "mqtt://127.0.0.1:2", socksProxy, "wants another user name or password: see proxy"},
		{"SOCKS refuses", "socks5", "p", "mqtt://127.0.0.1:1", socksProxy, "it refuses: not allowed by its rules (2)"},
		{"SOCKS at an HTTP proxy", "socks5", "p", "mqtt://127.0.0.1:1", webServer, "does not answer as a SOCKS 5 proxy"},
		{"HTTP at another server", "http", "p", "mqtt://127.0.0.1:1", garbage, "does not answer as an HTTP proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.proxy(t)
			cfg := testConfig(c.server)
			cfg.Proxy, cfg.ProxyPasswordFile = c.scheme+"://u@"+p.address, password(t, c.password)
			r := newRig(t, cfg, nil)
			r.run()
			r.until("the sentence", func(st cloud.Status) bool {
				return strings.Contains(st.LastError, c.want) && strings.Contains(st.LastError, c.scheme+"://"+p.address) && !strings.Contains(st.LastError, c.password+"@")
			})
		})
	}
}

// The environment is read once by the standard library: by a process of its own.
func TestProxyOfTheEnvironment(t *testing.T) {
	if os.Getenv("CLOUD_TEST_PROXY") != "" {
		for _, c := range []struct {
			proxy string
			want  bool
		}{{"environment", true}, {"", false}} {
			cfg := testConfig("mqtts://cloud.test:1")
			cfg.Proxy = c.proxy
			tried := make(chan string, 1000)
			cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
				tried <- address
				return nil, errors.New("not in this test")
			}
			r := newRig(t, cfg, nil)
			stop := r.run()
			if got := <-tried; (got == "proxy.test:1080") != c.want {
				t.Errorf("proxy = %q dials %s", c.proxy, got)
			}
			stop()
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyOfTheEnvironment$")
	cmd.Env = append(os.Environ(), "CLOUD_TEST_PROXY=1", "HTTPS_PROXY=socks5://u:p@proxy.test", "HTTP_PROXY=http://wrong.test")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
