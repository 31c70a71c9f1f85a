package broker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgegateway/broker"
	"edgegateway/broker/packet"
	"edgegateway/buffer"
)

// run is a broker from New to the end of Run: before is what bridges do in New.
func run(t *testing.T, dir string, before, after func(h *house)) {
	t.Helper()
	store, err := buffer.Open(filepath.Join(dir, "gateway.db"), storeConfig(), logger(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	h := &house{t: t, store: store}
	if h.Broker, err = broker.New(config(), store, logger(t)); err != nil {
		t.Fatal(err)
	}
	before(h)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if after != nil {
		after(h)
	}
}

// retain sets a retained value as a device does.
func (h *house) retain(name, payload string) {
	h.t.Helper()
	m := broker.Message{Topic: name, Payload: []byte(payload), QoS: 1, Retain: true}
	if err := h.Local("device", broker.Rights{}).Publish(m).Wait(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// bridge subscribes the session of a cloud to filters.
func (h *house) bridge(purpose string, filters ...string) *broker.Session {
	h.t.Helper()
	s, err := h.Local("cloud", broker.Rights{}).Session(buffer.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range filters {
		err := s.Subscribe(f, broker.SubscribeOptions{QoS: 1, RetainHandling: packet.SendRetainedIfNew, Purpose: purpose})
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return s
}

// waiting is what is in the queue of a session, in order.
func (h *house) waiting(s *broker.Session) (list []string) {
	h.t.Helper()
	err := s.Queue().Each(func(e buffer.Entry) bool {
		r, err := h.Decoder().Decode(e)
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, r.Message.Topic+"="+string(r.Message.Payload))
		return true
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

func (h *house) wantWaiting(when string, s *broker.Session, want ...string) {
	h.t.Helper()
	if got := h.waiting(s); !slices.Equal(got, want) {
		h.t.Errorf("%s there waits\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestARestartGivesASessionNoRetainedMessageAgain(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, func(h *house) {
		h.retain("t/a", "1")
		h.retain("u", "2")
		h.wantWaiting("at first", h.bridge("", "t/#"), "t/a=1")
	}, func(h *house) {
		h.retain("t/b", "3") // by routing
	})
	for range 2 {
		run(t, dir, func(h *house) {
			h.wantWaiting("after a restart", h.bridge("", "t/#"), "t/a=1", "t/b=3")
		}, nil)
	}
	run(t, dir, func(h *house) {
		h.wantWaiting("with one filter more", h.bridge("", "t/#", "u"), "t/a=1", "t/b=3", "u=2")
	}, nil)
	run(t, dir, func(h *house) {
		h.wantWaiting("without the first filter", h.bridge("", "u"), "t/a=1", "t/b=3", "u=2")
	}, func(h *house) {
		h.retain("t/a", "4") // which nobody has asked for
	})
	run(t, dir, func(h *house) {
		h.wantWaiting("with the first filter again", h.bridge("", "t/#", "u"), "t/a=1", "t/b=3", "u=2", "t/a=4", "t/b=3")
	}, nil)
}

// TestWhatIsRetainedBeforeTheSubscriptionIsDelivered is about a device, or a cloud, that
// is set up before another cloud.
func TestWhatIsRetainedBeforeTheSubscriptionIsDelivered(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, func(h *house) {
		h.retain("t/a", "1")
		h.retain("t/b", "2")
		h.wantWaiting("at first", h.bridge("", "t/#"), "t/a=1", "t/b=2")
	}, nil)
	run(t, dir, func(h *house) {
		h.retain("t/b", "3")
		s := h.bridge("", "t/#")
		h.bridge("", "t/#") // in the same run it exists for certain
		h.retain("t/a", "4")
		h.wantWaiting("after a restart", s, "t/a=1", "t/b=2", "t/b=3", "t/a=4")
	}, nil)
}

// TestASubscriptionThatCanHaveMissedSomethingIsNew is about all that an earlier run says
// nothing of.
func TestASubscriptionThatCanHaveMissedSomethingIsNew(t *testing.T) {
	for _, c := range []struct {
		name    string
		last    func(h *house)                 // what happens in the run before
		between func(t *testing.T, dir string) // it and the next one
		before  func(h *house)                 // what the next one begins with
	}{
		{name: "another purpose", before: func(h *house) { h.wantWaiting("in the next run", h.bridge("there", "t"), "t=1", "t=1") }},
		{name: "another purpose within the run", before: func(h *house) {
			h.bridge("here", "t")
			h.wantWaiting("in the next run", h.bridge("there", "t"), "t=1", "t=1")
		}},
		{name: "unsubscribed", before: func(h *house) {
			h.bridge("here", "t").Unsubscribe("t")
			h.wantWaiting("in the next run", h.bridge("here", "t"), "t=1", "t=1")
		}},
		{name: "a run without the session",
			between: func(t *testing.T, dir string) { run(t, dir, func(*house) {}, nil) },
			before:  func(h *house) { h.wantWaiting("in the next run", h.bridge("here", "t"), "t=1", "t=1") }},
		{name: "the queue was lost",
			last: func(h *house) {
				c := h.store.Begin()
				h.store.DropQueue(c, h.store.Find("local/cloud"))
				c.Commit(nil)
			},
			before: func(h *house) { h.wantWaiting("in the next run", h.bridge("here", "t"), "t=1") }},
		{name: "all was forgotten, and the queue is there for another reason",
			last: func(h *house) {
				c := h.store.Begin()
				if err := broker.ForgetSession(c, h.store, "cloud"); err != nil {
					h.t.Fatal(err)
				}
				c.Commit(nil)
			},
			before: func(h *house) {
				if _, err := h.store.Queue("local/cloud", buffer.Limits{}); err != nil {
					h.t.Fatal(err)
				}
				h.wantWaiting("in the next run", h.bridge("here", "t"), "t=1")
			}},
		{name: "a restored store",
			between: func(t *testing.T, dir string) {
				path := filepath.Join(dir, "gateway.db")
				from := filepath.Join(t.TempDir(), "backup")
				f, err := os.Create(from)
				if err != nil {
					t.Fatal(err)
				}
				_, err = buffer.BackupFile(path, f)
				if err := errors.Join(err, f.Close(), buffer.ForgetRun(from)); err != nil {
					t.Fatal(err)
				}
				if _, err := buffer.Restore(path, from); err != nil {
					t.Fatal(err)
				}
			},
			before: func(h *house) { h.wantWaiting("in the next run", h.bridge("here", "t"), "t=1", "t=1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			run(t, dir, func(h *house) {
				h.retain("t", "1")
				h.bridge("here", "t")
			}, c.last)
			if c.between != nil {
				c.between(t, dir)
			}
			run(t, dir, c.before, nil)
		})
	}
}
