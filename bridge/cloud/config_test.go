package cloud_test

import (
	"strings"
	"testing"
	"time"

	"edgegateway/bridge/cloud"
)

func good() cloud.Config {
	c := cloud.DefaultConfig()
	c.Name = "acme"
	c.Servers = []string{"mqtt://127.0.0.1:1883"}
	c.Up = []cloud.Route{{From: "g/+/state", To: "acme/g/+/state", QoS: 1}}
	c.Down = []cloud.Route{{From: "acme/g/+/set", To: "g/+/set", QoS: 1}}
	return c
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	if err := good().Validate(); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, c := range []struct {
		name  string
		spoil func(*cloud.Config)
		want  string // contained
	}{
		{"no name", func(c *cloud.Config) { c.Name = "" }, "name must be"},
		{"name with slash", func(c *cloud.Config) { c.Name = "a/b" }, "name must be"},
		{"no server", func(c *cloud.Config) { c.Servers = nil }, "servers must name"},
		{"fragment", func(c *cloud.Config) { c.Servers[0] = "wss://a/mqtt#x" }, "behind #"},
		{"no scheme", func(c *cloud.Config) { c.Servers[0] = "a.example:1883" }, "servers[0] must be a URL"},
		{"another scheme", func(c *cloud.Config) { c.Servers[0] = "http://a" }, "servers[0] \"http://a\" must begin with"},
		{"password in URL", func(c *cloud.Config) { c.Servers[0] = "mqtt://u:p@a" }, "use username and password_file"},
		{"port", func(c *cloud.Config) { c.Servers[0] = "mqtt://a:0" }, "port from 1 to 65535"},
		{"path", func(c *cloud.Config) { c.Servers[0] = "mqtt://a/b" }, "host and port only; a path belongs to ws://"},
		{"return at once", func(c *cloud.Config) { c.ReturnAfter = time.Second }, "return_after must be 0s for never"},
		{"keep alive off", func(c *cloud.Config) { c.KeepAlive = 0 }, "keep_alive must be"},
		{"keep alive in parts", func(c *cloud.Config) { c.KeepAlive = 1500 * time.Millisecond }, "keep_alive must be"},
		{"expiry", func(c *cloud.Config) { c.SessionExpiry = "1s" }, "session_expiry must be"},
		{"queue", func(c *cloud.Config) { c.MaxQueuedMessages = 0 }, "max_queued_messages must be"},
		{"queue bytes", func(c *cloud.Config) { c.MaxQueuedBytes = 0 }, "max_queued_bytes must be"},
		{"policy", func(c *cloud.Config) { c.WhenFull = "keep-most" }, "when_full must be"},
		{"half a certificate", func(c *cloud.Config) { c.TLS.Cert = "a" }, "tls.cert and tls.key"},
		{"oldest TLS", func(c *cloud.Config) { c.TLS.MinVersion = "1.1" }, "tls.min_version must be"},
		{"no protocol name", func(c *cloud.Config) { c.TLS.ALPN = []string{""} }, "tls.alpn must hold"},
		{"two names", func(c *cloud.Config) { c.Username, c.UsernameFile = "a", "b" }, "username and username_file"},
		{"proxy scheme", func(c *cloud.Config) { c.Proxy = "https://a" }, "proxy must begin with http:// or socks5://"},
		{"proxy path", func(c *cloud.Config) { c.Proxy = "http://a/b" }, "proxy must be scheme, user, host and port only"},
		{"proxy secret", func(c *cloud.Config) { c.Proxy = "http://u:p@a" }, "use proxy_password_file"},
		{"proxy user alone", func(c *cloud.Config) { c.Proxy = "http://u@a" }, "must be given together"},
		{"proxy password alone", func(c *cloud.Config) { c.Proxy, c.ProxyPasswordFile = "http://a", "b" }, "must be given together"},
		{"password for no proxy", func(c *cloud.Config) { c.ProxyPasswordFile = "b" }, "proxy_password_file needs proxy"},
		{"password alone", func(c *cloud.Config) { c.PasswordFile = "a" }, "password_file needs username"},
		{"status topic", func(c *cloud.Config) { c.StatusTopic = "a/#" }, "status_topic: "},
		{"route", func(c *cloud.Config) { c.Up[0].To = "x" }, "up[0].to "},
		{"qos", func(c *cloud.Config) { c.Up[0].QoS = 3 }, "up[0].qos must be"},
		{"priority", func(c *cloud.Config) { c.Up[0].Priority = 10 }, "up[0].priority must be"},
		{"priority down", func(c *cloud.Config) { c.Down[0].Priority = 1 }, "down[0].priority is for routes up"},
		{"birth topic", func(c *cloud.Config) { c.BirthTopic = "a/+" }, "birth_topic: "},
		{"birth at the status", func(c *cloud.Config) { c.StatusTopic, c.BirthTopic = "a", "a" }, "birth_topic must be another one"},
		{"birth beside a status of that name", func(c *cloud.Config) { c.StatusTopic = "a/birth" }, "birth_topic must be another one"},
		{"ttl", func(c *cloud.Config) { c.Up[0].TTL = time.Millisecond }, "up[0].ttl must be"},
		{"drop-newest beside others", func(c *cloud.Config) { c.Up[0].WhenFull = "drop-newest" }, "up[0].when_full of a route must be keep-last or that of the cloud (drop-oldest)"},
		{"drop-oldest beside refuse", func(c *cloud.Config) { c.WhenFull, c.Up[0].WhenFull = "refuse", "drop-oldest" }, "up[0].when_full of a route"},
		{"retain down", func(c *cloud.Config) { c.Down[0].Retain = new(bool) }, "down[0].retain is for routes up"},
		{"ttl down", func(c *cloud.Config) { c.Down[0].TTL = time.Hour }, "down[0].ttl is for routes up"},
		{"when_full down", func(c *cloud.Config) { c.Down[0].WhenFull = "keep-last" }, "down[0].when_full is for routes up"},
		{"max_rate", func(c *cloud.Config) { c.MaxRate = -1 }, "max_rate must be"},
		{"max_bandwidth", func(c *cloud.Config) { c.MaxBandwidth = -1 }, "max_bandwidth must be"},
		{"twice the same topic", func(c *cloud.Config) { c.Down = append(c.Down, cloud.Route{From: "acme/#", To: "h/#"}) }, "match the same topics"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.spoil(&cfg)
			err := cfg.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Validate = %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestRouteDefaults(t *testing.T) {
	var r cloud.Route
	r.SetDefaults()
	if r.QoS != 1 {
		t.Errorf("the QoS of a route that does not say is %d, want 1", r.QoS)
	}
}

func TestWhenFullOfARoute(t *testing.T) {
	for _, c := range []struct{ cloud, route string }{
		{"drop-oldest", "keep-last"}, {"refuse", "keep-last"}, {"drop-newest", "keep-last"}, {"keep-last", "keep-last"},
		{"refuse", "refuse"}, {"keep-last", "drop-oldest"},
	} {
		cfg := good()
		cfg.WhenFull, cfg.Up[0].WhenFull = c.cloud, c.route
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s of a cloud with %s: %v", c.route, c.cloud, err)
		}
	}
}

// What is wrong with a URL is told without what it may carry along.
func TestErrorsOfURLsTellNoSecret(t *testing.T) {
	for _, url := range []string{
		"http://u:hunter2@a", "mqtt://u:hunter2@a:port", "mqtt://u:hunter2%zz@a", "mqtt://a/p?token=hunter2",
		"wss://a/p?token=hunter2#x", "wss://a:0/p?token=hunter2", "u:hunter2@a", "http://u:hun/ter2@a",
	} {
		for _, change := range []func(*cloud.Config){
			func(c *cloud.Config) { c.Servers[0] = url },
			func(c *cloud.Config) { c.Proxy = url },
		} {
			cfg := testConfig("mqtt://a")
			change(&cfg)
			if err := cfg.Validate(); err != nil && strings.Contains(err.Error(), "ter2") {
				t.Errorf("%q: %v", url, err)
			}
		}
	}
}
