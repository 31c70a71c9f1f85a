package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// Config is one [[cloud]]: a server far away, what goes up to it and what comes
// down. It is plain data.
type Config struct {
	// Name is the cloud's name in topics, queues and logs: [A-Za-z0-9_-]{1,64}.
	// The queue belongs to it: another name starts with an empty queue.
	Name string `toml:"name"`

	// Servers are tried in order: mqtt://host[:1883], mqtts://host[:8883],
	// ws://host[:80]/path or wss://host[:443]/path.
	Servers []string `toml:"servers"`

	// ServersShareSession says that the servers are one cluster that knows every
	// session everywhere. Without it, a session that one server has is not
	// believed to be the one that another server had.
	ServersShareSession bool `toml:"servers_share_session"`

	// ReturnAfter is how long the first server has to be reachable again before a
	// link to another one is given up for it, in a moment without handshakes under
	// way; 0s: never. It doubles, up to an hour, when the return was a mistake.
	ReturnAfter time.Duration `toml:"return_after"`

	// ClientID is who we are on the server, where the session belongs to it.
	// Default: the gateway's id and six hex digits that stay the same on this
	// machine.
	ClientID string `toml:"client_id"`

	// Username is the name to log in with, if the server asks for one.
	Username string `toml:"username"`

	// UsernameFile holds the name instead. It is read as PasswordFile is.
	UsernameFile string `toml:"username_file"`

	// PasswordFile holds the password, or a token. It is read anew at every
	// connect; one newline at its end is not part of the password.
	PasswordFile string `toml:"password_file"`

	TLS TLS `toml:"tls"`

	// Proxy is on the way to every server: http://[user@]host[:3128], which is asked
	// to CONNECT, or socks5://[user@]host[:1080], which looks names up itself;
	// "environment" goes by HTTPS_PROXY (for mqtts and wss), HTTP_PROXY and NO_PROXY.
	// Without it there is none, whatever the environment says.
	Proxy string `toml:"proxy"`

	// ProxyPasswordFile holds the password for the user of Proxy.
	ProxyPasswordFile string `toml:"proxy_password_file"`

	// KeepAlive is the longest silence towards the server, in whole seconds, 1 s
	// to 65535 s. A link that is dead without saying so is noticed after at most
	// twice this time.
	KeepAlive time.Duration `toml:"keep_alive"`

	// RetryWithin is how long the first wait after a lost connection may be, 1 s to 10
	// min; the wait is a random part of it. Further ones double, to at most a minute or
	// this. It spreads the gateways of a fleet that lose their server at once:
	// docs/fleet.md.
	RetryWithin time.Duration `toml:"retry_within"`

	// SessionExpiry is how long the server keeps our session after the link went:
	// "never", or a duration of at least one minute.
	SessionExpiry string `toml:"session_expiry"`

	// StatusTopic carries online or offline on the server, retained.
	// Default: gateways/<id>/status.
	StatusTopic string `toml:"status_topic"`

	// BirthTopic gets, retained, at every connect what the gateway says of itself, as
	// JSON: id, version, when it was started, SHA-256 of its configuration file; "off":
	// nothing. Default: birth beside StatusTopic, as in gateways/<id>/birth.
	BirthTopic string `toml:"birth_topic"`

	// MaxQueuedMessages and MaxQueuedBytes limit what waits for this cloud.
	MaxQueuedMessages int   `toml:"max_queued_messages"`
	MaxQueuedBytes    int64 `toml:"max_queued_bytes,bytes"`

	// WhenFull says what gives way at these limits: drop-oldest, drop-newest, refuse,
	// which tells the publisher, or keep-last, which keeps only the newest message of
	// each topic at any time, of up to 65536 topics, and drops the oldest at the
	// limits. What may have been sent never gives way.
	WhenFull string `toml:"when_full"`

	// MaxQueuedAge is how long a message waits for this cloud at most, by the time
	// that the gateway runs; then it is dropped, unless it may have been sent. 0 is no
	// limit.
	MaxQueuedAge time.Duration `toml:"max_queued_age"`

	// MaxRate is how many messages per second of a backlog leave after the link was
	// down; 0 is no limit. What arrives meanwhile brings its own place: the backlog gets
	// smaller by this much however much arrives. As order holds, that leaves behind the
	// backlog of its priority; a priority without a backlog is not held back.
	MaxRate int64 `toml:"max_rate"`

	// MaxBandwidth is the same in bytes of MQTT packets per second, such as "64KiB".
	MaxBandwidth int64 `toml:"max_bandwidth,bytes"`

	// Transit lets messages that came from another cloud go up to this one.
	Transit bool `toml:"transit"`

	Up   []Route `toml:"up"`
	Down []Route `toml:"down"`

	// Dial opens the network connection to "tcp" addresses in place of a
	// net.Dialer: for tests, and to cut the link in a demonstration. TLS, where
	// the server's URL asks for it, runs on top.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `toml:"-"`
}

// TLS says whom to trust and who we are. Files are read anew at every connect,
// so that renewed ones are used without a restart.
type TLS struct {
	CA         string `toml:"ca"`          // PEM file of the certificates that we trust; default: the system's
	Cert       string `toml:"cert"`        // PEM file of our certificate, for a server that wants one; with Key
	Key        string `toml:"key"`         // PEM file of its private key
	ServerName string `toml:"server_name"` // the name in the server's certificate; default: the host of the URL

	// ALPN are the protocol names to offer (RFC 7301), such as "mqtt", or
	// "x-amzn-mqtt-ca" for AWS IoT Core at port 443.
	ALPN []string `toml:"alpn"`

	MinVersion string `toml:"min_version"` // oldest TLS that we speak: "1.2" or "1.3"
}

// Route carries messages from one side to the other. Of several that take a topic the
// first one counts.
type Route struct {
	// From is a topic filter. To is the topic there, with the same wildcards in
	// the same order; what a wildcard stood for is carried over.
	From string `toml:"from"`
	To   string `toml:"to"`

	// QoS is the highest on this route, 1 where a configuration file does not say:
	// a message keeps its own where that is lower.
	QoS int `toml:"qos"`

	// What follows is for routes up alone.

	// Priority is 0 to 9: what waits on a route of a higher priority leaves first.
	// Inside one priority order holds.
	Priority int `toml:"priority"`

	// Retain is whether messages are to be retained at the server. Not set, they are as
	// the publisher said.
	Retain *bool `toml:"retain"`

	// TTL is how long a message waits at most, by the time that the gateway runs; then it
	// is dropped, unless it may have been sent. 0 is no limit. The server is not told: a
	// message expiry interval is the publisher's.
	TTL time.Duration `toml:"ttl"`

	// WhenFull is keep-last for a route on which only the newest message of each topic
	// waits, whatever the cloud's when_full says; or, where that is keep-last,
	// drop-oldest for one on which all wait. Not set, it is the cloud's. The limits are
	// those of the cloud: its routes share one queue.
	WhenFull string `toml:"when_full"`
}

// SetDefaults fills in what a configuration file may leave out.
func (r *Route) SetDefaults() { r.QoS = 1 }

// DefaultConfig is a cloud with everything but its name, servers and routes.
func DefaultConfig() Config {
	return Config{
		ReturnAfter:       5 * time.Minute,
		KeepAlive:         30 * time.Second,
		RetryWithin:       time.Second,
		SessionExpiry:     "never",
		MaxQueuedMessages: 1_000_000,
		MaxQueuedBytes:    256 << 20,
		WhenFull:          "drop-oldest",
		TLS:               TLS{MinVersion: "1.2"},
	}
}

// Validate says what is wrong with the configuration, in sentences that begin
// with the key. What depends on the gateway's prefix is checked by New.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if !validName(c.Name) {
		fault("name must be 1 to 64 of the characters A-Z a-z 0-9 _ -, not %q", c.Name)
	}
	if len(c.Servers) == 0 {
		fault("servers must name at least one server, such as \"mqtts://mqtt.example.com:8883\"")
	}
	for i, s := range c.Servers {
		if _, err := parseServer(s); err != nil {
			fault("servers[%d] %w", i, err)
		}
	}
	if c.ReturnAfter != 0 && c.ReturnAfter < 10*time.Second {
		fault("return_after must be 0s for never, or at least 10s, not %v", c.ReturnAfter)
	}
	if c.KeepAlive < time.Second || c.KeepAlive > 65535*time.Second || c.KeepAlive%time.Second != 0 {
		fault("keep_alive must be whole seconds from 1s to 65535s, not %v", c.KeepAlive)
	}
	if c.RetryWithin < time.Second || c.RetryWithin > 10*time.Minute {
		fault("retry_within must be from 1s to 10m, not %v", c.RetryWithin)
	}
	if _, err := parseExpiry(c.SessionExpiry); err != nil {
		fault("session_expiry %w", err)
	}
	if c.MaxQueuedMessages < 1 {
		fault("max_queued_messages must be at least 1")
	}
	if c.MaxQueuedBytes < 1024 {
		fault("max_queued_bytes must be at least 1024")
	}
	if c.MaxRate < 0 {
		fault("max_rate must be 0 (no limit) or more messages per second, not %d", c.MaxRate)
	}
	if c.MaxBandwidth < 0 {
		fault("max_bandwidth must be 0 (no limit) or more bytes per second, not %d", c.MaxBandwidth)
	}
	if c.MaxQueuedAge != 0 && c.MaxQueuedAge < time.Second {
		fault("max_queued_age must be 0s (no limit) or at least 1s, not %v", c.MaxQueuedAge)
	}
	if _, err := parsePolicy(c.WhenFull); err != nil {
		fault("when_full %w", err)
	}
	if err := errors.Join(c.TLS.validate(), c.validateProxy()); err != nil {
		errs = append(errs, err)
	}
	if c.Username != "" && c.UsernameFile != "" {
		fault("username and username_file must not both be given")
	}
	if c.PasswordFile != "" && c.Username == "" && c.UsernameFile == "" {
		fault("password_file needs username or username_file: most servers refuse a password without one")
	}
	if c.StatusTopic != "" {
		if err := topic.ValidName(c.StatusTopic); err != nil {
			fault("status_topic: %w", err)
		}
	}
	if c.BirthTopic != "" {
		if err := topic.ValidName(c.BirthTopic); err != nil {
			fault("birth_topic: %w", err)
		}
	}
	if c.StatusTopic != "" && c.birthTopic(c.StatusTopic) == c.StatusTopic {
		fault("birth_topic must be another one than status_topic: one would overwrite the other")
	}
	if len(c.ClientID) > 65535 || !utf8.ValidString(c.ClientID) || strings.ContainsRune(c.ClientID, 0) {
		fault("client_id must be UTF-8 text without NUL, at most 65535 bytes long")
	}
	for i, r := range c.Up {
		if err := r.validate(); err != nil {
			fault("up[%d].%w", i, err)
		}
		if err := r.validateUp(c.WhenFull); err != nil {
			fault("up[%d].%w", i, err)
		}
	}
	for i, r := range c.Down {
		if err := r.validate(); err != nil {
			fault("down[%d].%w", i, err)
			continue
		}
		if err := r.validateDown(); err != nil {
			fault("down[%d].%w", i, err)
		}
		// A server may send one message once for each subscription that matches
		// (3.3.4): with filters that overlap, exactly once could not be promised.
		for j, other := range c.Down[:i] {
			if overlap(r.From, other.From) {
				fault("down[%d].from %q and down[%d].from %q match the same topics: the server may deliver such a message twice; make them disjoint", j, other.From, i, r.From)
			}
		}
	}
	return errors.Join(errs...)
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
}

// neverExpires is the Session Expiry Interval of a session that stays (3.1.2.11.2).
const neverExpires = 0xFFFFFFFF

// parseExpiry is the Session Expiry Interval in seconds.
func parseExpiry(s string) (uint32, error) {
	if s == "never" {
		return neverExpires, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Minute || d/time.Second >= neverExpires {
		return 0, fmt.Errorf("must be \"never\" or a duration of at least 1m, not %q", s)
	}
	return uint32(d / time.Second), nil
}

const keepLast = "keep-last"

func parsePolicy(s string) (buffer.Policy, error) {
	switch s {
	case "drop-oldest":
		return buffer.DropOldest, nil
	case "drop-newest":
		return buffer.DropNewest, nil
	case "refuse":
		return buffer.Refuse, nil
	case keepLast:
		return buffer.KeepLast, nil
	}
	return 0, fmt.Errorf("must be drop-oldest, drop-newest, refuse or keep-last, not %q", s)
}
