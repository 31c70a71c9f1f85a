package broker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// Config is the section [broker]. It is plain data.
type Config struct {
	// MaxConnections is how many network connections may be open at once, over
	// all listeners. One more is refused with "server busy".
	MaxConnections int `toml:"max_connections"`

	// MaxPacketSize is the largest packet taken from a client, in bytes, and what
	// MQTT 5 clients are told. CONNECT itself may have 1 MiB at most.
	MaxPacketSize int64 `toml:"max_packet_size,bytes"`

	// MaxInflight is how many QoS 1 and 2 messages may be under way to one client;
	// a client's Receive Maximum lowers it.
	MaxInflight int `toml:"max_inflight"`

	// ReceiveMaximum is how many QoS 1 and 2 messages an MQTT 5 client may have
	// under way to us.
	ReceiveMaximum int `toml:"receive_maximum"`

	// MaxQueuedMessages and MaxQueuedBytes limit what waits for one session, and
	// WhenFull says what gives way: "drop-oldest", "drop-newest", or "keep-last", which
	// keeps only the newest message of each topic at any time, and drops the oldest
	// when there are too many topics. What may have been sent never gives way.
	MaxQueuedMessages int    `toml:"max_queued_messages"`
	MaxQueuedBytes    int64  `toml:"max_queued_bytes,bytes"`
	WhenFull          string `toml:"when_full"`

	// MaxQueuedAge is how long a message waits for a session at most, by the time
	// that the gateway runs; then it is dropped, unless it may have been sent. 0 is no
	// limit.
	MaxQueuedAge time.Duration `toml:"max_queued_age"`

	// MaxRetainedMessages and MaxRetainedBytes limit the retained messages of
	// clients: beyond them a message that would be retained on one more topic is
	// refused, while those that replace one are taken. An MQTT 3.x client is not told;
	// the message is dropped and counted. 0 is no limit.
	MaxRetainedMessages int   `toml:"max_retained_messages"`
	MaxRetainedBytes    int64 `toml:"max_retained_bytes,bytes"`

	// MaxSessionExpiry is how long the session of an absent client is kept at
	// most, in every version of the protocol.
	MaxSessionExpiry time.Duration `toml:"max_session_expiry"`

	// MaxKeepAlive is the longest keep alive of an MQTT 5 client: one that asks for
	// more, or for none, is told this one. MQTT 3.x clients keep their own. 0 is no
	// limit.
	MaxKeepAlive time.Duration `toml:"max_keep_alive"`

	// ResponsePrefix is the beginning of topics for answers. An MQTT 5 client that
	// asks for response information gets it with its client identifier, as in
	// "answers/client-1". Empty: it gets none.
	ResponsePrefix string `toml:"response_prefix"`

	// Retry is when an MQTT 3.x client gets a QoS 1 or 2 message again that it has
	// not acknowledged: each time counts from the last sending. When the last one
	// has passed once more, the connection is closed, and the session waits. Empty:
	// never within a connection, as it is in MQTT 5.
	Retry []time.Duration `toml:"retry"`

	// SharedStrategy chooses who of a shared subscription gets a message:
	// "round-robin" takes turns, "random" does not, "sticky" takes the same one as
	// long as it is connected, "hash-client" and "hash-topic" take the same one for
	// all messages of a publisher or topic. Only if nobody is connected, the message
	// waits in the queue of one who is absent.
	SharedStrategy string `toml:"shared_strategy"`

	// SysInterval is the time between two publications of figures below $SYS/broker;
	// 0 is never. Events of clients, at $SYS/broker/clients/<id>/event, are published
	// as they happen.
	SysInterval time.Duration `toml:"sys_interval"`

	// ConnectTimeout is how long a new connection may take to send CONNECT.
	ConnectTimeout time.Duration `toml:"connect_timeout"`

	// Listeners is where clients come in.
	Listeners []ListenerConfig `toml:"listeners"`
}

// ListenerConfig is one [[broker.listeners]].
type ListenerConfig struct {
	// Address is tcp://host:port, tls://host:port or unix:///path, and for
	// WebSocket ws://host:port or wss://host:port. Port 0 takes a free one.
	Address string `toml:"address"`

	// MaxConnections is how many connections this listener may have, within
	// those of [broker]; 0 is no limit of its own.
	MaxConnections int `toml:"max_connections"`

	// ConnectTimeout is how long a new connection may take to send CONNECT here;
	// 0 is what [broker] says.
	ConnectTimeout time.Duration `toml:"connect_timeout"`

	// AllowAnonymous lets clients in without a user name. Not set, it is true on
	// loopback and unix sockets and false elsewhere, and false where there is a
	// PasswordFile.
	AllowAnonymous *bool `toml:"allow_anonymous"`

	// PasswordFile names a file of lines user:hash as "gateway passwd" writes them
	// (argon2id), or mosquitto_passwd ($7$ and $6$). It is read when the listener
	// starts.
	PasswordFile string `toml:"password_file"`

	// ACLFile names a file in the syntax of Mosquitto's acl_file: who may read and
	// write which topics. A user name counts where it is verified, by PasswordFile or
	// a certificate; all others are anonymous there. It is read when the listener
	// starts.
	ACLFile string `toml:"acl_file"`

	// CheckPayloadFormat has messages refused that say that they are UTF-8, and are
	// not.
	CheckPayloadFormat bool `toml:"check_payload_format"`

	TLS TLSConfig `toml:"tls"`

	// Path is where a WebSocket listener is reached: ws://host:port/mqtt. Empty is
	// "/mqtt".
	Path string `toml:"path"`

	// Origins lists the web pages that may connect to a WebSocket listener, beside
	// those that come from the same host, each as scheme://host or
	// scheme://host:port; "*" is all. Where clients need no password, the same
	// host is an IP address or localhost; any other name has to be listed. Clients
	// that are not in a browser are not asked.
	Origins []string `toml:"origins"`
}

// TLSConfig names the files of a tls or wss listener, all in PEM.
type TLSConfig struct {
	// Cert is the file of the server's certificate, with those that lead to its
	// root. Key is the file of its private key.
	Cert string `toml:"cert"`
	Key  string `toml:"key"`

	// ClientCA makes a client certificate, signed by one of this file's, a
	// condition.
	ClientCA string `toml:"client_ca"`

	// Identity is "cn" to take the common name of the client certificate as the
	// user name; the client then counts as authenticated. It needs ClientCA.
	Identity string `toml:"identity"`
}

func (t TLSConfig) isZero() bool { return t == TLSConfig{} }

// DefaultConfig is a broker for this machine alone: 127.0.0.1:1883.
func DefaultConfig() Config {
	return Config{
		MaxConnections:    1000,
		MaxPacketSize:     1 << 20,
		MaxInflight:       100,
		ReceiveMaximum:    1000,
		MaxQueuedMessages: 10000,
		MaxQueuedBytes:    16 << 20,
		WhenFull:          "drop-oldest",
		MaxSessionExpiry:  168 * time.Hour,
		SharedStrategy:    "round-robin",
		SysInterval:       10 * time.Second,
		ConnectTimeout:    10 * time.Second,
		Listeners:         []ListenerConfig{{Address: "tcp://127.0.0.1:1883"}},
	}
}

// policies are what WhenFull may be. A client is not to be refused for the sake of
// another one's queue.
var policies = map[string]buffer.Policy{
	"drop-oldest": buffer.DropOldest,
	"drop-newest": buffer.DropNewest,
	"keep-last":   buffer.KeepLast,
}

func isPolicy(name string) bool {
	_, ok := policies[name]
	return ok
}

// maxExpiry is the longest Session Expiry Interval that is not "never".
const maxExpiry = (math.MaxUint32 - 1) * time.Second

// Validate reports every value that can not be, each as a sentence that starts with
// its key.
func (c Config) Validate() error {
	var errs []error
	fail := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}

	fail(c.MaxConnections < 1, "max_connections must be at least 1, not %d", c.MaxConnections)
	fail(c.MaxPacketSize < 1024 || c.MaxPacketSize > packet.MaxSize, "max_packet_size must be from 1KiB to %d bytes, not %d", packet.MaxSize, c.MaxPacketSize)
	fail(c.MaxInflight < 1 || c.MaxInflight > 30000, "max_inflight must be from 1 to 30000, not %d", c.MaxInflight)
	fail(c.ReceiveMaximum < 1 || c.ReceiveMaximum > math.MaxUint16, "receive_maximum must be from 1 to 65535, not %d", c.ReceiveMaximum)
	fail(c.MaxQueuedMessages < 1, "max_queued_messages must be at least 1, not %d", c.MaxQueuedMessages)
	fail(c.MaxQueuedBytes < 1024, "max_queued_bytes must be at least 1KiB, not %d bytes", c.MaxQueuedBytes)
	fail(!isPolicy(c.WhenFull), `when_full must be "drop-oldest", "drop-newest" or "keep-last", not %q`, c.WhenFull)
	fail(c.MaxQueuedAge != 0 && c.MaxQueuedAge < time.Second, "max_queued_age must be 0s (no limit) or at least 1s, not %v", c.MaxQueuedAge)
	fail(c.MaxRetainedMessages < 0, "max_retained_messages must be 0 (no limit) or more, not %d", c.MaxRetainedMessages)
	fail(c.MaxRetainedBytes < 0, "max_retained_bytes must be 0 (no limit) or more, not %d", c.MaxRetainedBytes)
	fail(c.MaxSessionExpiry < 0 || c.MaxSessionExpiry > maxExpiry, "max_session_expiry must be from 0s to %v, not %v", maxExpiry, c.MaxSessionExpiry)
	fail(c.MaxKeepAlive < 0 || c.MaxKeepAlive > math.MaxUint16*time.Second || c.MaxKeepAlive%time.Second != 0, "max_keep_alive must be whole seconds from 0s (no limit) to %v, not %v", math.MaxUint16*time.Second, c.MaxKeepAlive)
	fail(c.ResponsePrefix != "" && topic.ValidName(c.ResponsePrefix) != nil, "response_prefix is not the beginning of a topic: %w", topic.ValidName(c.ResponsePrefix))
	fail(slices.ContainsFunc(c.Retry, func(d time.Duration) bool { return d < time.Second || d > 24*time.Hour }), "retry must be times from 1s to 24h, not %v", c.Retry)
	fail(!slices.Contains(strategies[:], c.SharedStrategy), "shared_strategy must be one of %s, not %q", strings.Join(strategies[:], ", "), c.SharedStrategy)
	fail(c.SysInterval < 0 || c.SysInterval > 0 && c.SysInterval < time.Second, "sys_interval must be 0s (off) or at least 1s, not %v", c.SysInterval)
	fail(c.ConnectTimeout < time.Second, "connect_timeout must be at least 1s, not %v", c.ConnectTimeout)
	for i, l := range c.Listeners {
		if err := l.Validate(); err != nil {
			for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
				fail(true, "listeners[%d].%w", i, one)
			}
		}
	}
	return errors.Join(errs...)
}

// WebPath is the path of a WebSocket listener, "" of any other.
func (l ListenerConfig) WebPath() string {
	if l.web() && l.Path == "" {
		return "/mqtt"
	}
	return l.Path
}

// web reports whether it is a WebSocket listener.
func (l ListenerConfig) web() bool {
	return strings.HasPrefix(l.Address, "ws://") || strings.HasPrefix(l.Address, "wss://")
}

// secure reports whether it speaks TLS.
func (l ListenerConfig) secure() bool {
	return strings.HasPrefix(l.Address, "tls://") || strings.HasPrefix(l.Address, "wss://")
}

// Validate reports every value that can not be, each as a sentence that starts with
// its key.
func (l ListenerConfig) Validate() error {
	scheme, rest, found := strings.Cut(l.Address, "://")
	secure, web := l.secure(), l.web()
	var errs []error
	fail := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	known := found && rest != "" && slices.Contains([]string{"tcp", "tls", "ws", "wss", "unix"}, scheme)
	fail(!known, "address must be tcp://, tls://, ws:// or wss://host:port, or unix:///path, not %q", l.Address)
	fail(known && web && strings.Contains(rest, "/"), "address %q must end after the port; what follows belongs into path", l.Address)
	fail(known && !web && l.Path != "", "path is for WebSocket, but the address %q is neither ws:// nor wss://", l.Address)
	fail(web && l.Path != "" && (l.Path[0] != '/' || strings.ContainsAny(l.Path, "?#% ")), "path must begin with / and have none of ? # %% and space, not %q", l.Path)
	fail(known && !web && len(l.Origins) > 0, "origins is for WebSocket, but the address %q is neither ws:// nor wss://", l.Address)
	for i, origin := range l.Origins {
		fail(web && !validOrigin(origin), `origins[%d] must be scheme://host, scheme://host:port or "*", not %q`, i, origin)
	}
	fail(known && !secure && !l.TLS.isZero(), "tls is set, but the address %q is neither tls:// nor wss://", l.Address)
	fail(secure && (l.TLS.Cert == "" || l.TLS.Key == ""), "tls.cert and tls.key must name the certificate and key of %s", l.Address)
	fail(l.TLS.Identity != "" && l.TLS.Identity != "cn", `tls.identity must be "cn" or left out, not %q`, l.TLS.Identity)
	fail(l.TLS.Identity == "cn" && l.TLS.ClientCA == "", "tls.identity needs tls.client_ca: without it a certificate proves nothing")
	fail(l.MaxConnections < 0, "max_connections must be at least 1, or 0 for no limit of the listener, not %d", l.MaxConnections)
	fail(l.ConnectTimeout != 0 && l.ConnectTimeout < time.Second, "connect_timeout must be at least 1s, not %v", l.ConnectTimeout)
	return errors.Join(errs...)
}
