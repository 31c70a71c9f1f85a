package field_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

var (
	valve = drivers.Channel{Name: "valve", Type: drivers.Bool, Writable: true}
	level = drivers.Channel{Name: "level", Type: drivers.Float, Writable: true, Range: drivers.Range{Min: 0, Max: 100}}
	flow  = drivers.Channel{Name: "flow", Type: drivers.Float}
)

// startActuator runs a device named x that is online.
func startActuator(t *testing.T, channels ...drivers.Channel) (*rig, *fake) {
	t.Helper()
	f := newFake(channels...)
	r := start(t, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
	r.expect("p/x/availability", "offline")
	r.expect("p/x/availability", "online")
	return r, f
}

func TestACommandActsAndItsResultComesBack(t *testing.T) {
	r, f := startActuator(t, valve, flow)
	f.state = drivers.Reading{At: noon, Values: values("flow", 0.5, "valve", true)}
	f.finish <- nil
	m := broker.Message{Topic: "p/x/set", Payload: []byte(`{"valve": "ON"}`), QoS: 1, Properties: &packet.Properties{
		Has:           packet.HasResponseTopic | packet.HasCorrelationData,
		ResponseTopic: "reply/1", CorrelationData: []byte{1, 2, 3},
	}}
	if err := r.command(m); err != nil {
		t.Fatal(err)
	}
	if got, want := await(t, "Actuate", f.acts), (drivers.Command{Channel: "valve", Value: true}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	r.expect("p/x/state", `{"valve":true,"flow":0.5,"ts":"2026-01-02T11:00:00.345Z"}`)
	for _, topic := range []string{"p/x/result", "reply/1"} {
		m := r.next(topic)
		if got := string(m.Payload); !strings.HasPrefix(got, `{"ok":true,"channel":"valve","value":true,"ts":"`) {
			t.Errorf("%s: got %s", topic, got)
		}
		if m.Retain || m.QoS != 1 || m.Properties == nil || !bytes.Equal(m.Properties.CorrelationData, []byte{1, 2, 3}) {
			t.Errorf("%s: got %+v", topic, m)
		}
	}
}

func TestTheOutcomeSaysWhatWentWrong(t *testing.T) {
	r, f := startActuator(t, valve)
	f.finish <- errors.New("the relay does not move")
	r.expectResult("p/x", "off", `{"ok":false,"channel":"valve","error":"the relay does not move","ts":"TIME"}`)
	if s := r.bridge.Devices()[0]; s.Accepted != 1 || s.Refused != 0 || s.Waiting != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestCommandsAreJSONOrBareValues(t *testing.T) {
	r, f := startActuator(t, valve, level)
	for _, c := range []struct {
		topic, payload string
		want           drivers.Command
	}{
		{"p/x/set", `{"valve":true}`, drivers.Command{Channel: "valve", Value: true}},
		{"p/x/set", ` {"level": 1e1} `, drivers.Command{Channel: "level", Value: 10.0}},
		{"p/x/valve/set", `true`, drivers.Command{Channel: "valve", Value: true}},
		{"p/x/valve/set", `off`, drivers.Command{Channel: "valve", Value: false}},
		{"p/x/valve/set", `"On"`, drivers.Command{Channel: "valve", Value: true}},
		{"p/x/level/set", `99.5`, drivers.Command{Channel: "level", Value: 99.5}},
	} {
		f.finish <- nil
		if err := r.command(broker.Message{Topic: c.topic, Payload: []byte(c.payload), QoS: 1}); err != nil {
			t.Errorf("%s %s: %v", c.topic, c.payload, err)
			continue
		}
		if got := await(t, "Actuate", f.acts); got != c.want {
			t.Errorf("%s %s: got %v, want %v", c.topic, c.payload, got, c.want)
		}
		r.expect("p/x/result", fmt.Sprintf(`{"ok":true,"channel":%q,"value":%v,"ts":"TIME"}`, c.want.Channel, c.want.Value))
	}
}

func TestWhatIsRefusedMovesNothing(t *testing.T) {
	r, f := startActuator(t, valve, level, flow)
	for _, c := range []struct {
		name, topic, payload string
		retain               bool
		code                 packet.ReasonCode
		result               string
	}{
		{"empty", "p/x/set", "", false, packet.PayloadFormatInvalid, `{"ok":false,"error":"the command is empty","ts":"TIME"}`},
		{"broken JSON", "p/x/set", `{"valve":`, false, packet.PayloadFormatInvalid, `{"ok":false,"error":"the command is not JSON: unexpected end of JSON input","ts":"TIME"}`},
		{"not text", "p/x/set", "\xff", false, packet.PayloadFormatInvalid, `{"ok":false,"error":"the command is not UTF-8 text","ts":"TIME"}`},
		{"too long", "p/x/set", strings.Repeat("1", 4097), false, packet.PayloadFormatInvalid, `{"ok":false,"error":"the command has 4097 bytes, more than 4096","ts":"TIME"}`},
		{"two channels", "p/x/set", `{"valve":true,"level":1}`, false, packet.PayloadFormatInvalid, `{"ok":false,"error":"a command sets one channel at a time, this object has 2 keys","ts":"TIME"}`},
		{"unknown channel", "p/x/pump/set", "1", false, packet.PayloadFormatInvalid, `{"ok":false,"channel":"pump","error":"there is no channel \"pump\" to set; there is valve, level","ts":"TIME"}`},
		{"read only", "p/x/flow/set", "1", false, packet.PayloadFormatInvalid, `{"ok":false,"channel":"flow","error":"channel \"flow\" is read-only","ts":"TIME"}`},
		{"out of range", "p/x/level/set", "101", false, packet.PayloadFormatInvalid, `{"ok":false,"channel":"level","error":"101 is outside 0 to 100","ts":"TIME"}`},
		{"out of range in an object", "p/x/set", `{"level":101}`, false, packet.PayloadFormatInvalid, `{"ok":false,"channel":"level","error":"101 is outside 0 to 100","ts":"TIME"}`},
		{"retained", "p/x/valve/set", "on", true, packet.ImplementationSpecificError, `{"ok":false,"channel":"valve","error":"a retained command is never carried out, and not kept; publish it without the retain flag","ts":"TIME"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for qos := byte(1); qos <= 2; qos++ {
				err := r.command(broker.Message{Topic: c.topic, Payload: []byte(c.payload), QoS: qos, Retain: c.retain})
				var refused broker.ErrRefused
				if !errors.As(err, &refused) || refused.Code != c.code {
					t.Errorf("QoS %d: got %v, want %v", qos, err, c.code)
				}
				r.expect("p/x/result", c.result)
			}
		})
	}
	// Clearing a retained command is no command.
	if err := r.command(broker.Message{Topic: "p/x/valve/set", QoS: 1, Retain: true}); err != nil {
		t.Error(err)
	}
	// Had any of them come through, it would stand before this one.
	f.finish <- nil
	r.expectResult("p/x", `{"valve":true}`, `{"ok":true,"channel":"valve","value":true,"ts":"TIME"}`)
	if len(f.acts) != 1 {
		t.Errorf("%d commands were carried out", len(f.acts))
	}
}

func TestADeviceWithoutActuatorsSaysSo(t *testing.T) {
	f := newFake(flow)
	r := start(t, []drivers.Kind{kind("w", f, watcher{f})}, device("x", "w"))
	f.readings <- drivers.Reading{At: noon, Values: values("flow", 1.0)}
	r.next("p/x/state")
	err := r.command(broker.Message{Topic: "p/x/set", Payload: []byte("1"), QoS: 1})
	var refused broker.ErrRefused
	if !errors.As(err, &refused) || refused.Code != packet.ImplementationSpecificError {
		t.Errorf("got %v", err)
	}
	r.expect("p/x/result", `{"ok":false,"error":"this device takes no commands","ts":"TIME"}`)
}

func TestEightCommandsWaitAndTheNinthIsToldToComeLater(t *testing.T) {
	r, f := startActuator(t, level)
	for i := range 8 {
		if err := r.command(broker.Message{Topic: "p/x/set", Payload: fmt.Append(nil, i), QoS: 1}); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	err := r.command(broker.Message{Topic: "p/x/set", Payload: []byte("8"), QoS: 1})
	var refused broker.ErrRefused
	if !errors.As(err, &refused) || refused.Code != packet.QuotaExceeded {
		t.Errorf("got %v, want 0x97", err)
	}
	r.expect("p/x/result", `{"ok":false,"channel":"level","error":"too many commands wait for this device","ts":"TIME"}`)
	for i := range 8 {
		f.finish <- nil
		if got := await(t, "Actuate", f.acts).Value; got != float64(i) {
			t.Errorf("command %d: got %v", i, got)
		}
		r.expect("p/x/result", fmt.Sprintf(`{"ok":true,"channel":"level","value":%d,"ts":"TIME"}`, i))
	}
	// The places are free again.
	f.finish <- nil
	r.expectResult("p/x", "9", `{"ok":true,"channel":"level","value":9,"ts":"TIME"}`)
	if s := r.bridge.Devices()[0]; s.Accepted != 9 || s.Refused != 1 || s.Waiting != 0 {
		t.Errorf("got %+v", s)
	}
}

// holder keeps messages from being safe until it is told.
type holder struct{ release chan func(error) }

func (h holder) Deliver(d *broker.Delivery) { h.release <- d.Receipt.Hold() }

func TestAQoS2CommandActsOnceItsMessageIsSafe(t *testing.T) {
	r, f := startActuator(t, level)
	h := holder{make(chan func(error), 2)}
	if err := r.broker.Local("holder", broker.Rights{}).Subscribe("p/x/set", broker.SubscribeOptions{QoS: 2}, h); err != nil {
		t.Fatal(err)
	}
	held := r.client.Publish(broker.Message{Topic: "p/x/set", Payload: []byte("2"), QoS: 2})
	failed := r.client.Publish(broker.Message{Topic: "p/x/set", Payload: []byte("3"), QoS: 2})
	f.finish <- nil
	f.finish <- nil
	if err := r.command(broker.Message{Topic: "p/x/level/set", Payload: []byte("1"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "the QoS 1 command", f.acts).Value; got != 1.0 {
		t.Errorf("the QoS 2 command acted before it was safe: %v", got)
	}
	r.expect("p/x/result", `{"ok":true,"channel":"level","value":1,"ts":"TIME"}`)

	first, second := <-h.release, <-h.release
	second(errors.New("disk full"))
	first(nil)
	if got := await(t, "the QoS 2 command", f.acts).Value; got != 2.0 {
		t.Errorf("got %v, want 2", got)
	}
	r.expect("p/x/result", `{"ok":true,"channel":"level","value":2,"ts":"TIME"}`)
	if err := held.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := failed.Wait(t.Context()); err == nil {
		t.Error("a message that is not on disk was acknowledged")
	}
	if s := r.bridge.Devices()[0]; s.Waiting != 0 || len(f.acts) != 0 {
		t.Errorf("a command that never was safe waits or acted: %+v", s)
	}
}

func TestAResponseTopicIsNoWayIntoTheGatewaysOwnTopics(t *testing.T) {
	r, f := startActuator(t, level)
	intruder := make(chan broker.Message, 100)
	for _, filter := range []string{"p/#", "$SYS/field/#"} {
		if err := r.broker.Local("guard", broker.Rights{}).Subscribe(filter, broker.SubscribeOptions{}, sinkFunc(func(d *broker.Delivery) { intruder <- *d.Message })); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"p/status", "p/cloud/acme/state", "p/alarm/x", "p/x/level/set", "p/x/state", "p/x", "$SYS/field/x", "p/+", ""} {
		f.finish <- nil
		m := broker.Message{Topic: "p/x/set", Payload: []byte("5"), QoS: 1, Properties: &packet.Properties{Has: packet.HasResponseTopic, ResponseTopic: topic}}
		if err := r.command(m); err != nil {
			t.Errorf("%q: %v", topic, err)
		}
		r.expect("p/x/result", `{"ok":true,"channel":"level","value":5,"ts":"TIME"}`)
	}
	r.stop()
	for len(intruder) > 0 {
		if m := <-intruder; m.Origin == "field" && m.Topic != "p/x/result" && m.Topic != "p/x/availability" {
			t.Errorf("the gateway published on %s: %s", m.Topic, m.Payload)
		}
	}
}

type sinkFunc func(*broker.Delivery)

func (f sinkFunc) Deliver(d *broker.Delivery) { f(d) }
