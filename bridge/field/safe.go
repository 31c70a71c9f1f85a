package field

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// safeAgain is how soon a device that could not be made safe is tried again.
const safeAgain = 10 * time.Second

// startLife lets the time of the lifelines run. A link that never comes up, and somebody
// who never speaks, are lost then.
func (d *device) startLife() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		l.since = time.Now()
		l.timer = time.AfterFunc(l.after, func() { d.miss(l) })
	}
}

// miss is what the timer of a lifeline does.
func (d *device) miss(l *lifeline) {
	d.mu.Lock()
	left := l.after - time.Since(l.since)
	fresh := !l.lost && !l.up && left <= 0 && !d.stopped
	switch {
	case d.stopped || l.up:
	case l.lost && l.failed, fresh:
		if fresh {
			l.lose()
		}
		d.secure(l)
	case !l.lost:
		l.wind(left)
	}
	d.mu.Unlock()
	if fresh {
		log := d.log
		if l.ignored.Load() {
			log = log.With("next", "what comes on that topic is retained, which is no sign of life; publish the heartbeat without the retain flag")
		}
		log.Warn("device goes to its safe state", "reason", l.reason)
	}
}

// secure puts a job before the device that makes it safe. It is not among the commands
// and is not refused: each lifeline has a place in the mailbox. What was accepted before
// it is carried out before it.
func (d *device) secure(l *lifeline) {
	if l.waits {
		l.again = true
		return
	}
	l.waits = true
	d.jobs <- drivers.Job{Safe: true, Context: l}
}

// alive notes a command as a sign of life. It is called when the command gets its place
// before the device, so that a loss that is found later stands behind it.
func (d *device) alive() {
	for _, l := range d.lines {
		if l.cloud == "" {
			l.seenLocked(time.Now())
		}
	}
}

// obeyed notes a command that was carried out: the device may not be safe any more.
func (d *device) obeyed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		l.obeyed = true
	}
}

// reopened makes a device safe that was opened while it is without what it must have.
func (d *device) reopened() {
	for _, l := range d.lines {
		if l.lost && !l.waits {
			d.secure(l)
		}
	}
}

// secured tells what became of a job to make the device safe: once for each loss, and once
// more if it took several attempts.
func (d *device) secured(l *lifeline, state drivers.Reading, err error) {
	if errors.Is(err, drivers.ErrStopped) || errors.Is(err, context.Canceled) {
		return // it is closed now, which makes it safe
	}
	var offline *drivers.OfflineError
	away := errors.As(err, &offline) // its turn comes when it is opened
	d.mu.Lock()
	told := l.failed
	l.waits, l.failed = false, err != nil
	if err == nil {
		l.safe = time.Now()
		for _, other := range d.lines {
			other.obeyed = false
		}
	}
	switch {
	case l.again && !d.stopped:
		l.again, l.failed = false, false
		d.secure(l)
	case err != nil && l.lost && !away:
		l.wind(safeAgain)
	}
	d.mu.Unlock()
	if err != nil && told {
		return
	}
	o := outcome{device: d, state: state, err: err, reason: "safe state: " + l.reason, at: time.Now()}
	if len(state.Values) == 1 {
		o.command.Channel = state.Values[0].Channel
	}
	d.publishResult(o)
	if err == nil {
		d.calm()
		return
	}
	// One that is offline was closed, and so made safe, if that could be done: who knows.
	d.log.Error("device could not be brought into its safe state; it will be made safe as soon as it can be reached", "reason", l.reason, "err", err)
	d.alarm(fmt.Sprintf("Device %s could not be brought into its safe state (%s): %v. It will be made safe as soon as it can be reached; go and look.", d.cfg.Name, l.reason, err))
}

func (d *device) alarmTopic() string { return d.bridge.cfg.Prefix + "/alarm/unsafe-" + d.cfg.Name }

// alarm says, retained, that somebody must look at the device.
func (d *device) alarm(sentence string) {
	d.mu.Lock()
	d.alarmed = true
	d.mu.Unlock()
	text, _ := json.Marshal(map[string]string{ // of strings: can not fail
		"alarm": sentence, "ts": time.Now().UTC().Format(timeFormat),
	})
	d.send(broker.Message{Topic: d.alarmTopic(), Payload: text, QoS: 1, Retain: true}, broker.Lazy())
}

// calm takes the alarm back: the device does what it is asked to.
func (d *device) calm() {
	d.mu.Lock()
	alarmed := d.alarmed
	d.alarmed = false
	d.mu.Unlock()
	if alarmed {
		d.send(broker.Message{Topic: d.alarmTopic(), QoS: 1, Retain: true}, broker.Lazy())
	}
}
