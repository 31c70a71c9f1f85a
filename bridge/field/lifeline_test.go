package field_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bridge/field"
	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

// relay is an output with a safe state, off, in the hands of a test.
type relay struct {
	mu     sync.Mutex
	on     bool
	broken error         // why it cannot be opened
	fails  error         // why it cannot be made safe
	slow   time.Duration // what a command takes
	heavy  time.Duration // what it takes to make it safe
	extra  []drivers.Value

	lost chan error // ends its use
}

func (r *relay) kind() drivers.Kind {
	k := drivers.KindOf("relay", "a fake", "", func() options { return options{} },
		func(context.Context, options, drivers.Ports) (drivers.Device, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.on = true // its initial state
			return r, r.broken
		})
	k.Failsafe = func(func(any) error) bool { return true }
	return k
}

func (r *relay) let(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *relay) reading() drivers.Reading {
	return drivers.Reading{At: time.Now(), Values: append(values("state", r.on), r.extra...)}
}

func (r *relay) Channels() []drivers.Channel {
	return []drivers.Channel{{Name: "state", Type: drivers.Bool, Writable: true}}
}
func (r *relay) Close() error { return nil }
func (r *relay) Watch(ctx context.Context, emit func(drivers.Reading)) error {
	select {
	case err := <-r.lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (r *relay) Check(c drivers.Command) (drivers.Command, error) {
	c, _, err := drivers.Resolve(c, r.Channels())
	if err != nil {
		return c, err
	}
	c.Value, err = drivers.ParseBool(c.Value)
	return c, err
}
func (r *relay) Actuate(_ context.Context, c drivers.Command) (drivers.Reading, error) {
	time.Sleep(r.slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = c.Value.(bool)
	return r.reading(), nil
}
func (r *relay) Safe(context.Context) (drivers.Reading, error) {
	time.Sleep(r.heavy)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails != nil {
		return drivers.Reading{}, r.fails
	}
	r.on = false
	return r.reading(), nil
}

// scene is a bridge in a bubble, on a broker outside of it, and what it says.
type scene struct {
	*relay
	t      *testing.T
	broker *broker.Broker
	client *broker.Local
	cloud  *broker.Local
	bridge *field.Bridge
	begun  time.Time
	early  func() // runs between New and Run; may be nil

	heard struct {
		sync.Mutex
		told []string
		log  strings.Builder
	}
}

func (s *scene) Write(p []byte) (int, error) {
	s.heard.Lock()
	defer s.heard.Unlock()
	return s.heard.log.Write(p)
}

var stamp = regexp.MustCompile(`,"ts":"[^"]*"`)

func (s *scene) Deliver(d *broker.Delivery) {
	if d.Replay {
		return
	}
	m := d.Message
	s.heard.Lock()
	defer s.heard.Unlock()
	s.heard.told = append(s.heard.told, fmt.Sprintf("%v %s %s", time.Since(s.begun).Round(time.Millisecond), strings.TrimPrefix(m.Topic, "p/"), stamp.ReplaceAllString(string(m.Payload), "")))
}

// told returns what was said since the last call, but for availability.
func (s *scene) told() []string {
	synctest.Wait()
	s.heard.Lock()
	defer s.heard.Unlock()
	all := slices.DeleteFunc(s.heard.told, func(line string) bool { return strings.Contains(line, "availability") })
	s.heard.told = nil
	return all
}

func (s *scene) want(want ...string) {
	s.t.Helper()
	if got := s.told(); !slices.Equal(got, want) {
		s.t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *scene) logged(what string) int {
	s.heard.Lock()
	defer s.heard.Unlock()
	return strings.Count(s.heard.log.String(), what)
}

func (s *scene) say(topic, payload string) {
	s.client.Publish(broker.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
	synctest.Wait()
}

// link is what the bridge to the cloud says of its link.
func (s *scene) link(up bool) {
	s.cloud.Publish(broker.Message{Topic: "p/cloud/acme/state", Payload: fmt.Appendf(nil, `{"connected":%v,"since":"%v"}`, up, time.Now()), QoS: 1, Retain: true})
}

// play runs a device that must not be without something.
func play(t *testing.T, r *relay, without field.SafeWithout, script func(s *scene)) {
	t.Helper()
	br := openBroker(t)
	s := &scene{relay: r, t: t, broker: br, client: br.Local("test", broker.Rights{}), cloud: br.Local("cloud/acme", broker.Rights{})}
	s.link(true) // retained by a run that was killed
	s.client.Publish(broker.Message{Topic: "alive", Payload: []byte("1"), Retain: true})
	playOn(t, s, without, script)
}

func playOn(t *testing.T, s *scene, without field.SafeWithout, script func(s *scene)) {
	t.Helper()
	for _, filter := range []string{"p/x/+", "p/alarm/+"} {
		if err := s.client.Subscribe(filter, broker.SubscribeOptions{}, s); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s.t, s.begun, s.lost = t, time.Now(), make(chan error)
		c := device("x", "relay")
		c.SafeWithout = without
		c.MaxCommandRate = 20
		var err error
		s.bridge, err = field.New(field.Config{Prefix: "p", Devices: []field.DeviceConfig{c}}, s.broker, []drivers.Kind{s.kind()},
			drivers.Ports{}, slog.New(slog.NewTextHandler(s, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if s.early != nil {
			s.early()
		}
		ctx, cancel := context.WithCancel(context.Background()) // that of the test is outside of the bubble
		var running sync.WaitGroup
		running.Go(func() { _ = s.bridge.Run(ctx) })
		synctest.Wait()
		script(s)
		synctest.Wait()
		cancel()
		running.Wait()
	})
}

const (
	quiet = `"reason":"safe state: no heartbeat on alive for 1m0s"`
	cut   = `"reason":"safe state: no link to cloud acme for 1m0s"`
	isOn  = `{"ok":true,"channel":"state","value":true}`
)

var (
	heartbeat = field.SafeWithout{Heartbeat: "alive", After: time.Minute}
	acme      = field.SafeWithout{Cloud: "acme", After: time.Minute}
)

func TestADeviceIsMadeSafeOnceWhenTheHeartbeatStops(t *testing.T) {
	play(t, new(relay), heartbeat, func(s *scene) {
		sleep(50 * time.Second)
		s.say("alive", "")
		sleep(50 * time.Second)
		s.say("alive", "1")
		sleep(59 * time.Second)
		s.want()
		sleep(time.Second)
		s.want(`2m40s x/state {"state":false}`, `2m40s x/result {"ok":true,"channel":"state","value":false,`+quiet+`}`)
		sleep(time.Hour)
		s.want()
		if s.logged("device goes to its safe state") != 1 || s.logged("retain") != 0 {
			t.Errorf("log:\n%s", s.heard.log.String())
		}
		if c := s.bridge.Devices()[0]; c.Accepted != 0 || c.Waiting != 0 || c.Counts.Commands != 0 {
			t.Errorf("it counts as a command: %+v", c)
		}
		// Life comes back and ends again.
		s.say("alive", "2")
		sleep(time.Minute)
		s.want(`1h3m40s x/state {"state":false}`, `1h3m40s x/result {"ok":true,"channel":"state","value":false,`+quiet+`}`)
	})
}

func TestACommandIsASignOfLifeAndNoMore(t *testing.T) {
	play(t, new(relay), heartbeat, func(s *scene) {
		sleep(30 * time.Second)
		s.say("p/x/set", "on")
		sleep(30 * time.Second)
		s.say("p/x/set", "perhaps") // is refused
		s.want(`30s x/state {"state":true}`, "30s x/result "+isOn,
			`1m0s x/result {"ok":false,"channel":"state","error":"\"perhaps\" is neither on nor off; send true or false, \"on\" or \"off\", 1 or 0"}`)
		sleep(30 * time.Second)
		s.want(`1m30s x/state {"state":false}`, `1m30s x/result {"ok":true,"channel":"state","value":false,`+quiet+`}`)
		// Nobody is there but who switches it on: it falls back.
		sleep(time.Hour)
		s.say("p/x/set", "on")
		sleep(time.Minute)
		s.want(`1h1m30s x/state {"state":true}`, "1h1m30s x/result "+isOn,
			`1h2m30s x/state {"state":false}`, `1h2m30s x/result {"ok":true,"channel":"state","value":false,`+quiet+`}`)
	})
}

func TestWhatIsRetainedOrOnlyAsksIsNoSignOfLife(t *testing.T) {
	play(t, new(relay), heartbeat, func(s *scene) {
		sleep(30 * time.Second)
		s.client.Publish(broker.Message{Topic: "alive", Payload: []byte("1"), Retain: true})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.bridge.Sample(ctx, "x"); err != nil {
			t.Error(err)
		}
		// The result of a command that is refused goes to a topic of its sender's choice.
		s.client.Publish(broker.Message{Topic: "p/x/set", Payload: []byte("perhaps"), QoS: 1,
			Properties: &packet.Properties{Has: packet.HasResponseTopic, ResponseTopic: "alive"}})
		synctest.Wait()
		s.told()
		sleep(30 * time.Second)
		s.want(`1m0s x/state {"state":false}`, `1m0s x/result {"ok":true,"channel":"state","value":false,`+quiet+`}`)
		if s.logged("without the retain flag") != 1 {
			t.Errorf("log:\n%s", s.heard.log.String())
		}
	})
}

func TestADeviceIsMadeSafeWhenTheCloudIsLostAndLocalLifeGoesOn(t *testing.T) {
	play(t, new(relay), acme, func(s *scene) {
		sleep(59 * time.Second)
		s.link(true)
		sleep(time.Hour)
		s.link(false)
		sleep(59 * time.Second)
		s.link(true) // short cuts are none
		s.link(false)
		sleep(30 * time.Second)
		s.link(false) // and what is said again begins no new time
		sleep(29 * time.Second)
		s.want()
		sleep(time.Second)
		s.want(`1h2m58s x/state {"state":false}`, `1h2m58s x/result {"ok":true,"channel":"state","value":false,`+cut+`}`)
		s.say("p/x/set", "on")
		sleep(24 * time.Hour)
		s.link(false)
		sleep(time.Hour)
		s.want(`1h2m58s x/state {"state":true}`, "1h2m58s x/result "+isOn)
		s.link(true)
		s.link(false)
		sleep(time.Minute)
		s.want(`26h3m58s x/state {"state":false}`, `26h3m58s x/result {"ok":true,"channel":"state","value":false,`+cut+`}`)
	})
}

func TestTheStatusSaysHowLongALossLastsAndWhetherTheDeviceIsSafe(t *testing.T) {
	r := &relay{fails: errors.New("the relay does not move")}
	play(t, r, acme, func(s *scene) {
		want := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := s.bridge.Devices()[0].Lost; !slices.Equal(got, want) {
				t.Errorf("%v: got %q, want %q", time.Since(s.begun), got, want)
			}
		}
		s.link(true)
		s.link(false)
		sleep(59 * time.Second)
		want()
		sleep(6 * time.Second)
		want("no link to cloud acme for 1m5s; not made safe yet")
		r.mu.Lock()
		r.fails = nil
		r.mu.Unlock()
		sleep(5 * time.Second) // the second attempt
		want("no link to cloud acme for 1m10s; made safe 0s ago")
		sleep(10 * time.Minute)
		want("no link to cloud acme for 11m10s; made safe 10m0s ago")
		s.say("p/x/set", "on")
		want("no link to cloud acme for 11m10s; made safe 10m0s ago, and commanded since")
		r.lost <- errors.New("unplugged") // it is opened after 0.8 to 1 s, and online another one later
		sleep(5 * time.Second)
		want("no link to cloud acme for 11m15s; made safe 3s ago")
		s.link(true)
		want()
		r.mu.Lock()
		r.fails = errors.New("the relay does not move")
		r.mu.Unlock()
		s.link(false)
		sleep(time.Minute)
		want("no link to cloud acme for 1m0s; not made safe yet") // another loss
	})
}

func TestALinkThatNeverComesUpIsLost(t *testing.T) {
	for name, script := range map[string]func(s *scene){
		"in silence":                             func(*scene) {},
		"and says so":                            func(s *scene) { s.link(false) },
		"and somebody else says that it is up":   func(s *scene) { s.say("p/cloud/acme/state", `{"connected":true}`) },
		"and what it says is nothing that it is": func(s *scene) { s.cloud.Publish(broker.Message{Topic: "p/cloud/acme/state", Payload: []byte("up")}) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, new(relay), acme, func(s *scene) {
				sleep(time.Second)
				script(s)
				sleep(time.Minute)
				s.want(`1m0s x/state {"state":false}`, `1m0s x/result {"ok":true,"channel":"state","value":false,`+cut+`}`)
			})
		})
	}
}

func TestALinkThatIsUpBeforeTheDevicesMoveIsUp(t *testing.T) {
	br := openBroker(t)
	s := &scene{relay: new(relay), t: t, broker: br, client: br.Local("test", broker.Rights{}), cloud: br.Local("cloud/acme", broker.Rights{})}
	s.early = func() { s.link(false); s.link(true) }
	playOn(t, s, acme, func(s *scene) {
		sleep(time.Hour)
		s.want()
		s.link(false)
		sleep(time.Minute)
		s.want(`1h1m0s x/state {"state":false}`, `1h1m0s x/result {"ok":true,"channel":"state","value":false,`+cut+`}`)
	})
}

// An attempt that fails when life is back already begins no time of its own.
func TestAFailureThatComesLateDelaysNoLoss(t *testing.T) {
	r := &relay{heavy: 500 * time.Millisecond, fails: errors.New("the relay does not move")}
	play(t, r, field.SafeWithout{Heartbeat: "alive", After: time.Second}, func(s *scene) {
		sleep(1100 * time.Millisecond)
		s.say("alive", "1") // the attempt fails at 1.5s, the next loss is at 2.1s
		r.let(func() { r.fails = nil })
		sleep(100 * time.Millisecond)
		r.let(func() { r.fails = errors.New("the relay does not move") })
		sleep(500 * time.Millisecond)
		r.let(func() { r.fails = nil })
		s.told()
		sleep(time.Second)
		s.want(`2.6s x/state {"state":false}`, `2.6s x/result {"ok":true,"channel":"state","value":false,"reason":"safe state: no heartbeat on alive for 1s"}`, "2.6s alarm/unsafe-x ")
	})
}

func TestOneOfTwoIsEnough(t *testing.T) {
	both := heartbeat
	both.Cloud = "acme"
	play(t, &relay{extra: values("level", 0.5)}, both, func(s *scene) {
		s.link(true)
		sleep(time.Minute)
		s.want(`1m0s x/state {"state":false,"level":0.5}`, `1m0s x/result {"ok":true,"values":{"state":false,"level":0.5},`+quiet+`}`)
		s.link(false)
		s.say("alive", "1")
		sleep(30 * time.Second)
		s.say("alive", "1")
		sleep(30 * time.Second)
		s.want(`2m0s x/state {"state":false,"level":0.5}`, `2m0s x/result {"ok":true,"values":{"state":false,"level":0.5},`+cut+`}`)
	})
}

func TestAFullMailboxKeepsNoDeviceFromBeingMadeSafe(t *testing.T) {
	both := field.SafeWithout{Heartbeat: "alive", Cloud: "acme", After: time.Second}
	play(t, &relay{slow: 4 * time.Second}, both, func(s *scene) {
		for range 9 { // the last one is refused
			s.say("p/x/set", "on")
		}
		sleep(time.Hour)
		told := s.told()
		if len(told) != 1+16+4 || !strings.Contains(told[0], "too many commands wait") ||
			!strings.HasPrefix(told[18], `32s x/result {"ok":true,"channel":"state","value":false,"reason":"safe state: no `) ||
			!strings.HasPrefix(told[20], `32s x/result {"ok":true,"channel":"state","value":false,"reason":"safe state: no `) {
			t.Errorf("told\n%s", strings.Join(told, "\n"))
		}
		if c := s.bridge.Devices()[0]; c.Accepted != 8 || c.Waiting != 0 || c.Refused != 1 || c.Counts.Commands != 8 {
			t.Errorf("got %+v", c)
		}
	})
}

// The safe state of a loss that is found while that of an earlier one waits behind a
// slow command comes behind what was commanded between the two.
func TestALossThatFollowsALossIsNotForgotten(t *testing.T) {
	play(t, &relay{slow: 4 * time.Second}, field.SafeWithout{Heartbeat: "alive", After: time.Second}, func(s *scene) {
		s.say("p/x/set", "on")
		sleep(1500 * time.Millisecond) // lost at 1s
		s.say("p/x/set", "on")         // lost again at 2.5s
		sleep(time.Hour)
		if told := s.told(); !reflect.DeepEqual(told[len(told)-2:], []string{`8s x/state {"state":false}`,
			`8s x/result {"ok":true,"channel":"state","value":false,"reason":"safe state: no heartbeat on alive for 1s"}`}) || s.on {
			t.Errorf("told\n%s", strings.Join(told, "\n"))
		}
	})
}

func TestADeviceThatCannotBeMadeSafeIsTriedAgainAndAlarms(t *testing.T) {
	r := &relay{fails: errors.New("the relay does not move")}
	play(t, r, acme, func(s *scene) {
		sleep(95 * time.Second)
		failed := `1m0s x/result {"ok":false,"error":"the relay does not move",` + cut + `}`
		alarm := `1m0s alarm/unsafe-x {"alarm":"Device x could not be brought into its safe state (no link to cloud acme for 1m0s): the relay does not move. It will be made safe as soon as it can be reached; go and look."}`
		s.want(failed, alarm)
		if s.logged("could not be brought into its safe state") != 1 {
			t.Errorf("log:\n%s", s.heard.log.String())
		}
		r.let(func() { r.fails = nil })
		sleep(time.Hour)
		s.want(`1m40s x/state {"state":false}`, `1m40s x/result {"ok":true,"channel":"state","value":false,`+cut+`}`, "1m40s alarm/unsafe-x ")
		// A new loss is told anew.
		r.let(func() { r.fails = errors.New("it is stuck") })
		s.link(true)
		s.link(false)
		sleep(61 * time.Second)
		if got := s.told(); len(got) != 2 || !strings.Contains(got[0], "it is stuck") {
			t.Errorf("told %q", got)
		}
		// Somebody has a look, and it obeys.
		s.say("p/x/set", "off")
		if got := s.told(); len(got) != 3 || !strings.HasSuffix(got[1], "alarm/unsafe-x ") {
			t.Errorf("told %q", got)
		}
	})
}

func TestADeviceThatIsOpenedDuringALossIsMadeSafe(t *testing.T) {
	r := &relay{broken: errors.New("no power")}
	play(t, r, acme, func(s *scene) {
		sleep(time.Minute)
		s.want(`1m0s x/result {"ok":false,"error":"the device is offline: no power",`+cut+`}`,
			`1m0s alarm/unsafe-x {"alarm":"Device x could not be brought into its safe state (no link to cloud acme for 1m0s): the device is offline: no power. It will be made safe as soon as it can be reached; go and look."}`)
		r.let(func() { r.broken = nil })
		sleep(2 * time.Minute)
		got := s.told()
		if len(got) != 3 || !strings.HasSuffix(got[0], "alarm/unsafe-x ") || !strings.HasSuffix(got[1], `x/state {"state":false}`) || !strings.HasSuffix(got[2], `{"ok":true,"channel":"state","value":false,`+cut+`}`) {
			t.Errorf("told %q", got)
		}
		// It is opened again, and that is its initial state.
		s.lost <- errors.New("pulled out")
		sleep(2 * time.Minute) // longer than any pause between two attempts
		if got := s.told(); len(got) != 2 || !strings.Contains(got[1], cut) || s.on {
			t.Errorf("told %q", got)
		}
		// With the link there is no reason to.
		s.link(true)
		s.lost <- errors.New("pulled out")
		sleep(2 * time.Minute)
		s.want()
	})
}

func TestAnAlarmOfAnEarlierRunGoesWhenTheDeviceIsOpened(t *testing.T) {
	r := &relay{fails: errors.New("the relay does not move")}
	br := openBroker(t)
	s := &scene{relay: r, t: t, broker: br, client: br.Local("test", broker.Rights{}), cloud: br.Local("cloud/acme", broker.Rights{})}
	playOn(t, s, heartbeat, func(s *scene) { sleep(time.Minute) })
	s.heard.told = nil
	if len(br.Retained("p/alarm/#", 0)) != 1 {
		t.Fatal("there is no alarm to begin with")
	}
	playOn(t, s, heartbeat, func(s *scene) {
		sleep(2 * time.Second)
		s.want("1s alarm/unsafe-x ")
	})
}

func TestAStopIsNoFailureToBeSafe(t *testing.T) {
	r := &relay{slow: 900 * time.Millisecond}
	br := openBroker(t)
	s := &scene{relay: r, t: t, broker: br, client: br.Local("test", broker.Rights{}), cloud: br.Local("cloud/acme", broker.Rights{})}
	playOn(t, s, field.SafeWithout{Heartbeat: "alive", After: time.Second}, func(s *scene) {
		s.say("p/x/set", "on")
		sleep(900 * time.Millisecond)
		s.say("p/x/set", "on")
		sleep(900 * time.Millisecond)
		for range 3 {
			s.say("p/x/set", "on")
		}
		s.told()
		sleep(1500 * time.Millisecond) // the loss is found, and waits behind the third command
	})
	if told := strings.Join(s.heard.told, "\n"); strings.Contains(told, "safe state") || strings.Contains(told, "unsafe") || !strings.Contains(told, `"ok":false`) {
		t.Errorf("told\n%s", told)
	}
}

func TestWhatIsWrongWithSafeWithout(t *testing.T) {
	r := new(relay)
	plain := kind("plain", newFake(), nil)
	board := kind("board", newFake(), nil) // its devices have one or not
	board.Failsafe = func(func(any) error) bool { return false }
	for _, c := range []struct {
		kind    string
		without field.SafeWithout
		want    string
	}{
		{"relay", heartbeat, "<nil>"},
		{"relay", field.SafeWithout{After: time.Minute}, "<nil>"},
		{"plain", field.SafeWithout{After: time.Minute}, "<nil>"},
		{"plain", heartbeat, `device "x": the kind "plain" has no safe state that safe_without could take it to; those with one are board, relay`},
		{"board", heartbeat, `device "x": there is no safe state that safe_without could take the device to: nothing in its options has a safe value`},
		{"relay", field.SafeWithout{After: 30 * time.Second}, `device "x": safe_without.after needs a cloud or a heartbeat beside it, that the device must not be without so long`},
		{"relay", field.SafeWithout{Cloud: "a", After: time.Millisecond}, `device "x": safe_without.after must be at least 1s, not 1ms`},
		{"relay", field.SafeWithout{Heartbeat: "a/#", After: time.Minute}, `device "x": safe_without.heartbeat "a/#" must be a topic without + and #, not start with $, and have at most 1024 bytes`},
		{"relay", field.SafeWithout{Heartbeat: "$SYS/broker/uptime", After: time.Minute}, `device "x": safe_without.heartbeat "$SYS/broker/uptime" must be a topic without + and #, not start with $, and have at most 1024 bytes`},
		{"relay", field.SafeWithout{Heartbeat: "p/x/state", After: time.Minute}, `device "x": safe_without.heartbeat "p/x/state" is a topic of the device itself; somebody else must publish the heartbeat`},
	} {
		d := device("x", c.kind)
		d.SafeWithout = c.without
		if got := fmt.Sprint(field.Check(field.Config{Prefix: "p", Devices: []field.DeviceConfig{d}}, []drivers.Kind{plain, board, r.kind()})); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.without, got, c.want)
		}
	}
}

var _ io.Writer = (*scene)(nil)
