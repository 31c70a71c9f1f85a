package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// thin bodies: replaced by the next commits

type publication struct {
	within func(*buffer.Change)
	lazy   bool
}

func (p *publication) begin() *buffer.Change   { return nil }
func (p *publication) urgency() buffer.Urgency { return buffer.Sync }

var errThin = errors.New("broker: not there yet")

// Broker routes messages between clients.
type Broker struct{}

// New returns a broker with the sessions, retained values and wills of the store.
func New(cfg Config, store *buffer.Store, log *slog.Logger) (*Broker, error) { return &Broker{}, nil }

// Listen opens the socket of a listener.
func Listen(l ListenerConfig) (net.Listener, error) { return nil, errThin }

// Serve lets clients in until ctx ends, and returns after all its connections
// ended. It closes ln.
func (b *Broker) Serve(ctx context.Context, ln net.Listener, l ListenerConfig) error { return errThin }

// Run does what is due by time until ctx ends.
func (b *Broker) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Local returns an in-process client.
func (b *Broker) Local(name string, r Rights) *Local { return &Local{} }

// Stats is a snapshot.
func (b *Broker) Stats() Stats { return Stats{} }

// Clients lists the sessions.
func (b *Broker) Clients() []ClientInfo { return nil }

// Retained lists retained messages; limit 0 is no limit.
func (b *Broker) Retained(filter string, limit int) []Message { return nil }

// Local is an in-process client.
type Local struct{}

func (l *Local) Name() string { return "" }

func (l *Local) Publish(m Message, opts ...PublishOption) *Receipt { return newReceipt() }

func (l *Local) Subscribe(filter string, o SubscribeOptions, s Sink) error { return errThin }

func (l *Local) Unsubscribe(filter string) {}

func (l *Local) Session(limits buffer.Limits) (*Session, error) { return nil, errThin }

// Session is a durable session.
type Session struct{}

func (s *Session) Queue() *buffer.Queue { return nil }

func (s *Session) Subscribe(filter string, o SubscribeOptions) error { return errThin }

func (s *Session) Unsubscribe(filter string) {}

// Wake has a token when Next may have something.
func (s *Session) Wake() <-chan struct{} { return nil }

// Record is what lies in the queue of a Session.
type Record struct {
	Message         Message
	QoS             byte
	Retain          bool
	SubscriptionIDs []uint32
	ID              [16]byte
}

// DecodeRecord decodes an entry of the queue of a Session.
func DecodeRecord(data []byte) (Record, error) { return Record{}, errThin }

// Stats counts since New, except where it says now.
type Stats struct {
	Uptime time.Duration

	Connections      int // now
	Clients          int // now, connected
	ClientsMaximum   int
	Sessions         int   // now, connected or not, without those of Locals
	Subscriptions    int   // now
	RetainedMessages int   // now
	RetainedBytes    int64 // now

	ConnectionsTotal   int64
	ConnectionsRefused int64
	NotMQTT            int64 // connections that did not begin with an MQTT packet
	ProtocolErrors     int64
	Panics             int64
	SessionsExpired    int64

	BytesReceived        int64
	BytesSent            int64
	PacketsReceived      int64
	PacketsSent          int64
	PublishReceived      int64
	PublishSent          int64
	PublishDropped       int64 // for a subscriber: too slow at QoS 0, queue full, expired, too large
	PublishRefused       int64
	PublishBytesReceived int64 // payload
	PublishBytesSent     int64

	Queued      int   // now, in all session queues
	QueuedBytes int64 // now
}

// ClientInfo describes one session.
type ClientInfo struct {
	ID            string
	Version       packet.Version
	Address       string // of the client; "" while it is not connected
	Username      string
	Connected     bool
	Persistent    bool
	Since         time.Time     // of the connection, or of its end
	Expiry        time.Duration // of the session, after the end of the connection; negative: never
	Subscriptions int
	Queued        int
	QueuedBytes   int64
	InFlight      int
	Dropped       int64
}
