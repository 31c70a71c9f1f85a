package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"edgegateway/broker/topic"
	"edgegateway/buffer"
)

// Broker routes messages between MQTT clients and Locals. Safe for concurrent use.
type Broker struct {
	cfg     Config
	store   *buffer.Store
	tables  tables
	log     *slog.Logger
	clock   clock
	runs    runs
	run     runTag
	limits  buffer.Limits // of the queue of a session
	modulus uint64        // of packet identifiers
	started time.Time
	chunks  chunks
	batches batches
	refused refusals
	changed chan struct{} // a token when Run has something to do
	leavers leavers
	hashing turn

	valueSecret []byte // see keyOf

	counters counters

	mu         sync.Mutex // guards what follows; held while messages are routed, so they have one order
	sessions   map[string]*Session
	locals     map[string]*Session // durable sessions of Locals
	earlier    map[string]string   // what is in tables.locals
	filters    topic.Tree[*subscription]
	shares     map[string]*share // by $share/name/filter
	routes     map[string]*route
	routeBytes int // that routes take, about
	retained   retainedSet
	agenda     agenda
	// lostWills are those of clients that were connected when the gateway stopped
	// and had no session that outlived it, by client identifier.
	lostWills map[string]*will
	conns     map[*conn]struct{}
	connected int // of conns, those with a session
	crowded   int // of conns, those beyond a limit
	stats     Stats
	messages  uint64         // counter of nextID
	own       publication    // of the broker itself
	volatile  *buffer.Change // carries appends to queues in memory, which need no commit
	scratch   []byte

	sharedSubscriptions  int    // members of all shares
	subscriptionsVersion uint64 // a new one for every change of filters
	match                uint64 // number of the last matchLocked
	works                uint64 // number of the last batch
}

// New returns a broker with the sessions, retained messages and wills that are in
// the store. The caller owns the store, and closes it after all calls of Serve and
// Run have returned.
func New(cfg Config, store *buffer.Store, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("broker configuration: %w", err)
	}
	b := &Broker{
		cfg:       cfg,
		store:     store,
		clock:     clock{store},
		tables:    openTables(store),
		log:       log,
		limits:    buffer.Limits{Messages: cfg.MaxQueuedMessages, Bytes: cfg.MaxQueuedBytes, Age: cfg.MaxQueuedAge, WhenFull: policies[cfg.WhenFull]},
		modulus:   identifiers,
		started:   time.Now(),
		hashing:   newTurn(),
		changed:   make(chan struct{}, 1),
		sessions:  make(map[string]*Session),
		locals:    make(map[string]*Session),
		shares:    make(map[string]*share),
		routes:    make(map[string]*route),
		lostWills: make(map[string]*will),
		conns:     make(map[*conn]struct{}),
		volatile:  store.Begin(),

		subscriptionsVersion: 1,
	}
	if err := b.clock.load(b.tables.meta); err != nil {
		return nil, fmt.Errorf("load the gateway clock: %w", err)
	}
	var err error
	if b.runs, err = loadRuns(b.tables.runs); err != nil {
		return nil, err
	}
	if err := b.loadValueSecret(); err != nil {
		return nil, err
	}
	b.run = b.runs.begin(store.Incarnation())
	if err := b.load(); err != nil {
		return nil, err
	}
	return b, nil
}

// agendaChanged makes Run look when it has to wake up.
func (b *Broker) agendaChanged() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// sweepEvery is how often expired retained messages are looked for, and the clock
// is noted. We chose it.
const sweepEvery = time.Minute

// Run does what is due by time until ctx ends: it ends sessions, publishes delayed
// wills, takes expired messages away, and publishes below $SYS; and it gives what
// ended sessions leave of shared subscriptions to others. Without it these things
// do not happen. What sessions of Locals had subscribed to in an earlier run, and have
// not by now, it forgets. It returns nil.
func (b *Broker) Run(ctx context.Context) error {
	b.forgetEarlier()
	due := time.NewTimer(0)
	defer due.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var sys <-chan time.Time
	if b.cfg.SysInterval > 0 {
		t := time.NewTicker(b.cfg.SysInterval)
		defer t.Stop()
		sys = t.C
	}
	s := newSysTopics(b)
	s.publish()
	for {
		select {
		case <-ctx.Done():
			b.saveClock()
			return nil
		case <-due.C:
		case <-b.changed:
			for _, s := range b.leavers.take() {
				b.handOver(s)
			}
		case <-sys:
			s.publish()
		case <-sweep.C:
			b.expireRetained()
			b.saveClock()
		}
		due.Reset(b.doDue())
	}
}

// doDue does what is due, and returns how long nothing more is.
func (b *Broker) doDue() time.Duration {
	var w work
	b.mu.Lock()
	defer func() {
		b.mu.Unlock()
		w.finish(nil)
	}()
	w.startLocked(b)
	for {
		do, ok := b.agenda.next(b.clock.now())
		if !ok {
			break
		}
		do(&w)
	}
	if len(b.agenda) == 0 {
		return time.Hour
	}
	return b.clock.until(b.agenda[0].due)
}

func (b *Broker) saveClock() {
	c := b.store.Begin()
	b.clock.save(c, b.tables.meta, buffer.Idle)
	c.Commit(nil)
}
