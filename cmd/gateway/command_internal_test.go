package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/config"
	"edgegateway/drivers/gpio/gpiotest"
)

// A command that is published at the cloud drives a GPIO line, and what came of it
// comes back with its correlation data: the whole wiring, a real Mosquitto as the
// cloud, and a board in memory in place of the hardware.
func TestCommandFromTheCloudDrivesALine(t *testing.T) {
	cloudAddr := brokertest.Mosquitto(t, "")
	operator, _ := brokertest.Connect(t, cloudAddr, packet.V5, &packet.Connect{ClientID: "operator", CleanStart: true})
	operator.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{
		{Filter: "acme/pump/availability", QoS: packet.QoS1},
		{Filter: "acme/pump/result", QoS: packet.QoS1},
	}}).Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.GrantedQoS1, packet.GrantedQoS1}})

	dir := t.TempDir()
	cfg, err := config.Decode("gateway.toml", fmt.Appendf(nil, `
id = "g"
data_dir = "%s"
[[broker.listeners]]
address = "tcp://127.0.0.1:0"
[status]
address = ""
[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
up = [
  { from = "g/+/availability", to = "acme/+/availability", qos = 1 },
  { from = "g/+/result", to = "acme/+/result", qos = 1 },
]
down = [{ from = "acme/+/set", to = "g/+/set", qos = 2 }]
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"
active_low = true
`, dir, cloudAddr), func(string) string { return "" }, "host")
	if err != nil {
		t.Fatal(err)
	}
	var board gpiotest.Board
	pin := board.Pin("GPIO27")
	g, err := open(cfg, surroundings{
		log: slog.New(slog.DiscardHandler), started: time.Now(), ports: board.Ports(),
		control: filepath.Join(dir, "control.sock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			g.close()
		}
	}()
	receive := func() (topic, payload string, props packet.Properties) {
		t.Helper()
		p, ok := operator.Receive().(*packet.Publish)
		if !ok {
			t.Fatal("the operator got something that is no PUBLISH")
		}
		topic, payload, props = string(p.Topic), string(p.Payload), p.Properties.Clone()
		operator.Send(&packet.Ack{Kind: packet.PUBACK, ID: p.ID})
		return topic, payload, props
	}
	for online := false; !online; { // offline until it is opened
		topic, payload, _ := receive()
		if topic != "acme/pump/availability" {
			t.Fatalf("got %s %s, want the availability of the pump", topic, payload)
		}
		online = payload == "online"
	}
	if pin.Level() != gpio.High {
		t.Fatal("a pump that is active low is off when the line is high; it is low before any command")
	}

	// What is published before the gateway has subscribed is for nobody.
	prober, _ := brokertest.Connect(t, cloudAddr, packet.V5, &packet.Connect{ClientID: "prober", CleanStart: true})
	end := time.Now().Add(brokertest.Patience)
	for id, subscribed := uint16(1), false; !subscribed; id++ {
		if time.Now().After(end) {
			t.Fatal("the gateway does not subscribe to commands")
		}
		prober.Send(&packet.Publish{Topic: []byte("acme/nobody/set"), Payload: []byte("on"), QoS: packet.QoS1, ID: id})
		answer, ok := prober.Receive().(*packet.Ack)
		if !ok {
			t.Fatal("the prober got something that is no PUBACK")
		}
		subscribed = answer.Code != packet.NoMatchingSubscribers
	}

	driven := pin.Driven()
	command := &packet.Publish{Topic: []byte("acme/pump/set"), Payload: []byte("on"), QoS: packet.QoS2, ID: 9}
	command.Properties.Has = packet.HasCorrelationData
	command.Properties.CorrelationData = []byte("order 66")
	operator.Send(command).Expect(&packet.Ack{Kind: packet.PUBREC, ID: 9}).
		Send(&packet.Ack{Kind: packet.PUBREL, ID: 9}).Expect(&packet.Ack{Kind: packet.PUBCOMP, ID: 9})
	select {
	case <-driven:
	case <-time.After(brokertest.Patience):
		t.Fatal("the line was not driven")
	}
	if pin.Level() != gpio.Low {
		t.Error("the line is not driven low")
	}
	topic, payload, props := receive()
	var result struct{ OK bool }
	if err := json.Unmarshal([]byte(payload), &result); err != nil || topic != "acme/pump/result" || !result.OK {
		t.Errorf("got %s %s, want a result that is ok", topic, payload)
	}
	if string(props.CorrelationData) != "order 66" {
		t.Errorf("the result has the correlation data %q", props.CorrelationData)
	}

	// The stop leaves the pump in its safe state.
	closed = true
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if pin.Level() != gpio.High {
		t.Error("the pump is still on after the gateway has stopped")
	}
}
