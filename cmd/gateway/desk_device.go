package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// What the verbs read and set ask of a running gateway.

// mostPatience is the longest that a question about a device may wait for its answer.
const mostPatience = 10 * time.Minute

// within is how long the asker waits.
func within(r *http.Request) (time.Duration, error) {
	d, err := time.ParseDuration(r.FormValue("within"))
	if err != nil || d <= 0 || d > mostPatience {
		return 0, fmt.Errorf("within must be a time of at most %v, not %q", mostPatience, r.FormValue("within"))
	}
	return d, nil
}

// device finds the device that a question is about, and refuses one that is not there.
func (g *gateway) device(w http.ResponseWriter, r *http.Request) (d field.DeviceStatus, patience time.Duration, ok bool) {
	name, all := r.FormValue("device"), g.field.Devices()
	at := slices.IndexFunc(all, func(d field.DeviceStatus) bool { return d.Name == name })
	if at < 0 {
		var names []string
		for _, d := range all {
			names = append(names, d.Name)
		}
		refuse(w, http.StatusNotFound, noDevice(name, names))
		return d, 0, false
	}
	patience, err := within(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return d, 0, false
	}
	return all[at], patience, true
}

// sampleDevice has a device measured now; its report holds the reading then.
func (g *gateway) sampleDevice(w http.ResponseWriter, r *http.Request) {
	d, patience, ok := g.device(w, r)
	if !ok {
		return
	}
	takeTime(w)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	err := g.field.Sample(ctx, d.Name)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no reading came within %v", patience)
	}
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintln(w, "{}")
}

// setAnswer is the outcome of a command, in the answer to POST /v1/devices/set.
type setAnswer struct {
	Device  string `json:"device"`
	Channel string `json:"channel,omitempty"`
	Value   any    `json:"value"` // state of the channel afterwards, or what it was set to; null: not known
	Unit    string `json:"unit,omitempty"`
}

// setDevice gives a device a command, as a client would: what refuses that, refuses this.
func (g *gateway) setDevice(w http.ResponseWriter, r *http.Request) {
	d, patience, ok := g.device(w, r)
	if !ok {
		return
	}
	takeTime(w)
	// A message expires after whole seconds: with less patience than that, the command
	// could be carried out although it was said that it is not.
	patience = time.Duration(math.Ceil(patience.Seconds())) * time.Second
	o, err := g.command(r.Context(), d.Topic, r.FormValue("channel"), r.FormValue("value"), patience)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no outcome came within %v. A command whose turn has not come by then is not carried out; one that is under way may be", patience)
		refuse(w, http.StatusGatewayTimeout, err)
		return
	case err != nil:
		refuse(w, http.StatusConflict, err)
		return
	}
	a := setAnswer{Device: d.Name, Channel: o.Channel, Value: o.Value, Unit: unitOf(d.Channels, o.Channel)}
	g.log.Info("a device was set from the command line", "device", d.Name, "channel", o.Channel, "value", o.Value)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the far side may be gone
}

// A commandResult is what the result topic of a device says of one command.
type commandResult struct {
	OK      bool   `json:"ok"`
	Channel string `json:"channel"`
	Error   string `json:"error"`
	Value   any    `json:"value"`
}

// command publishes a command and waits for its result. It expires with the patience of
// the asker, whole seconds, so that nothing moves that nobody waits for.
func (g *gateway) command(ctx context.Context, base, channel, value string, patience time.Duration) (commandResult, error) {
	if strings.ContainsAny(channel, "/+#") {
		return commandResult{}, fmt.Errorf("there is no channel %q: the name of one has none of / + #", channel)
	}
	topic := base + "/set"
	if channel != "" {
		topic = base + "/" + channel + "/set"
	}
	client := g.broker.Local("command line", broker.Rights{})
	answers := &answers{correlation: rand.Text(), got: make(chan commandResult, 1)}
	filter := base + "/result"
	if err := client.Subscribe(filter, broker.SubscribeOptions{QoS: 1, RetainHandling: packet.NoRetained}, answers); err != nil {
		return commandResult{}, fmt.Errorf("listen to the results of the device: %w", err)
	}
	defer client.Unsubscribe(filter)

	refused := make(chan error, 1) // its result may be lost in a flood of others
	client.Publish(broker.Message{Topic: topic, Payload: []byte(value), QoS: 1, Properties: &packet.Properties{
		Has:             packet.HasCorrelationData | packet.HasMessageExpiry,
		CorrelationData: []byte(answers.correlation),
		MessageExpiry:   uint32(patience / time.Second),
	}}, broker.Lazy()).Done(func(err error) {
		if why := (broker.ErrRefused{}); errors.As(err, &why) {
			refused <- errors.New(why.Reason)
		}
	})
	over := time.NewTimer(patience) // not before the message has its time
	defer over.Stop()
	select {
	case result := <-answers.got:
		if !result.OK {
			return result, errors.New(result.Error)
		}
		return result, nil
	case err := <-refused:
		return commandResult{}, err
	case <-over.C:
		return commandResult{}, context.DeadlineExceeded
	case <-ctx.Done():
		return commandResult{}, ctx.Err()
	}
}

// answers takes the one result that has the correlation data of a command.
type answers struct {
	correlation string
	got         chan commandResult // holds one
}

// Deliver implements broker.Sink.
func (a *answers) Deliver(d *broker.Delivery) {
	p := d.Message.Properties
	if p == nil || string(p.CorrelationData) != a.correlation {
		return
	}
	var r commandResult
	if err := json.Unmarshal(d.Message.Payload, &r); err != nil {
		r = commandResult{Error: fmt.Sprintf("the result is not JSON: %v", err)}
	}
	select {
	case a.got <- r:
	default:
	}
}

// noDevice says what to type instead of a name that no device has.
func noDevice(name string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("there is no device %q: none is configured", name)
	}
	s := fmt.Sprintf("there is no device %q", name)
	if best := nearest(name, names); best != "" {
		s += fmt.Sprintf(" (did you mean %q?)", best)
	}
	return fmt.Errorf("%s; there is %s", s, strings.Join(names, ", "))
}

// unitOf is the unit of a channel; "" if it has none.
func unitOf(channels []drivers.Channel, name string) string {
	for _, c := range channels {
		if c.Name == name {
			return c.Unit
		}
	}
	return ""
}
