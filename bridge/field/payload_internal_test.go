package field

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/drivers"
)

func TestValuesAsJSON(t *testing.T) {
	tenth := 0.1 // not a constant: the sum is to be rounded
	for _, c := range []struct {
		v    any
		want string
	}{
		{true, "true"},
		{int64(math.MinInt64), "-9223372036854775808"},
		{21.5, "21.5"},
		{tenth + 0.2, "0.30000000000000004"},
		{100000000.0, "100000000"},
		{1e20, "100000000000000000000"},
		{0.000001, "0.000001"},
		{1e21, "1e+21"},
		{-0.0000005, "-5e-07"},
		{0.0, "0"},
		{math.NaN(), "null"},
		{math.Inf(-1), "null"},
		{"a\"\\\n\r\t\x01ü\xff", `"a\"\\\n\r\t\u0001ü` + "\uFFFD" + `"`},
		{"</script>", `"</script>"`},
		{nil, "null"},
	} {
		got := string(appendValue(nil, c.v))
		if got != c.want {
			t.Errorf("%v: got %s, want %s", c.v, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%v: %s is not JSON", c.v, got)
		}
	}
}

func TestAChannelNamedLikeTheTimeGivesWay(t *testing.T) {
	values := []drivers.Value{{Channel: "ts", V: "x"}, {Channel: "a b\"", V: int64(1)}}
	got := string(appendState(nil, values, time.UnixMilli(1), nil, false))
	if want := `{"a b\"":1,"ts":"1970-01-01T00:00:00.001Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(appendState(nil, nil, time.UnixMilli(1), nil, false)), `{"ts":"1970-01-01T00:00:00.001Z"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzStateIsJSON(f *testing.F) {
	f.Add("a", "b", 1.5, int64(1))
	f.Add("\x00\xff\u2028", "\"", math.Inf(1), int64(-1))
	f.Fuzz(func(t *testing.T, name, text string, number float64, whole int64) {
		got := appendState(nil, []drivers.Value{{Channel: name, V: text}, {Channel: "n", V: number}, {Channel: "w", V: whole}}, time.Unix(whole%1e9, 0), nil, false)
		if !json.Valid(got) {
			t.Errorf("not JSON: %s", got)
		}
	})
}

func TestAnExpiredCommandIsRefused(t *testing.T) {
	b := &Bridge{cfg: Config{Prefix: "p"}, log: slog.New(slog.DiscardHandler), refused: make(chan outcome, 1)}
	d := newDevice(b, DeviceConfig{Name: "x"}, drivers.Kind{}, drivers.Ports{})
	for _, c := range []struct {
		name    string
		age     time.Duration
		expiry  uint32 // seconds
		refused bool
	}{
		{"fresh", 0, 60, false},
		{"its expiry has passed", 2 * time.Second, 1, true},
		{"it waited longer than anyone wants", patience + time.Second, 3600, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &broker.Message{Topic: "p/x/set", Payload: []byte("on"), QoS: 1, At: time.Now().Add(-c.age),
				Properties: &packet.Properties{Has: packet.HasMessageExpiry, MessageExpiry: c.expiry}}
			receipt := new(broker.Receipt)
			d.Deliver(&broker.Delivery{Message: m, Receipt: receipt})
			var refused broker.ErrRefused
			if got := errors.As(receipt.Wait(t.Context()), &refused); got != c.refused {
				t.Errorf("refused %v, want %v", got, c.refused)
			}
			select {
			case o := <-b.refused:
				if !c.refused || o.err != drivers.ErrExpired {
					t.Errorf("result %v", o.err)
				}
			case job := <-d.jobs:
				if c.refused {
					t.Error("it is on its way to the device")
				}
				if left := time.Until(job.Deadline); left > patience || left < patience/2 {
					t.Errorf("the device may carry it out for another %v", left)
				}
			}
		})
	}
}

func TestAReplayedCommandIsNotEvenAnswered(t *testing.T) {
	b := &Bridge{cfg: Config{Prefix: "p"}, log: slog.New(slog.DiscardHandler), refused: make(chan outcome, 1)}
	d := newDevice(b, DeviceConfig{Name: "x"}, drivers.Kind{}, drivers.Ports{})
	receipt := new(broker.Receipt)
	d.Deliver(&broker.Delivery{Message: &broker.Message{Topic: "p/x/set", Payload: []byte("on"), At: time.Now()}, Replay: true, Receipt: receipt})
	if err := receipt.Wait(t.Context()); err != nil || len(b.refused)+len(d.jobs) != 0 {
		t.Errorf("got %v, %d results, %d jobs", err, len(b.refused), len(d.jobs))
	}
}

func TestAFloodOfRefusedCommandsLosesResultsAndBlocksNobody(t *testing.T) {
	b := &Bridge{cfg: Config{Prefix: "p"}, log: slog.New(slog.DiscardHandler), refused: make(chan outcome, unanswered)}
	d := newDevice(b, DeviceConfig{Name: "x"}, drivers.Kind{}, drivers.Ports{})
	for range unanswered + 10 {
		d.Deliver(&broker.Delivery{Message: &broker.Message{Topic: "p/x/set", At: time.Now()}, Receipt: new(broker.Receipt)})
	}
	if b.LostResults() != 10 || d.status().Refused != unanswered+10 {
		t.Errorf("lost %d, %+v", b.LostResults(), d.status())
	}
}

func TestTheReasonIsATextThatEveryReceiverTakes(t *testing.T) {
	for in, want := range map[string]string{
		"a: b\n\tc\x00\x1b\u009f": "a: b  c   ",
		"no\ufffe \ufdd0 \xff":    "no    \ufffd",
		"21 °C, größer":           "21 °C, größer",
		strings.Repeat("ä", 600):  strings.Repeat("ä", 512),
	} {
		if got := propertyText(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
