package field

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"edgegateway/broker"
	"edgegateway/buffer"
	"edgegateway/drivers"
)

// states are what a device has published, with the time since its start.
type states struct {
	mu    sync.Mutex
	all   []string // of one call of take
	whole []string // with the time
}

func (s *states) Deliver(d *broker.Delivery) {
	text, _, _ := strings.Cut(string(d.Message.Payload), `,"ts"`)
	s.mu.Lock()
	s.all = append(s.all, strings.TrimPrefix(text, "{"))
	s.whole = append(s.whole, string(d.Message.Payload))
	s.mu.Unlock()
}

// take returns what was published since the last call.
func (s *states) take() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.all, " | ")
	s.all = nil
	return text
}

// openBroker opens a broker on a store of its own, until the end of the test.
func openBroker(t testing.TB, log *slog.Logger) *broker.Broker {
	t.Helper()
	store, err := buffer.Open(filepath.Join(t.TempDir(), "store"), buffer.DefaultConfig(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	br, err := broker.New(broker.DefaultConfig(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	return br
}

// inBubble gives fn an opened device of this configuration, and what it publishes.
func inBubble(t *testing.T, c DeviceConfig, channels []drivers.Channel, fn func(d *device, got *states)) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	br := openBroker(t, log)
	got := new(states)
	if err := br.Local("test", broker.Rights{}).Subscribe("p/x/state", broker.SubscribeOptions{QoS: 1}, got); err != nil {
		t.Fatal(err)
	}
	c.Name, c.QoS = "x", 1
	synctest.Test(t, func(t *testing.T) {
		b := &Bridge{cfg: Config{Prefix: "p"}, local: br.Local(localName, broker.Rights{}), log: log}
		d := newDevice(b, c, drivers.Kind{}, drivers.Ports{})
		b.devices = []*device{d}
		d.Online(channels, nil)
		fn(d, got)
		d.endState()
	})
}

// say has the device read values at this moment, in pairs of channel and value.
func say(d *device, pairs ...any) {
	r := drivers.Reading{At: time.Now()}
	for i := 0; i < len(pairs); i += 2 {
		r.Values = append(r.Values, drivers.Value{Channel: pairs[i].(string), V: pairs[i+1]})
	}
	d.Reading(r)
}

func channel(edit func(*ChannelConfig)) map[string]ChannelConfig {
	var c ChannelConfig
	c.SetDefaults()
	edit(&c)
	return map[string]ChannelConfig{"t": c}
}

func band(text string) func(*ChannelConfig) {
	return func(c *ChannelConfig) {
		if err := c.Deadband.UnmarshalText([]byte(text)); err != nil {
			panic(err)
		}
	}
}

func expect(t *testing.T, what string, got *states, want string) {
	t.Helper()
	if all := got.take(); all != want {
		t.Errorf("%s: got %s, want %s", what, all, want)
	}
}

func TestADeadbandIsMeasuredFromWhatWasPublished(t *testing.T) {
	inBubble(t, DeviceConfig{Channels: channel(band("0.5"))}, nil, func(d *device, got *states) {
		for _, v := range []float64{20, 20.2, 20.4, 20.49, 20.5, 20.9, 20.1, 20} {
			say(d, "t", v)
		}
		expect(t, "absolute", got, `"t":20 | "t":20.5 | "t":20`)
		say(d, "t", 20.1, "other", true)
		say(d, "t", 20.2, "other", true)
		say(d, "t", 20.3, "other", false)
		expect(t, "another channel counts when it changes, and takes all along", got, `"t":20.1,"other":true | "t":20.3,"other":false`)
		say(d, "t", 20.7)
		expect(t, "the band moves with what was published", got, ``)
		say(d, "t", 20.8)
		expect(t, "the band moves with what was published", got, `"t":20.8,"other":false`)
	})
	inBubble(t, DeviceConfig{Channels: channel(band("10%"))}, nil, func(d *device, got *states) {
		for _, v := range []float64{100, 109, 110, 120, 121, 0, 0, 0.001} {
			say(d, "t", v)
		}
		expect(t, "percent", got, `"t":100 | "t":110 | "t":121 | "t":0 | "t":0.001`)
	})
}

func TestWhatComesTooSoonIsPublishedWhenItIsTime(t *testing.T) {
	inBubble(t, DeviceConfig{MinInterval: 10 * time.Second}, nil, func(d *device, got *states) {
		say(d, "t", 1.0)
		expect(t, "the first", got, `"t":1`)
		for i := range 9 {
			time.Sleep(time.Second)
			say(d, "t", float64(i))
		}
		expect(t, "too soon", got, ``)
		time.Sleep(time.Second)
		expect(t, "in time, without a reading", got, `"t":8`)
		time.Sleep(time.Minute)
		expect(t, "nothing new", got, ``)
		say(d, "t", 5.0)
		expect(t, "later", got, `"t":5`)
	})
}

func TestASilentDeviceIsHeardOfAtMaxInterval(t *testing.T) {
	inBubble(t, DeviceConfig{MaxInterval: time.Minute, Channels: channel(band("1"))}, nil, func(d *device, got *states) {
		time.Sleep(5 * time.Minute)
		expect(t, "nothing to say", got, ``)
		say(d, "t", 1.0)
		time.Sleep(30 * time.Second)
		say(d, "t", 1.5)
		expect(t, "inside the band", got, `"t":1`)
		time.Sleep(150 * time.Second)
		expect(t, "at 60, 120 and 180 s", got, `"t":1.5 | "t":1.5 | "t":1.5`)
		d.Offline(drivers.ErrGone)
		time.Sleep(5 * time.Minute)
		expect(t, "offline", got, ``)
		d.Online(nil, nil)
		time.Sleep(5 * time.Minute)
		expect(t, "online, and nothing read", got, ``)
	})
}

func TestAWindowBecomesOneValue(t *testing.T) {
	for how, want := range map[string]string{
		"mean": `"t":2.5`, "min": `"t":1`, "max": `"t":4`, "last": `"t":2`, "count": `"t":4`,
	} {
		c := channel(func(c *ChannelConfig) { c.Aggregate, c.Window = how, 10*time.Second })
		inBubble(t, DeviceConfig{Channels: c}, nil, func(d *device, got *states) {
			for _, v := range []int64{1, 3, 4, 2} {
				say(d, "t", v)
				time.Sleep(2 * time.Second)
			}
			expect(t, how+" before its end", got, ``)
			time.Sleep(2 * time.Second)
			expect(t, how, got, want)
			time.Sleep(time.Minute)
			nothing := map[string]string{"count": `"t":0`}[how]
			expect(t, how+" of nothing", got, nothing)
			say(d, "t", 7.5)
			say(d, "t", 7.5)
			time.Sleep(10 * time.Second)
			if how != "count" {
				expect(t, how+" of the next", got, `"t":7.5`)
			} else {
				expect(t, how+" of the next", got, `"t":2`)
			}
			if how == "mean" {
				say(d, "t", 0.1)
				say(d, "t", 0.2) // 0.1 + 0.2 is 0.30000000000000004
				time.Sleep(10 * time.Second)
				expect(t, "mean of what is no binary fraction", got, `"t":0.15`)
			}
		})
	}
}

func TestAWindowTellsNumbersAsTheyCame(t *testing.T) {
	for _, c := range []struct {
		how  string
		in   []any
		want string
	}{
		{"max", []any{int64(1<<53 + 1), int64(1 << 53)}, `"t":9007199254740993`},
		{"min", []any{int64(1<<53 + 2), int64(1<<53 + 1)}, `"t":9007199254740993`},
		{"max", []any{int64(5), int64(math.MaxInt64)}, `"t":9223372036854775807`},
		{"min", []any{1.5, int64(2)}, `"t":1.5`},
		{"max", []any{"on", int64(-2)}, `"t":-2`},
		{"mean", []any{math.MaxFloat64, math.MaxFloat64}, `"t":null,"quality":{"t":"bad"}`},
	} {
		config := channel(func(ch *ChannelConfig) { ch.Aggregate, ch.Window = c.how, 10*time.Second })
		inBubble(t, DeviceConfig{Channels: config}, nil, func(d *device, got *states) {
			for _, v := range c.in {
				say(d, "t", v)
			}
			time.Sleep(10 * time.Second)
			expect(t, fmt.Sprintf("%s of %v", c.how, c.in), got, c.want)
		})
	}
}

func TestValuesAreCalibratedRoundedAndJudged(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*ChannelConfig)
		in   any
		want string
	}{
		{"nothing", func(*ChannelConfig) {}, 1.25, `"t":1.25`},
		{"scale and offset", func(c *ChannelConfig) { c.Scale, c.Offset = 2, -1 }, 1.25, `"t":1.5`},
		{"an integer stays one", func(*ChannelConfig) {}, int64(1<<53 + 1), `"t":9007199254740993`},
		{"a scaled one does not", func(c *ChannelConfig) { c.Scale = 0.5 }, int64(3), `"t":1.5`},
		{"between two points", func(c *ChannelConfig) { c.Points = [][]float64{{0, 0}, {10, 100}, {20, 120}} }, 15.0, `"t":110`},
		{"at a point", func(c *ChannelConfig) { c.Points = [][]float64{{0, 0}, {10, 100}, {20, 120}} }, 10.0, `"t":100`},
		{"below the first", func(c *ChannelConfig) { c.Points = [][]float64{{0, 0}, {10, 100}, {20, 120}} }, -1.0, `"t":-10`},
		{"above the last", func(c *ChannelConfig) { c.Points = [][]float64{{0, 0}, {10, 100}, {20, 120}} }, 30.0, `"t":140`},
		{"points, then scale", func(c *ChannelConfig) { c.Points, c.Scale = [][]float64{{0, 1}, {1, 2}}, 10 }, 1.0, `"t":20`},
		{"one decimal", func(c *ChannelConfig) { c.Round = 1 }, 21.26, `"t":21.3`},
		{"none, and no minus", func(c *ChannelConfig) { c.Round = 0 }, -0.4, `"t":0`},
		{"rounding a large number", func(c *ChannelConfig) { c.Round = 15 }, 1e300, `"t":1e+300`},
		{"valid", func(c *ChannelConfig) { c.Valid = []float64{-40, 85} }, 85.0, `"t":85`},
		{"invalid", func(c *ChannelConfig) { c.Valid = []float64{-40, 85} }, 85.1, `"t":null,"quality":{"t":"bad"}`},
		{"beyond all numbers", func(c *ChannelConfig) { c.Scale = 1e300 }, 1e300, `"t":null,"quality":{"t":"bad"}`},
		{"text with a unit", func(c *ChannelConfig) { c.Unit = "°C" }, "ERR", `"t":null,"quality":{"t":"bad"}`},
		{"text of what is measured", func(c *ChannelConfig) { c.Quantity = "temperature" }, "21,5", `"t":null,"quality":{"t":"bad"}`},
		{"text of something else", func(c *ChannelConfig) { c.Quantity = "mode" }, "heat", `"t":"heat"`},
		{"text passes", func(c *ChannelConfig) { c.Scale, c.Valid, c.Round = 5, []float64{0, 1}, 1 }, "on", `"t":"on"`},
		{"on and off pass", func(c *ChannelConfig) { c.Scale = 5 }, true, `"t":true`},
	} {
		inBubble(t, DeviceConfig{Channels: channel(c.edit)}, nil, func(d *device, got *states) {
			say(d, "t", c.in)
			expect(t, c.name, got, c.want)
		})
	}
}

func TestAValueSaysWhatItIsWorth(t *testing.T) {
	inBubble(t, DeviceConfig{StaleAfter: time.Minute}, nil, func(d *device, got *states) {
		say(d, "a", 1.0, "b", 2.0)
		time.Sleep(45 * time.Second)
		say(d, "b", 3.0)
		expect(t, "good", got, `"a":1,"b":2 | "a":1,"b":3`)
		time.Sleep(15 * time.Second)
		expect(t, "a is old", got, `"a":1,"b":3,"quality":{"a":"stale"}`)
		time.Sleep(45 * time.Second)
		expect(t, "b as well", got, `"a":1,"b":3,"quality":{"a":"stale","b":"stale"}`)
		time.Sleep(time.Hour)
		expect(t, "that was said", got, ``)
		say(d, "a", 1.0)
		expect(t, "a is back", got, `"a":1,"b":3,"quality":{"b":"stale"}`)
		d.Reading(drivers.Reading{At: time.Now(), Bad: []string{"a"}, Values: []drivers.Value{{Channel: "b", V: 4.0}}})
		expect(t, "a gave nonsense", got, `"a":null,"b":4,"quality":{"a":"bad"}`)
	})
	missed := drivers.Reading{At: time.Now(), Missed: true}
	inBubble(t, DeviceConfig{}, nil, func(d *device, got *states) {
		d.Reading(missed)
		expect(t, "there is nothing to be old", got, ``)
		say(d, "a", 1.0, "b", 2.0)
		at := d.at
		d.Reading(missed)
		d.Reading(missed)
		if !d.at.Equal(at) {
			t.Error("a failed sample has a time")
		}
		say(d, "a", 1.0, "b", 2.0)
		expect(t, "a failed sample", got, `"a":1,"b":2 | "a":1,"b":2,"quality":{"a":"stale","b":"stale"} | "a":1,"b":2`)
		d.Reading(drivers.Reading{At: time.Now(), Bad: []string{"a"}})
		d.Reading(missed)
		expect(t, "bad stays bad", got, `"a":null,"b":2,"quality":{"a":"bad"} | "a":null,"b":2,"quality":{"a":"bad","b":"stale"}`)
	})
	window := channel(func(c *ChannelConfig) { c.Aggregate, c.Window = "mean", 10*time.Second })
	inBubble(t, DeviceConfig{Channels: window, MinInterval: 2 * time.Second}, nil, func(d *device, got *states) {
		say(d, "t", 1.0)
		time.Sleep(10 * time.Second)
		d.Reading(missed)
		time.Sleep(3 * time.Second)
		expect(t, "a mean is no older", got, `"t":1`)
		say(d, "u", 1.0)
		time.Sleep(time.Second)
		d.Reading(missed)
		say(d, "u", 2.0)
		expect(t, "a failed sample waits for min_interval", got, `"t":1,"u":1`)
		time.Sleep(time.Second)
		expect(t, "when it is over", got, `"t":1,"u":2`)
	})
	inBubble(t, DeviceConfig{}, nil, func(d *device, got *states) {
		d.Reading(drivers.Reading{At: time.Now(), Bad: []string{"a"}})
		say(d, "a", 1.0)
		expect(t, "without any configuration", got, `"a":null,"quality":{"a":"bad"} | "a":1`)
	})
}

func TestTheConfiguredUnitQuantityAndTypeAreTold(t *testing.T) {
	listed := []drivers.Channel{{Name: "t", Unit: "mV", Type: drivers.Int, Quantity: drivers.Voltage}, {Name: "u", Unit: "V"}}
	c := channel(func(c *ChannelConfig) { c.Unit, c.Scale, c.Quantity = "V", 0.001, "potential" })
	inBubble(t, DeviceConfig{Channels: c}, listed, func(d *device, got *states) {
		if s := d.status().Channels; s[0].Unit != "V" || s[0].Type != drivers.Float || s[0].Quantity != "potential" || s[1].Unit != "V" {
			t.Errorf("got %+v", s)
		}
		if listed[0].Unit != "mV" {
			t.Error("the driver's own list was changed")
		}
	})
	c = channel(func(c *ChannelConfig) { c.Aggregate, c.Window = "count", time.Second })
	inBubble(t, DeviceConfig{Channels: c}, listed, func(d *device, got *states) {
		if s := d.status().Channels[0]; s != (drivers.Channel{Name: "t", Type: drivers.Int, Quantity: drivers.Count}) {
			t.Errorf("got %+v", s)
		}
	})
}

func TestAClockThatIsNotSetIsSaidAndItsTimeCorrected(t *testing.T) {
	inBubble(t, DeviceConfig{}, nil, func(d *device, got *states) {
		d.bridge.SetClock(false)
		say(d, "a", 1.0)
		expect(t, "not set", got, `"a":1,"clock":"unsynced"`)
		d.bridge.SetClock(true)
		expect(t, "again when it is set", got, `"a":1`)
		d.bridge.SetClock(true)
		expect(t, "no change", got, ``)
		say(d, "a", 2.0)
		expect(t, "set", got, `"a":2`)
	})
}

func TestATimeOfTheOldClockMovesWithIt(t *testing.T) {
	boot := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	const years = 50 * 365 * 24 * time.Hour
	if got := moved(years+5*time.Second, 5*time.Second); got != years {
		t.Errorf("a step of years: %v", got)
	}
	if got := moved(5*time.Second+3*time.Millisecond, 5*time.Second); got != 0 {
		t.Errorf("no step: %v", got)
	}
	if got := moved(-time.Hour, time.Second); got != -time.Hour-time.Second {
		t.Errorf("back: %v", got)
	}
	gps := boot.Add(years)
	if got := corrected(gps, boot, boot.Add(years), time.Second); !got.Equal(gps) {
		t.Errorf("a clock of its own: %v", got)
	}
	if got, want := corrected(boot.Add(-time.Second), boot, boot.Add(years+time.Minute), time.Minute), boot.Add(years-time.Second); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheLastStateGetsTheRightTimeWhenTheClockIsSet(t *testing.T) {
	inBubble(t, DeviceConfig{}, nil, func(d *device, got *states) {
		d.bridge.SetClock(false)
		say(d, "a", 1.0)
		// The reading came when the wall clock was at the begin of 1970.
		d.mu.Lock()
		took := d.at
		boot := time.Unix(10, 0)
		d.at, d.arrived = boot, boot
		d.mu.Unlock()
		time.Sleep(time.Minute)
		d.bridge.SetClock(true)
		synctest.Wait()
		got.mu.Lock()
		defer got.mu.Unlock()
		if want := `,"ts":"` + took.UTC().Format(timeFormat) + `"}`; len(got.whole) != 2 || !strings.HasSuffix(got.whole[1], want) {
			t.Errorf("got %q, want ...%s", got.whole, want)
		}
	})
}

func TestNothingOfBeforeIsTrueAfterReopening(t *testing.T) {
	c := channel(func(c *ChannelConfig) { c.Aggregate, c.Window = "mean", 10*time.Second })
	inBubble(t, DeviceConfig{Channels: c, StaleAfter: time.Minute}, nil, func(d *device, got *states) {
		say(d, "t", 100.0, "u", 1.0)
		d.Offline(drivers.ErrGone)
		d.Online(nil, nil)
		say(d, "t", 2.0)
		time.Sleep(10 * time.Second)
		expect(t, "the window is a new one", got, `"u":1 | "t":2`)
		time.Sleep(time.Hour)
		expect(t, "only what was read again gets old", got, `"t":2,"quality":{"t":"stale"}`)
	})
}

func TestARateLetsAsManyPassAtOnceAsInASecond(t *testing.T) {
	var r rate
	now := time.Unix(1000, 0)
	passed := func(n int, at time.Time) (some int) {
		for range n {
			if r.take(4, at) {
				some++
			}
		}
		return some
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 4}, {249 * time.Millisecond, 0}, {250 * time.Millisecond, 1}, {500 * time.Millisecond, 1}, {10 * time.Second, 4}} {
		if got := passed(10, now.Add(c.after)); got != c.want {
			t.Errorf("after %v: %d pass, want %d", c.after, got, c.want)
		}
	}
	for range 1000 {
		if !r.take(0, now) {
			t.Fatal("0 is a limit")
		}
	}
}

// One spike among sixty values is no reason to have no mean for a minute.
func TestAWindowLeavesOutWhatCannotBeUsed(t *testing.T) {
	c := channel(func(c *ChannelConfig) { c.Aggregate, c.Window, c.Valid = "mean", 10*time.Second, []float64{0, 100} })
	inBubble(t, DeviceConfig{Channels: c}, nil, func(d *device, got *states) {
		nonsense := drivers.Reading{At: time.Now(), Bad: []string{"t"}}
		say(d, "t", 500.0)
		say(d, "t", 10.0)
		d.Reading(nonsense)
		say(d, "t", 20.0)
		expect(t, "before its end", got, ``)
		time.Sleep(10 * time.Second)
		expect(t, "what is left", got, `"t":15`)
		d.Reading(nonsense)
		say(d, "t", 500.0)
		time.Sleep(9 * time.Second)
		expect(t, "the next one", got, ``)
		time.Sleep(time.Second)
		expect(t, "with nothing in it", got, `"t":null,"quality":{"t":"bad"}`)
		say(d, "t", 1.0)
		time.Sleep(10 * time.Second)
		expect(t, "and good again", got, `"t":1`)
	})
}

func TestACountGoesBackToZeroWhenNothingMoreComes(t *testing.T) {
	c := channel(func(c *ChannelConfig) { c.Aggregate, c.Window, c.Valid = "count", 10*time.Second, []float64{0, 100} })
	inBubble(t, DeviceConfig{Channels: c}, nil, func(d *device, got *states) {
		for range 3 {
			say(d, "t", 1.0)
			time.Sleep(time.Second)
		}
		time.Sleep(8 * time.Second)
		expect(t, "after the window", got, `"t":3`)
		time.Sleep(time.Hour)
		expect(t, "after one of nothing", got, `"t":0`)
		say(d, "t", 1.0)
		time.Sleep(10 * time.Second)
		expect(t, "the next one", got, `"t":1`)
		time.Sleep(5 * time.Second)
		say(d, "t", 1.0)
		time.Sleep(6 * time.Second)
		expect(t, "without a gap", got, `"t":1`)
		time.Sleep(time.Second)
		say(d, "t", 200.0) // not valid
		time.Sleep(10 * time.Second)
		expect(t, "of values that can not be used", got, `"t":null,"quality":{"t":"bad"}`)
	})
}

// A time that a driver takes before it measures has the wall clock of that moment.
func TestAClockThatIsSetDuringAMeasurement(t *testing.T) {
	before := time.Now()
	at := before
	// 50 years off the seconds of the wall clock, which are 33 bits above 30 (type Time in
	// package time); the monotonic clock stays.
	*(*uint64)(unsafe.Pointer(&at)) -= 50 * 365 * 24 * 3600 << 30
	if at.Year() > before.Year()-49 || !at.Equal(before) {
		t.Fatalf("package time has changed: %v is not %v with another wall clock", at, before)
	}
	if got := rebased(at, before.Add(5*time.Second)).Round(0); !got.Equal(before.Round(0)) {
		t.Errorf("got %v, want %v", got, before)
	}
	gps := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if got := rebased(gps, before); !got.Round(0).Equal(gps) {
		t.Errorf("a clock of its own: got %v, want %v", got, gps)
	}
}

func TestWhatIsWrongWithTheChannelsIsSaidAtTheFirstOpening(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	br := openBroker(t, logger)
	synctest.Test(t, func(t *testing.T) {
		b := &Bridge{cfg: Config{Prefix: "p"}, local: br.Local(localName, broker.Rights{}), log: logger}
		c := DeviceConfig{Name: "x", Channels: channel(func(c *ChannelConfig) { c.Unit = "°F" })}
		c.Channels["u"] = c.Channels["t"]
		d := newDevice(b, c, drivers.Kind{}, drivers.Ports{})
		for range 3 {
			d.Online([]drivers.Channel{{Name: "t", Unit: "°C"}}, nil)
		}
		d.endState()
	})
	for _, part := range []string{"values_are_in=°C", "channels=[u]"} {
		if got := strings.Count(log.String(), part); got != 1 {
			t.Errorf("%s is logged %d times:\n%s", part, got, &log)
		}
	}
}

func TestChannelsThatAreAlwaysOthersAreBounded(t *testing.T) {
	for name, c := range map[string]DeviceConfig{"plain": {}, "paced": {StaleAfter: time.Second, Channels: channel(func(*ChannelConfig) {})}} {
		inBubble(t, c, nil, func(d *device, got *states) {
			for i := range 2 * mostChannels {
				d.Reading(drivers.Reading{At: time.Now(), Bad: []string{fmt.Sprint("bad", i)}, Values: []drivers.Value{{Channel: fmt.Sprint("good", i), V: 1.0}}})
			}
			time.Sleep(2 * time.Second) // good ones get stale
			synctest.Wait()
			s := d.status()
			if len(s.Values) != mostChannels || len(s.Quality) > mostChannels {
				t.Errorf("%s: %d values with %d qualities, want at most %d", name, len(s.Values), len(s.Quality), mostChannels)
			}
			for channel := range s.Quality {
				if !slices.ContainsFunc(s.Values, func(v drivers.Value) bool { return v.Channel == channel }) {
					t.Errorf("%s: a quality of %s, which is not in the state", name, channel)
					break
				}
			}
		})
	}
}

// To tell Home Assistant takes a moment for each device: not for a wire with a bad contact.
func TestAKnownChannelThatIsGoodAgainIsNoNews(t *testing.T) {
	d := &device{bridge: &Bridge{tells: &announcer{changed: make(chan struct{}, 1)}}}
	d.describe([]drivers.Channel{{Name: "known", Type: drivers.Float}, {Name: "listed"}})
	for name, news := range map[string]bool{"known": false, "listed": true, "unlisted": true} {
		d.merge([]drivers.Value{{Channel: name}})
		<-d.bridge.tells.changed // a new one
		d.merge([]drivers.Value{{Channel: name, V: 1.0}})
		if got := len(d.bridge.tells.changed) == 1; got != news {
			t.Errorf("%s: it is %v that there is news", name, got)
		}
		if news {
			<-d.bridge.tells.changed
		}
	}
}
