package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"edgegateway/broker/packet"
)

// Messages is a run of publishers and subscribers. It is plain data.
type Messages struct {
	Target Target

	Publishers  int // at least 1
	Subscribers int // may be 0: then the broker only takes

	// Topics is how many topics there are. Publishers and subscribers are spread
	// over them in turn, and the other way round where there are more topics than
	// clients: with 1 all meet on one topic, with as many as clients they form pairs.
	Topics int

	QoS     packet.QoS // of messages and subscriptions
	Retain  bool
	Payload int // bytes, at least MinPayload

	// Window is how many QoS 1 and 2 messages each publisher has under way to the
	// broker: 1 to 65,535. An MQTT 5 broker may lower it.
	Window int

	// Ahead is how many messages a publisher may be ahead of the slowest
	// subscriber; 0 is no limit. It keeps a queue from growing in the broker.
	Ahead int

	Rate     float64       // messages per second of all publishers together; 0: as fast as it goes
	Count    int64         // messages of all publishers together; 0: no limit
	Duration time.Duration // of sending; 0: no limit

	BrokerPID int // 0: unknown; else its CPU time and memory are looked at
}

// validate says what is wrong with the run, in the words of its fields.
func (c *Messages) validate() error {
	switch {
	case c.Target.Version != packet.V311 && c.Target.Version != packet.V5:
		return errors.New("the version must be 3.1.1 or 5")
	case c.Publishers < 1 || c.Publishers > 60000:
		return errors.New("publishers must be 1 to 60,000")
	case c.Subscribers < 0 || c.Subscribers > 60000:
		return errors.New("subscribers must be 0 to 60,000")
	case c.Topics < 1 || c.Topics > 1_000_000:
		return errors.New("topics must be 1 to 1,000,000")
	case int64(c.Subscribers)*int64(max(c.Topics, c.Publishers)) > 100_000_000:
		return errors.New("subscribers times topics must not exceed 100,000,000")
	case c.QoS > packet.QoS2:
		return errors.New("the QoS must be 0, 1 or 2")
	case c.Payload < MinPayload || c.Payload > 16<<20:
		return fmt.Errorf("the payload must be %d bytes to 16 MiB: it carries number and time", MinPayload)
	case c.Window < 1 || c.Window > 0xffff:
		return errors.New("the window must be 1 to 65,535")
	case c.Ahead < 0 || c.Rate < 0 || math.IsNaN(c.Rate) || c.Count < 0 || c.Duration < 0:
		return errors.New("ahead, rate, count and duration must not be negative")
	case c.Count == 0 && c.Duration == 0:
		return errors.New("a run needs a count or a duration, or it would never end")
	case c.Count > 0 && c.Count < int64(c.Publishers):
		return errors.New("the count must be at least the number of publishers")
	}
	return nil
}

// Run connects everybody, publishes, waits until all has arrived or nothing
// comes any more, and counts. Its error is for what kept the run from taking
// place; what went wrong on the way is in the result. It ends early with ctx.
func (c Messages) Run(ctx context.Context) (*Result, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	r := newRun(&c, c.Subscribers)
	defer r.close()
	// Subscribers first: what nobody asked for yet would be lost.
	if err := r.connectSubscribers(ctx, true); err != nil {
		return nil, err
	}
	if err := r.connectPublishers(ctx); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, r.close)
	defer stop()

	r.listen()
	meter, err := startMeter(c.BrokerPID)
	if err != nil {
		return nil, err
	}
	begun := r.clock.now()
	failures := r.publish(ctx)
	r.drain(ctx)
	// As soon as all is there: idle time and the last handshakes are not the work.
	use, err := meter.stop()
	if err != nil {
		return nil, err
	}
	r.finish()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	result := r.result(begun, use)
	result.note(failures...)
	if c.Retain {
		result.note(c.Target.clear(ctx, r.plan))
	}
	return result, nil
}
