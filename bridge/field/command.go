package field

import (
	"errors"
	"strings"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// What we chose.
const (
	mailbox  = 8                // commands of one device that have no outcome yet
	patience = 30 * time.Second // a command that waited longer is not wanted any more

	complaints = time.Minute // between two lines in the log on what commands of a device were not carried out
)

// sender is what an outcome needs to know of the message that brought a command.
type sender struct {
	response    string // topic; "" = none
	correlation []byte // nil = none
	note        []byte // key of what is noted of the command until it has an outcome; nil = nothing
}

// An outcome is what became of a command.
type outcome struct {
	device  *device
	sender  sender
	command drivers.Command
	state   drivers.Reading // after it, if the device can tell
	err     error
	reason  string // of what no command has asked for; "" = one has
	at      time.Time
}

// value is the state of the channel that was set, or what it was set to.
func (o outcome) value() (any, bool) {
	for _, v := range o.state.Values {
		if v.Channel == o.command.Channel || o.command.Channel == "" && len(o.state.Values) == 1 {
			return v.V, true
		}
	}
	switch o.command.Value.(type) {
	case bool, float64, int64, string:
		return o.command.Value, true
	}
	return nil, false
}

// commandFilters are the topics on which commands come.
func (d *device) commandFilters() []string { return []string{d.base + "/set", d.base + "/+/set"} }

// Deliver implements broker.Sink: it decides about a command, without touching
// hardware, and lets it in or refuses it.
func (d *device) Deliver(dl *broker.Delivery) {
	m := dl.Message
	if dl.Replay || m.Retain && len(m.Payload) == 0 {
		// Nobody sent it now; or it only clears a retained command [MQTT-3.3.1-6].
		return
	}
	o := outcome{device: d, sender: senderOf(m), at: time.Now()}
	o.command.Channel = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(m.Topic, d.base+"/"), "set"), "/")

	deadline := m.At.Add(patience)
	if p := m.Properties; p != nil && p.Has&packet.HasMessageExpiry != 0 {
		if expiry := m.At.Add(time.Duration(p.MessageExpiry) * time.Second); expiry.Before(deadline) {
			deadline = expiry
		}
	}
	var err error
	switch {
	case dl.Retain || m.Retain:
		// It would move the device again at every restart.
		d.refuse(dl, o, packet.ImplementationSpecificError, errors.New("a retained command is never carried out, and not kept; publish it without the retain flag"))
		signal(d.bridge.kept)
		return
	case o.at.After(deadline):
		d.refuse(dl, o, packet.ImplementationSpecificError, drivers.ErrExpired)
		return
	}
	if o.command.Value, err = ParseCommand(m.Payload); err != nil {
		d.refuse(dl, o, packet.PayloadFormatInvalid, err)
		return
	}
	if o.command, err = d.reserve(o.command); err != nil {
		d.refuse(dl, o, codeOf(err), err)
		return
	}
	if m.QoS < 2 {
		if !d.take(drivers.Job{Command: o.command, Deadline: deadline, Context: o.sender}) {
			d.refuse(dl, o, codeOf(drivers.ErrStopped), drivers.ErrStopped)
		}
		return
	}
	// Before its identifier is on disk, a QoS 2 message that is sent again after a
	// crash is a new one: it would move the device twice. With the identifier goes a
	// note, so that a command that nobody will send again gets a result in any case.
	// Without an identifier on disk nothing waits for the disk.
	o.sender.note = d.note(dl, o.sender, o.command)
	job := drivers.Job{Command: o.command, Deadline: deadline, Context: o.sender}
	dl.Receipt.Done(func(err error) {
		if err != nil {
			d.bridge.notes.Drop(o.sender.note)
			d.release()
			return
		}
		if !d.take(job) {
			d.publishResult(outcome{device: d, sender: o.sender, command: job.Command, err: drivers.ErrStopped, at: time.Now()})
		}
	})
}

var (
	errFull     = errors.New("too many commands wait for this device")
	errTakeNone = errors.New("this device takes no commands")
	errTooFast  = errors.New("commands come faster than max_command_rate of this device allows")
)

// codeOf is the reason code for an error of reserve. 0x97 says that the same
// command may be accepted later.
func codeOf(err error) packet.ReasonCode {
	switch err {
	case errFull, errTooFast:
		return packet.QuotaExceeded
	case errTakeNone, drivers.ErrStopped:
		return packet.ImplementationSpecificError
	}
	return packet.PayloadFormatInvalid
}

// reserve validates a command where the device is open, and takes its place among
// those that wait.
func (d *device) reserve(c drivers.Command) (drivers.Command, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return c, drivers.ErrStopped
	}
	if d.online {
		if d.check == nil {
			return c, errTakeNone
		}
		checked, err := d.check(c)
		if err != nil {
			if meant, _, unknown := drivers.Resolve(c, d.channels); unknown == nil {
				c.Channel = meant.Channel // the result names it, also where the command did not
			}
			return c, err
		}
		c = checked
	}
	if d.waiting == mailbox {
		return c, errFull
	}
	if !d.rate.take(d.cfg.MaxCommandRate, time.Now()) {
		return c, errTooFast
	}
	d.waiting++
	d.accepted++
	return c, nil
}

// release gives back a place taken by reserve.
func (d *device) release() {
	d.mu.Lock()
	d.waiting--
	d.mu.Unlock()
}

// take puts a job with a reserved place before the device, or gives the place back: the
// device has stopped since.
func (d *device) take(job drivers.Job) (taken bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		d.waiting--
		return false
	}
	if !job.Sample {
		d.alive()
	}
	d.jobs <- job // has room for everyone with a place
	return true
}

// refuse tells the publisher by reason code, where its protocol has one, and
// leaves the result to be published outside of the broker's lock.
func (d *device) refuse(dl *broker.Delivery, o outcome, code packet.ReasonCode, err error) {
	o.err = err
	d.mu.Lock()
	d.refusals++
	d.mu.Unlock()
	dl.Receipt.Hold()(broker.ErrRefused{Code: code, Reason: err.Error()})
	select {
	case d.bridge.refused <- o:
	default:
		d.bridge.lost.Add(1)
	}
}

// Result implements drivers.Events.
func (d *device) Result(j drivers.Job, state drivers.Reading, err error) {
	if l, ok := j.Context.(*lifeline); ok {
		d.secured(l, state, err)
		return
	}
	d.release()
	if done, ok := j.Context.(asked); ok {
		done <- err
		return
	}
	if err == nil {
		d.obeyed()
		d.calm()
	}
	from, _ := j.Context.(sender)
	d.answer(outcome{device: d, sender: from, command: j.Command, state: state, err: err, at: time.Now()})
}

// answer publishes the result of a command, and logs one that was not carried out: its
// sender may not listen, and MQTT 3.1.1 has no word for it.
func (d *device) answer(o outcome) {
	d.publishResult(o)
	if o.err == nil {
		return
	}
	d.mu.Lock()
	silent := !d.complained.IsZero() && o.at.Sub(d.complained) < complaints
	unreported := d.unreported
	if silent {
		d.unreported++
	} else {
		d.complained, d.unreported = o.at, 0
	}
	d.mu.Unlock()
	if !silent {
		d.log.Info("a command was not carried out; more within a minute are only counted", "channel", o.command.Channel, "err", o.err, "unreported", unreported)
	}
}

// publishResult tells everyone who listens to the device's results, and the
// response topic of the command, if it has one.
func (d *device) publishResult(o outcome) {
	for _, r := range d.bridge.results(d.base, o) {
		d.send(r.message, r.options...)
	}
}

func correlated(data []byte) *packet.Properties {
	return &packet.Properties{Has: packet.HasCorrelationData, CorrelationData: data}
}

func senderOf(m *broker.Message) (s sender) {
	p := m.Properties
	if p == nil {
		return s
	}
	if p.Has&packet.HasResponseTopic != 0 && !m.NoReply {
		s.response = p.ResponseTopic
	}
	if p.Has&packet.HasCorrelationData != 0 {
		s.correlation = p.CorrelationData
	}
	return s
}

// A rate lets some events pass per second, and as many at once: the theoretical
// arrival time of a leaky bucket. The zero value is ready.
type rate struct{ full time.Time }

// take lets one pass or not. A limit of 0 is none.
func (r *rate) take(perSecond int, now time.Time) bool {
	if perSecond == 0 {
		return true
	}
	spacing := time.Second / time.Duration(perSecond)
	if r.full.Before(now) {
		r.full = now
	}
	if r.full.Sub(now) > time.Second-spacing {
		return false
	}
	r.full = r.full.Add(spacing)
	return true
}
