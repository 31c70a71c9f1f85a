package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/packet"
	"edgegateway/drivers/serial/ptytest"
	"edgegateway/internal/need"
)

// listen subscribes at addr and gives every message to the channel as
// "topic payload".
func listen(t *testing.T, addr, filter string) <-chan string {
	t.Helper()
	c, _, err := dial(addr, "listener-"+strings.ReplaceAll(t.Name(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter, QoS: packet.QoS1}}}); err != nil {
		t.Fatal(err)
	}
	messages := make(chan string, 1000)
	ready := make(chan struct{})
	go func() {
		defer close(messages)
		for {
			p, err := c.read()
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packet.Suback:
				close(ready)
			case *packet.Publish:
				messages <- string(p.Topic) + " " + string(p.Payload)
				if p.QoS == packet.QoS1 {
					c.send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
				}
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(need.Patience):
		t.Fatalf("the subscription to %s at %s is not answered", filter, addr)
	}
	return messages
}

// await returns the first message that the test accepts.
func await(t *testing.T, what string, messages <-chan string, accept func(topic, payload string) bool) string {
	t.Helper()
	deadline := time.After(need.Patience)
	var seen []string
	for {
		select {
		case m, ok := <-messages:
			topic, payload, _ := strings.Cut(m, " ")
			if ok && accept(topic, payload) {
				return payload
			}
			if !ok {
				t.Fatalf("the connection ended while waiting for %s; came: %q", what, seen)
			}
			seen = append(seen, m)
		case <-deadline:
			t.Fatalf("no %s within %v; came: %q", what, need.Patience, seen)
		}
	}
}

// A reading that is written to a serial line arrives at a subscriber of the
// cloud, before and after the adapter next to it is found missing and garbage
// came over the line.
func TestAReadingOnASerialLineArrivesAtTheCloud(t *testing.T) {
	cloud := startMosquitto(t)
	line, path := ptytest.Open(t)
	addr := need.Port(t)
	config := gatewayConfig(t, addr, cloud.addr, fmt.Sprintf(`
[[devices]]
name = "weather"
kind = "serial-line"
[devices.options]
path = "%s"
format = "json"

[[devices]]
name = "lost"
kind = "serial-line"
[devices.options]
path = "%s/ttyUSB7"
`, path, t.TempDir()))
	fromCloud := listen(t, cloud.addr, "acme/#")
	gateway := start(t, binary, "run", "-config", config)
	local := listen(t, addr, "e2e/#")

	await(t, "weather online", local, func(topic, payload string) bool {
		return topic == "e2e/weather/availability" && payload == "online"
	})
	fmt.Fprintf(line, `{"temperature": 21.5, "humidity": 40}`+"\n")
	state := await(t, "state at the cloud", fromCloud, func(topic, payload string) bool {
		return topic == "acme/e2e/weather/state"
	})
	var values struct {
		Temperature, Humidity float64
		TS                    time.Time
	}
	if err := json.Unmarshal([]byte(state), &values); err != nil || values.Temperature != 21.5 || values.Humidity != 40 ||
		time.Since(values.TS).Abs() > time.Minute {
		t.Errorf("the cloud got %s (%v)", state, err)
	}

	line.Write([]byte("\xff\xfe\x00garbage\n{]\n" + strings.Repeat("x", 100_000) + "\n"))
	fmt.Fprintf(line, `{"temperature": 22.5, "humidity": 41}`+"\n")
	await(t, "state after garbage", fromCloud, func(topic, payload string) bool {
		return topic == "acme/e2e/weather/state" && strings.Contains(payload, "22.5")
	})
	gateway.stop()
	log := gateway.out.String()
	if n := strings.Count(log, "level=WARN"); n > 6 {
		t.Errorf("%d warnings; garbage and a missing adapter should be told once each:\n%s", n, log)
	}
	if !strings.Contains(log, "ttyUSB7") {
		t.Errorf("nothing tells that ttyUSB7 is missing:\n%s", log)
	}
}

// The last state of every device is there for whoever comes later, and says who
// is not there.
func TestAMissingAdapterIsOfflineAndTheOthersLive(t *testing.T) {
	addr := need.Port(t)
	dir := t.TempDir()
	config := write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%[1]s/data"
[[broker.listeners]]
address = "tcp://%[2]s"
[status]
address = ""
[[devices]]
name = "lost"
kind = "serial-line"
[devices.options]
path = "%[1]s/ttyUSB7"
[[devices]]
name = "machine"
kind = "host"
every = "1s"
`, dir, addr))
	gateway := start(t, binary, "run", "-config", config)
	local := listen(t, addr, "e2e/#")
	await(t, "lost offline", local, func(topic, payload string) bool {
		return topic == "e2e/lost/availability" && payload == "offline"
	})
	await(t, "machine state", local, func(topic, payload string) bool { return topic == "e2e/machine/state" })
	gateway.stop()
	await(t, "gateway offline", local, func(topic, payload string) bool {
		return topic == "e2e/status" && payload == "offline"
	})
}

// What is not MQTT on the port is closed and counted, and disturbs nobody.
func TestAClientThatSpeaksNoMQTTIsClosed(t *testing.T) {
	addr := need.Port(t)
	dir := t.TempDir()
	config := write(t, dir, "gateway.toml", fmt.Sprintf(`
id = "e2e"
data_dir = "%s/data"
[[broker.listeners]]
address = "tcp://%s"
connect_timeout = "1h"
[status]
address = ""
`, dir, addr))
	gateway := start(t, binary, "run", "-config", config)
	for _, said := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00\x00\x00\x00"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, said)
		c.SetReadDeadline(time.Now().Add(need.Patience))
		// The end of the connection, without an answer.
		if got, err := bufio.NewReader(c).ReadByte(); err == nil {
			t.Errorf("%q is answered with % x", said, got)
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("%q: the connection is still open after %v", said, need.Patience)
		}
		c.Close()
	}
	c, _, err := dial(addr, "honest")
	if err != nil {
		t.Fatalf("an honest client is refused after that: %v", err)
	}
	c.Close()
	report := runVerb(t, 0, "status", "--json", "-config", config)
	if !strings.Contains(report, "efused") {
		t.Errorf("the report does not count refused clients:\n%s", report)
	}
	gateway.stop()
}
