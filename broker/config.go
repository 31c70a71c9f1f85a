package broker

import (
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

// Validate reports the first value that can not be, as a sentence that starts
// with its key.
func (c Config) Validate() error {
	switch {
	case c.MaxConnections < 1:
		return fmt.Errorf("max_connections must be at least 1, not %d", c.MaxConnections)
	case c.MaxPacketSize < 1024 || c.MaxPacketSize > packet.MaxSize:
		return fmt.Errorf("max_packet_size must be from 1KiB to %d bytes, not %d", packet.MaxSize, c.MaxPacketSize)
	case c.MaxInflight < 1 || c.MaxInflight > 30000:
		return fmt.Errorf("max_inflight must be from 1 to 30000, not %d", c.MaxInflight)
	case c.ReceiveMaximum < 1 || c.ReceiveMaximum > math.MaxUint16:
		return fmt.Errorf("receive_maximum must be from 1 to 65535, not %d", c.ReceiveMaximum)
	case c.MaxQueuedMessages < 1:
		return fmt.Errorf("max_queued_messages must be at least 1, not %d", c.MaxQueuedMessages)
	case c.MaxQueuedBytes < 1024:
		return fmt.Errorf("max_queued_bytes must be at least 1KiB, not %d bytes", c.MaxQueuedBytes)
	case !isPolicy(c.WhenFull):
		return fmt.Errorf(`when_full must be "drop-oldest", "drop-newest" or "keep-last", not %q`, c.WhenFull)
	case c.MaxQueuedAge != 0 && c.MaxQueuedAge < time.Second:
		return fmt.Errorf("max_queued_age must be 0s (no limit) or at least 1s, not %v", c.MaxQueuedAge)
	case c.MaxRetainedMessages < 0:
		return fmt.Errorf("max_retained_messages must be 0 (no limit) or more, not %d", c.MaxRetainedMessages)
	case c.MaxRetainedBytes < 0:
		return fmt.Errorf("max_retained_bytes must be 0 (no limit) or more, not %d", c.MaxRetainedBytes)
	case c.MaxSessionExpiry < 0 || c.MaxSessionExpiry > maxExpiry:
		return fmt.Errorf("max_session_expiry must be from 0s to %v, not %v", maxExpiry, c.MaxSessionExpiry)
	case c.MaxKeepAlive < 0 || c.MaxKeepAlive > math.MaxUint16*time.Second || c.MaxKeepAlive%time.Second != 0:
		return fmt.Errorf("max_keep_alive must be whole seconds from 0s (no limit) to %v, not %v", math.MaxUint16*time.Second, c.MaxKeepAlive)
	case c.ResponsePrefix != "" && topic.ValidName(c.ResponsePrefix) != nil:
		return fmt.Errorf("response_prefix is not the beginning of a topic: %w", topic.ValidName(c.ResponsePrefix))
	case slices.ContainsFunc(c.Retry, func(d time.Duration) bool { return d < time.Second || d > 24*time.Hour }):
		return fmt.Errorf("retry must be times from 1s to 24h, not %v", c.Retry)
	case !slices.Contains(strategies[:], c.SharedStrategy):
		return fmt.Errorf("shared_strategy must be one of %s, not %q", strings.Join(strategies[:], ", "), c.SharedStrategy)
	case c.SysInterval < 0 || c.SysInterval > 0 && c.SysInterval < time.Second:
		return fmt.Errorf("sys_interval must be 0s (off) or at least 1s, not %v", c.SysInterval)
	case c.ConnectTimeout < time.Second:
		return fmt.Errorf("connect_timeout must be at least 1s, not %v", c.ConnectTimeout)
	}
	for i, l := range c.Listeners {
		if err := l.Validate(); err != nil {
			return fmt.Errorf("listeners[%d].%w", i, err)
		}
	}
	return nil
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

// Validate reports the first value that can not be, as a sentence that starts
// with its key.
func (l ListenerConfig) Validate() error {
	scheme, rest, found := strings.Cut(l.Address, "://")
	secure, web := scheme == "tls" || scheme == "wss", l.web()
	badOrigin := slices.IndexFunc(l.Origins, func(o string) bool { return !validOrigin(o) })
	switch {
	case !found || rest == "" || !slices.Contains([]string{"tcp", "tls", "ws", "wss", "unix"}, scheme):
		return fmt.Errorf("address must be tcp://, tls://, ws:// or wss://host:port, or unix:///path, not %q", l.Address)
	case web && strings.Contains(rest, "/"):
		return fmt.Errorf("address %q must end after the port; what follows belongs into path", l.Address)
	case l.MaxConnections < 0:
		return fmt.Errorf("max_connections must be at least 1, or 0 for no limit of the listener, not %d", l.MaxConnections)
	case l.ConnectTimeout != 0 && l.ConnectTimeout < time.Second:
		return fmt.Errorf("connect_timeout must be at least 1s, not %v", l.ConnectTimeout)
	case !web && l.Path != "":
		return fmt.Errorf("path is for WebSocket, but the address %q is neither ws:// nor wss://", l.Address)
	case l.Path != "" && (l.Path[0] != '/' || strings.ContainsAny(l.Path, "?#% ")):
		return fmt.Errorf("path must begin with / and have none of ? # %% and space, not %q", l.Path)
	case !web && len(l.Origins) > 0:
		return fmt.Errorf("origins is for WebSocket, but the address %q is neither ws:// nor wss://", l.Address)
	case badOrigin >= 0:
		return fmt.Errorf(`origins[%d] must be scheme://host, scheme://host:port or "*", not %q`, badOrigin, l.Origins[badOrigin])
	case !secure && !l.TLS.isZero():
		return fmt.Errorf("tls is set, but the address %q is neither tls:// nor wss://", l.Address)
	case secure && (l.TLS.Cert == "" || l.TLS.Key == ""):
		return fmt.Errorf("tls.cert and tls.key must name the certificate and key of %s", l.Address)
	case l.TLS.Identity != "" && l.TLS.Identity != "cn":
		return fmt.Errorf(`tls.identity must be "cn" or left out, not %q`, l.TLS.Identity)
	case l.TLS.Identity != "" && l.TLS.ClientCA == "":
		return fmt.Errorf("tls.identity needs tls.client_ca: without it a certificate proves nothing")
	}
	return nil
}
