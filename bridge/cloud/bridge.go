package cloud

import (
	"context"
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
	store   *buffer.Store
	table   *buffer.Table
	inbound *inbound

	epoch epoch // of the goroutine of Run

	// Of the pump, which there is one of at a time. Entries outside of these are
	// unknown to the server, or gone from the disk.
	oldest, newest uint64

	counts  counts
	unsafe  atomic.Int64  // bytes of messages from the server that are not on disk yet
	changed chan struct{} // one token: the state on the local broker is old

	mu     sync.Mutex // guards what follows
	status Status     // the part that is not counted
	link   *link      // the one that is up; nil: none
	told   bool       // the log knows that the link is down
	fault  string     // what went wrong on a link that is up; "" nothing
}

type counts struct {
	sent, received, resent, duplicates, refused atomic.Int64
	connects, sessionsLost                      atomic.Int64
}

// tuning is what we chose and tests choose otherwise.
type tuning struct {
	modulus     uint64        // of packet identifiers
	window      int           // messages under way; what the queue believes to be sent after a crash
	first, most time.Duration // backoff between attempts
	good        time.Duration // a connection that lasted so long was not a mistake
	pause       time.Duration // first wait after the server said "not now"
	dial        time.Duration // name, proxy, TCP, TLS and WebSocket
	report      time.Duration // between two states on the local broker
}

func defaultTuning() tuning {
	return tuning{
		modulus: modulus,
		window:  1000,
		first:   time.Second,
		most:    time.Minute,
		good:    10 * time.Second,
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
		cfg: cfg, env: env, log: log.With("cloud", cfg.Name), tuning: defaultTuning(),
		up: newRoutes(cfg.Up), down: newRoutes(cfg.Down),
		clientID: cfg.ClientID, statusTopic: cfg.StatusTopic,
		store: st, table: st.Table(localPrefix + cfg.Name),
		changed: make(chan struct{}, 1),
	}
	if b.clientID == "" {
		id, err := machineID(env.DataDir)
		if err != nil {
			return nil, fmt.Errorf("cloud %q: %w", cfg.Name, err)
		}
		b.clientID = env.ID + "-" + id[:6]
	}
	if b.statusTopic == "" {
		b.statusTopic = "gateways/" + env.ID + "/status"
	}
	for _, s := range cfg.Servers {
		srv, _ := parseServer(s) // checked by Validate
		b.servers = append(b.servers, srv)
	}
	b.expiry, _ = parseExpiry(cfg.SessionExpiry)
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
	rights.Publish = append(rights.Publish, b.stateTopic(), b.connectionTopic())
	b.local = br.Local(localPrefix+b.cfg.Name, rights)

	policy, _ := parsePolicy(b.cfg.WhenFull) // checked by Validate
	var err error
	b.session, err = b.local.Session(buffer.Limits{Messages: b.cfg.MaxQueuedMessages, Bytes: b.cfg.MaxQueuedBytes, WhenFull: policy})
	if err != nil {
		return fmt.Errorf("open the session: %w", err)
	}
	b.queue = b.session.Queue()
	for _, r := range b.cfg.Up {
		// Without an identifier: which route a message takes is looked up when it
		// leaves, as the routes may have changed while it waited.
		err := b.session.Subscribe(r.From, broker.SubscribeOptions{
			QoS: byte(r.QoS), RetainAsPublished: true, RetainHandling: packet.SendRetainedIfNew,
			Lane: uint8(r.Priority),
		})
		if err != nil {
			return fmt.Errorf("subscribe to %q: %w", r.From, err)
		}
	}
	if b.epoch, err = loadEpoch(b.table); err != nil {
		return err
	}
	b.inbound, err = loadInbound(b.store, b.table)
	return err
}

// Run keeps the link up until ctx ends. Then it says offline on the server, and
// returns after all that it started has ended. It is to be called once.
func (b *Bridge) Run(ctx context.Context) error {
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	var reporter sync.WaitGroup
	reporter.Go(func() { b.report(reporting) })
	defer reporter.Wait()
	defer stop()

	wait := backoff{first: b.tuning.first, most: b.tuning.most}
	next := 0           // index of the server to try
	cleanStart := false // for one attempt
	for ctx.Err() == nil {
		s := b.servers[next]
		b.trying(s)
		good, err := b.once(ctx, s, cleanStart)
		if ctx.Err() != nil {
			break
		}
		cleanStart = errors.Is(err, errForeignSession) && !cleanStart
		if cleanStart {
			continue
		}
		b.failed(err)
		if next++; good || next == len(b.servers) {
			next = 0
		}
		if good {
			wait.reset()
		}
		if next == 0 && !sleep(ctx, wait.next()) {
			break
		}
	}
	return nil
}

// once is one attempt and, if it succeeds, the life of the link. good says that
// the connection has lasted.
func (b *Bridge) once(ctx context.Context, s server, cleanStart bool) (good bool, err error) {
	who, err := b.cfg.login()
	if err != nil {
		return false, err
	}
	dialing, cancel := context.WithTimeout(ctx, b.tuning.dial)
	conn, err := b.cfg.dial(dialing, s)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	l := b.newLink(s, newWire(conn, maxInbound))
	if l.unsure, err = b.attempt(ctx, s); err != nil {
		return false, err
	}
	if err := l.connect(ctx, who, cleanStart); err != nil {
		return false, err
	}
	b.linkUp(l)
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(l.pump)
	helpers.Go(func() { l.hasten(living) })
	good = l.serve(ctx)
	end()
	helpers.Wait()
	b.linkEnded(l)
	return good, l.reason()
}

// serve returns when the link has ended, and ends it when ctx does.
func (l *link) serve(ctx context.Context) (good bool) {
	if err := l.subscribe(ctx); err != nil && ctx.Err() == nil {
		l.fail(err)
	}
	lasted := time.NewTimer(l.b.tuning.good)
	defer lasted.Stop()
	for {
		select {
		case <-lasted.C:
			good = true
			l.b.proved()
		case <-ctx.Done():
			l.farewell()
			return good
		case <-l.client.Done():
			return good
		}
	}
}

// sleep reports whether ctx let it sleep to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
