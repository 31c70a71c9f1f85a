package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"edgegateway/bench"
)

// print shows a result of gateway bench in a terminal.
func (o *benchOptions) print(w io.Writer, result benchResult) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	latencies := func(name string, l bench.Latencies) {
		if l.Count > 0 {
			row(name, "p50 %s   p90 %s   p99 %s   max %s", fine(l.P50), fine(l.P90), fine(l.P99), fine(l.Max))
		}
	}
	uses := func(u bench.Uses, perMessage time.Duration, of string) {
		if b := u.Broker; b != nil {
			row("broker", "%s CPU per %s, %.2f cores, %s in RAM", fine(perMessage), of, b.Cores, showBytes(b.RSS))
		}
		row("generator", "%.2f cores, %s CPU", u.Generator.Cores, fine(u.Generator.CPU))
	}
	failures := func(list []string) {
		for _, f := range list {
			row("! failed", "%s", f)
		}
	}
	switch r := result.(type) {
	case *bench.Result:
		m := o.messages
		row(fmt.Sprintf("QoS %d", r.QoS), "MQTT %s, %d -> %d on %s, %d bytes", r.Version, m.Publishers, m.Subscribers, plural(int64(m.Topics), "topic"), m.Payload)
		row("sent", "%s in %s: %s per second", showCount(r.Sent), fine(r.Sending), showCount(int64(r.SentPerSecond)))
		if m.Subscribers > 0 {
			row("delivered", "%s in %s: %s per second", showCount(r.Delivered), fine(r.Took), showCount(int64(r.DeliveredPerSecond)))
			row("errors", "%s lost, %s twice, %s out of order", showCount(r.Lost), showCount(r.Duplicates), showCount(r.Disordered))
		}
		if r.Refused+r.Strays+r.Unasked > 0 {
			row("", "%s refused, %s delivered to the wrong client, %s acknowledged without cause", showCount(r.Refused), showCount(r.Strays), showCount(r.Unasked))
		}
		latencies("latency", r.Latency)
		latencies("until ack", r.AckLatency)
		uses(r.Use, r.BrokerCPU, "message")
		row("", "%s per message", fine(r.GeneratorCPU))
		failures(r.Failures)
	case *bench.ConnectsResult:
		row("connects", "%s in %s: %s per second", showCount(r.Connects), fine(r.Took), showCount(int64(r.PerSecond)))
		latencies("latency", r.Latency)
		uses(r.Use, r.BrokerCPU, "connection")
		failures(r.Failures)
	case *bench.IdleResult:
		row("connected", "%s in %s", showCount(int64(r.Connections)), fine(r.Connecting))
		row("alive", "%s", showCount(int64(r.Alive)))
		if r.After > 0 {
			row("memory", "%s before, %s after: %s per connection", showBytes(r.Before), showBytes(r.After), showBytes(int64(r.PerConnection)))
			row("broker", "%.3f cores while nothing happens", r.Use.Broker.Cores)
		}
		failures(r.Failures)
	case *bench.RetainedResult:
		row(fmt.Sprintf("QoS %d", r.QoS), "%s of %d bytes", plural(int64(r.Values), "retained value"), o.messages.Payload)
		row("stored", "in %s: %s per second", fine(r.Storing), showCount(int64(r.StoredPerSecond)))
		row("got", "%s in %s: %s per second", showCount(r.Got), fine(r.Took), showCount(int64(r.GotPerSecond)))
		row("errors", "%s missing, %s twice", showCount(r.Missing), showCount(r.Duplicates))
		uses(r.Use, r.BrokerCPU, "value")
		failures(r.Failures)
	}
}

// fine writes a duration with three digits.
func fine(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return three(float64(d)/1e3) + " µs"
	case d < time.Second:
		return three(float64(d)/1e6) + " ms"
	}
	return three(d.Seconds()) + " s"
}

func three(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
