package field

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"edgegateway/broker"
	"edgegateway/drivers"
)

// errForgotten is the outcome of a command that was accepted for good, by QoS 2, and
// had none when the gateway crashed. The device may have acted or not; it is not asked
// to act now.
var errForgotten = errors.New("unknown: gateway restarted")

// An accepted command, as it is noted until it has an outcome: what is needed to say
// that there will be none. The command itself is not in it.
type accepted struct {
	Base        string `json:"base"` // of the device's topics
	Channel     string `json:"channel,omitempty"`
	Response    string `json:"response,omitempty"`
	Correlation []byte `json:"correlation,omitempty"`
}

// note writes an accepted command down with its message, and returns the key.
func (d *device) note(dl *broker.Delivery, s sender, c drivers.Command) []byte {
	text, err := json.Marshal(accepted{Base: d.base, Channel: c.Channel, Response: s.response, Correlation: s.correlation})
	if err != nil {
		return nil // strings and bytes can always be written
	}
	key := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	key = binary.BigEndian.AppendUint64(key, d.bridge.noted.Add(1))
	d.bridge.notes.Put(dl, key, text)
	return key
}

// tellForgotten publishes the outcome of what an earlier run has accepted and not
// answered.
func (b *Bridge) tellForgotten() {
	found := make(map[string]accepted)
	err := b.notes.Each(func(key, value []byte) error {
		var a accepted
		if err := json.Unmarshal(value, &a); err != nil {
			b.log.Warn("a note of an accepted command can not be read; it gets no result", "err", err)
			b.notes.Drop(key)
			return nil
		}
		found[string(key)] = a
		return nil
	})
	if err != nil {
		b.log.Error("commands that an earlier run has accepted get no result", "err", err)
	}
	for key, a := range found {
		o := outcome{
			sender:  sender{response: a.Response, correlation: a.Correlation, note: []byte(key)},
			command: drivers.Command{Channel: a.Channel}, err: errForgotten, at: time.Now(),
		}
		b.log.Warn("a command was accepted before the gateway restarted, and nobody knows its outcome; it is not carried out now",
			"topic", a.Base, "channel", a.Channel)
		for _, m := range b.results(a.Base, o) {
			b.local.Publish(m.message, m.options...).Done(func(err error) {
				if err != nil {
					b.log.Warn("the result of a command was not taken", "topic", m.message.Topic, "err", err)
				}
			})
		}
	}
}

// A result is one message about an outcome.
type result struct {
	message broker.Message
	options []broker.PublishOption
}

// results are what is published of an outcome: for everyone who listens to the
// device's results, and on the response topic of the command, if it has one.
func (b *Bridge) results(base string, o outcome) []result {
	// Lazy in any case: a disk that takes nothing keeps no result from those who listen.
	first := result{message: broker.Message{Topic: base + "/result", Payload: appendResult(nil, o), QoS: 1}, options: []broker.PublishOption{broker.Lazy()}}
	if o.sender.correlation != nil {
		first.message.Properties = correlated(o.sender.correlation)
	}
	if o.sender.note != nil {
		first.options = append(first.options, b.notes.Delete(o.sender.note))
	}
	all := []result{first}
	if b.mayRespond(o.sender.response) {
		second := result{message: first.message, options: []broker.PublishOption{broker.Lazy()}}
		second.message.Topic = o.sender.response
		all = append(all, second)
	}
	return all
}
