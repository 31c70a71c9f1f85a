package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"edgegateway/bench"
	"edgegateway/broker/packet"
)

func benchVerb() verb {
	return verb{
		name:    "bench",
		args:    "[-mode messages|connects|idle|retained] [flags]",
		summary: "put load on an MQTT broker and measure it",
		about: "Publishes and subscribes as fast as the broker goes, or at a rate, and prints throughput,\n" +
			"latencies, losses, duplicates and errors of order. Other modes open connections, hold idle\n" +
			"ones, or store retained values and ask for them. With the process id of the broker it prints\n" +
			"the broker's CPU time per message and its memory, too. Any broker will do, and each run is\n" +
			"bounded. Exit code 1 if the broker broke what the QoS promises.",
		example: "gateway bench -qos 0,1,2 -duration 5s\n" +
			"gateway bench -publishers 10 -subscribers 10 -topics 10 -rate 5000 -json\n" +
			"gateway bench -mode idle -connections 10000 -pid $(pidof mosquitto)\n" +
			"gateway bench -sink -address 127.0.0.1:1999",
		setup: func(f *flag.FlagSet) action {
			var o benchOptions
			o.flags(f)
			return func(ctx context.Context, p *process, args []string) error {
				if err := noArguments(args); err != nil {
					return err
				}
				if o.sink {
					return o.serveSink(ctx, p)
				}
				return o.run(ctx, p)
			}
		},
	}
}

type benchOptions struct {
	mode, address, version     string
	username, passwordFile, ca string
	qos                        string
	messages                   bench.Messages
	connections                int
	hold                       time.Duration
	persistent, json, sink     bool
}

func (o *benchOptions) flags(f *flag.FlagSet) {
	m := &o.messages
	f.StringVar(&o.mode, "mode", "messages", "what to do: `MODE` is messages, connects, idle or retained")
	f.StringVar(&o.address, "address", "127.0.0.1:1883", "the broker: `HOST:PORT`, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH")
	f.StringVar(&o.version, "version", "3.1.1", "of MQTT: `3.1.1 or 5`")
	f.StringVar(&o.username, "username", "", "log in as `NAME`")
	f.StringVar(&o.passwordFile, "password-file", "", "with the password in `FILE`")
	f.StringVar(&o.ca, "ca", "", "for tls://, trust the certificates in `FILE` instead of the system's")
	f.IntVar(&m.Publishers, "publishers", 1, "`NUMBER` of publishers")
	f.IntVar(&m.Subscribers, "subscribers", 1, "`NUMBER` of subscribers; 0: the broker only takes")
	f.IntVar(&m.Topics, "topics", 1, "`NUMBER` of topics that clients are spread over; as many as clients make pairs. In mode retained, of values")
	f.StringVar(&o.qos, "qos", "0", "`LIST` of QoS levels, one run each, such as 0,1,2 (default 0)")
	f.IntVar(&m.Payload, "payload", 100, "`BYTES` of each message, at least 20")
	f.BoolVar(&m.Retain, "retain", false, "publish retained messages; they are cleared afterwards")
	f.IntVar(&m.Window, "window", 100, "`NUMBER` of QoS 1 and 2 messages that each publisher has under way")
	f.IntVar(&m.Ahead, "ahead", 10000, "`NUMBER` of messages that a publisher may be ahead of the slowest subscriber; 0: no limit")
	f.Float64Var(&m.Rate, "rate", 0, "messages per second of all publishers, as `NUMBER` (default: as fast as it goes)")
	f.Int64Var(&m.Count, "count", 0, "end after `NUMBER` messages, or connections; 0: no limit")
	f.DurationVar(&m.Duration, "duration", 0, "end after `TIME` of sending (default: 5s, without -count)")
	f.IntVar(&o.connections, "connections", 50, "`NUMBER` of connections: at a time in mode connects, in all in mode idle")
	f.BoolVar(&o.persistent, "persistent", false, "in mode idle: sessions that outlive the connection")
	f.DurationVar(&o.hold, "hold", 3*time.Second, "in mode idle: keep still for `TIME` before memory is looked at")
	f.IntVar(&m.BrokerPID, "pid", 0, "look at CPU time and memory of the broker's process `PID`")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.sink, "sink", false, "be a broker at the address that only reads and acknowledges, until Ctrl-C: the limit of the generator")
}

// A benchResult is what any mode brings.
type benchResult interface{ Broken() bool }

func (o *benchOptions) run(ctx context.Context, p *process) error {
	levels, err := qosLevels(o.qos)
	if err != nil {
		return err
	}
	m := &o.messages
	if m.Target, err = o.target(); err != nil {
		return err
	}
	if m.Count == 0 && m.Duration == 0 {
		m.Duration = 5 * time.Second
	}
	broken := false
	for i, qos := range levels {
		m.QoS = qos
		result, err := o.measure(ctx)
		if err != nil {
			return err
		}
		broken = broken || result.Broken()
		if o.json {
			e := json.NewEncoder(p.stdout)
			e.SetIndent("", "  ")
			if err := e.Encode(result); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		o.print(p.stdout, result)
	}
	if broken {
		return exitError{code: exitFailed}
	}
	return nil
}

func (o *benchOptions) measure(ctx context.Context) (benchResult, error) {
	m := o.messages
	switch o.mode {
	case "messages":
		return m.Run(ctx)
	case "connects":
		return bench.Connects{Target: m.Target, Parallel: o.connections, Count: m.Count, Duration: m.Duration, BrokerPID: m.BrokerPID}.Run(ctx)
	case "idle":
		return bench.Idle{Target: m.Target, Connections: o.connections, Persistent: o.persistent, QoS: m.QoS, Hold: o.hold, BrokerPID: m.BrokerPID}.Run(ctx)
	case "retained":
		return bench.Retained{Target: m.Target, Values: m.Topics, QoS: m.QoS, Payload: m.Payload, Window: m.Window, BrokerPID: m.BrokerPID}.Run(ctx)
	}
	return nil, usageError(fmt.Sprintf("there is no mode %q; the modes are messages, connects, idle and retained", o.mode))
}

func qosLevels(list string) (levels []packet.QoS, err error) {
	for one := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(one))
		if err != nil || n < 0 || n > 2 {
			return nil, usageError(fmt.Sprintf("%q is no QoS; it is 0, 1 or 2, or a list such as 0,1,2", one))
		}
		levels = append(levels, packet.QoS(n))
	}
	return levels, nil
}

// target is the broker that the flags name.
func (o *benchOptions) target() (t bench.Target, err error) {
	switch o.version {
	case "3.1.1":
		t.Version = packet.V311
	case "5", "5.0":
		t.Version = packet.V5
	default:
		return t, usageError(fmt.Sprintf("-version %q is neither 3.1.1 nor 5", o.version))
	}
	t.Username = o.username
	if o.passwordFile != "" {
		b, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return t, err
		}
		t.Password = bytes.TrimRight(b, "\r\n")
	}
	network, address, err := o.endpoint()
	if err != nil {
		return t, err
	}
	var d net.Dialer
	if network != "tls" {
		t.Dial = func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, address) }
		return t, nil
	}
	config := &tls.Config{}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return t, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return t, fmt.Errorf("%s holds no certificate in PEM", o.ca)
		}
	}
	secure := tls.Dialer{NetDialer: &d, Config: config}
	t.Dial = func(ctx context.Context) (net.Conn, error) { return secure.DialContext(ctx, "tcp", address) }
	return t, nil
}

// endpoint takes the address apart: network is tcp, tls or unix.
func (o *benchOptions) endpoint() (network, address string, err error) {
	if !strings.Contains(o.address, "://") {
		return "tcp", o.address, nil
	}
	u, err := url.Parse(o.address)
	if err != nil {
		return "", "", usageError(err.Error())
	}
	switch u.Scheme {
	case "tcp", "mqtt":
		return "tcp", u.Host, nil
	case "tls", "mqtts":
		return "tls", u.Host, nil
	case "unix":
		return "unix", u.Path, nil
	}
	return "", "", usageError(fmt.Sprintf("-address begins with %s://; it must be tcp://, tls:// or unix://", u.Scheme))
}

func (o *benchOptions) serveSink(ctx context.Context, p *process) error {
	network, address, err := o.endpoint()
	if err != nil {
		return err
	}
	if network == "tls" {
		return usageError("the sink speaks tcp and unix only")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "sink on %s\n", ln.Addr())
	var sink bench.Sink
	err = sink.Serve(ctx, ln)
	fmt.Fprintf(p.stdout, "%s received\n", showCount(sink.Received()))
	return err
}
