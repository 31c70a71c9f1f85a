package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/config"
	"edgegateway/drivers"
	"edgegateway/drivers/gpio/gpiotest"
)

// opened is a gateway of this text, and where its broker is.
func opened(t *testing.T, id, text string, ports drivers.Ports) (g *gateway, addr string) {
	t.Helper()
	dir := t.TempDir()
	cfg, err := config.Decode("gateway.toml", fmt.Appendf(nil, `
id = "%s"
data_dir = "%s"
[[broker.listeners]]
address = "tcp://127.0.0.1:0"
[status]
address = ""
%s`, id, dir, text), func(string) string { return "" }, "host")
	if err != nil {
		t.Fatal(err)
	}
	g, err = open(cfg, surroundings{log: slog.New(slog.DiscardHandler), started: time.Now(), ports: ports, control: filepath.Join(dir, "control.sock")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.close() }) // a second close does nothing
	return g, strings.TrimPrefix(g.listens[0].Address, "tcp://")
}

// Outputs go to their safe state when the link to the cloud breaks and when a heartbeat
// stops, and obey what is commanded in spite of that: the whole wiring, with a second
// gateway as the cloud and a board in memory in place of the hardware.
func TestOutputsAreMadeSafeWhenTheyAreAlone(t *testing.T) {
	cloud, cloudAddr := opened(t, "far", "", drivers.Ports{})
	var board gpiotest.Board
	pump, fan := board.Pin("GPIO27"), board.Pin("GPIO22")
	g, addr := opened(t, "g", fmt.Sprintf(`
[[cloud]]
name = "acme"
servers = ["mqtt://%s"]
[[devices]]
name = "pump"
kind = "gpio-out"
[devices.options]
pin = "GPIO27"
[devices.safe_without]
cloud = "acme"
after = "1s"
[[devices]]
name = "fan"
kind = "gpio-out"
[devices.options]
pin = "GPIO22"
[devices.safe_without]
heartbeat = "control/alive"
after = "1s"
`, cloudAddr), board.Ports())
	listen := func(id, filter string) *brokertest.Client {
		c, _ := brokertest.Connect(t, addr, packet.V5, &packet.Connect{ClientID: id, CleanStart: true})
		return c.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: filter}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.GrantedQoS0}})
	}
	client, link := listen("panel", "g/+/result"), listen("watch", "g/cloud/acme/state")
	hear := func(client *brokertest.Client, topic string, accept func(map[string]any) bool) {
		t.Helper()
		for {
			p, ok := client.Receive().(*packet.Publish)
			if !ok {
				t.Fatal("the panel got something that is no PUBLISH")
			}
			var said map[string]any
			if err := json.Unmarshal(p.Payload, &said); err != nil {
				t.Fatalf("%s: %s: %v", p.Topic, p.Payload, err)
			}
			if string(p.Topic) == topic && accept(said) {
				return
			}
		}
	}
	await := func(topic string, accept func(map[string]any) bool) {
		t.Helper()
		hear(client, topic, accept)
	}
	say := func(topic, payload string) {
		client.Send(&packet.Publish{Topic: []byte(topic), Payload: []byte(payload)})
	}
	obeyed := func(said map[string]any) bool { return said["ok"] == true && said["reason"] == nil }
	because := func(reason string) func(map[string]any) bool {
		return func(said map[string]any) bool {
			return said["ok"] == true && said["channel"] == "state" && said["value"] == false && said["reason"] == "safe state: "+reason
		}
	}

	const silent = "no heartbeat on control/alive for 1s"
	await("g/fan/result", because(silent)) // nobody has ever spoken
	say("g/fan/set", "on")
	await("g/fan/result", obeyed)
	await("g/fan/result", because(silent)) // and nobody is there who could switch it off
	if fan.Level() != gpio.Low {
		t.Error("the fan is on without a heartbeat")
	}
	say("control/alive", "1")
	await("g/fan/result", because(silent)) // the heartbeat was heard, and stopped

	hear(link, "g/cloud/acme/state", func(said map[string]any) bool { return said["connected"] == true })
	say("g/pump/set", "on")
	await("g/pump/result", obeyed)
	if pump.Level() != gpio.High {
		t.Error("the pump is off with a link")
	}
	if err := cloud.close(); err != nil {
		t.Fatal(err)
	}
	await("g/pump/result", because("no link to cloud acme for 1s"))
	if pump.Level() != gpio.Low {
		t.Error("the pump is on without a link")
	}
	say("g/pump/set", "on")
	await("g/pump/result", obeyed)
	if pump.Level() != gpio.High {
		t.Error("the pump does not obey while the cloud is away")
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if pump.Level() != gpio.Low {
		t.Error("the stop left the pump on")
	}
}
