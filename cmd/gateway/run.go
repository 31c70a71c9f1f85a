package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"edgegateway/bridge/cloud"
	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/config"
	"edgegateway/drivers"
	"edgegateway/drivers/all"
	"edgegateway/status"
)

// A gateway is one whole gateway, put together from its configuration. This file is where that happens:
// what is opened, in which order, and what is told to whom. Everything is opened bottom-up and closed
// top-down.
type gateway struct {
	cfg config.Config
	log *slog.Logger

	store  *buffer.Store
	broker *broker.Broker
	own    *broker.Local // publishes what the gateway says of itself
	field  *field.Bridge
	clouds []*cloud.Bridge
	status *status.Server
	health *health
	synced func() bool // whether the wall clock is set

	orphans func() []string // queues that nobody drains, with messages

	listens []status.Listening
	layers  layers
}

// surroundings are what a gateway finds in its process.
type surroundings struct {
	log      *slog.Logger
	started  time.Time
	ports    drivers.Ports              // the way to the hardware
	link     status.Link                // of the demo; nil elsewhere
	synced   func() bool                // whether the wall clock is set; nil: it is
	store    []buffer.Option            // how the store is opened
	control  string                     // where the control socket shall lie
	before   func(*broker.Broker) error // sees the broker before anything flows; may be nil
	panicked func()                     // runs before a panic of a worker ends the process; may be nil
}

// open puts a gateway together and starts it; it serves when open returns. The error says what can not be
// opened; then everything is closed again.
func open(cfg config.Config, s surroundings) (_ *gateway, err error) {
	g := &gateway{cfg: cfg, log: s.log, synced: s.synced, layers: layers{log: s.log, panicked: s.panicked}}
	defer func() {
		if err != nil {
			g.layers.close()
		}
	}()

	// Floor 0 and 1: the store, and the broker over it.
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("make data_dir: %w: set data_dir to a directory that this user may write", err)
	}
	g.store, err = buffer.Open(storePath(cfg), cfg.Buffer, part(s.log, "buffer"), s.store...)
	if errors.Is(err, buffer.ErrLocked) {
		return nil, fmt.Errorf("%w: stop that one, or give this one another data_dir", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open the store: %w: let this user write there, run as the one that owns it, or set data_dir to another directory", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	g.layers.onClose("store", g.store.Close)
	if g.broker, err = broker.New(cfg.Broker, g.store, part(s.log, "broker")); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	g.own = g.broker.Local("gateway", broker.Rights{})
	if s.before != nil {
		if err := s.before(g.broker); err != nil {
			return nil, err
		}
	}

	// Floor 2: the bridges. They subscribe here and move below.
	g.field, err = field.New(cfg.Field(version), g.broker, all.Kinds(), s.ports, part(s.log, "field"))
	if err != nil {
		return nil, err
	}
	env := cloud.Env{ID: cfg.ID, Prefix: cfg.Prefix, Version: version, DataDir: cfg.DataDir, Started: s.started, ConfigHash: cfg.Hash()}
	for _, c := range cfg.Cloud {
		b, err := cloud.New(c, env, g.broker, g.store, part(s.log, "cloud"))
		if err != nil {
			return nil, fmt.Errorf("cloud %s: %w", c.Name, err)
		}
		g.clouds = append(g.clouds, b)
	}

	for _, l := range cfg.Loops() { // what this gateway alone closes was refused
		part(s.log, "cloud").Warn("routes between clouds may close a loop", "loop", l.Sentence)
	}

	// Floor 3, and every address that can be refused: nothing moves before all are open.
	if g.health, err = newHealth(g.broker); err != nil {
		return nil, err
	}
	if err := g.listen(s); err != nil {
		return nil, err
	}
	return g, nil
}

// listen opens all addresses, and then starts the workers from the bottom to the top.
func (g *gateway) listen(s surroundings) (err error) {
	var mqtt []net.Listener
	var page, control net.Listener
	defer func() {
		if err == nil {
			return
		}
		for _, ln := range append(mqtt, page, control) {
			if ln != nil {
				ln.Close()
			}
		}
	}()
	for _, l := range g.cfg.Broker.Listeners {
		ln, err := broker.Listen(l)
		if err != nil {
			return portHint(err, "address under [[broker.listeners]]")
		}
		mqtt = append(mqtt, ln)
		g.listens = append(g.listens, status.Listening{What: "mqtt", Address: addressOf(l, ln)})
	}
	if g.cfg.Status.Address != "" {
		if page, err = status.Listen(g.cfg.Status); err != nil {
			return portHint(err, "address under [status]")
		}
		g.listens = append(g.listens, status.Listening{What: "page", Address: "http://" + page.Addr().String() + "/"})
	}
	control, err = status.ListenControl(s.control)
	if errors.Is(err, status.ErrInUse) {
		return err
	}
	if err != nil { // a data_dir on FAT can hold no socket: the main job does not need one
		g.log.Warn("no control socket, so \"gateway status\" can not ask this gateway", "err", err)
	}
	if g.status, err = status.New(g.cfg.Status, g.sources(s), part(s.log, "status")); err != nil {
		return err
	}

	d, err := newDesk(g.store, g.broker.Decoder(), g.cfg.Cloud)
	if err != nil {
		return err
	}
	d.changed = func() { g.tellOrphans(d.orphans()) }
	d.handle(g.status.HandleControl)
	g.orphans = d.orphans
	g.status.HandleControl("GET /v1/alarms", http.HandlerFunc(g.listAlarms))
	g.status.HandleControl("POST /v1/alarms/clear", http.HandlerFunc(g.clearAlarm))
	g.status.HandleControl("POST /v1/devices/sample", http.HandlerFunc(g.sampleDevice))
	g.status.HandleControl("POST /v1/devices/set", http.HandlerFunc(g.setDevice))

	if g.synced != nil {
		g.field.SetClock(g.synced()) // before the first reading
	}
	g.layers.start("broker", g.broker.Run)
	g.layers.start("devices", g.field.Run)
	for _, c := range g.clouds {
		g.layers.start("cloud "+c.Status().Name, c.Run)
	}
	g.layers.start("disk", g.watchDisk)
	if g.synced != nil {
		g.layers.start("clock", g.watchClock)
	}
	g.layers.start("status", g.status.Run)
	if control != nil {
		g.layers.start("control socket", func(ctx context.Context) error { return g.status.ServeControl(ctx, control) })
	}
	if page != nil {
		g.layers.start("page", func(ctx context.Context) error { return g.status.Serve(ctx, page) })
	}
	for i, ln := range mqtt {
		l := g.cfg.Broker.Listeners[i]
		g.layers.start("listener "+l.Address, func(ctx context.Context) error { return g.broker.Serve(ctx, ln, l) })
	}
	g.say("status", []byte("online"))
	g.layers.onClose("gateway status", func() error { g.say("status", []byte("offline")); return nil })
	d.changed()
	if err := g.watchDamage(); err != nil {
		return err
	}
	return nil
}

func (g *gateway) sources(s surroundings) status.Sources {
	src := status.Sources{
		Gateway:   status.Gateway{ID: g.cfg.ID, Prefix: g.cfg.Prefix, Version: version, Commit: revision(), Listens: g.listens},
		Started:   s.started,
		StorePath: storePath(g.cfg),
		Broker:    g.broker,
		Store:     g.store,
		Devices:   g.field,
		Alarms:    func() []status.Alarm { return g.raised(mostRaised) },
		Healthy:   g.health.check,
		Link:      s.link,
	}
	for _, c := range g.clouds {
		src.Clouds = append(src.Clouds, c)
	}
	return src
}

// say publishes a retained message of the gateway about itself. Nobody waits for it to be on disk: it is
// said anew at every start.
func (g *gateway) say(topic string, payload []byte) {
	g.own.Publish(broker.Message{Topic: g.cfg.Prefix + "/" + topic, Payload: payload, QoS: 1, Retain: true}, broker.Lazy()).Done(func(err error) {
		if err != nil {
			g.log.Warn("the gateway's own status could not be published", "topic", topic, "err", err)
		}
	})
}

// wait returns nil when ctx ends, or when over says so, which is asked at each reload; or the error of the
// first worker that ended by itself.
func (g *gateway) wait(ctx context.Context, reload <-chan struct{}, over func() bool) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-g.layers.failures():
			return err
		case <-reload:
			if over() {
				return nil
			}
		}
	}
}

// close stops everything, top-down, and returns what could not be closed.
func (g *gateway) close() error { return g.layers.close() }

func storePath(cfg config.Config) string { return filepath.Join(cfg.DataDir, "gateway.db") }

func part(log *slog.Logger, name string) *slog.Logger { return log.With("part", name) }
