package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/config"
	"edgegateway/drivers/all"
	"edgegateway/internal/need"
)

// messages hands on what a subscription brings.
type messages chan broker.Message

func (m messages) Deliver(d *broker.Delivery) {
	select {
	case m <- *d.Message:
	default: // a test that does not look any more
	}
}

// unmarked counts readings that do not say that the clock is not set.
type unmarked struct{ atomic.Int64 }

func (u *unmarked) Deliver(d *broker.Delivery) {
	if !strings.Contains(string(d.Message.Payload), `"clock":"unsynced"`) {
		u.Add(1)
	}
}

func TestAClockThatIsNotSetIsAnAlarmUntilItIs(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Decode("gateway.toml", fmt.Appendf(nil, `
id = "g"
data_dir = "%s"
broker.listeners = []
status.address = ""
[[devices]]
name = "host"
kind = "host"
every = "100ms"
`, dir), func(string) string { return "" }, "host")
	if err != nil {
		t.Fatal(err)
	}
	var synced atomic.Bool
	var unmarked unmarked
	got := make(messages, 1000)
	g, err := open(cfg, surroundings{
		log: slog.New(slog.DiscardHandler), started: time.Now(), ports: all.SystemPorts(),
		control: filepath.Join(dir, "control.sock"), synced: synced.Load,
		before: func(b *broker.Broker) error {
			l := b.Local("test", broker.Rights{})
			if err := b.Local("first", broker.Rights{}).Subscribe("g/host/state", broker.SubscribeOptions{}, &unmarked); err != nil {
				return err
			}
			for _, topic := range []string{"g/alarm/clock", "g/host/state"} {
				if err := l.Subscribe(topic, broker.SubscribeOptions{QoS: 1}, got); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	await := func(what string, is func(topic, payload string) bool) {
		t.Helper()
		timeout := time.After(need.Patience)
		for {
			select {
			case m := <-got:
				if is(m.Topic, string(m.Payload)) {
					return
				}
			case <-timeout:
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	await("the alarm", func(topic, payload string) bool {
		return topic == "g/alarm/clock" && strings.Contains(payload, "not synchronised")
	})
	await("a reading that says so", func(topic, payload string) bool {
		return topic == "g/host/state" && strings.Contains(payload, `"clock":"unsynced"`)
	})
	if n := unmarked.Load(); n > 0 {
		t.Errorf("%d readings before did not say so", n)
	}
	synced.Store(true)
	await("the end of the alarm", func(topic, payload string) bool { return topic == "g/alarm/clock" && payload == "" })
	await("a reading that does not", func(topic, payload string) bool {
		return topic == "g/host/state" && !strings.Contains(payload, `"clock"`)
	})
	if kept := g.broker.Retained("g/alarm/clock", 1); len(kept) != 0 {
		t.Errorf("retained: %s", kept[0].Payload)
	}
}
