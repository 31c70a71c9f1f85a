package field_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/config/strict"
	"edgegateway/drivers"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 345_678_900, time.FixedZone("CET", 3600))

func TestAReadingIsTheRetainedStateWithTheTimeOfTheSensor(t *testing.T) {
	f := newFake(drivers.Channel{Name: "temperature"}, drivers.Channel{Name: "open"})
	c := device("boiler", "w")
	c.QoS = 2
	r := start(t, []drivers.Kind{kind("w", f, watcher{f})}, c)

	f.readings <- drivers.Reading{At: noon, Values: values("open", true, "temperature", 21.5)}
	m := r.next("p/boiler/state")
	if got, want := string(m.Payload), `{"temperature":21.5,"open":true,"ts":"2026-01-02T11:00:00.345Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !m.Retain || m.QoS != 2 || m.Origin != "field" {
		t.Errorf("got %+v", m)
	}
	for topic, want := range map[string]string{"p/boiler/state": string(m.Payload), "p/boiler/availability": "online"} {
		kept := r.broker.Retained(topic, 10)
		if len(kept) != 1 || string(kept[0].Payload) != want {
			t.Errorf("retained on %s: %+v", topic, kept)
		}
	}
}

func TestTheStateKeepsTheLastValueOfEveryChannel(t *testing.T) {
	f := newFake(drivers.Channel{Name: "a"}, drivers.Channel{Name: "b"}, drivers.Channel{Name: "c"})
	r := start(t, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	for _, step := range []struct {
		values []drivers.Value
		want   string
	}{
		{values("c", int64(3)), `{"c":3,"ts":"2026-01-02T11:00:00.345Z"}`},
		{values("new", "text", "a", 0.1), `{"a":0.1,"c":3,"new":"text","ts":"2026-01-02T11:00:00.345Z"}`},
		{values("b", true, "c", int64(4)), `{"a":0.1,"b":true,"c":4,"new":"text","ts":"2026-01-02T11:00:00.345Z"}`},
	} {
		f.readings <- drivers.Reading{At: noon, Values: step.values}
		r.expect("p/x/state", step.want)
	}
	s := r.bridge.Devices()[0]
	if len(s.Values) != 4 || !s.LastReading.Equal(noon) || s.Counts.Readings != 3 || !s.Online || s.Reason != "" || s.Topic != "p/x" {
		t.Errorf("got %+v", s)
	}
}

func TestAvailabilityEndsOffline(t *testing.T) {
	r, f := startActuator(t) // which waits for offline, online
	r.stop()
	r.expect("p/x/availability", "offline")
	if kept := r.broker.Retained("p/x/availability", 10); len(kept) != 1 || string(kept[0].Payload) != "offline" {
		t.Errorf("retained: %+v", kept)
	}
	await(t, "Close", f.closed)
	if s := r.bridge.Devices()[0]; s.Online || s.Reason != drivers.ErrStopped.Error() {
		t.Errorf("got %+v", s)
	}
}

func TestADeviceThatCanNotBeOpenedIsOfflineAndTheOthersLive(t *testing.T) {
	broken, works := newFake(), newFake()
	broken.broken = errors.New("/dev/ttyUSB0 is not there; plug it in")
	r := start(t, []drivers.Kind{kind("broken", broken, watcher{broken}), kind("works", works, watcher{works})},
		device("gone", "broken"), device("here", "works"))
	works.readings <- drivers.Reading{At: noon, Values: values("v", 1.0)}
	r.expect("p/here/state", `{"v":1,"ts":"2026-01-02T11:00:00.345Z"}`)

	r.expectResult("p/gone", "on", `{"ok":false,"error":"the device is offline: /dev/ttyUSB0 is not there; plug it in","ts":"TIME"}`)
	s := r.bridge.Devices()
	if s[0].Name != "gone" || s[0].Online || s[0].Reason != broken.broken.Error() || s[0].Since.IsZero() || s[0].Counts.Errors == 0 {
		t.Errorf("gone: %+v", s[0])
	}
	if !s[1].Online {
		t.Errorf("here: %+v", s[1])
	}
	kept := r.broker.Retained("p/gone/availability", 10)
	if len(kept) != 1 || string(kept[0].Payload) != "offline" || kept[0].Properties == nil ||
		fmt.Sprint(kept[0].Properties.UserProperties) != "[{reason /dev/ttyUSB0 is not there; plug it in}]" {
		t.Errorf("retained: %+v", kept)
	}
}

// expectResult sends a command that is accepted, and waits for its result.
func (r *rig) expectResult(base, payload, want string) {
	r.t.Helper()
	if err := r.command(broker.Message{Topic: base + "/set", Payload: []byte(payload), QoS: 1}); err != nil {
		r.t.Errorf("%s is not accepted: %v", payload, err)
	}
	r.expect(base+"/result", want)
}

func TestAFloodOfChannelNamesIsBounded(t *testing.T) {
	f := newFake()
	r := start(t, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	var many []drivers.Value
	for range 300 {
		many = append(many, drivers.Value{Channel: strings.Repeat("x", len(many)+1), V: true})
	}
	f.readings <- drivers.Reading{At: noon, Values: many}
	r.next("p/x/state")
	if n := len(r.bridge.Devices()[0].Values); n != 256 {
		t.Errorf("%d channels are kept", n)
	}
}

func TestATopicOfItsOwnTakesThePlaceOfPrefixAndName(t *testing.T) {
	f := newFake()
	c := device("x", "a")
	c.Topic = "reply/attic"
	r := start(t, []drivers.Kind{kind("a", f, actuator{f})}, c)
	r.expect("reply/attic/availability", "offline")
	r.expect("reply/attic/availability", "online")
}

func TestABridgeWithoutDevicesRunsUntilItIsStopped(t *testing.T) {
	br := openBroker(t)
	synctest.Test(t, func(t *testing.T) {
		b, err := field.New(field.Config{Prefix: "p"}, br, nil, drivers.Ports{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		if len(ended) != 0 {
			t.Error("it has ended already")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestCheckFindsWhatOnlyTheKindsKnow(t *testing.T) {
	f := newFake()
	kinds := []drivers.Kind{kind("bme280", f, watcher{f}), kind("gpio-in", f, watcher{f}), kind("gpio-out", f, watcher{f})}
	with := func(decode func(any) error) field.DeviceConfig {
		c := device("x", "bme280")
		c.Options = decode
		return c
	}
	refuse := errors.New("gateway.toml:3:1: unknown key")
	for _, c := range []struct {
		name   string
		device field.DeviceConfig
		want   string
	}{
		{"fine", device("x", "bme280"), ""},
		{"unknown kind", device("x", "bmp280"), "device \"x\": there is no kind \"bmp280\" (did you mean \"bme280\"?); `gateway devices` lists them"},
		{"underscore", device("x", "GPIO_OUT"), "device \"x\": there is no kind \"GPIO_OUT\" (did you mean \"gpio-out\"?); `gateway devices` lists them"},
		{"nothing near", device("x", "sht31"), "device \"x\": there is no kind \"sht31\"; `gateway devices` lists them"},
		{"unknown key in the options", with(func(any) error { return refuse }), "device \"x\": options: gateway.toml:3:1: unknown key"},
		{"options that the kind refuses", with(func(dst any) error { dst.(*options).Pin = "none"; return nil }), "device \"x\": options: pin must name a line"},
		{"invalid device", field.DeviceConfig{Name: "x", Kind: "bme280", Every: time.Millisecond}, "device \"x\": every must be at least 10ms, not 1ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := field.Check(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c.device}}, kinds); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := field.New(field.Config{Devices: []field.DeviceConfig{device("x", "none")}}, nil, kinds, drivers.Ports{}, nil); err == nil {
		t.Error("New takes a configuration that Check refuses")
	}
}

func TestMistakesOfAFilePointIntoIt(t *testing.T) {
	const text = `[[devices]]
name = "a"
kind = "gpio"
[[devices]]
name = "b"
kind = "gpio-in"
[devices.options]
pinn = "GPIO4"
[[devices]]
name = "c"
kind = "gpio-in"
options.pin = "none"
`
	var file struct {
		Devices []field.DeviceConfig `toml:"devices"`
	}
	if err := strict.Parse("gateway.toml", []byte(text)).Decode(&file, field.DefaultDeviceConfig()); err != nil {
		t.Fatal(err)
	}
	f := newFake()
	err := field.Check(field.Config{Prefix: "p", Devices: file.Devices}, []drivers.Kind{kind("gpio-in", f, watcher{f})})
	want := "gateway.toml:3:8: there is no kind \"gpio\" (did you mean \"gpio-in\"?); `gateway devices` lists them\n" +
		"gateway.toml:8:1: unknown key \"pinn\" in [devices.options] (did you mean \"pin\"?)\n" +
		"gateway.toml:12:15: devices.options.pin must name a line"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
