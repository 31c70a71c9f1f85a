package field_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"edgegateway/bridge/field"
	"edgegateway/bridge/homeassistant"
	"edgegateway/broker"
	"edgegateway/drivers"
)

// home is what Home Assistant hears from bridges that run one after the other on one
// broker, in bubbles of their own.
type home struct {
	t      *testing.T
	broker *broker.Broker
	client *broker.Local
	site   homeassistant.Site // where Home Assistant is

	mu   sync.Mutex
	told []string // topic and payload of every message
}

func (h *home) Deliver(d *broker.Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.Replay {
		return
	}
	if !d.Message.Retain {
		h.t.Errorf("%s is not retained", d.Message.Topic)
	}
	h.told = append(h.told, d.Message.Topic+" "+string(d.Message.Payload))
}

// heard returns and forgets what was told.
func (h *home) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := strings.Join(h.told, "\n")
	h.told = nil
	return all
}

func newHome(t *testing.T) *home {
	h := &home{t: t, broker: openBroker(t)}
	h.client = h.broker.Local("home", broker.Rights{})
	if err := h.client.Subscribe("+/device/+/config", broker.SubscribeOptions{QoS: 1, RetainAsPublished: true}, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// during runs a bridge as long as fn runs.
func (h *home) during(cfg homeassistant.Config, fn func(), kinds []drivers.Kind, devices ...field.DeviceConfig) {
	h.t.Helper()
	all := field.Config{Prefix: "p", ID: "pi", Version: "1", Devices: devices, HomeAssistant: cfg, Site: h.site}
	b, err := field.New(all, h.broker, kinds, drivers.Ports{}, slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // that of the test is outside of the bubble
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	fn()
	cancel()
	running.Wait()
}

// born has Home Assistant say that it has started, or is connected again, and waits until
// the gateway has answered.
func (h *home) born() {
	h.client.Publish(broker.Message{Topic: "homeassistant/status", Payload: []byte("online")})
	sleep(2 * birthTime)
}

func TestHomeAssistantHearsOfEveryDeviceOnceAndAgainWhenItIsBorn(t *testing.T) {
	h := newHome(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake(valve, flow)
		x := device("x", "a")
		x.Title = "Attic"
		h.during(homeassistant.DefaultConfig(), func() {
			synctest.Wait()
			if got := h.heard(); !strings.HasPrefix(got, "homeassistant/device/pi/config {") || strings.Contains(got, "pi_x") {
				t.Errorf("at the start: %s", got)
			}
			sleep(2 * gatherTime)
			got := h.heard()
			for _, want := range []string{"homeassistant/device/pi_x/config {", `"name":"Attic"`, `"p/x/valve/set"`, `"unique_id":"edgegateway/pi/x/flow"`} {
				if strings.Count(got, want) != 1 {
					t.Errorf("not once %s in %s", want, got)
				}
			}
			sleep(2 * birthTime)
			if got := h.heard(); got != "" {
				t.Errorf("without a reason: %s", got)
			}
			for _, payload := range []string{"offline", "online", "online"} {
				h.client.Publish(broker.Message{Topic: "homeassistant/status", Payload: []byte(payload)})
			}
			sleep(birthLeast / 2)
			if got := h.heard(); got != "" {
				t.Errorf("before its time: %s", got)
			}
			sleep(2 * birthTime)
			if again := h.heard(); strings.Count(again, "\n") != 1 || !strings.Contains(again, got) {
				t.Errorf("after its birth:\n%s\nwant beside the gateway\n%s", again, got)
			}
		}, []drivers.Kind{kind("a", f, actuator{f})}, x)
	})
}

func TestADeviceThatIsGoneIsTakenBackAlsoOverARestart(t *testing.T) {
	h := newHome(t)
	run := func(cfg homeassistant.Config, names ...string) string {
		synctest.Test(t, func(t *testing.T) {
			var kinds []drivers.Kind
			var devices []field.DeviceConfig
			for _, name := range names {
				f := newFake(flow)
				kinds = append(kinds, kind(name, f, actuator{f}))
				devices = append(devices, device(name, name))
			}
			h.during(cfg, func() { sleep(unbornTime + gatherTime) }, kinds, devices...)
		})
		return h.heard()
	}
	// What others told is none of ours.
	h.broker.Local("zigbee", broker.Rights{}).Publish(broker.Message{Topic: "homeassistant/device/other/config", Payload: []byte("{}"), Retain: true})

	cfg := homeassistant.DefaultConfig()
	if got := run(cfg, "x", "y"); strings.Count(got, "config {\"") != 3 {
		t.Errorf("first: %s", got)
	}
	if got := run(cfg, "y"); !strings.Contains(got, "homeassistant/device/pi_x/config \n") && !strings.HasSuffix(got, "homeassistant/device/pi_x/config ") || strings.Count(got+"\n", "config \n") != 1 {
		t.Errorf("x is gone: %s", got)
	}
	cfg.Prefix = "a/b/c"
	run(cfg, "y")
	if kept := h.broker.Retained("a/b/c/#", 0); len(kept) != 2 {
		t.Errorf("a prefix of three levels: %+v", kept)
	}
	cfg.Prefix = "ha"
	run(cfg, "y")
	if kept := h.broker.Retained("a/b/c/#", 0); len(kept) != 0 {
		t.Errorf("a prefix of three levels: %+v", kept)
	}
	cfg.Prefix = "homeassistant"
	run(cfg, "y")
	cfg.Prefix = "ha"
	if got := run(cfg, "y") + "\n"; !strings.Contains(got, "homeassistant/device/pi_y/config \n") || !strings.Contains(got, "homeassistant/device/pi/config \n") || !strings.Contains(got, "ha/device/pi_y/config {") {
		t.Errorf("another prefix: %s", got)
	}
	cfg.Discovery = false
	if got := run(cfg, "y"); got != "ha/device/pi/config \nha/device/pi_y/config " {
		t.Errorf("turned off: %s", got)
	}
	if kept := h.broker.Retained("+/device/+/config", 0); len(kept) != 1 || kept[0].Topic != "homeassistant/device/other/config" {
		t.Errorf("left: %+v", kept)
	}
}

// A Home Assistant at the broker of the gateway is not connected when the gateway has
// just started: what was cleared then it would never hear of.
func TestWhatIsGoneWaitsForHomeAssistant(t *testing.T) {
	for _, discovery := range []bool{true, false} {
		h := newHome(t)
		synctest.Test(t, func(t *testing.T) {
			cfg := homeassistant.DefaultConfig()
			run := func(fn func(), names ...string) {
				var kinds []drivers.Kind
				var devices []field.DeviceConfig
				for _, name := range names {
					f := newFake(flow)
					kinds = append(kinds, kind(name, f, actuator{f}))
					devices = append(devices, device(name, name))
				}
				h.during(cfg, fn, kinds, devices...)
			}
			run(func() { sleep(2 * gatherTime) }, "x", "y")
			h.heard()
			cfg.Discovery = discovery
			run(func() {
				sleep(unbornTime / 2)
				if got := h.heard(); strings.Contains(got+"\n", "config \n") {
					t.Errorf("discovery %v: before anybody is there: %s", discovery, got)
				}
				h.born()
				if got := h.heard() + "\n"; !strings.Contains(got, "homeassistant/device/pi_y/config \n") {
					t.Errorf("discovery %v: Home Assistant is there, and hears %s", discovery, got)
				}
			}, "x")
		})
	}
}

// The same at a cloud, whose topics have another name here, and over runs that end before
// Home Assistant was there.
func TestWhatIsGoneWaitsForHomeAssistantAtACloud(t *testing.T) {
	h := newHome(t)
	up := func(topic string) (string, bool) { return "up/" + topic, true }
	h.site = homeassistant.Site{
		Name: "house", Up: up, Origin: up, Source: up, Status: "up/p/status",
		Down: func(topic string) (string, bool) { return "down/" + topic, true },
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(fn func(), channels []drivers.Channel, names ...string) {
			var kinds []drivers.Kind
			var devices []field.DeviceConfig
			for _, name := range names {
				f := newFake(channels...)
				kinds = append(kinds, kind(name, f, actuator{f}))
				devices = append(devices, device(name, name))
			}
			h.during(homeassistant.DefaultConfig(), func() { sleep(2 * gatherTime); fn() }, kinds, devices...)
		}
		told := func() (x string, y bool) {
			const topic = "up/homeassistant/device/pi_"
			if m := h.broker.Retained(topic+"x/config", 1); len(m) > 0 {
				x = string(m[0].Payload)
			}
			return x, len(h.broker.Retained(topic+"y/config", 1)) > 0
		}
		check := func(when, flow string, wantY bool) {
			t.Helper()
			if x, y := told(); !strings.Contains(x, flow) || flow == "" && strings.Contains(x, "flow") || y != wantY {
				t.Errorf("%s: x is %s, and it is %v that there is y", when, x, y)
			}
		}
		run(func() { check("at first", `"flow":{"platform":"sensor","unique_id"`, true) }, []drivers.Channel{valve, flow}, "x", "y")
		for range 3 {
			run(func() {
				h.born() // at the gateway's own broker
				sleep(unbornTime / 2)
				check("before the time is over", `"flow":{"platform":"sensor"}`, true)
			}, []drivers.Channel{valve}, "x")
		}
		run(func() {
			h.client.Publish(broker.Message{Topic: "down/homeassistant/status", Payload: []byte("online")})
			sleep(2 * birthTime)
			check("when it was heard", "", false)
		}, []drivers.Channel{valve}, "x")
	})
}

func TestAChannelThatIsGoneIsTakenBack(t *testing.T) {
	h := newHome(t)
	synctest.Test(t, func(t *testing.T) {
		run := func(fn func(), channels ...drivers.Channel) {
			f := newFake(channels...)
			h.during(homeassistant.DefaultConfig(), func() { sleep(2 * gatherTime); fn() }, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
		}
		retained := func() string { return string(h.broker.Retained("homeassistant/device/pi_x/config", 1)[0].Payload) }
		run(func() {}, valve, flow)
		for range 2 { // also over a restart
			run(func() {
				if got := retained(); !strings.Contains(got, `"flow":{"platform":"sensor"}`) || !strings.Contains(got, `"valve":{"platform":"switch","unique_id"`) {
					t.Errorf("for who comes later there is %s", got)
				}
			}, valve)
		}
		// A device that comes late.
		run(func() {}, valve, flow)
		var there atomic.Bool
		f := newFake(valve)
		late := drivers.KindOf("a", "a fake", "", func() options { return options{} }, func(context.Context, options, drivers.Ports) (drivers.Device, error) {
			if !there.Load() {
				return nil, drivers.ErrGone
			}
			return actuator{f}, nil
		})
		h.during(homeassistant.DefaultConfig(), func() {
			sleep(2 * unbornTime)
			there.Store(true)
			sleep(unbornTime / 2)
			if got := retained(); !strings.Contains(got, `"flow":{"platform":"sensor"}`) {
				t.Errorf("of one that comes late there is %s", got)
			}
			sleep(unbornTime)
			if got := retained(); strings.Contains(got, "flow") {
				t.Errorf("of one that came late there is %s", got)
			}
		}, []drivers.Kind{late}, device("x", "a"))

		for name, heard := range map[string]func(){"that was heard": h.born, "nobody has come": func() { sleep(unbornTime) }} {
			run(func() {}, valve, flow)
			run(func() {
				heard()
				if got := retained(); strings.Contains(got, "flow") {
					t.Errorf("when %s there is %s", name, got)
				}
			}, valve)
		}
	})
}

func TestChannelsThatOnlyReadingsNameAreAnnouncedByTheirValues(t *testing.T) {
	h := newHome(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h.during(homeassistant.DefaultConfig(), func() {
			f.readings <- drivers.Reading{At: noon, Values: values("door", true, "level", 2.5)}
			sleep(2 * gatherTime)
			if got := h.heard(); !strings.Contains(got, `"door":{"platform":"binary_sensor"`) || !strings.Contains(got, `"level":{"platform":"sensor"`) {
				t.Errorf("got %s", got)
			}
		}, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	})
	// After a restart the level is not known at first, and stays.
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h.during(homeassistant.DefaultConfig(), func() {
			f.readings <- drivers.Reading{At: noon, Values: values("door", true, "new", "text")}
			sleep(2 * gatherTime)
			if got := h.heard(); !strings.Contains(got, `"level":{"platform":"sensor","unique_id"`) || !strings.Contains(got, `"new":{"platform":"sensor"`) {
				t.Errorf("got %s", got)
			}
		}, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	})
}

func TestAChannelThatWasBadAtFirstIsAnnouncedWithItsFirstValue(t *testing.T) {
	h := newHome(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		h.during(homeassistant.DefaultConfig(), func() {
			f.readings <- drivers.Reading{At: noon, Values: values("a", 1.0), Bad: []string{"b"}}
			sleep(2 * gatherTime)
			h.heard()
			f.readings <- drivers.Reading{At: noon, Values: values("a", 1.0, "b", 2.0)}
			sleep(2 * gatherTime)
			if got := h.heard(); !strings.Contains(got, `"b":{"platform":"sensor","unique_id"`) {
				t.Errorf("got %q", got)
			}
			f.readings <- drivers.Reading{At: noon, Values: values("a", 1.0), Bad: []string{"b"}}
			sleep(2 * gatherTime)
			if got := h.heard(); got != "" {
				t.Errorf("bad again: %q", got)
			}
		}, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	})
}

// A text line of a device may hold only some of what the configuration names.
func TestAListedChannelWhoseTypeIsNotKnownYetStays(t *testing.T) {
	h := newHome(t)
	listed := []drivers.Channel{{Name: "a"}, {Name: "b"}}
	for _, first := range [][]drivers.Value{values("a", 1.0, "b", 2.0), values("a", 1.0)} {
		h.heard()
		synctest.Test(t, func(t *testing.T) {
			f := newFake(listed...)
			h.during(homeassistant.DefaultConfig(), func() {
				f.readings <- drivers.Reading{At: noon, Values: first}
				sleep(2 * gatherTime)
			}, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
		})
	}
	if got := h.heard(); strings.Contains(got, `"b":{"platform":"sensor"}`) || !strings.Contains(got, `"b":{"platform":"sensor","unique_id"`) {
		t.Errorf("b is taken back: %s", got)
	}
	// When all are known, what is not listed any more goes.
	listed = listed[:1]
	synctest.Test(t, func(t *testing.T) {
		f := newFake(listed...)
		h.during(homeassistant.DefaultConfig(), func() {
			f.readings <- drivers.Reading{At: noon, Values: values("a", 1.0)}
			sleep(2 * gatherTime)
		}, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	})
	if got := h.heard(); !strings.Contains(got, `"b":{"platform":"sensor"}`) {
		t.Errorf("b is not taken back: %s", got)
	}
}
