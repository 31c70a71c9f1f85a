package field_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
	"edgegateway/drivers"
)

// life is a gateway on a directory, until it is killed.
type life struct {
	*rig
	end func() // a clean one
}

func startIn(t *testing.T, dir string, kinds []drivers.Kind, devices ...field.DeviceConfig) life {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, br := open(t, dir)
	r := &rig{t: t, broker: br, got: make(chan broker.Message, 1000)}
	r.client = br.Local("test", broker.Rights{})
	for _, filter := range []string{"p/+/availability", "p/+/result", "reply/#"} {
		if err := r.client.Subscribe(filter, broker.SubscribeOptions{QoS: 2, RetainHandling: packet.NoRetained}, r); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.bridge, err = field.New(field.Config{Prefix: "p", Devices: devices}, br, kinds, drivers.Ports{}, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = r.bridge.Run(ctx) })
	l := life{rig: r, end: sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})}
	t.Cleanup(l.end)
	return l
}

// settle waits until all that was written before is on disk.
func (l life) settle() {
	l.t.Helper()
	if err := l.client.Publish(broker.Message{Topic: "other", Payload: []byte("x"), QoS: 1, Retain: true}).Wait(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// killed is what a kill at this moment leaves of a directory.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(filepath.Join(left, "x"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(left, "x")
}

func TestAnAcceptedCommandWithoutOutcomeIsUnknownAfterACrashAndNeverCarriedOut(t *testing.T) {
	f := newFake(level)
	dir := t.TempDir()
	first := startIn(t, dir, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
	first.expect("p/x/availability", "offline")
	first.expect("p/x/availability", "online")

	// One that has its outcome, one that the device is at, and one that waits.
	f.finish <- nil
	send := func(r *rig, value int) {
		t.Helper()
		m := broker.Message{Topic: "p/x/set", Payload: fmt.Append(nil, value), QoS: 2, Properties: &packet.Properties{
			Has:           packet.HasResponseTopic | packet.HasCorrelationData,
			ResponseTopic: "reply/1", CorrelationData: []byte{byte(value)},
		}}
		if err := r.command(m); err != nil {
			t.Fatal(err)
		}
	}
	send(first.rig, 1)
	first.expect("p/x/result", `{"ok":true,"channel":"level","value":1,"ts":"TIME"}`)
	await(t, "the first", f.acts)
	send(first.rig, 2)
	send(first.rig, 3)
	await(t, "the second", f.acts)
	// What was noted before is on disk with this one, and so is the end of the first.
	first.settle()
	left := killed(t, dir)

	g := newFake(level)
	second := startIn(t, left, []drivers.Kind{kind("a", g, actuator{g})}, device("x", "a"))
	seen := map[byte]int{}
	for range 2 {
		m := second.next("p/x/result")
		if got := string(m.Payload); !bytes.HasPrefix(m.Payload, []byte(`{"ok":false,"channel":"level","error":"unknown: gateway restarted","ts":"`)) {
			t.Errorf("got %s", got)
		}
		seen[m.Properties.CorrelationData[0]]++
		if reply := second.next("reply/1"); !bytes.Equal(reply.Properties.CorrelationData, m.Properties.CorrelationData) {
			t.Errorf("the response has %v", reply.Properties.CorrelationData)
		}
	}
	if seen[2] != 1 || seen[3] != 1 {
		t.Errorf("results of %v, want 2 and 3", seen)
	}
	second.expect("p/x/availability", "offline")
	second.expect("p/x/availability", "online")
	g.finish <- nil
	send(second.rig, 4)
	second.expect("p/x/result", `{"ok":true,"channel":"level","value":4,"ts":"TIME"}`)
	if got := await(t, "a new command", g.acts).Value; got != 4.0 || len(g.acts) != 0 {
		t.Errorf("carried out: %v and %d more", got, len(g.acts))
	}
	second.end()

	// That was said, and everything has its outcome now.
	third := startIn(t, left, []drivers.Kind{kind("a", newFake(level), actuator{newFake(level)})}, device("x", "a"))
	third.expect("p/x/availability", "offline")
	third.end()
	for len(third.got) > 0 {
		if m := <-third.got; m.Topic == "p/x/result" {
			t.Errorf("once more: %s", m.Payload)
		}
	}
}

func TestCommandsOfADeviceThatIsGoneGetTheirResult(t *testing.T) {
	f := newFake(level)
	dir := t.TempDir()
	first := startIn(t, dir, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
	first.expect("p/x/availability", "offline")
	first.expect("p/x/availability", "online")
	// As from a cloud, whose identifier goes to the disk with it: then the note is there
	// when the command is acknowledged.
	m := broker.Message{Topic: "p/x/level/set", Payload: []byte("1"), QoS: 2}
	if err := first.client.Publish(m, broker.Within(func(*buffer.Change) {})).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := startIn(t, killed(t, dir), nil)
	second.expect("p/x/result", `{"ok":false,"channel":"level","error":"unknown: gateway restarted","ts":"TIME"}`)
}

func TestAQoS1CommandIsNotWrittenDown(t *testing.T) {
	f := newFake(level)
	dir := t.TempDir()
	first := startIn(t, dir, []drivers.Kind{kind("a", f, actuator{f})}, device("x", "a"))
	first.expect("p/x/availability", "offline")
	first.expect("p/x/availability", "online")
	for qos := range byte(2) {
		if err := first.command(broker.Message{Topic: "p/x/level/set", Payload: []byte("1"), QoS: qos}); err != nil {
			t.Fatal(err)
		}
	}
	first.settle()
	second := startIn(t, killed(t, dir), nil)
	second.end()
	for len(second.got) > 0 {
		if m := <-second.got; m.Topic != "p/x/availability" { // of a device that is not there any more
			t.Errorf("got %+v", m)
		}
	}
}

func TestCommandsThatComeTooFastAreRefused(t *testing.T) {
	f := newFake(level)
	c := device("x", "a")
	c.MaxCommandRate = 2
	r := start(t, []drivers.Kind{kind("a", f, actuator{f})}, c)
	r.expect("p/x/availability", "offline")
	r.expect("p/x/availability", "online")
	var refused broker.ErrRefused
	began := time.Now()
	accepted := 0
	for range 5 {
		err := r.command(broker.Message{Topic: "p/x/set", Payload: []byte("1"), QoS: 1})
		switch {
		case err == nil:
			accepted++
		case !errors.As(err, &refused) || refused.Code != packet.QuotaExceeded:
			t.Errorf("got %v, want 0x97", err)
		}
	}
	// On a machine that stands still meanwhile some more may come.
	if most := 2 + int(time.Since(began)/(500*time.Millisecond)); accepted < 2 || accepted > most {
		t.Errorf("%d of 5 were accepted, want 2 to %d", accepted, most)
	}
	if accepted < 5 {
		r.expect("p/x/result", `{"ok":false,"channel":"level","error":"commands come faster than max_command_rate of this device allows","ts":"TIME"}`)
	}
}
