package bench

import (
	"slices"
	"time"

	"edgegateway/broker/packet"
)

// Result is what came of a run of Messages.
type Result struct {
	QoS     packet.QoS `json:"qos"`
	Version string     `json:"version"`

	Sent      int64 `json:"sent"`      // messages given to the broker
	Acked     int64 `json:"acked"`     // of these, acknowledged; QoS 1 and 2
	Refused   int64 `json:"refused"`   // acknowledged with a reason code of 0x80 and above
	Expected  int64 `json:"expected"`  // deliveries that were due to all subscribers together
	Delivered int64 `json:"delivered"` // of these, arrived

	Lost       int64 `json:"lost"`       // expected and not arrived
	Duplicates int64 `json:"duplicates"` // arrived again
	Disordered int64 `json:"disordered"` // arrived after a message of the same publisher and topic that was sent later
	Strays     int64 `json:"strays"`     // arrived where they do not belong
	Unasked    int64 `json:"unasked"`    // acknowledgements of nothing

	Sending            time.Duration `json:"sending_ns"` // until all was acknowledged
	Took               time.Duration `json:"took_ns"`    // until the last one arrived
	SentPerSecond      float64       `json:"sent_per_second"`
	DeliveredPerSecond float64       `json:"delivered_per_second"`

	Latency    Latencies `json:"latency"`     // from sending to arrival
	AckLatency Latencies `json:"ack_latency"` // from sending to PUBACK or PUBCOMP

	// GeneratorCPU and BrokerCPU are per message: delivered, or sent if there are
	// no subscribers.
	GeneratorCPU time.Duration `json:"generator_cpu_per_message_ns"`
	BrokerCPU    time.Duration `json:"broker_cpu_per_message_ns,omitempty"`
	Use          Uses          `json:"use"`

	Failures []string `json:"failures,omitempty"` // what ended a connection, each once
}

// Broken reports whether the broker has broken what the QoS promises. Losses are
// allowed at QoS 0, duplicates at QoS 1 only; order holds everywhere [MQTT-4.6.0-5].
func (r *Result) Broken() bool {
	return r.Disordered > 0 || r.Strays > 0 || r.Unasked > 0 || len(r.Failures) > 0 ||
		r.QoS > packet.QoS0 && r.Lost+r.Refused > 0 ||
		r.QoS != packet.QoS1 && r.Duplicates > 0
}

func (r *run) result(begun int64, use Uses) *Result {
	t := &Result{QoS: r.QoS, Version: r.Target.Version.String(), Use: use}
	var times, acks histogram
	var sent, arrived int64
	for _, p := range r.publishers {
		t.Sent += p.sent
		t.Acked += p.flights.acked
		t.Refused += p.flights.refused
		t.Unasked += p.flights.strange
		acks.merge(&p.flights.times)
		sent = max(sent, p.end-begun)
	}
	for _, s := range r.subscribers {
		t.Expected += r.expected(s)
		t.Delivered += s.delivered
		t.Duplicates += s.duplicates
		t.Disordered += s.late
		t.Strays += s.strays
		times.merge(&s.times)
		arrived = max(arrived, s.last-begun)
		t.note(s.err)
	}
	t.Lost = t.Expected - t.Delivered
	t.Sending, t.Took = time.Duration(sent), time.Duration(arrived)
	t.SentPerSecond, t.DeliveredPerSecond = perSecond(t.Sent, t.Sending), perSecond(t.Delivered, t.Took)
	t.Latency, t.AckLatency = times.latencies(), acks.latencies()
	messages := t.Delivered
	if len(r.subscribers) == 0 {
		messages = t.Sent
	}
	if messages > 0 {
		t.GeneratorCPU = use.Generator.CPU / time.Duration(messages)
		if use.Broker != nil {
			t.BrokerCPU = use.Broker.CPU / time.Duration(messages)
		}
	}
	return t
}

// note keeps failures, each once: a broker that dies fails all connections alike.
func (r *Result) note(errs ...error) {
	for _, err := range errs {
		if err != nil && !slices.Contains(r.Failures, err.Error()) && len(r.Failures) < 10 {
			r.Failures = append(r.Failures, err.Error())
		}
	}
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
