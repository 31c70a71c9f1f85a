package broker_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
)

// event receives one event and returns it as a line: topic level, and the fields
// that are the same in every run.
func event(t *testing.T, c *brokertest.Client) string {
	t.Helper()
	p, ok := c.Receive().(*packet.Publish)
	if !ok || p.Retain || p.QoS != 0 {
		t.Fatalf("received %v, want an event", p)
	}
	var fields map[string]any
	if err := json.Unmarshal(p.Payload, &fields); err != nil {
		t.Fatalf("%v in %s", err, p.Payload)
	}
	if at, err := time.Parse(time.RFC3339, fields["ts"].(string)); err != nil || time.Since(at).Abs() > time.Minute || at.Location() != time.UTC {
		t.Errorf("ts is %v, %v", fields["ts"], err)
	}
	if !strings.HasPrefix(fields["address"].(string), "127.0.0.1:") {
		t.Errorf("address is %v", fields["address"])
	}
	level := strings.TrimSuffix(strings.TrimPrefix(string(p.Topic), "$SYS/broker/clients/"), "/event")
	out := fmt.Sprintf("%s: %s %s", level, fields["client"], fields["event"])
	for _, name := range []string{"protocol", "username", "session_present", "code"} {
		if v, ok := fields[name]; ok {
			out += fmt.Sprintf(" %s=%v", name, v)
		}
	}
	if reason, ok := fields["reason"]; ok != (fields["event"] == "disconnected") || ok && reason == "" {
		t.Errorf("reason is %q", reason)
	}
	return out
}

func TestEventsOfClients(t *testing.T) {
	h := open(t, t.TempDir(), config())
	watch := connect(t, h, packet.V5, "watch", true)
	subscribe(t, watch, "$SYS/broker/clients/+/event", 2)
	expect := func(want string) {
		t.Helper()
		if got := event(t, watch); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	connect(t, h, packet.V311, "a", true).Leave()
	expect("a: a connected protocol=3.1.1 session_present=false")
	expect("a: a disconnected code=0")

	first := connect(t, h, packet.V5, "b", false)
	expect("b: b connected protocol=5.0 session_present=false")
	second := connect(t, h, packet.V5, "b", false)
	expect("b: b disconnected code=142") // taken over
	expect("b: b connected protocol=5.0 session_present=true")
	first.ExpectClosed(packet.SessionTakenOver)
	second.Send(&packet.Disconnect{Code: packet.DisconnectWithWillMessage}).ExpectClosed()
	expect("b: b disconnected code=4")
	connect(t, h, packet.V5, "b", true).Drop()
	expect("b: b connected protocol=5.0 session_present=false")
	expect("b: b disconnected code=<nil>")
	connect(t, h, packet.V5, "b", true).Send(&packet.Pingresp{}).ExpectClosed(packet.ProtocolError)
	expect("b: b connected protocol=5.0 session_present=false")
	expect("b: b disconnected code=130")

	named, _ := brokertest.Connect(t, h.addr, packet.V31, &packet.Connect{ClientID: "a/b+c#d%e", CleanStart: true, UsernameFlag: true, Username: "anna"})
	expect("a%2Fb%2Bc%23d%25e: a/b+c#d%e connected protocol=3.1 username=anna session_present=false")
	named.Leave()
	expect("a%2Fb%2Bc%23d%25e: a/b+c#d%e disconnected code=0")

	late := connect(t, h, packet.V5, "late", true)
	expect("late: late connected protocol=5.0 session_present=false")
	subscribe(t, late, "$SYS/broker/clients/#", 0)
	late.ExpectNothing() // they are not retained
	if n := len(h.Retained("$SYS/broker/clients/#", 0)); n != 0 {
		t.Errorf("%d events are retained", n)
	}
}

func TestEventsOfLongClientIdentifiers(t *testing.T) {
	h := open(t, t.TempDir(), config())
	watch := connect(t, h, packet.V5, "watch", true)
	subscribe(t, watch, "$SYS/broker/clients/+/event", 0)
	levels := make(map[string]bool)
	for _, end := range []string{"1", "2"} {
		id := strings.Repeat("/ä", 20000) + end
		connect(t, h, packet.V5, id, true)
		level, rest, _ := strings.Cut(event(t, watch), ": ")
		if !strings.HasPrefix(rest, id+" connected") || len(level) > 1100 || strings.ContainsAny(level, "/+#") {
			t.Errorf("the level has %d bytes, begins %.60s", len(level), level)
		}
		levels[level] = true
	}
	if len(levels) != 2 {
		t.Error("two clients have one topic")
	}
}

func TestEventsNeedRights(t *testing.T) {
	h := open(t, t.TempDir(), config())
	addr := h.serveMore(broker.ListenerConfig{Address: "tcp://127.0.0.1:0", ACLFile: rulesFile(t, "pattern read $SYS/broker/clients/%c/event\n")}).String()
	all, own := brokertest.Dial(t, addr, packet.V5), brokertest.Dial(t, addr, packet.V5)
	all.Send(&packet.Connect{ClientID: "all", CleanStart: true}).Expect(&packet.Connack{})
	own.Send(&packet.Connect{ClientID: "own", CleanStart: true}).Expect(&packet.Connack{})
	subscribe(t, all, "$SYS/#", 0)
	subscribe(t, own, "$SYS/#", 0)
	connect(t, h, packet.V5, "somebody", true).Leave()
	all.ExpectNothing()
	own.ExpectNothing()
	again := brokertest.Dial(t, addr, packet.V5)
	again.Send(&packet.Connect{ClientID: "all", SessionExpiry: 60}).Expect(&packet.Connack{})
	subscribe(t, again, "$SYS/#", 0)
	again.Leave()
	again = brokertest.Dial(t, addr, packet.V5)
	again.Send(&packet.Connect{ClientID: "all", SessionExpiry: 60}).Expect(&packet.Connack{SessionPresent: true})
	if got, want := event(t, again), "all: all connected protocol=5.0 session_present=true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	own.ExpectNothing()
}
