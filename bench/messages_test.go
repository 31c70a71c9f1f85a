package bench_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgegateway/bench"
	"edgegateway/broker/packet"
)

func everywhere(t *testing.T, f func(t *testing.T, v packet.Version, qos packet.QoS)) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for qos := range packet.QoS2 + 1 {
			t.Run(fmt.Sprintf("%v QoS %d", v, qos), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { f(t, v, qos) })
			})
		}
	}
}

func TestAGoodBrokerHasNoErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, v packet.Version, qos packet.QoS) {
		f := &fake{}
		r := run(t, small(f.target(v), qos, 5000))
		if r.Sent != 5000 || r.Expected != 5000 || r.Delivered != 5000 || r.Latency.Count != 5000 || r.Broken() {
			t.Errorf("%+v", r)
		}
		if want := int64(5000) * int64(min(qos, 1)); r.Acked != want {
			t.Errorf("acknowledged %d, want %d", r.Acked, want)
		}
	})
}

// TestWhatTheBrokerBreaksIsCounted uses a broker that loses, doubles and delays
// messages that are known beforehand.
func TestWhatTheBrokerBreaksIsCounted(t *testing.T) {
	everywhere(t, func(t *testing.T, v packet.Version, qos packet.QoS) {
		var delayed []*packet.Publish
		f := &fake{twist: func(_ int, m *packet.Publish) []*packet.Publish {
			switch n := number(m); {
			case n%10 == 3:
				return nil
			case n%100 == 50:
				return []*packet.Publish{m, m}
			case n%200 == 77: // overtaken by two
				delayed = append(delayed, m.Clone())
				return nil
			case n%200 == 79:
				out := append([]*packet.Publish{m}, delayed...)
				delayed = nil
				return out
			case n == 999: // the last one is lost, too
				return nil
			}
			return []*packet.Publish{m}
		}}
		r := run(t, small(f.target(v), qos, 1000))
		if r.Sent != 1000 || r.Lost != 101 || r.Duplicates != 10 || r.Disordered != 5 || r.Delivered != 899 || r.Strays != 0 {
			t.Errorf("%d sent, %d lost, %d twice, %d out of order, %d delivered, %d strays; want 1000, 101, 10, 5, 899, 0",
				r.Sent, r.Lost, r.Duplicates, r.Disordered, r.Delivered, r.Strays)
		}
		if !r.Broken() {
			t.Error("that should count as broken")
		}
	})
}

func TestPromisesDependOnTheQoS(t *testing.T) {
	for _, c := range []struct {
		qos         packet.QoS
		lost, twice int64
		broken      bool
	}{
		{packet.QoS0, 5, 0, false},
		{packet.QoS0, 0, 1, true},
		{packet.QoS1, 0, 5, false},
		{packet.QoS1, 1, 0, true},
		{packet.QoS2, 0, 1, true},
		{packet.QoS2, 1, 0, true},
		{packet.QoS2, 0, 0, false},
	} {
		if r := (&bench.Result{QoS: c.qos, Lost: c.lost, Duplicates: c.twice}); r.Broken() != c.broken {
			t.Errorf("QoS %d, %d lost, %d twice: broken is %v", c.qos, c.lost, c.twice, r.Broken())
		}
	}
}

func TestClientsMeetOnTheirTopics(t *testing.T) {
	for _, c := range []struct {
		publishers, subscribers, topics int
		delivered                       int64 // of 600 sent
	}{
		{1, 1, 1, 600},
		{1, 10, 1, 6000},
		{10, 1, 1, 600},
		{10, 1, 10, 600}, // one filter with a wildcard
		{10, 10, 10, 600},
		{10, 10, 1, 6000},
		{2, 3, 12, 600},
		{3, 6, 2, 1800},
		{4, 2, 1000, 600},
	} {
		t.Run(fmt.Sprintf("%d to %d on %d", c.publishers, c.subscribers, c.topics), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := small((&fake{}).target(packet.V311), packet.QoS1, 600)
				m.Publishers, m.Subscribers, m.Topics = c.publishers, c.subscribers, c.topics
				r := run(t, m)
				if r.Sent != 600 || r.Delivered != c.delivered || r.Expected != c.delivered || r.Broken() {
					t.Errorf("sent %d, delivered %d of %d, want 600 and %d; %+v", r.Sent, r.Delivered, r.Expected, c.delivered, r)
				}
			})
		})
	}
}

func TestTheWindowIsFilledAndKept(t *testing.T) {
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{holdAcks: 7}
			m := small(f.target(packet.V311), qos, 700)
			m.Window = 7
			r := run(t, m)
			if f.most != 7 || f.reused != 0 || r.Acked != 700 || r.Broken() {
				t.Errorf("QoS %d: %d under way, %d identifiers reused, %+v", qos, f.most, f.reused, r)
			}
		})
	}
}

func TestReceiveMaximumLowersTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{receive: 3, holdAcks: 3}
		if r := run(t, small(f.target(packet.V5), packet.QoS1, 300)); f.most != 3 || r.Broken() {
			t.Errorf("%d under way; %+v", f.most, r)
		}
	})
}

func TestRefusedMessagesAreCounted(t *testing.T) {
	for qos := packet.QoS1; qos <= packet.QoS2; qos++ {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{code: packet.QuotaExceeded, twist: func(int, *packet.Publish) []*packet.Publish { return nil }}
			r := run(t, small(f.target(packet.V5), qos, 50))
			if r.Refused != 50 || r.Acked != 0 || r.Lost != 50 || !r.Broken() {
				t.Errorf("QoS %d: %+v", qos, r)
			}
		})
	}
}

// TestAPublisherIsNotTooFarAhead uses a broker that delivers nothing: after a
// second the publisher takes that for lost.
func TestAPublisherIsNotTooFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, early := time.Now(), 0
		f := &fake{twist: func(int, *packet.Publish) []*packet.Publish {
			if time.Since(begun) < time.Second {
				early++
			}
			return nil
		}}
		m := small(f.target(packet.V311), packet.QoS0, 100)
		m.Ahead = 40
		if r := run(t, m); early != 40 || r.Lost != 100 {
			t.Errorf("%d ahead, want 40; %+v", early, r)
		}
	})
}

// TestLossesDoNotStopThePublisher loses all that Ahead allows.
func TestLossesDoNotStopThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{twist: func(i int, m *packet.Publish) []*packet.Publish {
			if i < 100 {
				return nil
			}
			return []*packet.Publish{m}
		}}
		m := small(f.target(packet.V311), packet.QoS0, 1000)
		m.Ahead = 50
		if r := run(t, m); r.Sent != 1000 || r.Lost != 100 || r.Disordered != 0 || r.Broken() {
			t.Errorf("%+v", r)
		}
	})
}

func TestTheRateIsKept(t *testing.T) {
	everywhere(t, func(t *testing.T, v packet.Version, qos packet.QoS) {
		m := small((&fake{}).target(v), qos, 0)
		m.Publishers, m.Topics, m.Rate, m.Duration = 4, 4, 200, 10*time.Second
		r := run(t, m)
		if r.Sent != 2000 || r.Broken() {
			t.Errorf("sent %d in 10 s at 200 per second; %+v", r.Sent, r)
		}
		if r.Took < 9900*time.Millisecond || r.Took > 10*time.Second || r.Latency.Max != 0 {
			t.Errorf("took %v, latency up to %v; want 10 s and none", r.Took, r.Latency.Max)
		}
	})
}

// TestLatencyCountsFromWhenAMessageWasDue has a broker that stops for a second:
// what piles up behind it has waited, too.
func TestLatencyCountsFromWhenAMessageWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{twist: func(i int, m *packet.Publish) []*packet.Publish {
			if i == 100 {
				time.Sleep(time.Second) // the broker stands still; the pipe holds nothing
			}
			return []*packet.Publish{m}
		}}
		m := small(f.target(packet.V311), packet.QoS0, 300)
		m.Rate = 100
		r := run(t, m)
		if r.Latency.Max != time.Second || r.Broken() {
			t.Errorf("the longest is %v, want 1 s", r.Latency.Max)
		}
		// 100 messages were due while it stood still: they waited 1 s to 10 ms.
		if r.Latency.P90 < 600*time.Millisecond || r.Latency.P50 != 0 {
			t.Errorf("%+v", r.Latency)
		}
	})
}

func TestASilentBrokerEndsTheRun(t *testing.T) {
	everywhere(t, func(t *testing.T, v packet.Version, qos packet.QoS) {
		f := &fake{mute: true}
		begun := time.Now()
		r := run(t, small(f.target(v), qos, 100))
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if r.Delivered != 0 || len(r.Failures) == 0 || !strings.Contains(strings.Join(r.Failures, " "), "10s") {
			t.Errorf("%+v", r)
		}
	})
}

func TestABrokerThatDiesEndsTheRun(t *testing.T) {
	everywhere(t, func(t *testing.T, v packet.Version, qos packet.QoS) {
		f := &fake{dieAt: 300}
		m := small(f.target(v), qos, 100000)
		r := run(t, m)
		if r.Sent >= 100000 || len(r.Failures) == 0 || !strings.Contains(r.Failures[0], "closed") {
			t.Errorf("%d sent, failures %q", r.Sent, r.Failures)
		}
	})
}

func TestARunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		m := small((&fake{}).target(packet.V311), packet.QoS1, 0)
		m.Rate, m.Duration = 10, time.Hour
		begun := time.Now()
		if _, err := m.Run(ctx); err == nil || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestRunsThatWouldNotEndAreRefused(t *testing.T) {
	m := small((&fake{}).target(packet.V311), packet.QoS0, 0)
	if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "never end") {
		t.Errorf("got %v", err)
	}
}
