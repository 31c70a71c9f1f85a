package cloud

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// Env is what a bridge must know of the gateway around it.
type Env struct {
	ID      string // of the gateway
	Prefix  string // root of the gateway's own topics
	Version string // of the program
	DataDir string // holds the file gateway-id

	Started    time.Time // of the gateway
	ConfigHash string    // SHA-256 of the configuration file in hex; "": there is none
}

// localPrefix begins the name of every bridge as a client of the broker, and so
// the Origin of what came from a cloud.
const localPrefix = "cloud/"

// Bridge joins a broker to one cloud. Its methods are safe for concurrent use.
type Bridge struct {
	cfg         Config
	env         Env
	log         *slog.Logger
	tuning      tuning
	servers     []server
	up, down    routes
	clientID    string
	statusTopic string
	expiry      uint32 // seconds

	local   *broker.Local
	session *broker.Session
	queue   *buffer.Queue
	records *broker.Decoder
	store   *buffer.Store
	table   *buffer.Table
	inbound *inbound

	// Of the goroutine of Run.
	epoch    epoch
	will     will
	patience time.Duration // how long the first server has to be reachable before we go back
	overdue  time.Duration // how long an acknowledgement may take

	unmarkable int // connections in a row that ended while the server was asked for markers

	// Of the pump, which there is one of at a time. Entries outside of these are
	// unknown to the server, or gone from the disk.
	oldest, newest uint64

	alarmed int64 // rejected messages that the alarm has told of; of the reporter

	counts  counts
	unsafe  atomic.Int64  // bytes of messages from the server that are not on disk yet
	changed chan struct{} // one token: the state on the local broker is old

	mu       sync.Mutex // guards what follows
	status   Status     // the part that is not counted
	shortest uint32     // session expiry that the log knows of, in seconds
	link     *link      // the one that is up; nil: none
	told     manner     // how grave the log knows it to be that there is no link, see failed; 0: it knows nothing
	setAside string     // why a message was rejected last, in this run
	fault    string     // what went wrong on a link that is up; "" nothing
	faultAt  time.Time
}

type counts struct {
	sent, received, resent, duplicates, refused atomic.Int64
	connects, sessionsLost                      atomic.Int64
}

// tuning is what we chose and tests choose otherwise.
type tuning struct {
	modulus    uint64 // of packet identifiers
	window     int    // messages under way; what the queue believes to be sent after a crash
	paces      [manners]backoff
	overdue    time.Duration // how long an acknowledgement may take at first
	good, sure time.Duration // a connection that lasted so long was not a mistake: with, and without an acknowledgement
	pause      time.Duration // first wait after the server said "not now"
	dial       time.Duration // name, proxy, TCP, TLS and WebSocket
	report     time.Duration // between two states on the local broker
}

func defaultTuning(within time.Duration) tuning {
	return tuning{
		modulus: modulus,
		window:  1000,
		paces:   defaultPaces(within),
		good:    10 * time.Second,
		sure:    time.Minute,
		overdue: 30 * time.Second,
		pause:   time.Second,
		dial:    30 * time.Second,
		report:  time.Second,
	}
}

// New checks the configuration and sets the routes up: from here on messages are
// queued, in the session "local/cloud/<name>" of the broker. Run moves them.
func New(cfg Config, env Env, br *broker.Broker, st *buffer.Store, log *slog.Logger) (*Bridge, error) {
	if err := errors.Join(cfg.Validate(), cfg.validateFor(env.Prefix)); err != nil {
		return nil, fmt.Errorf("cloud %q: %w", cfg.Name, err)
	}
	b := &Bridge{
		cfg: cfg, env: env, log: log.With("cloud", cfg.Name), tuning: defaultTuning(cfg.RetryWithin),
		up: newRoutes(cfg.Up, cfg.WhenFull), down: newRoutes(cfg.Down, ""),
		clientID: cfg.ClientID, statusTopic: cfg.StatusAt(env.ID),
		records: br.Decoder(),
		store:   st, table: st.Table(localPrefix + cfg.Name),
		changed: make(chan struct{}, 1),
	}
	if b.clientID == "" {
		id, err := machineID(env.DataDir)
		if err != nil {
			return nil, fmt.Errorf("cloud %q: %w", cfg.Name, err)
		}
		b.clientID = env.ID + "-" + id[:6]
	}
	for _, s := range cfg.Servers {
		srv, _ := parseServer(s) // checked by Validate
		b.servers = append(b.servers, srv)
	}
	b.expiry, _ = parseExpiry(cfg.SessionExpiry)
	b.will, b.patience = will{qos: 1, retain: true}, cfg.ReturnAfter
	b.overdue = b.tuning.overdue
	if err := b.restore(br); err != nil {
		return nil, fmt.Errorf("cloud %q: %w", cfg.Name, err)
	}
	b.status = Status{Name: cfg.Name, ClientID: b.clientID, Server: b.servers[0].url, Since: time.Now()}
	return b, nil
}

// restore opens what outlives the process and subscribes to what goes up.
func (b *Bridge) restore(br *broker.Broker) error {
	var rights broker.Rights
	for _, r := range b.cfg.Up {
		rights.Subscribe = append(rights.Subscribe, r.From)
	}
	for _, r := range b.cfg.Down {
		rights.Publish = append(rights.Publish, r.To)
	}
	rights.Publish = append(rights.Publish, b.stateTopic(), b.connectionTopic(), b.alarmTopic())
	b.local = br.Local(localPrefix+b.cfg.Name, rights)

	var err error
	if b.session, err = b.local.Session(b.cfg.Limits()); err != nil {
		return fmt.Errorf("open the session: %w", err)
	}
	b.session.Choose(b.wants, b.hears)
	b.queue = b.session.Queue()
	b.alarmed = b.queue.Stats().Rejected
	for _, r := range b.cfg.Up {
		// Without an identifier: which route a message takes is looked up when it
		// leaves, as the routes may have changed while it waited.
		err := b.session.Subscribe(r.From, broker.SubscribeOptions{
			QoS: byte(r.QoS), RetainAsPublished: true, RetainHandling: packet.SendRetainedIfNew,
			Purpose: fmt.Sprintf("%q at %q", r.To, b.cfg.Servers), // who gets them elsewhere has had none
		})
		if err != nil {
			return fmt.Errorf("subscribe to %q: %w", r.From, err)
		}
	}
	if b.epoch, err = loadEpoch(b.table); err != nil {
		return err
	}
	if b.inbound, err = loadInbound(b.store, b.table); err != nil {
		return err
	}
	return b.distrust()
}
