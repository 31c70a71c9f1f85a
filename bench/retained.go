package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgegateway/broker/packet"
)

// Retained is a run that stores retained values, one per topic, and asks for all
// of them with a new subscription. It is plain data.
type Retained struct {
	Target    Target
	Values    int        // 1 to 1,000,000
	QoS       packet.QoS // of values and subscription
	Payload   int        // bytes, at least MinPayload
	Window    int        // see Messages
	BrokerPID int        // see Messages
}

// RetainedResult is what came of a run of Retained.
type RetainedResult struct {
	Values          int           `json:"values"`
	QoS             packet.QoS    `json:"qos"`
	Storing         time.Duration `json:"storing_ns"` // until all were acknowledged, or answered for at QoS 0
	StoredPerSecond float64       `json:"stored_per_second"`

	Got          int64         `json:"got"`
	Missing      int64         `json:"missing"`
	Duplicates   int64         `json:"duplicates"`
	Took         time.Duration `json:"took_ns"` // from SUBSCRIBE to the last value
	GotPerSecond float64       `json:"got_per_second"`

	BrokerCPU time.Duration `json:"broker_cpu_per_message_ns,omitempty"` // of a value that the subscriber got
	Use       Uses          `json:"use"`                                 // from SUBSCRIBE to the last value
	Failures  []string      `json:"failures,omitempty"`
}

// Broken reports whether a value is missing or came twice, or a connection failed.
func (r *RetainedResult) Broken() bool {
	return r.Missing > 0 || r.Duplicates > 0 || len(r.Failures) > 0
}

// Run stores, subscribes, counts and clears what it has stored.
func (c Retained) Run(ctx context.Context) (_ *RetainedResult, err error) {
	m := &Messages{
		Target: c.Target, Publishers: 1, Topics: c.Values, QoS: c.QoS, Retain: true,
		Payload: c.Payload, Window: c.Window, Count: int64(c.Values), BrokerPID: c.BrokerPID,
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	r := newRun(m, 0)
	defer r.close()
	if err := r.connectPublishers(ctx); err != nil {
		return nil, err
	}
	r.listen()
	stop := context.AfterFunc(ctx, r.close)
	defer stop()
	begun := r.clock.now()
	if err := r.publish(ctx)[0]; err != nil {
		return nil, fmt.Errorf("store the values: %w", err)
	}
	stored := time.Duration(r.publishers[0].end - begun)

	// The values are there; now for somebody who has not seen them.
	listener := newRun(m, 1)
	listener.plan.run, listener.clock, listener.publishers = r.plan.run, r.clock, r.publishers
	defer listener.close()
	if err := listener.connectSubscribers(ctx, false); err != nil {
		return nil, err
	}
	stopToo := context.AfterFunc(ctx, listener.close)
	defer stopToo()
	s := listener.subscribers[0]
	for i := range s.tracks {
		s.tracks[i].link = &link{publisher: r.publishers[0]}
	}
	meter, err := startMeter(c.BrokerPID)
	if err != nil {
		return nil, err
	}
	asked := r.clock.now()
	s.last = asked
	go s.receive()
	ask := packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: r.plan.prefix() + "#", QoS: c.QoS}}}
	if _, err := s.conn.nc.Write(ask.Append(nil, c.Target.Version)); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	listener.drain(ctx)
	use, err := meter.stop()
	if err != nil {
		return nil, err
	}
	s.finish()

	t := &RetainedResult{
		Values: c.Values, QoS: c.QoS, Storing: stored, StoredPerSecond: perSecond(int64(c.Values), stored),
		Got: s.delivered, Missing: int64(c.Values) - s.delivered, Duplicates: s.duplicates,
		Took: time.Duration(s.last - asked), GotPerSecond: perSecond(s.delivered, time.Duration(s.last-asked)), Use: use,
	}
	if use.Broker != nil && s.delivered > 0 {
		t.BrokerCPU = use.Broker.CPU / time.Duration(s.delivered)
	}
	for _, err := range []error{s.err, c.Target.clear(ctx, r.plan)} {
		if err != nil {
			t.Failures = append(t.Failures, err.Error())
		}
	}
	return t, ctx.Err()
}

// clear removes the retained values of a run with empty ones [MQTT-3.3.1-6].
func (t *Target) clear(ctx context.Context, p plan) error {
	c, err := t.connect(ctx, "bench-"+p.run+"-clear", false)
	if err != nil {
		return fmt.Errorf("clear the retained values below %s: %w", p.prefix(), err)
	}
	defer c.leave()
	topics := make([]int, p.topics)
	for i := range topics {
		topics[i] = i
	}
	var out []byte
	for some := range slices.Chunk(topics, 1000) {
		out = out[:0]
		for _, i := range some {
			out = (&packet.Publish{Topic: []byte(p.prefix() + p.digits(i)), Retain: true}).Append(out, c.version)
		}
		c.nc.SetWriteDeadline(time.Now().Add(patience))
		if _, err := c.nc.Write(out); err != nil {
			return fmt.Errorf("clear the retained values below %s: %w", p.prefix(), err)
		}
	}
	if _, err := c.ask(ctx, &packet.Pingreq{}); err != nil { // all of them have been read
		return fmt.Errorf("clear the retained values below %s: %w", p.prefix(), err)
	}
	return nil
}
