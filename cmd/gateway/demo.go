package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgegateway/broker"
	"edgegateway/config"
	"edgegateway/drivers/all"
	"edgegateway/status"
)

//go:embed demo.toml
var demoConfig []byte

// A demo is a gateway, a stand-in cloud, the link between them, and somebody who counts.
type demo struct {
	p       *process
	dir     string
	keep    bool // dir is the user's
	started time.Time

	cloud   *standIn
	gateway *gateway
	link    *cuttable
	tally   *tally
	screen  *terminal // nil: lines
	logFile *os.File

	plan    plan
	length  time.Duration
	changed time.Time // when the link was last cut or restored
	wasUp   bool
	backlog int64 // when the link was last restored; 0 when it has arrived
	waited  int64 // the most that waited since the last cut
	cuts    int
	most    int64 // the most that ever waited
	events  []event
	order   order // the last command to the pump
	frame   int
	report  status.Report // of this frame or a few ago
}

// The link is as thin as one by radio: linkSpeed is a few times what the devices publish, in bytes per second.
// linkBurst is what they publish at a time, in bytes, with room: only a backlog is held up.
const (
	linkSpeed = 2 << 10
	linkBurst = 3 << 9
)

func openDemo(p *process, o demoOptions) (_ *demo, err error) {
	now := time.Now()
	d := &demo{
		p: p, dir: o.data, keep: o.data != "", started: now, changed: now, wasUp: true,
		link: newCuttable(linkSpeed, linkBurst), tally: newTally(), plan: newPlan(o.first, o.outage, o.every), length: o.length,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if !d.keep {
		if d.dir, err = os.MkdirTemp("", "gateway-demo-"); err != nil {
			return nil, fmt.Errorf("make a directory for the demo: %w", err)
		}
	} else if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the directory of the demo: %w", err)
	}
	if d.logFile, err = os.Create(filepath.Join(d.dir, "demo.log")); err != nil {
		return nil, fmt.Errorf("open the log of the demo: %w", err)
	}
	cfg, err := config.Decode("demo.toml", demoConfig, p.getenv, "demo")
	if err != nil {
		return nil, err
	}
	log := newLog(d.logFile, cfg.Log.Threshold(), false, false)

	if d.cloud, err = openStandIn(d.dir, log, d.giveBack); err != nil {
		return nil, err
	}
	if err := d.cloud.local.Subscribe("cloud/#", broker.SubscribeOptions{QoS: 2, RetainAsPublished: true}, sinkFunc(func(m *broker.Delivery) {
		if topic, ok := strings.CutPrefix(m.Message.Topic, "cloud/"); ok && !m.Replay {
			d.tally.arrived(topic, m.Message.Payload)
		}
	})); err != nil {
		return nil, fmt.Errorf("count at the stand-in cloud: %w", err)
	}

	cfg.DataDir = filepath.Join(d.dir, "gateway")
	cfg.Broker.Listeners[0].Address = "tcp://" + freeAddress(strings.TrimPrefix(cfg.Broker.Listeners[0].Address, "tcp://"), o.anyPort)
	cfg.Status.Address = freeAddress(cfg.Status.Address, o.anyPort)
	cfg.Cloud[0].Servers = []string{"mqtt://" + d.cloud.address}
	cfg.Cloud[0].Dial = d.link.Dial
	d.gateway, err = open(cfg, surroundings{
		log: log, started: now, ports: all.SystemPorts(), link: d.link, panicked: d.giveBack,
		store:   storeOptions(&notifier{log: log}),
		control: filepath.Join(cfg.DataDir, "control.sock"),
		before: func(b *broker.Broker) error {
			// It stands where the queue of the cloud stands: it sees the same messages in the same order.
			return b.Local("demo", broker.Rights{}).Subscribe(cfg.Prefix+"/+/state", broker.SubscribeOptions{QoS: 2}, sinkFunc(func(m *broker.Delivery) {
				if !m.Replay {
					d.tally.published(m.Message.Topic, m.Message.Payload)
				}
			}))
		},
	})
	if err != nil {
		return nil, err
	}
	if d.screen, err = openTerminal(p); err != nil {
		return nil, err
	}
	if d.screen == nil {
		for _, l := range d.gateway.listens {
			fmt.Fprintf(p.stdout, "%-6s %s\n", l.What, l.Address)
		}
	}
	return d, nil
}

// freeAddress returns address, or the same host with a port from the system if it is wanted so or another
// program has this one.
func freeAddress(address string, anyPort bool) string {
	if !anyPort {
		if ln, err := net.Listen("tcp", address); err == nil {
			ln.Close()
			return address
		}
	}
	host, _, _ := net.SplitHostPort(address)
	return net.JoinHostPort(host, "0")
}

// giveBack gives the terminal back. Any goroutine may call it.
func (d *demo) giveBack() {
	if will := d.p.lastWill.Load(); will != nil {
		(*will)()
	}
}

// Frames of the screen, and how often a line is printed where there is none.
const (
	frameEvery = 100 * time.Millisecond
	lineFrames = 10

	reportFrames = 3 // a report asks around the whole gateway
)

// watch shows what happens until somebody quits.
func (d *demo) watch(ctx context.Context) error {
	d.say("devices publish, the link to the cloud is up")
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		if quit, err := d.step(ctx); quit || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.gateway.layers.failures():
			return err
		case err := <-d.cloud.layers.failures():
			return err
		case <-tick.C:
			d.frame++
		}
	}
}

// step does what is due and draws one frame.
func (d *demo) step(ctx context.Context) (quit bool, err error) {
	elapsed := time.Since(d.started)
	if d.length > 0 && elapsed >= d.length {
		return true, nil
	}
	if due, up := d.plan.due(elapsed); due {
		d.link.Set(up)
	}
	if d.screen != nil {
		keys, err := d.screen.keys()
		if err != nil {
			return true, nil // the terminal is gone, and who looked with it
		}
		for _, k := range keys {
			switch k {
			case 'q', 'Q', 3, 4: // Ctrl-C and Ctrl-D are keys in a raw terminal
				return true, nil
			case 'c', 'C', ' ':
				d.link.Set(!d.link.Up())
				d.plan.taken(elapsed)
			case 'p', 'P':
				d.order = d.command()
			}
		}
	}
	d.follow()
	d.order.follow(d)
	switch s := d.scene(ctx); {
	case d.screen != nil:
		_, height := d.screen.size()
		d.screen.draw(s.lines(height))
	case d.frame%lineFrames == lineFrames-1:
		if _, err := fmt.Fprintln(d.p.stdout, s.plainLine()); err != nil {
			return true, nil // nobody reads any more
		}
	}
	return false, nil
}

// follow notes changes of the link, whoever made them: the plan, a key, or the page.
func (d *demo) follow() {
	if up := d.link.Up(); up != d.wasUp {
		d.wasUp = up
		d.changed = time.Now()
		if up {
			d.backlog = d.tally.markBacklog()
			d.say(fmt.Sprintf("link restored: %s to deliver", plural(d.backlog, "message")))
		} else {
			d.cuts++
			d.waited, d.backlog = 0, 0
			text := "link cut: what is published now waits in the gateway"
			if left, up, planned := d.plan.left(time.Since(d.started)); planned && up {
				text = fmt.Sprintf("link cut for %s: what is published now waits in the gateway", showDuration(left.Round(time.Second)))
			}
			d.say(text)
		}
	}
	if d.backlog > 0 && d.tally.backlog() == 0 {
		d.say(fmt.Sprintf("drained: all %s arrived, %s after the link was back", plural(d.backlog, "message"), showDuration(time.Since(d.changed))))
		d.backlog = 0
	}
}

func (d *demo) say(text string) {
	e := event{time.Since(d.started), text}
	d.events = append(d.events, e)
	if d.screen == nil {
		fmt.Fprintf(d.p.stdout, "%6s  %s\n", e.clock(), text)
	}
}

func (d *demo) scene(ctx context.Context) scene {
	if d.frame%reportFrames == 0 {
		d.report = d.gateway.status.Report(ctx)
	}
	s := scene{
		elapsed: time.Since(d.started),
		report:  d.report,
		counted: d.tally.counts(),
		skipped: d.tally.skipped(),
		up:      d.wasUp,
		changed: time.Since(d.changed),
		frame:   d.frame,
		events:  d.events,
	}
	if d.backlog > 0 {
		s.backlog = d.tally.backlog()
	}
	d.waited = max(d.waited, s.queued())
	d.most = max(d.most, d.waited)
	s.waited = d.waited
	if left, up, planned := d.plan.left(time.Since(d.started)); planned {
		what := "cut"
		if up {
			what = "restored"
		}
		s.next = fmt.Sprintf("   %s by itself in %s", what, showDuration((left + time.Second).Truncate(time.Second)))
	}
	return s
}
