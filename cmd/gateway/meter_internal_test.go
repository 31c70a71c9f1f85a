package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgegateway/broker/brokertest"
	"edgegateway/broker/packet"
	"edgegateway/config"
	"edgegateway/drivers/gpio/gpiotest"
)

// A meter on a GPIO line goes on from its total after a stop of the gateway, also from
// one that a command has set: the whole wiring, with a board in memory in place of the
// hardware.
func TestAMeterGoesOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Decode("gateway.toml", fmt.Appendf(nil, `
id = "g"
data_dir = "%s"
[[broker.listeners]]
address = "tcp://127.0.0.1:0"
[status]
address = ""
[[devices]]
name = "water"
kind = "gpio-counter"
every = "20ms"
[devices.options]
pin = "GPIO17"
debounce = "0s"
per_pulse = 0.5
unit = "L"
quantity = "water"
`, dir), func(string) string { return "" }, "host")
	if err != nil {
		t.Fatal(err)
	}
	var board gpiotest.Board
	line := board.Pin("GPIO17")
	for _, run := range []struct {
		pulses int
		set    string
		want   float64
	}{
		{5, "", 2.5},
		{3, "", 4},
		{2, "1000", 1000},
		{1, "", 1000.5},
	} {
		g, err := open(cfg, surroundings{log: slog.New(slog.DiscardHandler), started: time.Now(), ports: board.Ports(), control: filepath.Join(dir, "control.sock")})
		if err != nil {
			t.Fatal(err)
		}
		client, _ := brokertest.Connect(t, strings.TrimPrefix(g.listens[0].Address, "tcp://"), packet.V5, &packet.Connect{ClientID: "panel", CleanStart: true})
		client.Send(&packet.Subscribe{ID: 1, Subscriptions: []packet.Subscription{{Filter: "g/water/+"}}}).
			Expect(&packet.Suback{ID: 1, Codes: []packet.ReasonCode{packet.GrantedQoS0}})
		total := func(want float64, meanwhile func()) {
			t.Helper()
			var state struct{ Total float64 }
			for end := time.Now().Add(brokertest.Patience); ; {
				p, ok := client.Receive().(*packet.Publish)
				if !ok || time.Now().After(end) {
					t.Fatalf("the total is %v, want %v", state.Total, want)
				}
				if string(p.Topic) == "g/water/availability" && string(p.Payload) == "online" && meanwhile != nil {
					meanwhile()
					meanwhile = nil
				}
				if string(p.Topic) != "g/water/state" {
					continue
				}
				if err := json.Unmarshal(p.Payload, &state); err != nil {
					t.Fatal(err)
				}
				if state.Total == want {
					return
				}
			}
		}
		before := run.want
		if run.set != "" {
			before = 5
		}
		total(before, func() { line.Pulse(run.pulses) })
		if run.set != "" {
			client.Send(&packet.Publish{Topic: []byte("g/water/total/set"), Payload: []byte(run.set)})
			total(run.want, nil)
		}
		client.Drop()
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}
}
