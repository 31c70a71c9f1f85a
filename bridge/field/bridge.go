package field

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// localName is the origin of everything that the bridge publishes.
const localName = "field"

// unanswered is how many refused commands may wait for their result to be
// published. A flood of bad commands loses results beyond that, counted; the
// publishers of QoS 1 and 2 have the reason code anyway.
const unanswered = 64

// Bridge runs the devices and speaks for them. Its methods are safe for
// concurrent use; Run is called once.
type Bridge struct {
	cfg     Config
	broker  *broker.Broker
	local   *broker.Local
	log     *slog.Logger
	devices []*device
	tells   *announcer // of the devices to Home Assistant

	refused chan outcome  // results that Deliver must not publish itself
	kept    chan struct{} // holds a token when a command was refused because it is retained
	lost    atomic.Int64  // of those, the ones that found no room

	notes *broker.Notes // of commands that were accepted and have no outcome yet
	noted atomic.Uint64 // how many in this run

	unsynced atomic.Bool // the wall clock is not set
}

// New checks the configuration, down to the options that only the kinds know, and
// subscribes to the commands. It touches no hardware. Its error holds a sentence
// for each mistake.
func New(cfg Config, br *broker.Broker, kinds []drivers.Kind, ports drivers.Ports, log *slog.Logger) (*Bridge, error) {
	if err := Check(cfg, kinds); err != nil {
		return nil, err
	}
	b := &Bridge{
		cfg:     cfg,
		broker:  br,
		local:   br.Local(localName, broker.Rights{}),
		log:     log,
		refused: make(chan outcome, unanswered),
		kept:    make(chan struct{}, 1),
	}
	b.notes = b.local.Notes()
	var err error
	if b.tells, err = newAnnouncer(b, br); err != nil {
		return nil, fmt.Errorf("listen to Home Assistant: %w", err)
	}
	for i, c := range cfg.Devices {
		kind, _ := find(kinds, c.Kind)
		d := newDevice(b, c, kind, ports)
		d.spec.Phase = phaseOf(i, c.Every)
		d.resume()
		b.devices = append(b.devices, d)
		// Whether a device takes commands is known only once it is open, so that
		// all are listened to, and the others answer that they take none.
		o := broker.SubscribeOptions{QoS: 2, RetainAsPublished: true, RetainHandling: packet.NoRetained}
		for _, filter := range d.commandFilters() {
			if err := b.local.Subscribe(filter, o, d); err != nil {
				return nil, fmt.Errorf("subscribe to the commands of device %q: %w", c.Name, err)
			}
		}
	}
	return b, b.listenForLife(br)
}

// Check says what is wrong with the devices without touching any hardware: names,
// topics, kinds that do not exist, options that their kind refuses.
func Check(cfg Config, kinds []drivers.Kind) error {
	errs := []error{cfg.Validate()}
	safe := safeKinds(kinds)
	var taken taken
	for _, c := range cfg.Devices {
		if err := c.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("device %q: %w", c.Name, err))
		}
		if c.Kind == "" {
			continue // said by Validate
		}
		kind, found := find(kinds, c.Kind)
		if !found {
			errs = append(errs, c.fault("kind", "there is no kind %q%s; `gateway devices` lists them", c.Kind, nearest(c.Kind, kinds)))
			continue
		}
		switch {
		case !c.SafeWithout.wanted():
		case kind.Failsafe == nil:
			errs = append(errs, c.fault("safe_without", "the kind %q has no safe state that safe_without could take it to; those with one are %s", c.Kind, safe))
		case !kind.Failsafe(c.options()):
			errs = append(errs, c.fault("safe_without", "there is no safe state that safe_without could take the device to: nothing in its options has a safe value"))
		}
		if err := kind.Check(c.options()); err != nil {
			errs = append(errs, c.place(err))
		}
		uses, _ := kind.Uses(c.options()) // Check has said what is wrong
		errs = append(errs, taken.take(c, uses), checkResumed(c, kind), checkSettable(c, kind))
	}
	return errors.Join(errs...)
}

// safeKinds lists the kinds whose devices have a safe state.
func safeKinds(kinds []drivers.Kind) string {
	var names []string
	for _, k := range kinds {
		if k.Failsafe != nil {
			names = append(names, k.Name)
		}
	}
	return strings.Join(names, ", ")
}

func find(kinds []drivers.Kind, name string) (drivers.Kind, bool) {
	for _, k := range kinds {
		if k.Name == name {
			return k, true
		}
	}
	return drivers.Kind{}, false
}

// Run runs all devices until ctx ends, and returns when all of them are closed
// and their availability is offline. A device that does not work is no error.
func (b *Bridge) Run(ctx context.Context) error {
	b.tellForgotten() // before devices move, and new commands are noted
	b.clearKept()     // a crash may have come before that
	b.disown()
	var running, answering sync.WaitGroup
	for _, d := range b.devices {
		running.Go(func() { d.run(ctx) })
	}
	ended := make(chan struct{})
	answering.Go(func() { b.answer(ended) })
	running.Go(func() { b.tells.run(ctx) })
	<-ctx.Done() // also without any device
	running.Wait()
	close(ended)
	answering.Wait()
	return nil
}

// answer publishes the results of refused commands, and takes those that are retained
// off their topics, until ended and nothing is left.
func (b *Bridge) answer(ended <-chan struct{}) {
	for {
		select {
		case o := <-b.refused:
			o.device.answer(o)
			continue
		case <-b.kept:
			b.clearKept()
			continue
		default:
		}
		select {
		case o := <-b.refused:
			o.device.answer(o)
		case <-b.kept:
			b.clearKept()
		case <-ended:
			return
		}
	}
}

// clearKept takes retained commands off their topics. The broker has kept them when they
// are refused; nobody who subscribes later is to take one for a command that was taken.
func (b *Bridge) clearKept() {
	for _, d := range b.devices {
		for _, filter := range d.commandFilters() {
			for _, m := range b.broker.Retained(filter, 0) {
				d.send(broker.Message{Topic: m.Topic, QoS: 1, Retain: true}, broker.Lazy()) // [MQTT-3.3.1-6]
			}
		}
	}
}

// Devices tells about every device, in the order of the configuration.
func (b *Bridge) Devices() []DeviceStatus {
	all := make([]DeviceStatus, len(b.devices))
	for i, d := range b.devices {
		all[i] = d.status()
	}
	return all
}

// LostResults counts results of refused commands that were not published because
// too many of them waited.
func (b *Bridge) LostResults() int64 { return b.lost.Load() }

// mayRespond tells whether a result may be sent to a response topic that a
// publisher has chosen. The gateway publishes it with its own rights, so what
// belongs to the gateway and to devices is not to be had this way, and neither is
// $SYS.
func (b *Bridge) mayRespond(topic string) bool {
	if topic == "" || topic[0] == '$' || strings.ContainsAny(topic, "+#\x00") {
		return false
	}
	if own, ok := strings.CutPrefix(topic, b.cfg.Prefix+"/"); ok {
		if first, _, _ := strings.Cut(own, "/"); reserved(first) {
			return false
		}
	}
	for _, d := range b.devices {
		if topic == d.base || strings.HasPrefix(topic, d.base+"/") {
			return false
		}
		for _, l := range d.lines {
			if topic == l.topic {
				return false // an answer is no sign of life
			}
		}
	}
	return true
}
